"""Every built-in hook has the same effect on two processes as on one, and keeps the replicas equal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from research.training.hook import HOOKS
from tests.conftest import ROOT, Launch, why_not_sharded
from tests.launched.hooks_by_processes import SETTINGS
from tests.launched.runs_in_process import read_by_rank
from tests.shipped import shipped_names

SCRIPT = ROOT / "tests" / "launched" / "hooks_by_processes.py"
LAUNCHES: dict[str, tuple[int, list[str]]] = {"1": (1, []), "2": (2, []), "2-split": (2, ["--shard", "fsdp2"])}
"""Number of processes and options of each launch of the script."""
BUILT_IN_HOOKS = shipped_names(HOOKS)


@pytest.fixture(scope="module")
def results_folder(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with the results of the script on one and on two processes, and with split parameters on two."""
    folder = tmp_path_factory.mktemp("hooks")
    for launch_name, (num_processes, options) in LAUNCHES.items():
        if options and why_not_sharded() is not None:
            continue  # the tests that would read the results are skipped
        folders = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", folder / launch_name]
        launch([*folders, *options], num_processes=num_processes, script=str(SCRIPT))
    return folder


def final_weights(folder: Path, launch_name: str, name: str) -> dict[str, torch.Tensor]:
    """Return the final weights of the run with the hook `name`."""
    return load_file(folder / f"{launch_name}-{name}.safetensors")


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Return the largest absolute difference between two sets of weights."""
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def test_every_built_in_hook_has_settings() -> None:
    assert set(BUILT_IN_HOOKS) == set(SETTINGS) - {"none"}  # "none" is a run without a hook


@pytest.mark.parametrize("two", ["2", pytest.param("2-split", marks=pytest.mark.sharding)])
@pytest.mark.parametrize("name", SETTINGS)
def test_hook_has_the_same_effect_on_two_processes(results_folder: Path, name: str, two: str) -> None:
    # The results of the single process, and of the first and second of two processes.
    (single,), (first, second) = (read_by_rank(results_folder / which, LAUNCHES[which][0]) for which in ("1", two))
    assert first[name] == second[name], "the replicas differ"
    counts = ("steps", "skipped", "edits")
    assert [first[name][count] for count in counts] == [single[name][count] for count in counts]
    assert largest_difference(final_weights(results_folder, "1", name), final_weights(results_folder, two, name)) < 1e-5


def took_all_steps(results: dict[str, Any]) -> bool:
    """Return whether the run took all eight steps of the script."""
    steps: int = results["steps"]
    return steps == 8


@pytest.mark.parametrize("name", BUILT_IN_HOOKS)
def test_every_built_in_hook_has_an_effect(results_folder: Path, name: str) -> None:
    (results_by_hook,) = read_by_rank(results_folder / "1", 1)
    checks: dict[str, Callable[[dict[str, Any]], bool]] = {
        "early_stopping": lambda results: results["steps"] < 8,
        "gradual_unfreezing": lambda results: results["edits"] == 4,
        "length_warmup": lambda results: results["edits"] == 3,
        "loss_spike_guard": lambda results: 0 < results["skipped"] < 8,
    }
    check = checks.get(name, took_all_steps)
    assert check(results_by_hook[name]), results_by_hook[name]
    assert (
        largest_difference(final_weights(results_folder, "1", name), final_weights(results_folder, "1", "none")) > 2e-4
    )
