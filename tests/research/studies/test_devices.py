"""GPUs are assigned to workers and the processes of their trials."""

from __future__ import annotations

import pytest

from research.studies.devices import DeviceAssignment, assign_devices, visible_devices
from research.studies.launcher import Launcher, read_launcher
from tests.conftest import ROOT

MIG = "MIG-GPU-8e1c1f0a-0000-4000-8000-5a5e5c5b5a59/1/0"
GPU = "GPU-8e1c1f0a-0000-4000-8000-5a5e5c5b5a59"


@pytest.mark.parametrize(
    ("devices", "num_workers", "num_processes", "expected"),
    [  # each character of a string is the number of one GPU
        ("0123", 4, 1, ["0", "1", "2", "3"]),
        ("4567", 2, 2, ["45", "67"]),
        ("01234", 2, 2, ["01", "23"]),
        ("01", 4, 1, ["0", "1", "0", "1"]),
        ("012", 2, 2, ["01", "20"]),  # workers share GPUs, but the processes of one trial do not
        ("0123", 1, 1, [""]),  # a single worker keeps all visible GPUs
        ("", 2, 1, ["", ""]),
    ],
)
def test_devices_are_split_among_workers_and_their_processes(
    devices: str, num_workers: int, num_processes: int, expected: list[str]
) -> None:
    assignment = DeviceAssignment(list(devices), num_workers, num_processes)
    assert ["".join(assignment.for_worker(worker)) for worker in range(num_workers)] == expected
    is_shared = num_workers > 1 and 0 < len(devices) < num_workers * num_processes
    assert (assignment.describe_sharing() is not None) == is_shared


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0,1,2,3", ["0", "1", "2", "3"]),
        (" 3, 1", ["3", "1"]),
        ("2,-1,0", ["2"]),  # CUDA ignores everything after a negative number
        ("1,1", []),  # CUDA sees no device if one is repeated
        ("", []),
        ("-1", []),
        (f"{GPU},{MIG}", [GPU, MIG]),
    ],
)
def test_visible_devices_are_parsed_as_in_cuda(
    value: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_devices(Launcher()) == expected


def test_all_gpus_are_used_if_cuda_visible_devices_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assignment = assign_devices(Launcher(num_processes=2), num_workers=2)
    assert [assignment.for_worker(0), assignment.for_worker(1)] == [("0", "1"), ("2", "3")]


def test_gpu_list_of_the_launcher_takes_precedence_over_cuda_visible_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert visible_devices(Launcher(gpu_ids="2,3")) == ["2", "3"]


def test_trial_with_more_processes_than_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 processes"):
        assign_devices(Launcher(num_processes=2), num_workers=1)


def test_processes_on_cpus_get_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    launcher = read_launcher(str(ROOT / "accelerate_configs" / "cpu_2_processes.yaml"))
    assert assign_devices(launcher, num_workers=2).for_worker(1) == ()
