"""A script for test_cached_features: trains with and without cached hidden states, and writes the results.

It is started with two processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from research import Hook
from research.data.batches.order import RowIndices
from research.features import compute
from research.features.cache import Layers
from research.training.api import Run
from research.training.run import TrainingRun
from tests.launched.runs_in_process import finished_run, script_parser, write_by_rank


class LossRecorder(Hook):
    """Record the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def after_step(self, run: Run) -> None:
        assert run.last_step is not None
        self.values.append(run.last_step.loss)


def main() -> None:
    """Train with and without the cache; write losses, logits, a hash of the weights, and the computed splits."""
    arguments = script_parser().parse_args()
    computed_splits: list[str] = []
    original = compute.compute_hidden_states

    def record_split(run: TrainingRun, split: str, order: RowIndices, layers: Layers) -> Iterator[tuple[Tensor, ...]]:
        computed_splits.append(split)
        return original(run, split, order, layers)

    compute.compute_hidden_states = record_split
    results: list[dict[str, Any]] = []
    for cache_features in (False, True):
        losses = LossRecorder()
        run = finished_run(
            arguments,
            [losses],
            head={"name": "scalar_mix", "dropout": 0.1},
            freeze=["encoder"],
            epochs=2,
            micro_batch_size=3,
            mixed_precision="no",
            cache_features=cache_features,
        )
        logits = run.evaluate("test").logits.tolist()
        weights = b"".join(p.detach().numpy().tobytes() for p in run.encoder_with_head.parameters())
        results.append(
            {
                "losses": losses.values,
                "logits": logits,
                "hash": hashlib.sha256(weights).hexdigest(),
                "cached": run.batches.features is not None,
                "computed_splits": list(computed_splits),  # a copy; the second run adds to the list of the first
            }
        )
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
