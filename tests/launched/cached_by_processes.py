"""A script for test_cached_features and test_sharded_features: trains with and without cached hidden states.

It is started on one or several processes, with or without --shard. Every scenario is a separate run in the same
processes. Each process writes its own results.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from research import Hook
from research.data.batches.order import RowIndices
from research.data.prepare.cache_entries import MANIFEST
from research.features import compute, encoder_passes
from research.features.cache import Layers
from research.features.encoder_passes import LayerStates, Request
from research.features.store import Layer
from research.training.api import Run
from research.training.rounding import rounding_environment
from research.training.run import TrainingRun
from tests.launched.runs_in_process import finished_run, hash_weights, script_parser, whole_weights, write_by_rank

TOKENS_WITH_SPACE = 100
"""Number of tokens after which the disk is full in a scenario."""


class LossRecorder(Hook):
    """Record the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def after_step(self, run: Run) -> None:
        assert run.last_step is not None
        self.values.append(run.last_step.loss)


class ChangeAfterStep3(Hook):
    """Change the run once, which the timeline does not contain.

    Args:
        change: function that changes the model, or requests an edit.
    """

    def __init__(self, change: Callable[[Run], object]) -> None:
        self.change = change

    def after_step(self, run: Run) -> None:
        if run.clock.step == 3:
            self.change(run)


@dataclass(frozen=True)
class Scenario:
    """A run of twelve steps with a frozen encoder."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Settings that differ from those of the other runs."""
    change: Callable[[Run], object] | None = None
    """Called after step 3."""
    patches: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """Replacements of functions, by their paths."""
    cache: str = "cache"
    """Name of the cache's folder; `RANK` in it stands for the number of the process."""


def write_until_disk_is_full(
    folder: Path, layers: Sequence[Layer], batches: Iterator[LayerStates], about: object
) -> None:
    """Read some batches, and fail."""
    num_tokens = 0
    for states in batches:
        num_tokens += len(states[0])
        if num_tokens > TOKENS_WITH_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


run_encoder = encoder_passes._run_encoder


def fail_on_process_1(run: TrainingRun, request: Request, index: int) -> LayerStates:
    """Run the encoder, but fail on the second process."""
    if run.accelerator.process_index == 1:
        raise RuntimeError("this process fails")
    return run_encoder(run, request, index)


def other_processor_on_process_1(device: torch.device) -> dict[str, str]:
    """Return the environment of this process, of which the second one has another processor."""
    return {**rounding_environment(device), **({"processor": "other"} if os.environ.get("RANK") == "1" else {})}


FULL_DISK = {"research.features.compute.write_features": write_until_disk_is_full}
UNCACHED = {"cache_features": False}
MEAN = {"head": {"name": "mean", "dropout": 0.1}}
"""A head that reads only the last layer, so that layers may be dropped."""


def scale_weight(run: Run) -> None:
    """Change a weight of the encoder in place."""
    assert isinstance(run, TrainingRun)
    with torch.no_grad():
        embeddings_of(run).mul_(1.5)


def redraw_weight(run: Run) -> None:
    """Draw a weight of the encoder again."""
    assert isinstance(run, TrainingRun)
    with torch.no_grad(), run.shared_random_numbers():
        embeddings_of(run).normal_()


def embeddings_of(run: TrainingRun) -> nn.Parameter:
    """Return the embeddings of tokens."""
    return run.encoder_with_head.encoder.get_input_embeddings().get_parameter("weight")


CHANGES: dict[str, Callable[[Run], object]] = {
    "unfreeze": lambda run: run.edit.unfreeze("encoder"),
    "reinitialize": lambda run: run.edit.reinitialize("encoder.layer[-1]"),
    "drop_layers": lambda run: run.edit.drop_layers("encoder.layer[0]"),
    "scale": scale_weight,
    "redraw": redraw_weight,
    "replace_head": lambda run: run.edit.replace_head({"name": "mean", "dropout": 0.0}),
}
"""Changes without a plan: edits of the mask, of values and of the structure, and of weights in place. Only the last one
leaves the encoder as it is."""
BF16 = {"shard_precision": "bf16"}
SCENARIOS = {
    "uncached": Scenario(UNCACHED),
    "cached": Scenario(),
    "cached again": Scenario(),
    "compiled": Scenario({"compile": True, "compile_backend": "eager"}, cache="compiled"),
    "full disk": Scenario(patches=FULL_DISK, cache="full"),
    "own caches": Scenario(cache="cache-RANK"),
    "two processors": Scenario(
        patches={"research.features.compute.rounding_environment": other_processor_on_process_1}, cache="two"
    ),
    "new cache": Scenario(cache="new"),
    **{f"{name}, uncached": Scenario({**UNCACHED, **MEAN}, change) for name, change in CHANGES.items()},
    **{f"{name}, cached": Scenario(MEAN, change) for name, change in CHANGES.items()},
    "copies": Scenario({"shard_group_size": 1}, cache="copies"),
    "bf16, uncached": Scenario({**BF16, **UNCACHED}),
    "bf16, cached": Scenario(BF16, cache="bf16"),
    "failure": Scenario(patches={"research.features.encoder_passes._run_encoder": fail_on_process_1}, cache="failure"),
}


def main() -> None:
    """Train in each of the given scenarios, and write the results."""
    parser = script_parser()
    parser.add_argument("--scenarios", required=True, help="names of scenarios, separated by semicolons")
    arguments = parser.parse_args()
    names = arguments.scenarios.split(";")
    write_by_rank(arguments.output, {name: run_scenario(arguments, SCENARIOS[name]) for name in names})


def run_scenario(arguments: Any, scenario: Scenario) -> dict[str, Any]:
    """Return losses, logits, a hash of the weights, the computed splits, and the hashes of the cache's entries."""
    folder = arguments.output.parent / scenario.cache.replace("RANK", os.environ.get("RANK", "0"))
    os.environ["MIDWAY_CACHE"] = str(folder)
    computed_splits: list[str] = []
    original = compute.compute_hidden_states

    def record_split(run: TrainingRun, split: str, order: RowIndices, layers: Layers) -> Iterator[LayerStates]:
        computed_splits.append(split)
        return original(run, split, order, layers)

    losses = LossRecorder()
    hooks: list[Hook] = [losses, *([] if scenario.change is None else [ChangeAfterStep3(scenario.change)])]
    settings: dict[str, Any] = {
        "head": {"name": "scalar_mix", "dropout": 0.1},
        "freeze": ["encoder"],
        "epochs": 2,
        "micro_batch_size": 3,
        "evaluation_batch_size": 5,
        "mixed_precision": "no",
        "cache_features": True,
        **scenario.settings,
    }
    with contextlib.ExitStack() as stack:
        for path, replacement in {
            "research.features.compute.compute_hidden_states": record_split,
            **scenario.patches,
        }.items():
            stack.enter_context(patch(path, replacement))
        run = finished_run(arguments, hooks, **settings)
    logits = run.evaluate("test").logits.tolist()
    return {
        "losses": losses.values,
        "logits": logits,
        "hash": hash_weights(whole_weights(run)),
        "cached": run.batches.features is not None,
        "computed_splits": computed_splits,
        "entries": {
            entry.name: json.loads((entry / MANIFEST).read_text())["content"] for entry in folder.glob("features-*")
        },
    }


if __name__ == "__main__":
    main()
