"""What processes know of each other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from accelerate.utils import DistributedType

from research.runner.resolve import resolve
from research.settings.config import RunConfig
from research.system.errors import is_for_the_user
from research.system.launcher import LaunchRequest, parse_launch, refuse_launch
from research.system.processes import is_alive
from research.training.accelerator import choose_precision, compare_with_request, create_accelerator
from tests.conftest import ROOT, Launch


def test_process_that_nobody_asked_about_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_alive(process.pid)
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert psutil.pid_exists(process.pid)
        assert not is_alive(process.pid)
    assert not is_alive(process.pid)


@pytest.mark.parametrize(
    ("switch", "name"),
    [
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "a parallelism config"),
    ],
)
def test_refuse_launch_refuses_every_sharded_launch(monkeypatch: pytest.MonkeyPatch, switch: str, name: str) -> None:
    monkeypatch.setenv(switch, "true")
    with pytest.raises(ValueError, match=name) as caught:
        resolve(RunConfig(data="missing.csv"))
    assert is_for_the_user(caught.value)
    assert "\n" not in str(caught.value)


def test_refuse_launch_refuses_an_unknown_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(ValueError, match="fp8"):
        refuse_launch()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m accelerate.commands.launch --config_file {multi_gpu} run.py --head lstm", LaunchRequest(2, True)),
        ("python /usr/bin/accelerate launch --config_file={cpu_2_processes} run.py", LaunchRequest(2, False)),
        ("accelerate launch --multi-gpu --num-processes 3 run.py --num_processes 9", LaunchRequest(3, True)),
        ("accelerate-launch --cpu --config_file {multi_gpu} run.py", LaunchRequest(2, False)),
        ("accelerate launch run.py --num_processes 9 --mixed_precision no", LaunchRequest()),
        ("accelerate launch --mixed_precision no run.py", LaunchRequest(precision="no")),
        ("accelerate launch --mixed-precision=bf16 run.py", LaunchRequest(precision="bf16")),
        ("accelerate launch --cpu --use_megatron_lm run.py", LaunchRequest(sharding="Megatron-LM")),
        ("accelerate launch --use-deepspeed run.py", LaunchRequest(sharding="DeepSpeed")),
        ("accelerate launch --use_fsdp --use_parallelism_config run.py", LaunchRequest(sharding="FSDP")),
        ("accelerate launch --cpu --config_file {sharded} run.py", LaunchRequest(sharding="DeepSpeed")),
        ("accelerate launch --multi_gpu --config_file {sharded} run.py", LaunchRequest(None, True)),
        ("accelerate launch --config_file {parallel} run.py", LaunchRequest(sharding="a parallelism config")),
        ("torchrun --nproc_per_node 2 run.py", LaunchRequest()),
        ("bash", LaunchRequest()),
    ],
)
def test_parse_launch_reads_flags_over_the_config_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, expected: LaunchRequest
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))  # nobody's default config
    configs = {path.stem: path for path in (ROOT / "accelerate_configs").iterdir()}
    for name, line in {
        "sharded": "distributed_type: DEEPSPEED",
        "parallel": "parallelism_config: {tp_size: 2}",
    }.items():
        configs[name] = tmp_path / f"{name}.yaml"
        configs[name].write_text(line)
    assert parse_launch([part.format(**configs) for part in command.split()], "run.py") == expected


def test_precision_that_the_launcher_was_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research.training.accelerator._computes_in_bf16", lambda on_gpu: True)
    asked: list[str] = []
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: ["accelerate", "launch", *asked, "run.py"])
    monkeypatch.setattr(sys, "argv", ["run.py"])
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # which accelerate sets in any case
    assert choose_precision(RunConfig()) == "bf16"
    asked += ["--mixed_precision", "no"]
    assert choose_precision(RunConfig()) == "no"
    assert choose_precision(RunConfig(mixed_precision="bf16")) == "bf16"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--cpu", "--num_processes", "2"), "2 processes and started 1"),
        (("--use_fsdp",), "asks for FSDP"),
        (("--cpu", "--num_processes", "1", "--use_megatron_lm"), "asks for Megatron-LM"),
        (("--config_file", str(ROOT / "accelerate_configs" / "multi_gpu.yaml")), "asks for GPUs"),
    ],
)
def test_launch_that_accelerate_would_ignore_is_refused(
    launch: Launch, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    data = tmp_path / "empty.csv"  # refused when it is read, which comes later
    data.touch()
    if "multi_gpu" in options[-1] and torch.cuda.is_available():
        pytest.skip("GPUs can be had here")
    done = launch(["--data", data], num_processes=2, launcher_options=options, check=False, forks=False)
    assert done.returncode != 0
    refusals = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert refusals
    assert all(expected in line for line in refusals)


def test_built_accelerator_is_compared_with_the_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = RunConfig(mixed_precision="no", log_with=[])
    accelerator = create_accelerator(config, str(tmp_path))
    compare_with_request(accelerator, config)
    with pytest.raises(ValueError, match="precision bf16"):
        compare_with_request(accelerator, replace(config, mixed_precision="bf16"))
    monkeypatch.setattr(accelerator.state, "distributed_type", DistributedType.FSDP)
    with pytest.raises(ValueError, match="FSDP"):
        compare_with_request(accelerator, config)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes were launched"):
        compare_with_request(accelerator, config)
