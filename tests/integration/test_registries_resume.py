"""Runs with any head, hook, optimizer, schedule or objective resume and fork with the same bits, with all options."""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heads import HEADS
from heads.registry import Registry
from research import RunConfig
from research.learning.objectives import OBJECTIVES
from research.learning.optimizers.base import OPTIMIZERS
from research.learning.schedules import SCHEDULES
from research.records.results import weights_sha256, write_config
from research.runner.resolve import resolve
from research.runner.set_up import set_up
from research.settings.config import Choice
from research.settings.options import Option, options_of
from research.settings.plugins import import_plugins
from research.settings.registries import STEP_COUNT_PARAMETERS
from research.training.accelerator import close_trackers, create_accelerator
from research.training.checkpoint.find import StartCheckpoint
from research.training.hook import HOOKS
from research.training.loop import train
from tests.conftest import ROOT, WORDS
from tests.shipped import shipped_names

PLUGIN = str(ROOT / "tests" / "plugins" / "takes_everything.py")
REGISTRIES: dict[str, Registry[Any]] = {
    "head": HEADS,
    "hook": HOOKS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "objective": OBJECTIVES,
}
LABELS: dict[str, list[Any]] = {
    "single_label": ["a", "b"],
    "multi_label": [["a", "b"], ["b"]],
    "regression": [0.25, 1.5],
}
"""Labels by task. Rows have the first and the second label in turn."""
VALUES = {
    "class_weights": [1.0, 3.0],
    "pos_weight": "balanced",
    "metric": "accuracy",
    "start": 8,
    "num_heads": 4,  # must divide the encoder's hidden size
}
VALUES |= {"momentum": 0.5, "clip_threshold": 2.0, "min_8bit_size": 1}  # of optimizers
"""Values for options whose types do not determine a valid value."""
import_plugins([PLUGIN])


@dataclass(frozen=True)
class Case:
    """A head, hook, optimizer, schedule or objective with non-default options."""

    kind: str
    """head, hook, optimizer, schedule or objective: the setting that selects the case."""
    name: str
    """Registered name."""

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"

    @property
    def options(self) -> dict[str, Any]:
        """Values for all options."""
        options = options_of(REGISTRIES[self.kind][self.name], supplied_parameters=STEP_COUNT_PARAMETERS)
        return {option.name: make_non_default_value(option) for option in options}


def make_non_default_value(option: Option) -> Any:
    """Return a value that differs from the default. A default of 0.0, infinity or NaN is returned unchanged."""
    if isinstance(option.default, str) and option.default.endswith("%"):  # a time
        return "60%"
    if option.name in VALUES:
        return VALUES[option.name]
    if typing.get_origin(option.type) is typing.Literal:
        return typing.get_args(option.type)[-1]
    default = option.default
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return 8 if option.name.endswith("_size") else default + 1
    if isinstance(default, float):
        return default * 0.9
    if isinstance(default, tuple | list):
        return [*default[:-1], make_non_default_value(Option(name="", type=None, default=default[-1], help=""))]
    if isinstance(default, dict):
        return {
            key: make_non_default_value(Option(name="", type=None, default=value, help=""))
            for key, value in default.items()
        }
    return 3 if default is None else "other"  # options that are None by default accept a number


CASES = [Case(kind, name) for kind, registry in REGISTRIES.items() for name in shipped_names(registry)]
CASES.append(Case("hook", "takes_everything"))


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that returns the folder with rows for a task, and writes the rows at the first call."""

    @functools.cache
    def find_or_write(task: str) -> Path:
        folder = tmp_path_factory.mktemp(task)
        for split in ("train", "validation", "test"):
            rows = [
                {"text": f"{split} {WORDS[row % 4 + row % 2 * 4]} {WORDS[8 + row % 6]}", "label": LABELS[task][row % 2]}
                for row in range(12)
            ]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        return folder

    return find_or_write


def train_run(config: RunConfig, folder: Path, start: StartCheckpoint | None) -> str:
    """Train a run, and return the hash of its weights."""
    config = resolve(config)
    folder.mkdir()
    accelerator = create_accelerator(config, str(folder))
    try:
        run = set_up(config, folder, accelerator, start, ())
        write_config(folder, run.config)
        train(run)
        return weights_sha256(run.encoder_with_head)
    finally:
        close_trackers(accelerator)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_run_with_non_default_options_resumes_and_forks_with_equal_bits(
    case: Case,
    data_folder: Callable[[str], Path],
    deep_encoder: Path,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    registry = REGISTRIES[case.kind]
    tasks = registry[case.name].tasks if case.kind == "objective" else ("single_label",)
    task = tasks[0]
    choice = Choice(case.name, case.options).to_yaml()
    settings: dict[str, Any] = {
        "encoder": str(deep_encoder),
        "data": str(data_folder(task)),
        "task": task,
        "max_length": 16,
        "batch_size": 4,
        "warmup": "1st",
        "schedule": "constant" if case.kind == "optimizer" else "one_cycle",  # some average instead of a decay
        "evaluate_every": "2st",
        "save_every": "1st",  # after every step
        "keep": 9,
        "log_with": [],
        "mixed_precision": "no",
        "num_threads": 1,
        "report": False,
        "plugin": [PLUGIN],
        case.kind: [choice] if case.kind == "hook" else choice,
    }
    config = RunConfig(**settings)
    expected_hash = train_run(config, tmp_path / "uninterrupted", None)
    checkpoint = tmp_path / "uninterrupted" / "checkpoints" / "step-00000002"
    assert train_run(config, tmp_path / "resumed", StartCheckpoint(checkpoint)) == expected_hash
    fork_settings = config.to_dict() | {"fork": f"{tmp_path / 'uninterrupted'}@2"}
    assert (
        train_run(RunConfig(**fork_settings), tmp_path / "forked", StartCheckpoint(checkpoint, is_fork=True))
        == expected_hash
    )
