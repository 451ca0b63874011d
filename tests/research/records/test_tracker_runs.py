"""A resumed run continues its tracker runs; a fork starts new ones."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research import Hook, RunConfig, run_experiment
from research.records.tracker_runs import CONTINUATIONS, read_tracker_runs
from research.training.api import Run

RunResumeAndFork = Callable[[str], RunConfig]

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the tracker libraries


class FailAfterStep3(Hook):
    """Fails after the third step if `enabled` is set. The last checkpoint is from the second step.

    Resumed runs must have the hooks of the checkpoint, so they have this hook without `enabled`.
    """

    def __init__(self, *, enabled: bool = False) -> None:
        self.enabled = enabled

    def end_of_step(self, run: Run) -> None:
        if self.enabled and run.clock.step == 3:
            raise RuntimeError("cut")


@pytest.fixture
def run_resume_and_fork(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RunResumeAndFork:
    """Return a function that interrupts, resumes and forks a run with a tracker, and returns the settings to resume."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    monkeypatch.chdir(tmp_path)
    settings: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "batch_size": 8,
        "max_length": 32,
        "max_steps": 4,
        "mixed_precision": "no",
        "log_every": 1,
        "report": False,
        "save_every": "2st",  # every two steps
        "keep": 9,  # more checkpoints than the run saves
    }

    def interrupt_resume_and_fork(tracker: str) -> RunConfig:
        config = RunConfig(**settings, log_with=[tracker], output_dir="run")
        with pytest.raises(RuntimeError, match="cut"):
            run_experiment(config, hooks=[FailAfterStep3(enabled=True)])
        resumed = dataclasses.replace(config, resume="auto")
        run_experiment(resumed, hooks=[FailAfterStep3()])
        run_experiment(dataclasses.replace(config, output_dir="fork", fork="run@step-2"), hooks=[FailAfterStep3()])
        return resumed

    return interrupt_resume_and_fork


def test_resumed_run_continues_its_mlflow_run_and_fork_starts_a_new_one(
    run_resume_and_fork: RunResumeAndFork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow  # imported here, since the import takes seconds

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    resumed = run_resume_and_fork("mlflow")
    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'midway'")
    runs = client.search_runs([experiment.experiment_id])
    ids = {name: read_tracker_runs(tmp_path / name)["mlflow"] for name in ("run", "fork")}
    assert {run.info.run_id for run in runs} == set(ids.values())
    assert ids["run"] != ids["fork"]
    for name, steps in (("run", {1, 2, 3, 4}), ("fork", {3, 4})):
        assert {metric.step for metric in client.get_metric_history(ids[name], "loss")} == steps
    assert client.get_run(ids["run"]).data.params["batch_size"] == "8"
    # A tracker run that was deleted cannot be continued.
    client.delete_run(ids["run"])
    (tmp_path / "run" / "result.json").unlink()  # otherwise the run counts as finished
    with pytest.raises(ValueError, match=r"\bmlflow .*trackers\.json"):
        run_experiment(resumed, hooks=[FailAfterStep3()])


def test_resumed_run_continues_its_wandb_run_and_fork_starts_a_new_one(
    run_resume_and_fork: RunResumeAndFork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    run_resume_and_fork("wandb")
    ids = [path.name.rpartition("-")[2] for path in sorted((tmp_path / "wandb").glob("offline-run-*"))]
    run_id, fork_id = (read_tracker_runs(tmp_path / name)["wandb"] for name in ("run", "fork"))
    # Each start of a tracker run has its own folder, so the resumed run has two with the same id.
    assert sorted(ids) == sorted([run_id, run_id, fork_id])
    assert run_id != fork_id


def test_comet_accepts_the_arguments_that_continue_an_experiment() -> None:
    import comet_ml

    inspect.signature(comet_ml.start).bind(project_name="midway", **CONTINUATIONS["comet_ml"].init_arguments("key"))
    assert hasattr(comet_ml.Experiment, "get_key")


def test_read_tracker_runs_ignores_unknown_trackers_and_refuses_a_damaged_file(tmp_path: Path) -> None:
    assert read_tracker_runs(tmp_path) == {}
    (tmp_path / "trackers.json").write_text(json.dumps({"wandb": "a", "unknown": "b"}))
    assert read_tracker_runs(tmp_path) == {"wandb": "a"}
    (tmp_path / "trackers.json").write_text("{")
    with pytest.raises(ValueError, match=r"trackers\.json"):
        read_tracker_runs(tmp_path)
