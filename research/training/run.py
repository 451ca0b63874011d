"""One training run: the object that the loop works on and that hooks and edits receive."""

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
from transformers import PreTrainedTokenizerBase

from research.data.batches.batch import Batch
from research.data.batches.collate import Collator
from research.data.batches.order import MicroBatch
from research.data.batches.windows import WindowSample
from research.data.prepare.load import Splits
from research.edits.base import EditProxy, seeded
from research.edits.records import EditRequest, Parent, Record
from research.learning.logged_names import check_reserved_names
from research.learning.objectives import Objective, compute_losses, describe_objective
from research.learning.optimizer import apply_schedule
from research.learning.optimizers.base import OptimizerKind
from research.learning.predictions import Predictions
from research.learning.schedules import Schedule
from research.model.encoder_with_head import EncoderWithHead
from research.model.head_check import HeadCheck
from research.model.selectors import frozen_modules
from research.settings.config import RunConfig
from research.settings.times import Clock
from research.system.messages import KEEP_LINE_BREAKS, logger
from research.system.process_group import ProcessGroup
from research.system.seeds import derive_seed
from research.system.user_code import describe_location
from research.tasks.base import Task
from research.training.api import StepMetrics
from research.training.applied_edits import AppliedEdits
from research.training.batches import Batches
from research.training.checkpoint.find import StartCheckpoint
from research.training.conflicts import find_conflict
from research.training.evaluations import Evaluations
from research.training.gradient_check import GradientCheck
from research.training.hook_caller import HookCaller
from research.training.interruption import Interruption
from research.training.model_files import save_model, save_split_model
from research.training.origin import Origin
from research.training.requests import EditRequests
from research.training.totals import Totals
from research.training.wrapping.base import Wrapping, prepare_optimizer


@dataclass
class TrainingRun:
    """One training run: its settings, its parts and its position.

    Hooks and edits may use the properties and methods that `api.Run` and `Editable` list. The other attributes are for
    this package.
    """

    config: RunConfig
    """The settings."""
    directory: Path
    """The run directory."""
    accelerator: Accelerator
    """Knows the process index, the number of processes, the precision and the device."""
    task: Task
    """The kind of labels, and how labels are predicted and scored."""
    batches: Batches
    """The rows, as texts and as tokens, and the collator that makes batches from them."""
    tokenizer: PreTrainedTokenizerBase
    """The encoder's tokenizer, saved together with the model."""
    wrapping: Wrapping
    """The model in its wrappers, such as DDP."""
    optimizer: torch.optim.Optimizer
    """The optimizer; a block has parameter groups with and without weight decay."""
    optimizer_kind: OptimizerKind
    """The kind of the optimizer, which knows the weights to evaluate and save."""
    schedule: Schedule
    """Gives the factor by which the base learning rate of every parameter group is multiplied."""
    objective: Objective
    """Computes the loss of each row and the logits of a batch."""
    clock: Clock
    """The run's position: steps taken, current epoch, and steps taken in it."""
    head_check: HeadCheck
    """Checks a head before it trains."""
    hooks: HookCaller = field(default_factory=HookCaller)
    """Calls the hooks at every point."""
    origin: Origin = field(default_factory=Origin)
    """The checkpoint or the run that this run continues."""
    stop_reason: str | None = None
    """Why the run ends early, set once all processes have agreed; None if it does not end early."""
    requested_stop_reason: str | None = None
    """The reason that a hook in this process gave for stopping the run; None if no hook asked for a stop."""
    to_log: dict[str, float] = field(default_factory=dict)
    """Values that hooks add to this step's line in metrics.jsonl."""
    totals: Totals = field(default_factory=Totals)
    """Sums over all steps taken."""
    last_step: StepMetrics | None = None
    """Metrics of the latest step; None until the first step has been taken."""
    loss_scale: float = 1.0
    """Weight of one row's loss in this step's gradient, times the number of processes."""
    evaluations: Evaluations = field(default_factory=Evaluations)
    """Evaluates splits and caches their predictions."""
    applying: EditRequest | None = None
    """The edit that is being applied; None outside edits."""
    new_parameters: set[nn.Parameter] = field(default_factory=set)
    """Parameters that the edits applied after this step created or reinitialised."""
    step_loss: float = math.nan
    """Mean loss over the rows of the global batch, from all processes; available from before_step on."""
    skip_reason: str | None = None
    """Why this step's optimizer update is skipped; None if it is not skipped."""
    gradient_check: GradientCheck = field(default_factory=GradientCheck)
    """Checks that every trainable parameter gets a gradient."""

    def __post_init__(self) -> None:
        self.requests = EditRequests()
        """Edits requested since the last boundary, and the hooks that requested them."""
        self.applied_edits = AppliedEdits(self.accelerator, self.directory)
        """Edits that have been applied or skipped, and the journal."""
        self.frozen = frozen_modules(self.encoder_with_head)
        """Fully frozen modules, which stay in evaluation mode."""
        self.interruption = Interruption(is_main=self.is_main, directory=self.directory)
        """Watches for signals that end the run."""
        ranks = self.accelerator.process_index, self.accelerator.num_processes
        # NCCL cannot send parts of a split model from CPU to CPU.
        needs_gloo = self.config.shard is not None and self.accelerator.device.type != "cpu"
        self.processes = ProcessGroup.separate(*ranks) if needs_gloo else ProcessGroup(*ranks)
        """The processes of the run, which exchange objects and, with --shard, parts of the model."""

    @property
    def collator(self) -> Collator:
        """See `Editable`."""
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
    def start(self) -> StartCheckpoint | None:
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
    def latest_edits(self) -> list[Record]:
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
        """See `Editable`."""
        return self.wrapping.module

    @property
    def encoder_with_head(self) -> EncoderWithHead:
        """See `Editable`."""
        return self.wrapping.model

    @property
    def is_main(self) -> bool:
        """See `Editable`."""
        return bool(self.accelerator.is_main_process)

    @property
    def is_over(self) -> bool:
        """See `api.Run`."""
        return self.stop_reason is not None or self.clock.step >= self.clock.total_steps

    def lengths_of(self, split: str) -> NDArray[np.int32]:
        """See `api.Run`."""
        return self.batches.lengths_of(split)

    def collate(self, micro_batch: MicroBatch, split: str = "train") -> Batch:
        """See `api.Run`."""
        num_windows = self.config.train_windows
        sample = None
        if num_windows is not None and split == "train" and self.model.training:  # not in evaluations
            sample = WindowSample(num_windows, (self.config.seed, self.clock.epoch))
        return self.batches.collate(micro_batch, split, self.encoder_with_head, sample)

    def backward(self, batch: Batch) -> Tensor:
        """See `api.Run`."""
        if self.requests.point not in (None, "after_backward"):
            raise ValueError(f"A hook can call run.backward only in after_backward, not in {self.requests.point}.")
        losses = compute_losses(self.objective, self.model, batch).losses * batch.weights
        if not losses.requires_grad:
            raise ValueError(
                f"The losses of the {describe_objective(self.objective)} have no gradient: compute them from the "
                f"model's logits, without detach() or no_grad(){describe_location(type(self.objective).__call__)}."
            )
        self.accelerator.backward(losses.sum() * self.loss_scale)
        return losses.detach()

    def step_schedule_on_metric(self, value: float) -> None:
        """See `api.Run`."""
        if self.schedule.follows_validation_loss:
            self.schedule.step_on_metric(value)
            apply_schedule(self.optimizer, self.schedule)

    def save_model(self, directory: Path) -> None:
        """See `api.Run`."""
        with self.optimizer_kind.evaluation_weights(self.optimizer):
            if self.config.shard is not None:
                save_split_model(self.encoder_with_head, self.tokenizer, directory, self.processes)
            elif self.is_main:
                save_model(self.encoder_with_head, self.tokenizer, directory)

    def replace_optimizer(self, kind: OptimizerKind, optimizer: torch.optim.Optimizer) -> None:
        """See `Editable`."""
        self.optimizer_kind.load_evaluation_weights(self.optimizer)
        self.optimizer_kind, self.optimizer = kind, prepare_optimizer(self.accelerator, optimizer)
        apply_schedule(self.optimizer, self.schedule)

    def evaluate(self, split: str) -> Predictions:
        """See `api.Run`."""
        return self.evaluations.evaluate(self, split)

    def log(self, values: dict[str, float]) -> None:
        """Add values to this step's line in metrics.jsonl and the trackers.

        Raises:
            ValueError: if the loop itself logs a value of that name, or if a value is not a number.
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
        """Print a message for the user, once for all processes and without breaking the progress bar."""
        if self.is_main and not self.applied_edits.is_replaying:
            logger.info(message, extra=KEEP_LINE_BREAKS)

    def stop(self, reason: str) -> None:
        """See `api.Run`."""
        self.requested_stop_reason = self.requested_stop_reason or reason

    def interrupt(self, reason: str) -> None:
        """See `api.Run`."""
        self.interruption.request(reason)

    def skip_step(self, reason: str) -> None:
        """See `api.Run`."""
        if self.requests.point != "before_step":
            raise ValueError(
                "A step can be skipped only in before_step, not "
                + (f"in {self.requests.point}." if self.requests.point else "outside a hook.")
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
        reason = find_conflict(self, self.requests.pending, requests, planned)
        if reason is None:
            self.requests.request_edits(requests)
        else:
            self.applied_edits.record_skipped(requests, reason, self.clock, self.encoder_with_head)

    def shared_random_numbers(self) -> AbstractContextManager[None]:
        """Return a context in which all processes draw the same random numbers.

        Afterwards, training's random state is restored. Outside the context, each process draws different numbers, so
        that dropout differs. Inside, the numbers depend on the run's seed, the step, the hook and its point, so that a
        resumed run draws the same ones. In an edit the context changes nothing: an edit draws the same numbers on
        every process anyway, and draws them again when a resumed run applies the edit again.
        """
        if self.applying is not None:
            return contextlib.nullcontext()
        seed = derive_seed(self.config.seed, self.clock.step)
        return seeded(seed, self.requests.caller_hash, self.accelerator.device)
