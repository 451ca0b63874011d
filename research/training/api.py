"""The run as hooks see it: all that a hook may read, change or ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from research.data.batches.batch import Batch
from research.data.batches.order import MicroBatch
from research.data.prepare.load import Splits
from research.edits.base import Editable, EditProxy
from research.edits.records import EditRequest, Parent, Record
from research.learning.predictions import Predictions
from research.training.checkpoint.find import Start


@dataclass(frozen=True)
class StepMetrics:
    """What is known of a step after it."""

    loss: float
    """Mean over the step's examples, on all processes."""
    gradient_norm: float
    """Before clipping."""
    learning_rates: dict[str, float]
    """Rate of each block in this step."""
    trainable_parameters: int
    """Numbers that the optimizer moved."""
    num_examples: int
    """Examples of the global batch."""
    seconds: float
    """Wall-clock time of the step, hooks excluded."""
    skipped: bool
    """Whether the optimizer left the parameters as they were."""


class Run(Editable, Protocol):
    """One training run, as hooks get it at every point.

    It has all that an edit may use as well (`Editable`). `encoder_with_head` is the bare model and `model` the same in
    its wrappers; what trains, and the structure of the model, are changed by `edit` only.
    """

    directory: Path
    """The run directory."""
    last_step: StepMetrics | None
    """Metrics of the step before; None before the first."""
    step_loss: float
    """Mean loss of the step's examples, on all processes; known from before_step on."""
    to_log: dict[str, float]
    """What this step's line in metrics.jsonl gets beside the loop's own values; `log` adds to it."""

    @property
    def signal(self) -> int:
        """The signal that ends the run after this step, once all processes agreed; 0 for none."""
        ...

    @property
    def accelerator(self) -> Accelerator:
        """This process's number, the number of processes, precision and device."""
        ...

    @property
    def texts(self) -> Splits:
        """Train, validation and test rows as they were read."""
        ...

    @property
    def splits(self) -> Splits:
        """The same rows, tokenized."""
        ...

    @property
    def start(self) -> Start | None:
        """The checkpoint that this run continues."""
        ...

    @property
    def parent(self) -> Parent | None:
        """The run that this one is a fork of."""
        ...

    @property
    def objective_differs(self) -> bool:
        """Whether this is a fork whose objective is not its parent's: losses before its first step do not compare."""
        ...

    @property
    def inputs_differ(self) -> bool:
        """Whether this is a fork whose evaluations read more or less of each row: no metric from before compares."""
        ...

    @property
    def num_skipped(self) -> int:
        """Steps so far in which the optimizer left the parameters as they were."""
        ...

    @property
    def applied(self) -> list[Record]:
        """The edits that were applied last, for after_edits."""
        ...

    @property
    def edit(self) -> EditProxy:
        """Asks for edits at the next boundary: `run.edit.unfreeze("encoder.layer[-2:]")`."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether no step is left, or a stop was agreed on."""
        ...

    @property
    def has_new_objective(self) -> bool:
        """Whether the edits that were applied last changed what is minimised: losses before do not compare."""
        ...

    def request_edits(self, requests: Sequence[EditRequest]) -> None:
        """Ask for edits at the next boundary; on every process for the same ones.

        Raises:
            EditError: at a point after which no boundary comes before the next checkpoint, or none at all.
        """

    def request_edits_or_skip(self, requests: Sequence[EditRequest], planned: Sequence[Sequence[EditRequest]]) -> None:
        """Ask for edits, or leave all of them out and write that into the journal if they conflict with others.

        Args:
            requests: the edits; the same ones on every process.
            planned: the edits of each later boundary, which must remain possible.
        """

    def lengths_of(self, split: str) -> NDArray[np.int32]:
        """Return the untruncated length of each row of a split, in tokens, [num_rows]."""
        ...

    def collate(self, share: MicroBatch, split: str = "train") -> Batch:
        """Return the batch of some rows, on this process's device."""
        ...

    def backward(self, batch: Batch) -> Tensor:
        """Run forward and backward on a micro-batch, weighed as its share of the step's global batch.

        Hooks may call it in `after_backward` for a second pass, whose gradients are added.

        Returns:
            Losses of the batch's examples, detached, 0 for those of weight 0, [batch].
        Raises:
            ValueError: if a hook calls it at another point, where gradients are already those of all processes.
        """
        ...

    def skip_step(self, reason: str) -> None:
        """Let the optimizer leave the parameters as they are in this step; in before_step, and on every process.

        Raises:
            ValueError: at any other point.
        """

    def stop(self, reason: str) -> None:
        """Ask for the run to end at the next boundary; one process's asking counts for all.

        In `end_of_step` the next boundary is the one after another step.
        """

    def evaluate(self, split: str) -> Predictions:
        """Evaluate the model as it is on a split, between hooks' before_evaluate and after_evaluate."""
        ...

    def set_training_mode(self) -> None:
        """Switch to training mode; what is frozen as a whole stays in evaluation mode, its dropout off."""

    def schedule_on_metric(self, value: float) -> None:
        """Let a schedule that follows the validation loss hear of it."""

    def save_model(self, directory: Path) -> None:
        """Save model and tokenizer so that `from_pretrained` loads them; replaces an existing folder.

        Raises:
            StorageError: if the disk is full, or cannot be written to; what was there stays.
        """
