"""Launch commands are parsed, and unsupported launches are rejected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from research.runner.resolve import resolve
from research.settings.config import RunConfig
from research.system.errors import is_user_facing
from research.system.launcher import (
    PROCESS_COUNT_VARIABLES,
    LaunchRequest,
    check_launch,
    find_launcher,
    is_switch_on,
    num_launched_processes,
    parse_launch,
    was_forked_by_notebook,
    was_launched,
)
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("switch", "name"),
    [
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "a parallelism config"),
    ],
)
def test_check_launch_rejects_every_sharded_launch(monkeypatch: pytest.MonkeyPatch, switch: str, name: str) -> None:
    monkeypatch.setenv(switch, "true")
    with pytest.raises(ValueError, match=name) as caught:
        resolve(RunConfig(data="missing.csv"))  # checks the launch before it looks for the data
    assert is_user_facing(caught.value)
    assert "\n" not in str(caught.value)


def test_check_launch_rejects_an_unknown_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(ValueError, match="fp8"):
        check_launch()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "python -m accelerate.commands.launch --config_file {multi_gpu} run.py --head lstm",
            LaunchRequest(num_processes=2, wants_gpu=True),
        ),
        ("python /usr/bin/accelerate launch --config_file={cpu_2_processes} run.py", LaunchRequest(num_processes=2)),
        (
            "accelerate launch --multi-gpu --num-processes 3 run.py --num_processes 9",
            LaunchRequest(num_processes=3, wants_gpu=True),
        ),
        ("accelerate-launch --cpu --config_file {multi_gpu} run.py", LaunchRequest(num_processes=2)),
        ("accelerate launch run.py --num_processes 9 --mixed_precision no", LaunchRequest()),
        ("accelerate launch --mixed_precision no run.py", LaunchRequest(precision="no")),
        ("accelerate launch --mixed-precision=bf16 run.py", LaunchRequest(precision="bf16")),
        ("accelerate launch --cpu --use_megatron_lm run.py", LaunchRequest(sharding="Megatron-LM")),
        ("accelerate launch --use-deepspeed run.py", LaunchRequest(sharding="DeepSpeed")),
        ("accelerate launch --use_fsdp --use_parallelism_config run.py", LaunchRequest(sharding="FSDP")),
        ("accelerate launch --cpu --config_file {sharded} run.py", LaunchRequest(sharding="DeepSpeed")),
        ("accelerate launch --multi_gpu --config_file {sharded} run.py", LaunchRequest(wants_gpu=True)),
        ("accelerate launch --config_file {parallel} run.py", LaunchRequest(sharding="a parallelism config")),
        ("torchrun --nproc_per_node 2 run.py", LaunchRequest()),
        ("bash", LaunchRequest()),
    ],
)
def test_parse_launch_reads_flags_and_then_the_config_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, expected: LaunchRequest
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))  # no default config
    configs = {path.stem: path for path in (ROOT / "accelerate_configs").iterdir()}
    for name, line in {
        "sharded": "distributed_type: DEEPSPEED",
        "parallel": "parallelism_config: {tp_size: 2}",
    }.items():
        configs[name] = tmp_path / f"{name}.yaml"
        configs[name].write_text(line)
    assert parse_launch([argument.format(**configs) for argument in command.split()], "run.py") == expected


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({}, 1),
        ({"WORLD_SIZE": "4"}, 4),
        ({"WORLD_SIZE": "", "SLURM_STEP_NUM_TASKS": "3"}, 3),
        ({"WORLD_SIZE": "1", "PMI_SIZE": "2"}, 2),
    ],
)
def test_num_launched_processes_is_the_largest_number_that_a_launcher_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], number: int
) -> None:
    for name in PROCESS_COUNT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert num_launched_processes() == number


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("TRUE", True), ("1", True), ("0", False), ("", False)]
)
def test_is_switch_on_reads_environment_variables(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("MIDWAY_TEST_SWITCH", value)
    assert is_switch_on("MIDWAY_TEST_SWITCH") is expected
    monkeypatch.delenv("MIDWAY_TEST_SWITCH")
    assert not is_switch_on("MIDWAY_TEST_SWITCH")


@pytest.mark.parametrize("name", ["ACCELERATE_DYNAMO_BACKEND", "TORCHELASTIC_RUN_ID"])
def test_was_launched_recognises_variables_of_launchers(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for variable in ("ACCELERATE_DYNAMO_BACKEND", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(variable, raising=False)
    assert not was_launched()
    monkeypatch.setenv(name, "no")
    assert was_launched()


def test_find_launcher_is_the_parent_if_there_is_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_DYNAMO_BACKEND", raising=False)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert find_launcher() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert (find_launcher(), was_forked_by_notebook()) == (os.getppid(), False)
