"""The training loop, from top to bottom. It does not depend on any specific hook, head or objective."""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor

from research.data.batches.order import MicroBatch, RowIndices, split_batch
from research.learning.optimizer import apply_schedule, learning_rates
from research.system.user_code import ErrorsOccurring, record_when
from research.training.api import StepMetrics
from research.training.audit import check_trainable_unchanged
from research.training.boundary import apply_pending_edits, check_replicas
from research.training.gathering import sum_over_processes
from research.training.nonfinite import NonFiniteError
from research.training.run import TrainingRun
from research.training.skipping import check_skip_agreement


def train(run: TrainingRun) -> None:
    """Train until the last step, or until a stop is requested."""
    try:
        run.hooks.begin(run)
        # Not in a resumed run: an uninterrupted run applies no edits at this position.
        if run.start is None or run.start.is_fork:
            apply_pending_edits(run)
        check_replicas(run)
        # The second condition finishes an epoch if the run was interrupted right after the epoch's last step.
        while not run.is_over or run.clock.step_in_epoch == run.clock.steps_per_epoch:
            train_epoch(run)
        run.requests.takes_edits = False
        if run.stop_reason is not None:
            run.print(f"stopped after step {run.clock.step:,} of {run.clock.total_steps:,}: {run.stop_reason}")
        run.optimizer_kind.load_evaluation_weights(run.optimizer)
        run.hooks.call(run, "on_train_end")
        check_replicas(run)
    except BaseException as error:
        record_when(error, f"after step {run.clock.step}")
        run.hooks.notify_exception(run, error)
        raise


def train_epoch(run: TrainingRun) -> None:
    """Train from the clock's position in the epoch to the end of the epoch, or until the run is over."""
    clock, config = run.clock, run.config
    batches = run.batches.train.global_batches(
        config.batch_size, config.seed, clock.epoch, start=clock.step_in_epoch, stop=clock.steps_per_epoch
    )
    if clock.step_in_epoch == 0:
        run.hooks.call(run, "on_epoch_start")
        apply_pending_edits(run)
    for rows in batches:
        if run.is_over:
            return
        with ErrorsOccurring(f"in step {clock.step + 1}"):
            train_step(run, rows)
        run.hooks.call(run, "after_step")
        run.interruption.poll()
        apply_pending_edits(run)
        run.hooks.call(run, "end_of_step")
        run.interruption.exit_if_agreed(clock)
    run.hooks.call(run, "on_epoch_end")
    apply_pending_edits(run)
    check_replicas(run)
    clock.start_next_epoch()
    if config.schedule_interval == "epoch":
        run.schedule.step()
        apply_schedule(run.optimizer, run.schedule)


def train_step(run: TrainingRun, rows: RowIndices) -> None:
    """Take one optimizer step on one global batch.

    The loss is the sum of the rows' losses divided by the number of rows in the global batch, so that the gradient does
    not depend on the number of processes or the size of micro-batches. `loss_scale` has the number of processes as a
    factor, because the gradients are averaged over the processes.
    """
    started = time.perf_counter()
    accelerator, optimizer = run.accelerator, run.optimizer
    run.set_training_mode()
    check_trainable_unchanged(run.wrapping)  # before the forward pass, in which a split model restores its parameters
    micro_batches = split_batch(rows, accelerator.process_index, accelerator.num_processes, run.config.micro_batch_size)
    run.loss_scale = accelerator.num_processes / len(rows)
    losses: list[Tensor] = []
    for index, micro_batch in enumerate(micro_batches):
        batch = run.hooks.change_batch(run, run.collate(micro_batch))
        is_last = index == len(micro_batches) - 1
        with run.wrapping.synchronizing(is_last=is_last):
            losses.append(run.backward(batch))
            if is_last:
                run.gradient_check.check(run.encoder_with_head, accelerator, is_compiled=run.wrapping.is_compiled)
            run.hooks.call(run, "after_backward", batch)
    accelerator.unscale_gradients(optimizer)
    run.step_loss = loss = sum_over_processes(accelerator, torch.cat(losses).sum()) / len(rows)
    run.skip_reason = None
    run.hooks.call(run, "before_step")
    check_skip_agreement(accelerator, run.hooks, skips=run.skip_reason is not None, step=run.clock.step + 1)
    check_trainable_unchanged(run.wrapping)

    norm = run.wrapping.gradient_norm()
    gradient_norm = norm.item()
    must_skip = _must_skip_nonfinite(run, rows, micro_batches, losses, loss, gradient_norm)
    skipped = must_skip or run.skip_reason is not None
    rates = learning_rates(optimizer)
    if not skipped:
        if run.config.max_grad_norm > 0:
            run.wrapping.clip_gradients(norm, run.config.max_grad_norm)
        optimizer.step()
    elif accelerator.scaler is not None:
        accelerator.scaler.update()  # optimizer.step() would have done this
    optimizer.zero_grad(set_to_none=True)
    if not skipped and run.config.schedule_interval == "step":
        run.schedule.step()
        apply_schedule(optimizer, run.schedule)
    run.totals.num_skipped += skipped
    run.clock.advance(len(rows))
    seconds = time.perf_counter() - started
    run.totals.train_seconds += seconds
    num_trainable = run.wrapping.num_trainable
    run.last_step = StepMetrics(loss, gradient_norm, rates, num_trainable, len(rows), seconds, skipped)


def _must_skip_nonfinite(
    run: TrainingRun,
    rows: RowIndices,
    micro_batches: list[MicroBatch],
    losses: list[Tensor],
    loss: float,
    gradient_norm: float,
) -> bool:
    """Return whether the step must be skipped because its loss or gradient is not finite.

    All processes get the same answer, since loss and gradient are the same on every process.

    Raises:
        NonFiniteError: if loss or gradient is not finite, unless --on_nonfinite skip is set or a gradient scaler
            handles an overflow. The message names step, learning rate and rows.
    """
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return False
    # Gradients that overflow in fp16 are normal: the scaler lowers its scale. Accelerate's own flag for a skipped step
    # is wrong for fused optimizers, which handle the overflow themselves.
    if math.isfinite(loss) and run.accelerator.scaler is not None:
        return True
    if run.config.on_nonfinite == "skip":
        return True
    is_nonfinite = ~torch.cat(losses).isfinite().cpu().numpy()
    nonfinite_rows = np.concatenate([micro_batch.rows for micro_batch in micro_batches])[is_nonfinite]
    # If only the gradient is not finite, any row may be the cause.
    suspects = sorted(set(gather_object(nonfinite_rows.tolist()))) or sorted(rows.tolist())
    ids = run.batches.train.ids(suspects)
    rate = max(learning_rates(run.optimizer).values())
    raise NonFiniteError(
        f"Step {run.clock.step + 1}: the loss ({loss}) or the norm of the gradient ({gradient_norm}) is not finite, at "
        f"learning rate {rate:.3g}, rows {', '.join(map(str, ids))} of the training data (counted from 0). Lower "
        "--lr, check these rows, or pass --on_nonfinite skip."
    )
