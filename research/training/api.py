"""The run as hooks see it: everything that a hook may read, change or request."""

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
from research.training.checkpoint.find import StartCheckpoint


@dataclass(frozen=True)
class StepMetrics:
    """Metrics of one step."""

    loss: float
    """Mean loss over the rows of the global batch."""
    gradient_norm: float
    """Norm of the gradient before clipping."""
    learning_rates: dict[str, float]
    """Learning rate of each block in this step."""
    trainable_parameters: int
    """Number of trainable parameters."""
    num_examples: int
    """Number of rows in the global batch."""
    seconds: float
    """Wall-clock time of the step in seconds, including hooks called before the optimizer update."""
    skipped: bool
    """Whether the optimizer update was skipped."""


class Run(Editable, Protocol):
    """One training run, passed to every point of a hook.

    Everything that an edit may use (`Editable`) is available too. `encoder_with_head` is the bare model; `model` is the
    same model in its wrappers. Use `edit` to change the structure of the model or which parameters train: direct
    changes do not reach the optimizer or the other processes. Requested edits are applied at the next *boundary*: after
    `on_train_start`, after `on_epoch_start`, after each step, and after `on_epoch_end`.
    """

    directory: Path
    """The run directory."""
    last_step: StepMetrics | None
    """Metrics of the latest step; None until the first step has been taken."""
    step_loss: float
    """Mean loss over the rows of the global batch, from all processes. Available from `before_step` on."""
    to_log: dict[str, float]
    """Values that hooks add to this step's line in metrics.jsonl. Use `log` to add a value."""

    @property
    def signal(self) -> int:
        """Number of the signal that ends the run after this step; 0 if there is none.

        From the boundary after the step on, for example in `end_of_step`, the number is the same on all processes.
        """
        ...

    @property
    def accelerator(self) -> Accelerator:
        """The `accelerate.Accelerator`: process index, number of processes, precision and device."""
        ...

    @property
    def texts(self) -> Splits:
        """Training, validation and test rows as text, before tokenization.

        With --streaming, `train` is only a description of the training files.
        """
        ...

    @property
    def splits(self) -> Splits:
        """Training, validation and test rows, tokenized. With --streaming, see `texts` for the training rows."""
        ...

    @property
    def start(self) -> StartCheckpoint | None:
        """The checkpoint that this run continues; None if it continues none."""
        ...

    @property
    def parent(self) -> Parent | None:
        """The run that this run is a fork of; None if it is not a fork."""
        ...

    @property
    def objective_differs(self) -> bool:
        """Whether this run is a fork whose objective differs from its parent's.

        If so, losses from before the fork's first step are not comparable with later ones.
        """
        ...

    @property
    def inputs_differ(self) -> bool:
        """Whether this run is a fork that truncates texts differently from its parent.

        If so, no metric from before the fork's first step is comparable with later ones.
        """
        ...

    @property
    def num_skipped(self) -> int:
        """Number of steps taken whose optimizer update was skipped."""
        ...

    @property
    def latest_edits(self) -> list[Record]:
        """Records of the edits that were last applied, all at one boundary. Meant for `after_edits`."""
        ...

    @property
    def edit(self) -> EditProxy:
        """Requests edits by name, for example `run.edit.unfreeze("encoder.layer[-2:]")`.

        They are applied at the next boundary. Request the same edits on every process.
        """
        ...

    @property
    def is_over(self) -> bool:
        """Whether the last step is done or the processes have agreed to stop."""
        ...

    @property
    def has_new_objective(self) -> bool:
        """Whether the latest edits changed the objective, so that earlier losses are not comparable with later ones."""
        ...

    def request_edits(self, requests: Sequence[EditRequest]) -> None:
        """Request edits for the next boundary.

        Once training is over, which includes the final evaluations, requests are dropped with a message.

        Args:
            requests: the edits; the same on every process.
        Raises:
            EditError: in `after_edits`, `end_of_step`, `on_train_end` or `on_exception`, or in an evaluation started
                there, since no boundary follows before the next checkpoint or the end of the run.
        """

    def request_edits_or_skip(self, requests: Sequence[EditRequest], planned: Sequence[Sequence[EditRequest]]) -> None:
        """Request edits, or skip all of them if they conflict with pending or planned edits.

        Skipped edits are recorded in the journal with the reason.

        Args:
            requests: the edits; the same on every process.
            planned: the planned edits of each later boundary; they must remain possible.
        """

    def lengths_of(self, split: str) -> NDArray[np.int32]:
        """Return the untruncated length of each row of a split, in tokens, [num_rows]."""
        ...

    def collate(self, micro_batch: MicroBatch, split: str = "train") -> Batch:
        """Return a micro-batch's rows as a batch of tensors on this process's device.

        With --train_windows, training rows contain only the windows chosen for the epoch if the model is in training
        mode.

        Args:
            micro_batch: indices and weights of the rows.
            split: train, validation or test.
        """
        ...

    def backward(self, batch: Batch) -> Tensor:
        """Run the forward and the backward pass on a micro-batch.

        The loss is scaled so that the gradients of all micro-batches, over all processes, add up to the gradient of
        the mean loss of the global batch. Hooks may call this method in `after_backward` for a second pass, whose
        gradients are added to the first.

        Returns:
            Detached loss of each row, multiplied by the row's weight, [batch].
        Raises:
            ValueError: if a hook calls it outside `after_backward`, when the gradients may already have been averaged
                over the processes; or if the losses have no gradient.
        """
        ...

    def skip_step(self, reason: str) -> None:
        """Skip the optimizer update of this step. Call it in `before_step`, on every process.

        Raises:
            ValueError: at any other point.
        """

    def stop(self, reason: str) -> None:
        """Request that the run end at the next boundary. A call on one process is enough.

        After a call in `end_of_step`, the run takes one more step, since the boundary of this step is already over. At
        the end of an epoch, no more step is taken: the epoch has a boundary of its own.
        """

    def interrupt(self, reason: str) -> None:
        """Request that the run save a checkpoint after this step and end, as after SIGTERM; it can be resumed.

        A call on one process is enough. Once training is over, a request has no effect.

        Args:
            reason: what interrupts the run, such as "the study", for the message "... ended the run after step 5".
        """

    def evaluate(self, split: str) -> Predictions:
        """Evaluate the current model on a split, and call the hooks' `before_evaluate` and `after_evaluate`."""
        ...

    def set_training_mode(self) -> None:
        """Switch the model to training mode. Fully frozen modules stay in evaluation mode, with dropout disabled."""

    def step_schedule_on_metric(self, value: float) -> None:
        """Pass a validation loss to the schedule. Schedules that do not depend on the validation loss ignore it."""

    def save_model(self, directory: Path) -> None:
        """Save model and tokenizer so that `from_pretrained` can load them. An existing folder is replaced.

        Call it on every process: the main process writes the files.

        Raises:
            StorageError: if the disk is full or cannot be written to; an existing folder is kept.
        """
