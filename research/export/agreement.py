"""Check that what was exported computes the same logits as the model, for batches of many sizes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from research.export.example import random_inputs
from research.inference.saved_model import SavedModel
from research.system.waiting import WaitingProgress
from research.tasks.base import Floats

LARGEST_ALLOWED = 1e-4
"""Largest difference of a logit that is accepted; for logits above 1, as a share of the logit."""

Exported = Callable[[Mapping[str, Tensor]], Floats]
"""Function that computes logits, [batch, num_labels], with an exported model."""


def check_agreement(saved: SavedModel, exported: Exported) -> float:
    """Return the largest difference between the logits of a model and of its export.

    The rows are random and padded: batches of 1, 2 and 5 rows with 3, 17 and 64 tokens, and one row of the maximum
    length.

    Raises:
        ValueError: if a logit differs by more than `LARGEST_ALLOWED`.
    """
    longest = saved.model.config.max_input_length
    sizes = [*itertools.product((1, 2, 5), [length for length in (3, 17, 64) if length < longest]), (1, longest)]
    largest = 0.0
    with WaitingProgress("Checking the export", len(sizes), "size") as progress, torch.inference_mode():
        for num_rows, length in sizes:
            inputs = random_inputs(saved, num_rows, length)
            expected = saved.model(**inputs).logits.numpy()
            difference = float(np.max(np.abs(exported(inputs) - expected) / np.maximum(1, np.abs(expected))))
            if not difference <= LARGEST_ALLOWED:  # also if it is NaN
                raise ValueError(
                    f"The export is wrong: for inputs of shape [{num_rows}, {length}], its logits differ from "
                    f"the model's by {difference:.2g}; expected at most {LARGEST_ALLOWED:g}. Nothing was written."
                )
            largest = max(largest, difference)
            progress.update(1)
    return largest
