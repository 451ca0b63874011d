"""Cut the tokens of a long text into overlapping windows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

Span = tuple[int, int]
"""Start and end of a part of a text, in tokens."""

NO_WINDOW = -1
"""Start and end of the windows with which rows of few windows are padded."""


@dataclass(frozen=True)
class Windows:
    """How texts that are longer than one window are cut into windows. Saved with the model."""

    stride: int
    """Tokens from the start of one window to the start of the next."""
    max_windows: int
    """Maximum number of windows of a text. Longer texts are truncated to the tokens of this many windows."""
    batch_size: int
    """Maximum number of windows that are sent through the encoder at once."""

    @property
    def num_more_tokens(self) -> int:
        """Number of tokens of the longest text in addition to those of one window."""
        return (self.max_windows - 1) * self.stride

    def cut(self, num_tokens: int, room: int) -> list[Span]:
        """Return the spans of a text's windows, in order. They cover the text, also if it is empty.

        Source: Pappagari et al. 2019, Hierarchical Transformers for Long Document Classification (overlapping segments;
        the last one may be shorter).

        Args:
            num_tokens: number of tokens of the text, without special tokens.
            room: number of tokens of a window, without special tokens.
        """
        num_windows = 1 + max(0, -(-(num_tokens - room) // self.stride))  # rounded up
        starts = (index * self.stride for index in range(num_windows))
        return [(start, min(start + room, num_tokens)) for start in starts]

    def to_config(self) -> dict[str, Any]:
        """Return the form in which a model's config contains the settings."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class WindowSample:
    """Chooses windows of each text at random. The choice depends on nothing but the seeds and the row."""

    num_windows: int
    """Number of windows to choose. Texts with fewer windows keep all."""
    seeds: tuple[int, ...]
    """Seed of the run, and number of the epoch."""

    def choose(self, spans: list[Span], row_id: int) -> list[Span]:
        """Return the chosen windows of a row, in order."""
        if len(spans) <= self.num_windows:
            return spans
        generator = np.random.Generator(np.random.PCG64([*self.seeds, row_id]))
        chosen = generator.choice(len(spans), size=self.num_windows, replace=False)
        return [spans[index] for index in sorted(chosen)]


def close_gaps(spans: list[Span]) -> tuple[list[Span], list[Span]]:
    """Return which parts of a text some windows contain, and the windows' spans in the text of these parts alone.

    Args:
        spans: the windows, in order.
    Returns:
        The parts of the text, in order and without overlap; and the new span of each window.
    """
    parts: list[Span] = []
    moved: list[Span] = []
    num_dropped = stop = 0  # number of tokens in the gaps so far, and end of the previous window
    for start, end in spans:
        num_dropped += max(0, start - stop)
        parts.append((max(start, stop), end))
        moved.append((start - num_dropped, end - num_dropped))
        stop = end
    return parts, moved


def pad_spans(spans: list[list[Span]], offset: int) -> Int[Tensor, "batch windows 2"]:
    """Return the windows of a batch as a tensor; missing windows of a row are NO_WINDOW.

    Args:
        spans: the windows of each row, as spans of its text.
        offset: position of the text in the row.
    """
    padded = torch.full((len(spans), max(map(len, spans)), 2), NO_WINDOW, dtype=torch.int64)
    for row, of_row in enumerate(spans):
        padded[row, : len(of_row)] = torch.tensor(of_row) + offset
    return padded
