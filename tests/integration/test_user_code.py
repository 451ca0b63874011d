"""A user's own head, hook, objective, schedule and cleaning step work from the command line and from Python."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from research import EncoderWithHead, Hook, RunConfig, RunResult, run_experiment
from research.runner.listing import describe_listing, print_help
from research.settings.command_line import parse
from research.settings.plugins import import_plugins
from research.settings.program import HelpRequest
from research.training.api import Run
from research.training.run import TrainingRun
from tests.conftest import Launch

MY_HEAD = """\
from torch import nn
from heads import Head, register_head
@register_head("mine")
class MyHead(Head):
    def __init__(self, encoder, num_labels, *, width: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(encoder.hidden_size, width), nn.GELU(), nn.Linear(width, num_labels))
    def forward(self, hidden_states, attention_mask):
        return self.layers(hidden_states[:, 0])
"""

MY_CODE = '''\
"""A user's own hook, objective, schedule and cleaning step."""

import json

import torch
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from research import Hook, register_cleaning, register_hook, register_objective, register_schedule
from research.learning.objectives import Objective, ObjectiveOutput


@register_hook("write_loss")
class WriteLoss(Hook):
    """Write the loss to a file, and log the step.

    Args:
        every: steps between two lines.
        file_name: name of the file in the run directory.
    """

    def __init__(self, *, every: int = 1, file_name: str = "losses.jsonl"):
        self.every, self.file_name = every, file_name

    def after_step(self, run):
        if run.is_main and run.clock.step % self.every == 0:
            with (run.directory / self.file_name).open("a") as file:
                file.write(json.dumps({"step": run.clock.step, "loss": run.last_step.loss}) + "\\n")
        run.log({"step_logged_by_hook": float(run.clock.step)})


@register_objective("margin")
class Margin(Objective):
    """Multi-class hinge loss.

    Args:
        margin: required distance between the correct logit and every other logit.
    """

    def __init__(self, task, *, margin: float = 1.0):
        super().__init__(task)
        self.margin = margin

    def __call__(self, model, batch):
        logits = model(**batch.inputs).logits
        return ObjectiveOutput(
            F.multi_margin_loss(logits.float(), batch.labels, margin=self.margin, reduction="none"), logits
        )


@register_schedule("halving")
def halving(optimizer, *, num_warmup_steps, num_training_steps, every: int = 1):
    """Halve the learning rate repeatedly.

    Args:
        every: steps between two changes.
    """
    return LambdaLR(optimizer, lambda step: 0.5 ** (step // every))


@register_cleaning("without_film")
def without_film(text):
    """Remove the word film."""
    return text.replace("film", "")
'''


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of a user's own code."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "my_head.py").write_text(MY_HEAD)
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").touch()
    (folder / "my_package" / "my_code.py").write_text(MY_CODE)
    return folder


@pytest.fixture(scope="module")
def settings(tiny_encoder: Path, tiny_reviews: Path) -> dict[str, Any]:
    """Settings of a run of three steps, with a head from a file."""
    return {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "head": {"name": "mine", "width": 6},
        "max_length": 16,
        "truncation": "head",
        "batch_size": 8,
        "max_steps": 3,
        "lr": 0.01,
        "seed": 5,
        "mixed_precision": "no",
        "num_threads": 1,
        "report": False,
        "log_every": 1,
    }


@pytest.fixture
def train_in_python(
    settings: dict[str, Any], plugins: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunResult]:
    """A function that trains in this process; keyword arguments change settings."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))

    def run(*hooks: Hook, **changed: Any) -> RunResult:
        defaults = {"plugin": [str(plugins / "my_head.py")], "output_dir": str(tmp_path / "run")}
        return run_experiment(RunConfig(**{**settings, **defaults, **changed}), hooks=hooks)

    return run


def test_head_of_a_plugin_fits_in_ten_lines() -> None:
    assert len(MY_HEAD.splitlines()) <= 10


def test_plugins_give_the_same_results_from_the_command_line_and_python(
    launch: Launch,
    train_in_python: Callable[..., RunResult],
    settings: dict[str, Any],
    plugins: Path,
    tmp_path: Path,
) -> None:
    directory = tmp_path / "command_line"
    flags = [f"--{name}={value}" for name, value in settings.items() if name != "head"]
    plugin_flags = ["--plugin", "my_head.py", "--plugin", "my_package.my_code", "--cleaning", "without_film"]
    choice_flags = ["--head", "mine", "--head.width", "6", "--objective", "margin", "--objective.margin", "0.5"]
    choice_flags += ["--schedule", "halving", "--schedule.every", "2"]
    choice_flags += ["--hook", "write_loss", "--hook.write_loss.every", "2"]
    launch([*flags, *plugin_flags, *choice_flags, "--output_dir", directory], cwd=plugins)
    result = json.loads((directory / "result.json").read_text())

    loss_lines = [json.loads(line) for line in (directory / "losses.jsonl").read_text().splitlines()]
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in loss_lines] == [2]
    assert [line["step_logged_by_hook"] for line in lines] == [1, 2, 3]
    assert [line["learning_rate/layer.1"] for line in lines] == pytest.approx([0.01, 0.01, 0.005])

    assert lines[0]["loss"] == pytest.approx(0.25, abs=0.1), (
        "expected half the margin, which is the hinge loss of two equal logits"
    )

    plugin_settings: dict[str, Any] = {
        "plugin": [str(plugins / "my_head.py"), str(plugins / "my_package" / "my_code.py")],
        "objective": {"name": "margin", "margin": 0.5},
        "schedule": {"name": "halving", "every": 2},
        "hook": [{"name": "write_loss", "every": 2}],
    }
    uncleaned = train_in_python(**plugin_settings)
    assert uncleaned["weights_sha256"] != result["weights_sha256"]
    from_python = train_in_python(**plugin_settings, cleaning=["without_film"], overwrite=True)
    assert from_python["weights_sha256"] == result["weights_sha256"]
    assert from_python["metrics"] == result["metrics"]
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == from_python


def test_head_of_a_plugin_is_listed_with_its_options(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = plugins / "my_head.py"
    assert "mine\n" in describe_listing("heads", [str(head)])
    request = parse(["--plugin", str(head), "--head", "mine", "--help"])
    assert isinstance(request, HelpRequest)
    assert print_help(request) == 0
    assert "head mine, options as --head.<option>:" in (printed := capsys.readouterr().out)
    assert "width (int, default: 8)" in printed


def test_saved_head_of_a_plugin_predicts_like_the_run(
    train_in_python: Callable[..., RunResult], tiny_reviews: Path, tmp_path: Path
) -> None:
    result = train_in_python()
    saved = tmp_path / "run" / "model"
    table = pq.read_table(tmp_path / "run" / "predictions" / "test.parquet").to_pydict()
    expected = np.array([table["score_negative"], table["score_positive"]]).T
    texts = [line.rpartition(",")[0] for line in (tiny_reviews / "test.csv").read_text().splitlines()[1:]]
    assert max(len(text.split()) for text in texts) > 16, "expected some texts to be truncated"

    classify: Any = pipeline("text-classification", str(saved), device="cpu", top_k=None)
    predictions = [
        {item["label"]: item["score"] for item in row} for row in classify(texts, truncation=True, batch_size=4)
    ]
    scores = np.array([[row["negative"], row["positive"]] for row in predictions])
    assert scores == pytest.approx(expected, abs=1e-5)
    assert (scores.argmax(axis=1) == table["label"]).mean() == pytest.approx(result["metrics"]["test"]["accuracy"])

    model = AutoModelForSequenceClassification.from_pretrained(saved)
    assert type(model) is EncoderWithHead
    assert model.config.head_options == {"width": 6}
    assert (model.config.max_input_length, model.config.truncation) == (16, "head")
    assert model.config.id2label == {0: "negative", 1: "positive"}
    tokenizer: Any = AutoTokenizer.from_pretrained(saved)
    encoded = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = EncoderWithHead.from_pretrained(saved)(**encoded).logits
    assert logits.softmax(dim=-1).numpy() == pytest.approx(expected, abs=1e-5)


def test_saved_head_whose_code_is_not_imported_is_refused_with_a_hint(
    train_in_python: Callable[..., RunResult], tmp_path: Path
) -> None:
    train_in_python(max_steps=1)
    config = tmp_path / "run" / "model" / "config.json"
    config.write_text(config.read_text().replace('"head": "mine"', '"head": "not_imported"'))
    with pytest.raises(ValueError, match=r"head 'not_imported'.*\bimport "):
        EncoderWithHead.from_pretrained(config.parent)


def test_hooks_from_python_are_called_first_and_can_stop_the_run(
    train_in_python: Callable[..., RunResult], plugins: Path
) -> None:
    hook_names: list[str] = []

    class StopsAfterStep2(Hook):
        def on_train_start(self, run: Run) -> None:
            assert isinstance(run, TrainingRun)
            hook_names.extend(type(hook).__name__ for hook in run.hooks)

        def after_step(self, run: Run) -> None:
            if run.clock.step == 2:
                run.stop("enough is enough")

    import_plugins([str(plugins / "my_package" / "my_code.py")])
    result = train_in_python(StopsAfterStep2(), hook=["write_loss"])
    assert (result["steps"], result["stopped_because"], result["status"]) == (2, "enough is enough", "finished")
    # Midway adds FollowTimeline to every run.
    assert [name for name in hook_names if name != "FollowTimeline"][:2] == ["StopsAfterStep2", "WriteLoss"]


def test_hook_may_change_the_batch(train_in_python: Callable[..., RunResult], tmp_path: Path) -> None:
    class ReplacesTokens(Hook):
        """Replace every token except the first one with [UNK]."""

        def on_batch(self, run: Run, batch: Any) -> Any:
            ids = batch.inputs["input_ids"].clone()
            ids[:, 1:] = run.tokenizer.unk_token_id
            return dataclasses.replace(batch, inputs={**batch.inputs, "input_ids": ids})

    unchanged = train_in_python()["weights_sha256"]
    changed = train_in_python(ReplacesTokens(), output_dir=str(tmp_path / "changed"))["weights_sha256"]
    repeated = train_in_python(ReplacesTokens(), output_dir=str(tmp_path / "repeated"))["weights_sha256"]
    assert unchanged != changed
    assert changed == repeated
