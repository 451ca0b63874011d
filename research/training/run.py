"""What the loop works on and hooks get: one training run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedTokenizerBase

from research.data.batches.batch import Batch
from research.data.batches.collate import Collator
from research.data.batches.order import MicroBatch
from research.data.prepare.load import Splits
from research.edits.base import EditProxy, random_numbers_of
from research.edits.records import EditRequest, Parent, Record
from research.learning.logged_names import check_reserved_names
from research.learning.objectives import Objective, compute_losses, describe_objective
from research.learning.optimizer import apply_schedule
from research.learning.predictions import Predictions
from research.learning.schedules import Schedule
from research.model.encoder_with_head import EncoderWithHead
from research.model.head_check import HeadCheck
from research.model.selectors import frozen_modules
from research.settings.config import RunConfig
from research.settings.times import Clock
from research.system.messages import WITH_LINES, logger
from research.system.seeds import derived_seed
from research.system.user_code import describe_location
from research.tasks.base import Task
from research.training.api import StepMetrics
from research.training.applied_edits import AppliedEdits
from research.training.batches import Batches
from research.training.called_hooks import CalledHooks
from research.training.checkpoint.find import Start
from research.training.conflicts import conflict_of
from research.training.evaluations import Evaluations
from research.training.gradient_check import GradientCheck
from research.training.interruption import Interruption
from research.training.model_files import save_model
from research.training.origin import Origin
from research.training.requests import EditRequests
from research.training.totals import Totals
from research.training.wrapping import Wrapped


@dataclass
class TrainingRun:
    """One training run: its settings, its parts, and where it is.

    Its properties and methods are those that hooks and edits may use: `api.Run` and `Editable` list them. The package
    itself uses the parts.
    """

    config: RunConfig
    """The settings."""
    directory: Path
    """The run directory."""
    accelerator: Accelerator
    """This process's number, the number of processes, precision and device."""
    task: Task
    """What is predicted."""
    batches: Batches
    """The rows, as texts and as tokens, and what makes batches of them."""
    tokenizer: PreTrainedTokenizerBase
    """Saved beside the model."""
    wrapped: Wrapped
    """The model as it trains, in its wrappers."""
    optimizer: torch.optim.Optimizer
    """One parameter group per block and weight decay yes or no."""
    schedule: Schedule
    """Factor on every group's base rate."""
    objective: Objective
    """Per-example losses and logits of a batch."""
    clock: Clock
    """Where the run is."""
    head_check: HeadCheck
    """Looks for faults of a head before it trains."""
    hooks: CalledHooks = field(default_factory=CalledHooks)
    """Called at every point."""
    origin: Origin = field(default_factory=Origin)
    """The checkpoint or the run that this one continues."""
    stop_reason: str | None = None
    """Why the run ends before its last step, once all processes agreed."""
    asked_to_stop: str | None = None
    """Why a hook of this process wants the run to end."""
    to_log: dict[str, float] = field(default_factory=dict)
    """What hooks add to this step's line in metrics.jsonl."""
    totals: Totals = field(default_factory=Totals)
    """Sums over all steps so far."""
    last_step: StepMetrics | None = None
    """Metrics of the step before."""
    loss_scale: float = 1.0
    """Weight of one example's loss in this step's gradient, times the number of processes."""
    evaluations: Evaluations = field(default_factory=Evaluations)
    """Evaluates splits, and keeps their predictions."""
    applying: EditRequest | None = None
    """The edit that is being applied."""
    fresh: set[nn.Parameter] = field(default_factory=set)
    """Parameters that the edits of this boundary made or initialised anew."""
    step_loss: float = math.nan
    """Mean loss of the step's examples, on all processes; known from before_step on."""
    skip_reason: str | None = None
    """Why the optimizer shall leave the parameters as they are in this step."""
    gradient_check: GradientCheck = field(default_factory=GradientCheck)
    """Looks for parameters without a gradient."""

    def __post_init__(self) -> None:
        self.requests = EditRequests()
        """Edits that were asked for since the last boundary."""
        self.applied_edits = AppliedEdits(self.accelerator, self.directory)
        """Edits so far."""
        self.frozen = frozen_modules(self.encoder_with_head)
        """Modules that are frozen as a whole, and stay in evaluation mode."""
        self.interruption = Interruption(is_main=self.is_main, directory=self.directory)
        """Signals that end the run."""

    @property
    def collator(self) -> Collator:
        """Makes batches of rows; its `max_length` may change between steps."""
        return self.batches.collator

    @property
    def texts(self) -> Splits:
        """See `api.Run`."""
        return self.batches.texts

    @property
    def splits(self) -> Splits:
        """See `api.Run`."""
        return self.batches.splits

    @property
    def start(self) -> Start | None:
        """See `api.Run`."""
        return self.origin.start

    @property
    def parent(self) -> Parent | None:
        """See `api.Run`."""
        return self.origin.parent

    @property
    def objective_differs(self) -> bool:
        """See `api.Run`."""
        return self.origin.objective_differs

    @property
    def inputs_differ(self) -> bool:
        """See `api.Run`."""
        return self.origin.inputs_differ

    @property
    def signal(self) -> int:
        """See `api.Run`."""
        return self.interruption.signal

    @property
    def num_skipped(self) -> int:
        """See `api.Run`."""
        return self.totals.num_skipped

    @property
    def journal(self) -> list[Record]:
        """See `Editable`."""
        return self.applied_edits.journal

    @property
    def applied(self) -> list[Record]:
        """See `api.Run`."""
        return self.applied_edits.latest

    @property
    def has_new_objective(self) -> bool:
        """See `api.Run`."""
        return self.applied_edits.changed_objective

    @property
    def edit(self) -> EditProxy:
        """See `api.Run`."""
        return self.requests.edit

    @property
    def model(self) -> nn.Module:
        """The model as it trains: wrapped for several processes where there are."""
        return self.wrapped.module

    @property
    def encoder_with_head(self) -> EncoderWithHead:
        """The model without wrappers."""
        model = self.model.module if isinstance(self.model, DistributedDataParallel) else self.model
        assert isinstance(model, EncoderWithHead)
        return model

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and talks to the user."""
        return bool(self.accelerator.is_main_process)

    @property
    def is_over(self) -> bool:
        """Whether no step is left, or a stop was agreed on."""
        return self.stop_reason is not None or self.clock.step >= self.clock.total_steps

    def lengths_of(self, split: str) -> NDArray[np.int32]:
        """See `api.Run`."""
        return self.batches.lengths_of(split)

    def collate(self, share: MicroBatch, split: str = "train") -> Batch:
        """See `api.Run`."""
        return self.batches.collate(share, split, self.encoder_with_head)

    def backward(self, batch: Batch) -> Tensor:
        """See `api.Run`."""
        if self.requests.point not in (None, "after_backward"):
            raise ValueError(f"A second pass runs in after_backward, not in {self.requests.point}.")
        losses = compute_losses(self.objective, self.model, batch).losses * batch.weights
        if not losses.requires_grad:
            raise ValueError(
                f"The losses of the {describe_objective(self.objective)} have no gradient: compute them from the "
                f"model's logits, without detach() or no_grad(){describe_location(type(self.objective).__call__)}."
            )
        self.accelerator.backward(losses.sum() * self.loss_scale)
        return losses.detach()

    def schedule_on_metric(self, value: float) -> None:
        """See `api.Run`."""
        if self.schedule.is_conditional:
            self.schedule.step_on_metric(value)
            apply_schedule(self.optimizer, self.schedule)

    def save_model(self, directory: Path) -> None:
        """See `api.Run`."""
        save_model(self.encoder_with_head, self.tokenizer, directory)

    def evaluate(self, split: str) -> Predictions:
        """See `api.Run`."""
        return self.evaluations.evaluate(self, split)

    def log(self, values: dict[str, float]) -> None:
        """Add values to this step's line in metrics.jsonl and the trackers.

        Raises:
            ValueError: for a name that the line has already, or a value that is no number.
        """
        check_reserved_names(values)
        for name, value in values.items():
            try:
                number = float(value)
            except (TypeError, ValueError, RuntimeError):
                raise ValueError(f"Expected a number to log as '{name}', got {value!r}.") from None
            if not self.applied_edits.is_replaying:
                self.to_log[name] = number

    def print(self, message: str) -> None:
        """Tell the user something, once over all processes and without breaking the progress bar."""
        if self.is_main and not self.applied_edits.is_replaying:
            logger.info(message, extra=WITH_LINES)

    def stop(self, reason: str) -> None:
        """See `api.Run`."""
        self.asked_to_stop = self.asked_to_stop or reason

    def skip_step(self, reason: str) -> None:
        """See `api.Run`."""
        if self.requests.point != "before_step":
            raise ValueError(
                f"A step can be skipped in before_step, not in {self.requests.point or 'between the points'}."
            )
        self.skip_reason = reason

    def set_training_mode(self) -> None:
        """See `api.Run`."""
        self.model.train()
        for module in self.frozen:
            module.eval()

    def request_edits(self, requests: Sequence[EditRequest]) -> None:
        """See `api.Run`."""
        self.requests.request_edits(requests)

    def request_edits_or_skip(self, requests: Sequence[EditRequest], planned: Sequence[Sequence[EditRequest]]) -> None:
        """See `api.Run`."""
        reason = conflict_of(self, self.requests.pending, requests, planned)
        if reason is None:
            self.requests.request_edits(requests)
        else:
            self.applied_edits.leave_out(requests, reason, self.clock, self.encoder_with_head)

    def shared_random_numbers(self) -> AbstractContextManager[None]:
        """Draw the same random numbers on every process inside; the training stream stays where it is.

        The processes' own streams differ, so that dropout does. What is drawn depends on the run's seed, the step, and
        the hook and point that draw; a resumed run draws the same. In an edit the numbers are those of the edit, which
        are the same on every process anyway, and when a resumed run applies it again.
        """
        if self.applying is not None:
            return contextlib.nullcontext()
        seed = derived_seed(self.config.seed, self.clock.step)
        return random_numbers_of(seed, self.requests.asker_number, self.accelerator.device)
