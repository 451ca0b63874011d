"""A worker runs trials until none is left, and records their outcomes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from research import RunConfig
from research.studies.grid import StudySpec, expand
from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from research.studies.worker import Worker, hidden_states_settings, log_path, trains_head_only, try_read_result
from tests.builders.studies import FAST_SETTINGS


@pytest.fixture
def restore_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers that a worker replaces."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("use_session_cache", "restore_signal_handlers")
def test_worker_records_one_trial_as_finished_and_one_as_failed(
    tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    base: dict[str, Any] = {**FAST_SETTINGS, "encoder": str(tiny_encoder), "data": str(tiny_reviews), "max_steps": 1}
    # The encoder has too few layers for last4.
    spec = StudySpec(name="a", base=base, grid={"head": ["linear", "last4"]})
    with Study("a", local_address(tmp_path)) as study:
        study.add(expand(spec))
        assert Worker(study, spec, tmp_path).work() == 0
        finished, failed = study.entries().values()
    assert (finished.state, failed.state) == (TrialState.COMPLETE, TrialState.FAIL)
    run_directory = tmp_path / "trials" / finished.trial.id
    result = try_read_result(run_directory)
    assert result is not None
    assert (finished.value, finished.attributes["metrics"]) == (
        result["metrics"]["test"]["accuracy"],
        result["metrics"],
    )
    assert finished.attributes["directory"] == str(run_directory.resolve())
    assert finished.attributes["seconds"] > 0
    assert "'last4'" in failed.attributes["error"]
    assert log_path(tmp_path, finished.trial.id).exists()


@pytest.mark.usefixtures("use_session_cache", "restore_signal_handlers")
def test_worker_without_its_supervisor_claims_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDWAY_SUPERVISOR", "999999999")  # no process has this id
    spec = StudySpec(name="a")
    with Study("a", local_address(tmp_path)) as study:
        study.add(expand(spec))
        assert Worker(study, spec, tmp_path).work() == 128 + signal.SIGTERM  # the exit status after this signal
        assert [entry.state for entry in study.entries().values()] == [TrialState.WAITING]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"freeze": ["encoder"]}, True),
        ({}, False),
        ({"freeze": ["encoder.layer[0]"]}, False),
        ({"freeze": ["encoder"], "cache_features": False}, False),
        ({"freeze": ["encoder"], "streaming": True}, False),
        ({"freeze": ["encoder"], "timeline": [{"at": "1st", "unfreeze": "encoder"}]}, False),  # "1st": after step 1
        ({"freeze": ["encoder"], "hook": ["ema"]}, False),
        ({"freeze": ["encoder"], "compile": True}, False),
        ({"freeze": ["encoder"], "peft": "lora"}, False),
    ],
)
def test_trials_that_train_only_the_head_run_in_the_worker_process(
    settings: dict[str, Any], expected: bool, tmp_path: Path
) -> None:
    config = RunConfig(**settings)
    assert trains_head_only(config) == expected
    with Study("a", local_address(tmp_path)) as study:
        assert Worker(study, StudySpec(), tmp_path).runs_in_process(config) == expected
        # Trials started with accelerate launch always have processes of their own.
        assert not Worker(study, StudySpec(), tmp_path, accelerate_config="launcher.yaml").runs_in_process(config)


def test_hidden_states_settings_are_those_that_hidden_states_depend_on() -> None:
    default = hidden_states_settings(RunConfig())
    assert hidden_states_settings(RunConfig(head="lstm", seed=3, lr=0.5)) == default
    for changed in ({"encoder": "other"}, {"data": "other"}, {"max_length": 99}, {"cache_dtype": "bf16"}):
        assert hidden_states_settings(RunConfig(**changed)) != default


def test_try_read_result_returns_none_if_the_file_is_missing_or_broken(tmp_path: Path) -> None:
    assert try_read_result(tmp_path) is None
    (tmp_path / "result.json").write_text("{")
    assert try_read_result(tmp_path) is None
    (tmp_path / "result.json").write_text(json.dumps({"status": "finished"}))
    assert try_read_result(tmp_path) == {"status": "finished"}
