"""A script for test_streaming: trains on streamed rows, and writes the results.

It is started with one process and with two.
"""

from __future__ import annotations

from typing import Any

from research.data.batches.batch import Batch
from research.training.api import Run
from tests.launched.cached_by_processes import LossRecorder
from tests.launched.runs_in_process import finished_run, script_parser, write_by_rank

NUM_STEPS = 17
"""An epoch has 12 steps."""


class RowRecorder(LossRecorder):
    """Records the ids of this process's rows in each step, and the losses."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[list[int]] = [[] for _ in range(NUM_STEPS)]

    def after_backward(self, run: Run, batch: Batch) -> None:
        self.ids[run.clock.step] += batch.ids[batch.weights > 0].tolist()


def main() -> None:
    """Train, and write row ids, losses and logits of the test split."""
    arguments = script_parser().parse_args()
    recorder = RowRecorder()
    run = finished_run(
        arguments,
        [recorder],
        streaming=True,
        shuffle_buffer=24,
        micro_batch_size=3,
        head={"name": "linear", "dropout": 0.0},
        dropout=0.0,
        bad_rows="skip",
        max_steps=NUM_STEPS,
        mixed_precision="no",
    )
    results: dict[str, Any] = {
        "ids": recorder.ids,
        "losses": recorder.values,
        "logits": run.evaluate("test").logits.tolist(),
        "skipped": [item.rows for item in run.batches.train.skipped_rows()],
    }
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
