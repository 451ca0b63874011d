"""Evaluate a whole split: every row exactly once, for any number of processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from research.data.batches.batch import Batch
from research.data.batches.order import evaluation_batches
from research.learning.objectives import compute_losses
from research.learning.predictions import Predictions
from research.system import random_states
from research.system.messages import logger
from research.system.waiting import WaitingMessage, WaitingProgress
from research.tasks.base import Task
from research.training.gathering import RowGatherer
from research.training.nonfinite import NonFiniteError, describe_nonfinite

if TYPE_CHECKING:
    from research.training.api import Run


def evaluate(run: Run, split: str, before_batch: Callable[[], None]) -> Predictions:
    """Evaluate the model on a split, in evaluation mode. Training mode and random state are restored afterwards.

    If the split has no labels, only predictions are made; neither losses nor metrics are computed.

    Args:
        run: the run.
        split: train, validation or test.
        before_batch: called before each batch; may raise an error to end the run.
    Raises:
        NonFiniteError: if logits or losses are not finite. With --on_nonfinite skip, all metrics are NaN instead.
    """
    accelerator = run.accelerator
    lengths = run.lengths_of(split)
    has_labels = split not in run.texts.unlabelled
    was_training = run.model.training
    run.model.eval()
    gatherer = RowGatherer(accelerator, len(lengths))
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    micro_batches = evaluation_batches(
        lengths, accelerator.process_index, accelerator.num_processes, run.config.evaluation_batch_size
    )
    with (
        torch.random.fork_rng(devices),
        torch.no_grad(),
        WaitingProgress(f"evaluating {split}", len(lengths), "row") as progress,
    ):
        for micro_batch in micro_batches:
            before_batch()
            batch = run.collate(micro_batch, split)
            positions = torch.as_tensor(micro_batch.rows, device=accelerator.device)
            values = _evaluate_batch(run, batch) if has_labels else (run.model(**batch.inputs).logits.float(),)
            gatherer.add(positions, batch.weights, *values)
            progress.update(len(micro_batch.rows) * accelerator.num_processes)
    if was_training:
        run.set_training_mode()
    logits, *losses_and_labels = gatherer.finish()
    losses, labels = losses_and_labels if has_labels else (None, None)
    ids = getattr(run.splits, split).data.column("id").to_numpy()
    with np.errstate(invalid="ignore"):
        is_finite = np.isfinite(logits.min(axis=1)) & np.isfinite(logits.max(axis=1))
    if losses is not None:
        is_finite &= np.isfinite(losses)
    if not is_finite.all():
        problem = describe_nonfinite(split, run.clock.step, ids[~is_finite].tolist(), len(ids))
        if run.config.on_nonfinite == "error":
            raise NonFiniteError(f"{problem}. Lower --lr, check these rows, or pass --on_nonfinite skip.")
        logger.warning(f"{problem}; this evaluation has no metrics.")
        undefined = dict.fromkeys(("loss", *run.task.metric_names), math.nan) if has_labels else {}
        return Predictions(ids, logits, labels, math.nan, undefined)
    if losses is None or labels is None:
        return Predictions(ids, logits, None, math.nan, {})
    if run.task.unseen_labels:  # the loss of a row with an unseen label is not defined
        losses = losses[labels < run.task.num_labels]
    # The metric libraries are imported here, for the first time. Preserving the random state matters if a library draws
    # random numbers when imported: a resumed run imports the library at a different step than an uninterrupted run.
    with WaitingMessage(f"Computing the metrics of {split}"), random_states.preserving(torch.device("cpu")):
        from research.learning.metrics import compute_metrics

        metrics = [{"loss": float(losses.mean(dtype=np.float64)), **compute_metrics(run.task, logits, labels)}]
    broadcast_object_list(metrics)  # so that all processes base decisions on the same numbers
    return Predictions(ids, logits, labels, metrics[0]["loss"], metrics[0])


def _evaluate_batch(run: Run, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, losses and labels of a batch."""
    output = compute_losses(run.objective, run.model, _with_known_labels(batch, run.task))
    return output.logits.float(), output.losses.float(), batch.labels


def _with_known_labels(batch: Batch, task: Task) -> Batch:
    """Return the batch with unseen labels, for which the model has no output, replaced by label 0."""
    if not task.unseen_labels:
        return batch
    return replace(batch, labels=batch.labels.where(batch.labels < task.num_labels, 0))
