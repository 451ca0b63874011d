"""The object that a run returns: its metrics, curves, figure and model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from heads import HEADS, register_head
from heads.linear import LinearHead
from research import EncoderWithHead, RunResult
from research.records.results import weights_sha256
from tests.messages import collect_messages
from tests.research.runner.conftest import Train


@pytest.fixture(scope="module")
def edited_run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run with an edit before its first step and another one in its middle."""
    timeline = [{"at": "2st", "unfreeze": "encoder.layer[-1:]"}]
    directory = tmp_path_factory.mktemp("edited") / "run"
    return train(directory, freeze=["encoder"], timeline=timeline, evaluate_every="1st", best_metric="loss")


def test_run_result_is_the_content_of_result_json(edited_run: RunResult) -> None:
    content = json.loads((edited_run.directory / "result.json").read_text())
    assert dict(edited_run) == content
    assert len(edited_run) == len(content)
    assert edited_run.metrics["test"]["accuracy"] == edited_run["metrics"]["test"]["accuracy"]
    assert RunResult.read(str(edited_run.directory)) == edited_run


def test_read_expands_the_home_directory(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(finished_run.parent))
    assert RunResult.read(f"~/{finished_run.name}").directory == finished_run


def test_run_result_reads_metrics_that_are_not_defined_as_nan(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    content = json.loads((run / "result.json").read_text())
    content["metrics"]["test"] |= {"mcc": None, "loss": "inf"}
    (run / "result.json").write_text(json.dumps(content))
    result = RunResult.read(run)
    assert math.isnan(result.metrics["test"]["mcc"])
    assert result.metrics["test"]["loss"] == math.inf
    assert "not defined" in repr(result)
    assert "<td>not defined</td>" in result._repr_html_()


@pytest.mark.parametrize(("content", "message"), [(None, "result.json"), ({"status": "failed"}, "failed")])
def test_read_refuses_a_directory_without_a_finished_run(
    tmp_path: Path, content: dict[str, Any] | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        RunResult.read(tmp_path)


def test_repr_and_html_show_the_metrics(edited_run: RunResult) -> None:
    loss = f"{edited_run.metrics['test']['loss']:.4f}"
    for text in (repr(edited_run), edited_run._repr_html_()):
        assert loss in text
        assert "test (23 rows)" in text
        assert str(edited_run.directory) in text
    assert "\x1b" not in repr(edited_run)


def test_curves_have_one_row_per_logged_step(edited_run: RunResult) -> None:
    curves = edited_run.curves
    assert list(curves["step"]) == [1, 2, 3]
    lines = [json.loads(line) for line in (edited_run.directory / "metrics.jsonl").read_text().splitlines()]
    assert {*curves.columns} == {name for line in lines for name in line}
    assert curves["validation/loss"].min() == edited_run.metrics["validation"]["loss"]  # of the best model
    assert curves["loss"].notna().all()


def test_curves_merge_lines_of_the_same_step(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": "inf"}\n{"step": 2, "mine": 3}\n')
    curves = RunResult.read(run).curves
    assert curves.to_dict("list") == {
        "step": [1, 2],
        "loss": [0.5, math.inf],
        "mine": [pytest.approx(math.nan, nan_ok=True), 3],
    }


def test_plot_marks_and_lists_the_edits(edited_run: RunResult) -> None:
    figure = edited_run.plot()
    (axes,) = figure.axes
    assert [np.asarray(line.get_xdata())[0] for line in axes.lines if line.get_linestyle() == ":"] == [0.5, 2.5]
    assert {line.get_label() for line in axes.lines} >= {"training", "validation"}
    assert figure.get_supxlabel().splitlines() == [
        "1: after step 0, freeze(modules=['encoder'])",
        "2: after step 2, unfreeze(modules='encoder.layer[-1:]')",
    ]
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_model_warns_if_its_head_was_defined_again(train: Train, tmp_path: Path) -> None:
    def define(factor: int) -> None:
        class Redefined(LinearHead):
            def pool(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
                return factor * super().pool(hidden_states, attention_mask)

        register_head("redefined")(Redefined)

    with HEADS.isolated():
        define(1)
        result = train(tmp_path / "run", head="redefined")
        with collect_messages() as messages:
            same = RunResult(result.directory, result, heads={"redefined": HEADS["redefined"]}).predict(["good"])
        assert not messages
        define(2)
        with collect_messages() as messages:
            changed = result.predict(["good"])
    assert any("'redefined' was defined again" in message for message in messages)
    assert not changed.equals(same)


def test_model_of_a_replaced_run_is_refused(train: Train, tmp_path: Path) -> None:
    first = train(tmp_path / "run", seed=0)
    second = train(tmp_path / "run", seed=1, overwrite=True)
    with pytest.raises(ValueError, match="another run has replaced it"):
        first.predict(["good"])
    assert len(second.predict(["good"])) == 1


def test_model_is_the_best_one_and_predicts(edited_run: RunResult) -> None:
    assert edited_run.model is edited_run.model
    best = EncoderWithHead.from_pretrained(edited_run.directory / "best")
    assert weights_sha256(edited_run.model) == weights_sha256(best) != edited_run["weights_sha256"]
    predicted = edited_run.predict(["good great film", "bad dull plot"])
    assert set(predicted["prediction"]) <= {"positive", "negative"}
    scores = predicted[["score_negative", "score_positive"]]
    assert scores.sum(axis=1).to_list() == pytest.approx([1, 1])
