"""Decoder language models train, resume, predict and are edited like other encoders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from research import RunConfig, load_model, run_experiment
from tests.builders.tiny_decoder import save_tiny_decoder
from tests.conftest import Launch


@pytest.fixture(scope="module", params=["left", "right"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose tokenizer pads on one side."""
    return save_tiny_decoder(tmp_path_factory.mktemp("decoders") / request.param, padding_side=request.param)


@pytest.fixture
def train(tiny_reviews: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs an experiment in a directory of the given name, and returns its result."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))

    def start(name: str, encoder: Path, **settings: Any) -> Any:
        defaults: dict[str, Any] = {
            "data": str(tiny_reviews),
            "max_length": 64,
            "batch_size": 8,
            "max_steps": 6,
            "save_every": "2st",
            "keep": 9,
            "log_with": [],
            "mixed_precision": "no",
            "report": False,
        }
        return run_experiment(
            RunConfig(**{**defaults, **settings}, encoder=str(encoder), output_dir=str(tmp_path / name))
        )

    return start


def read_scores(directory: Path) -> np.ndarray[Any, Any]:
    table = pq.read_table(directory / "predictions" / "test.parquet").sort_by("id")
    names = [name for name in table.column_names if name.startswith("score_")]
    return np.stack([table.column(name).to_numpy() for name in names], axis=1)


def test_decoder_has_the_head_last_and_pads_with_its_end_of_sequence_token(
    launch: Launch, tiny_reviews: Path, tmp_path: Path
) -> None:
    decoder = save_tiny_decoder(tmp_path / "decoder")
    arguments = ["--encoder", decoder, "--data", tiny_reviews, "--max_steps", 2, "--max_length", 64]
    run = launch([*arguments, "--name", "a"], cwd=tmp_path)
    assert "</s>" in run.stdout
    config = json.loads((tmp_path / "runs" / "a" / "model" / "config.json").read_text())
    assert config["head"] == "last"
    refused = launch([*arguments, "--head", "linear"], check=False, cwd=tmp_path)
    assert refused.returncode == 1
    assert "--head last" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) <= 3


def test_padding_side_does_not_change_a_run(train: Any, tmp_path: Path) -> None:
    scores = []
    for side in ("left", "right"):
        encoder = save_tiny_decoder(tmp_path / f"{side}-decoder", padding_side=side)
        train(side, encoder, optimizer="sgd", lr=0.05, head_lr=0.05)
        scores.append(read_scores(tmp_path / side))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"peft": {"name": "lora", "r": 2, "targets": "attention"}},
        {"bidirectional": True, "head": "attention"},
        {"timeline": [{"at": "3st", "set_bidirectional": True}, {"at": "5st", "freeze": "encoder.layer[0]"}]},
        {"pad_token": "<padding>"},
    ],
    ids=["lora", "bidirectional", "edits", "new padding token"],
)
def test_decoder_resumes_with_equal_bits_and_predicts_as_in_the_run(
    decoder: Path, tiny_reviews: Path, train: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    result = train("whole", decoder, **settings)
    checkpoint = tmp_path / "whole" / "checkpoints" / "step-00000002"
    resumed = train("resumed", decoder, **settings, resume=str(checkpoint))
    assert resumed["weights_sha256"] == result["weights_sha256"]
    rows = pq.read_table(tmp_path / "whole" / "predictions" / "test.parquet").sort_by("id")
    lines = (tiny_reviews / "test.csv").read_text().splitlines()[1:]
    texts = [line.rsplit(",", 1)[0] for line in lines]
    predicted = load_model(tmp_path / "whole").predict(texts, batch_size=5)
    assert predicted["prediction"].tolist() == rows.column("prediction_name").to_pylist()


def test_adapters_of_a_decoder_train_on_two_processes(launch: Launch, tiny_reviews: Path, tmp_path: Path) -> None:
    decoder = save_tiny_decoder(tmp_path / "decoder")
    arguments = ["--encoder", decoder, "--data", tiny_reviews, "--max_length", 64, "--max_steps", 4, "--peft", "lora"]
    launch([*arguments, "--gradient_checkpointing", "true", "--name", "two"], num_processes=2, cwd=tmp_path)
    result = json.loads((tmp_path / "runs" / "two" / "result.json").read_text())
    assert result["status"] == "finished"
    assert result["world_size"] == 2


def test_token_without_an_embedding_is_refused(train: Any, tiny_reviews: Path, tmp_path: Path) -> None:
    decoder = save_tiny_decoder(tmp_path / "decoder")
    train("run", decoder)
    for folder in (tmp_path / "run" / "model", decoder):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        last = len(tokenizer) - 1
        tokenizer.add_tokens(["brilliantissimo"])
        tokenizer.save_pretrained(folder)
    message = rf"at most {last}, .* gave {last + 1} \('brilliantissimo'\)"
    model = load_model(tmp_path / "run")
    model.predict(["a good film"])
    with pytest.raises(ValueError, match=message):
        model.predict(["a brilliantissimo film"])
    train("unused token", decoder)
    data = shutil.copytree(tiny_reviews, tmp_path / "data")
    with (data / "test.csv").open("a") as file:
        file.write("a brilliantissimo film,positive\n")
    with pytest.raises(ValueError, match=message):
        train("used token", decoder, data=str(data))
    tokenizer.pad_token = "brilliantissimo"
    tokenizer.save_pretrained(decoder)
    with pytest.raises(ValueError, match=message):
        train("padding token", decoder)


PLUGIN = """
from heads import Head, register_head
from torch import nn

@register_head("first_token")
class FirstToken(Head):
    def __init__(self, encoder, num_labels):
        super().__init__()
        self.out = nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states, attention_mask):
        return self.out(hidden_states[:, 0])
"""


@pytest.mark.parametrize("head", ["linear", "first_token"])
def test_planned_head_of_the_first_token_is_checked_with_the_direction_of_attention_at_its_time(
    train: Any, tmp_path: Path, head: str
) -> None:
    decoder = save_tiny_decoder(tmp_path / "decoder", padding_side="right")
    plugin = tmp_path / "first_token.py"
    plugin.write_text(PLUGIN)
    settings: dict[str, Any] = {"plugin": [str(plugin)], "encoder": decoder}
    replace = {"at": "4st", "replace_head": head}
    with pytest.raises(ValueError, match=f"'{head}' reads.* the first token"):
        train("causal", **settings, timeline=[replace])
    train("bidirectional", **settings, timeline=[{"at": "2st", "set_bidirectional": True}, replace])
    back = {"at": "2st", "set_bidirectional": False}
    with pytest.raises(ValueError, match=f"'{head}' reads.* the first token"):
        train("causal again", **settings, head="mean", bidirectional=True, timeline=[back, replace])
