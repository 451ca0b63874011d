"""`--workers auto` chooses one worker for each GPU or core, and reports the choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from research import RunConfig
from research.studies.devices import DeviceAssignment
from research.studies.worker_count import assign_workers
from research.training.accelerator import default_num_threads

HEAD_ONLY = RunConfig(freeze=["encoder"])
WHOLE_MODEL = RunConfig()
NUM_CORES = 6


def assign(
    configs: list[RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    num_gpus: int = 0,
    launcher: str | None = None,
    num_trials: int | None = 20,
) -> DeviceAssignment:
    """Return the choice on a machine with six cores and a number of GPUs, and with a config file for the launcher."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: num_gpus)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(NUM_CORES), raising=False)
    path = tmp_path / "launcher.yaml"
    path.write_text(launcher or "")
    return assign_workers("auto", None if launcher is None else str(path), configs, num_trials)


@pytest.mark.parametrize(
    ("configs", "options", "expected"),
    [
        ([HEAD_ONLY, HEAD_ONLY], {}, NUM_CORES),
        ([HEAD_ONLY, HEAD_ONLY], {"num_trials": None}, NUM_CORES),  # a search without a number of trials
        ([HEAD_ONLY, HEAD_ONLY], {"num_trials": 2}, 2),
        ([HEAD_ONLY, WHOLE_MODEL], {}, 1),
        ([HEAD_ONLY], {"launcher": "{num_processes: 2, use_cpu: true}"}, 1),
        ([WHOLE_MODEL], {"num_gpus": 4}, 4),
        ([HEAD_ONLY], {"num_gpus": 1}, 1),
        ([WHOLE_MODEL], {"num_gpus": 5, "launcher": "{num_processes: 2}"}, 2),
        ([WHOLE_MODEL], {"num_gpus": 4, "launcher": "{num_processes: 2, use_cpu: true}"}, 1),
        ([WHOLE_MODEL], {"num_gpus": 4, "num_trials": 3}, 3),
    ],
)
def test_auto_uses_each_gpu_or_else_each_core(
    configs: list[RunConfig],
    options: dict[str, Any],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    devices = assign(configs, tmp_path, monkeypatch, **options)
    assert devices.num_workers == expected
    assert f"--workers auto: {expected} worker" in capsys.readouterr().out
    assert devices.describe_sharing() is None
    gpus = [gpu for worker in range(expected) for gpu in devices.for_worker(worker)]
    assert len(set(gpus)) == len(gpus), "two workers share a GPU"


def test_workers_on_all_cores_have_one_thread_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_num_threads(assign([HEAD_ONLY], tmp_path, monkeypatch).num_workers) == 1


def test_trial_with_more_processes_than_gpus_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="4 processes"):
        assign([WHOLE_MODEL], tmp_path, monkeypatch, num_gpus=2, launcher="{num_processes: 4}")


def test_given_number_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert assign_workers(3, None, [WHOLE_MODEL], 2).num_workers == 3
    assert capsys.readouterr().out == ""
