"""Templates from the command line to the exported model: everything that reads texts gives the same logits."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertModel

from research import PredictSettings, RunConfig, load_model, predict, run_experiment
from research.export.main import execute as export
from research.export.settings import ExportSettings
from research.inference.evaluate import EvaluateSettings
from research.inference.evaluate import execute as evaluate
from research.records.results import read_result
from research.settings.command_line import Command, parse
from research.settings.template import parse_template
from research.system.errors import describe_user_error
from tests.builders.trained_run import train_tiny_run
from tests.conftest import ROOT, Launch
from tests.messages import collect_messages
from tests.research.data.batches.trained_tokenizers import byte_level
from tests.research.export.formats.test_hub import classify_without_midway

TEMPLATE = r"Review: {text}\nSentiment:"
SETTINGS: dict[str, Any] = {"template": TEMPLATE, "max_length": 30, "cleaning": ["lowercase"], "save_every": "2st"}


@pytest.fixture(scope="module")
def byte_level_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder for whose tokenizer the space before a text matters."""
    folder = tmp_path_factory.mktemp("encoders") / "byte-level"
    tokenizer = byte_level()
    tokenizer.model_max_length = 64
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(
    byte_level_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "template"
    return train_tiny_run(directory, byte_level_encoder, tiny_reviews, cache_dir, **SETTINGS)


@pytest.fixture
def test_rows(tiny_reviews: Path) -> list[dict[str, str]]:
    with (tiny_reviews / "test.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def scores_of(run: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the scores of the test rows that the run itself has written."""
    return np.array(pq.read_table(run / "predictions" / "test.parquet")["score_positive"])


def test_run_saves_the_template_with_the_model(run: Path) -> None:
    assert json.loads((run / "model" / "config.json").read_text())["inputs"]["template"] == TEMPLATE
    saved = load_model(run)
    assert saved.template == TEMPLATE
    assert saved.collator.num_template_tokens == len(saved.tokenizer.tokenize("Review:\nSentiment:"))


def test_load_model_predict_and_evaluate_give_the_scores_of_the_run(
    run: Path, tiny_reviews: Path, test_rows: list[dict[str, str]], tmp_path: Path
) -> None:
    expected = scores_of(run)
    assert np.ptp(expected) > 1e-4
    table = load_model(run).predict([row["text"].upper() for row in test_rows])
    np.testing.assert_allclose(table["score_positive"], expected, atol=1e-6)

    output = tmp_path / "predictions.parquet"
    predict(
        PredictSettings(
            run=str(run), data=str(tiny_reviews / "test.csv"), output=str(output), mixed_precision="no", num_threads=1
        )
    )
    np.testing.assert_allclose(pq.read_table(output)["score_positive"], expected, atol=1e-6)

    folder = tmp_path / "evaluation"
    settings = EvaluateSettings(
        run=str(run), data=str(tiny_reviews), split="test", output=str(folder), bootstrap=0, mixed_precision="no"
    )
    assert evaluate(settings) == 0
    np.testing.assert_allclose(pq.read_table(folder / "predictions.parquet")["score_positive"], expected, atol=1e-6)


def test_exported_pipeline_gives_the_scores_of_the_run(
    run: Path, test_rows: list[dict[str, str]], tmp_path: Path
) -> None:
    target = tmp_path / "export"
    export(ExportSettings(run=str(run), format="hub", output=str(target)))
    assert TEMPLATE in (target / "README.md").read_text()
    scores = classify_without_midway(target, [{"text": row["text"]} for row in test_rows], tmp_path)
    assert max(len(row["text"].split()) for row in test_rows) > 25, "no text is truncated"
    np.testing.assert_allclose([row["positive"] for row in scores], scores_of(run), atol=1e-6)
    # Midway loads the folder, whose tokenizer adds the template, without adding it again.
    loaded = load_model(target)
    assert (loaded.inputs.template, loaded.template) == (None, TEMPLATE)
    table = loaded.predict([row["text"] for row in test_rows])
    np.testing.assert_allclose(table["score_positive"], scores_of(run), atol=1e-6)


def test_exported_pair_model_gives_the_same_logits(tiny_encoder: Path, cache_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "pairs.csv"
    lines = [f"the film was {'good' if row % 2 else 'bad'} {row},a plot {row},{row % 2}" for row in range(60)]
    data.write_text("\n".join(["premise,hypothesis,label", *lines]) + "\n")
    template = "the {text} film {text_pair} was"
    run = train_tiny_run(tmp_path / "run", tiny_encoder, data, cache_dir, template=template, max_length=14)
    # The export compares the pipeline with the run, also for pairs that are truncated.
    export(ExportSettings(run=str(run), format="hub", output=str(tmp_path / "export")))
    with pytest.raises(ValueError, match=r"\{text_pair\} is missing"):
        train_tiny_run(tmp_path / "other", tiny_encoder, data, cache_dir, template="{text}")


def test_resume_refuses_a_changed_template(run: Path, byte_level_encoder: Path, tiny_reviews: Path) -> None:
    recipe = RunConfig(encoder=str(byte_level_encoder), data=str(tiny_reviews), **SETTINGS)
    for template in (None, r"Review: {text}\nRating:"):
        settings = recipe.to_recipe() | {"template": template, "max_steps": 5, "log_with": [], "report": False}
        with pytest.raises(ValueError, match="template was") as error:
            run_experiment(RunConfig(**settings, resume=str(run / "checkpoints" / "step-00000002"), overwrite=True))
        assert "\n" not in str(describe_user_error(error.value))


def test_fork_inherits_the_template_and_cannot_change_it(
    run: Path, launch: Launch, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = f"{run}@step-2"
    fork = ["--fork", checkpoint, "--output_dir", tmp_path / "fork", "--lr", "1e-3"]
    launch(fork)
    assert load_model(tmp_path / "fork").template == TEMPLATE
    done = launch([*fork, "--overwrite", "--template", "{text}"], check=False)
    assert done.returncode == 1
    assert re.search(r"^error: .*template was 'Review", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_templates_do_not_share_cached_tokens_or_hidden_states(
    byte_level_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path
) -> None:
    def train(name: str, template: str | None, cache: Path) -> str:
        run = train_tiny_run(
            tmp_path / name,
            byte_level_encoder,
            tiny_reviews,
            cache,
            template=template,
            max_length=30,
            freeze=["encoder"],
            cache_features=True,
        )
        result = read_result(run)
        assert result is not None
        assert result["cached_features"]
        return str(result["weights_sha256"])

    # "Review:{text}" has the same literal parts as "Review: {text}", but no space.
    templates = {"none": None, "space": "Review: {text}", "no-space": "Review:{text}", "rating": "Rating: {text}"}
    hashes = {name: train(name, template, tmp_path / "shared") for name, template in templates.items()}
    assert len(set(hashes.values())) == 4
    assert train("alone", templates["no-space"], tmp_path / "alone-cache") == hashes["no-space"]


def line_about_template(output: str) -> str:
    flat = re.sub(r"\s+", " ", output)
    match = re.search(r"template of \d+ tokens;.*?</s>", flat)
    assert match is not None, output
    return match[0]


def test_shell_and_recipe_give_the_same_input(
    launch: Launch,
    byte_level_encoder: Path,
    tiny_reviews: Path,
    user_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """An escape that a shell or YAML passes on is a line break, as is a line break itself."""
    script = [sys.executable, str(ROOT / "experiments" / "run.py")]
    data = ["--encoder", str(byte_level_encoder), "--data", str(tiny_reviews), "--max_length", "40", "--dry_run"]
    done = subprocess.run(
        ["bash", "-c", rf'{shlex.join([*script, *data])} --template "Review: {{text}}\nSentiment:"'],
        check=True,
        cwd=tmp_path,
        env={**os.environ, **user_environment},
        capture_output=True,
        text=True,
    )
    line = line_about_template(done.stdout)
    num_tokens = len(byte_level().tokenize("Review:\nSentiment:"))
    assert re.match(rf"template of {num_tokens} tokens; .*<s>Review: train 0 .*\\nSentiment:</s>$", line)
    recipe = tmp_path / "recipe.yaml"
    for value in (
        r"'Review: {text}\nSentiment:'",
        "|-\n  Review: {text}\n  Sentiment:",
        r'"Review: {text}\nSentiment:"',
    ):
        recipe.write_text(f"template: {value}\n")
        command = parse(["--recipe", str(recipe)])
        assert isinstance(command, Command)
        assert parse_template(command.config.template) == parse_template(TEMPLATE)
    assert line_about_template(launch([*data, "--recipe", recipe]).stdout) == line


def test_log_shows_an_example(byte_level_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path) -> None:
    with collect_messages() as messages:
        train_tiny_run(tmp_path / "run", byte_level_encoder, tiny_reviews, cache_dir, **SETTINGS)
    (line,) = [message for message in messages if message.startswith("template of")]
    # The template is never cut, and the number of tokens of text that fit is shown.
    num_template = len(byte_level().tokenize("Review:\nSentiment:"))
    assert f"with {30 - 2 - num_template} of " in line
    assert line.endswith(r"\nSentiment:</s>")


def test_template_that_is_too_long_is_refused(launch: Launch, tiny_encoder: Path, tiny_reviews: Path) -> None:
    flags = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--template", "the film was {text} very", "--dry_run"]
    done = launch([*flags, "--max_length", "6"], check=False)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert re.search("at least 7.*the template 4 tokens.*got 6", line)
    launch([*flags, "--max_length", "7"])


def test_study_varies_the_template(launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> None:
    flags = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--max_length", "16", "--max_steps", "2"]
    flags += ["--seeds", "0", "--output_dir", tmp_path / "study", "--workers", "1", "--mixed_precision", "no"]
    grid = r"""template="film: {text}\nwas/is",'the {text}',null"""
    done = launch([*flags, "--grid", grid], script="ablate.py")
    with (tmp_path / "study" / "results.csv").open(newline="") as file:
        arms = {row["arm"] for row in csv.DictReader(file)}
    assert arms == {r"template=film: {text}\nwas/is", "template=the {text}", "template=none"}
    assert "template" in done.stdout
    done = launch([*flags, "--grid", "template=Review: {text},null"], script="ablate.py", check=False)
    assert done.returncode == 2
    assert re.search(r"^error: Expected each template of the grid in quotes", done.stderr, re.MULTILINE)


def test_model_saved_before_templates_existed_loads(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path
) -> None:
    run = train_tiny_run(tmp_path / "run", tiny_encoder, tiny_reviews, cache_dir, max_length=32)
    file = run / "model" / "config.json"
    config = json.loads(file.read_text())
    del config["inputs"]["template"]
    expected = load_model(run).predict(["good film"])
    file.write_text(json.dumps(config))
    assert load_model(run).template is None
    assert load_model(run).predict(["good film"]).equals(expected)
