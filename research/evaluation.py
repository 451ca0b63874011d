"""Score a whole split: every row exactly once, for any number of processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor

from research.batches import evaluation_shares
from research.metrics import compute_metrics

if TYPE_CHECKING:
    from research.run import Run


@dataclass(frozen=True)
class Predictions:
    """What a model says of a split, in the order of its rows."""

    ids: NDArray[np.int64]
    """Number of each row over the files that its split came from."""
    logits: NDArray[np.float32]
    """[num_rows, num_labels]."""
    labels: NDArray[np.generic]
    """[num_rows] or, for multi_label, [num_rows, num_labels]."""
    loss: float
    """Mean of the objective's losses."""
    metrics: dict[str, float]
    """Metrics by name, the loss among them."""


def evaluate(run: Run, split: str) -> Predictions:
    """Run the model over a split in evaluation mode; training mode and random state are left as they were."""
    accelerator = run.accelerator
    lengths = run.lengths_of(split)
    was_training = run.model.training
    run.model.eval()
    collected: list[tuple[Tensor, ...]] = []
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        for share in evaluation_shares(
            lengths, accelerator.process_index, accelerator.num_processes, run.config.evaluation_batch_size
        ):
            run.leave_if_interrupted_at_the_end()
            batch = run.collate(share, split)
            output = run.objective(run.model, batch)
            positions = torch.as_tensor(share.rows, device=accelerator.device)
            collected.append((positions, batch.weights, output.losses.float(), output.logits.float(), batch.labels))
    if was_training:
        run.set_training_mode()
    positions, weights, losses, logits, labels = (
        accelerator.gather(torch.cat(parts)).cpu().numpy() for parts in zip(*collected, strict=True)
    )
    counted = weights > 0
    order = np.argsort(positions[counted])
    positions, losses, logits, labels = (values[counted][order] for values in (positions, losses, logits, labels))
    assert np.array_equal(positions, np.arange(len(lengths))), f"{split}: {positions} for {len(lengths)} rows"
    metrics = [{"loss": float(losses.mean(dtype=np.float64)), **compute_metrics(run.task, logits, labels)}]
    broadcast_object_list(metrics)  # all processes decide by the same numbers
    ids = getattr(run.splits, split).data.column("id").to_numpy()
    return Predictions(ids, logits, labels, metrics[0]["loss"], metrics[0])
