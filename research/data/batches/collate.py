"""Collate token ids into padded batches.

Rows are truncated, and special tokens and the template are added here, not during tokenization, so that a run can
change the truncation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from research.data.batches.batch import Batch
from research.data.batches.special_tokens import find_special_tokens
from research.data.batches.windows import Span, Windows, WindowSample, close_gaps, pad_spans
from research.settings.template import Template
from research.tasks.base import Task

Truncation = Literal["head", "tail", "head_tail"]
Ids = NDArray[np.int64]

WIDTH_MULTIPLE = 32
"""Batches are padded to a multiple of this number of tokens, or to max_length if that is shorter. On a CPU, every new
width fragments the heap and compiles another kernel; without rounding, memory would grow throughout an epoch."""


class Collator:
    """Collates tokenized rows into a batch.

    `max_length` and `truncation` may be changed between two calls.

    Args:
        tokenizer: the tokenizer that tokenized the rows. It is only inspected, not stored.
        task: the task, which determines the form of the labels.
        max_length: maximum length of a row in tokens, including special tokens and the template; with `windows`, of a
            window, each of which has them.
        truncation: part to keep of a text that is too long: its beginning (head), its end (tail), or both in equal
            parts (head_tail; Sun et al. 2019, How to Fine-Tune BERT for Text Classification).
        pair: whether rows are pairs of texts.
        pads_left: whether to place padding before the tokens; by default, as the tokenizer does.
        template: template around the texts, which is never truncated; None for none.
        windows: how to cut texts into windows; None truncates them to one input. Padding is then after the tokens,
            wherever `pads_left` wants it.
    Raises:
        ValueError: if the tokenizer has no padding token, max_length, truncation or windows are invalid, or there are
            windows of pairs.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        *,
        max_length: int,
        truncation: Truncation,
        pair: bool,
        pads_left: bool | None = None,
        template: Template | None = None,
        windows: Windows | None = None,
    ) -> None:
        if tokenizer.pad_token_id is None:
            raise ValueError(f"{type(tokenizer).__name__} has no padding token; set tokenizer.pad_token.")
        self.max_length = max_length
        self.truncation: Truncation = truncation
        self._task = task
        self._pair = pair
        self.special_tokens = find_special_tokens(tokenizer, pair=pair, template=template)
        """The special tokens and the template around the texts of a row."""
        self.num_template_tokens = len(self.special_tokens) - len(find_special_tokens(tokenizer, pair=pair))
        """Number of tokens of the template."""
        self.padding_id: int = tokenizer.pad_token_id
        """Token id of padding."""
        self._pad_type: int = tokenizer.pad_token_type_id
        self.windows = windows
        """How texts are cut into windows; None if they are truncated to one input."""
        if windows is not None:
            pads_left = False
        self.pads_left = tokenizer.padding_side == "left" if pads_left is None else pads_left
        """Whether padding is placed before the tokens."""
        self.check_settings()

    @property
    def added_ids(self) -> tuple[int, ...]:
        """Token ids of padding, special tokens and template."""
        special = self.special_tokens
        return (self.padding_id, *special.prefix, *special.between, *special.suffix)

    def __call__(
        self,
        rows: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
        weights: NDArray[np.float32] | None = None,
        *,
        max_length: int | None = None,
        sample: WindowSample | None = None,
    ) -> Batch:
        """Collate rows into a batch.

        If a row has more than one window, the inputs contain `windows`: the start and end of the text's part in each
        window, as positions in the row, [batch, windows, 2] int64; NO_WINDOW for missing windows.

        Args:
            rows: columns of a tokenized split (`dataset[indices]`, which is fastest), or a list of its rows.
            weights: weight of each row (see `Batch.weights`); all 1 by default, [batch].
            max_length: maximum length of a row in tokens, or of a window; `self.max_length` by default.
            sample: chooses the windows of each row that the batch contains; all by default.
        """
        columns = rows if isinstance(rows, Mapping) else {name: [row[name] for row in rows] for name in rows[0]}
        room = self._compute_room(max_length)
        second_texts = columns["pair_ids"] if self._pair else [()] * len(columns["id"])
        truncated = [
            self._truncate_row(first, second, room)
            for first, second in zip(columns["input_ids"], second_texts, strict=True)
        ]
        windows: dict[str, Tensor] = {}
        if self.windows is not None:
            truncated, spans = self._cut_rows(truncated, columns["id"], max_length, sample)
            if max(map(len, spans)) > 1:
                windows["windows"] = pad_spans(spans, offset=len(self.special_tokens.prefix))
            else:  # the rows are ordinary inputs, padded like these
                room = self._compute_window_room(max_length)
        return Batch(
            inputs=self._pad(truncated, max_width=room + len(self.special_tokens)) | windows,
            labels=self._collate_labels(columns["label"]),
            weights=torch.ones(len(truncated)) if weights is None else torch.as_tensor(weights, dtype=torch.float32),
            ids=torch.as_tensor(np.asarray(columns["id"], dtype=np.int64)),
        )

    @property
    def has_types(self) -> bool:
        """Whether batches contain token type ids."""
        return self.special_tokens.has_types

    @property
    def max_row_length(self) -> int:
        """Maximum length of a row in tokens, including special tokens; with windows, of all its windows joined."""
        return self.max_length + (0 if self.windows is None else self.windows.num_more_tokens)

    def count_windows(self, num_tokens: int) -> int:
        """Return the number of windows of a text.

        Args:
            num_tokens: number of tokens of the text, without special tokens.
        """
        if self.windows is None:
            return 1
        return len(self.windows.cut(min(num_tokens, self._compute_room(None)), self._compute_window_room(None)))

    def check_settings(self) -> None:
        """Check that `max_length`, `truncation` and `windows` are valid.

        Raises:
            ValueError: if one of them is not.
        """
        self._compute_room(self.max_length)  # raises the error

    def locate_tokens(self, num_tokens: Sequence[int]) -> list[tuple[Ids, slice]]:
        """Return which tokens of a row are kept, and where they are in the model's inputs.

        Args:
            num_tokens: number of tokens of each text of the row, without special tokens.
        Returns:
            For each text, the indices of its kept tokens, and the slice of the row's inputs (without padding) that
            contains them.
        """
        positions = [range(count) for count in (*num_tokens, 0)[:2]]
        first, second = self._truncate_row(positions[0], positions[1], self._compute_room(None))
        start_of_first = len(self.special_tokens.prefix)
        start_of_second = start_of_first + len(first) + len(self.special_tokens.between)
        places = [
            (first, slice(start_of_first, start_of_first + len(first))),
            (second, slice(start_of_second, start_of_second + len(second))),
        ]
        return places[: len(num_tokens)]

    def _compute_room(self, max_length: int | None) -> int:
        """Return the number of tokens that a row has room for, excluding special tokens.

        Args:
            max_length: maximum length of a row or window in tokens; None for `self.max_length`.
        Raises:
            ValueError: if max_length, truncation or windows are invalid.
        """
        max_length = self.max_length if max_length is None else max_length
        if self.truncation not in get_args(Truncation):
            raise ValueError(f"truncation must be one of {', '.join(get_args(Truncation))}; got '{self.truncation}'.")
        room = max_length - len(self.special_tokens)
        num_texts = 2 if self._pair else 1
        if room < num_texts:
            template = f"and the template {self.num_template_tokens} tokens " if self.num_template_tokens else ""
            raise ValueError(
                f"max_length must be at least {len(self.special_tokens) + num_texts}: the tokenizer adds "
                f"{len(self.special_tokens) - self.num_template_tokens} special tokens {template}to {num_texts} "
                f"text{'s' if self._pair else ''}; got {max_length}."
            )
        if self.windows is None:
            return room
        if self._pair:
            raise ValueError(
                "Expected single texts with --long_texts windows, got pairs of texts. Set --long_texts truncate."
            )
        if self.windows.stride > room:
            raise ValueError(
                f"Expected a stride of at most {room}, since a window of {max_length} tokens contains "
                f"{len(self.special_tokens)} special tokens (with the template, if there is one); got "
                f"{self.windows.stride}. A larger stride would skip tokens."
            )
        return room + self.windows.num_more_tokens

    def _compute_window_room(self, max_length: int | None) -> int:
        """Return the number of tokens that a window has room for, excluding special tokens; see `_compute_room`."""
        return (self.max_length if max_length is None else max_length) - len(self.special_tokens)

    def _cut_rows(
        self,
        texts: list[tuple[Ids, Ids]],
        row_ids: Sequence[int],
        max_length: int | None,
        sample: WindowSample | None,
    ) -> tuple[list[tuple[Ids, Ids]], list[list[Span]]]:
        """Return the texts, without the tokens that are in none of the chosen windows, and the windows of each text."""
        assert self.windows is not None
        room = self._compute_window_room(max_length)
        rows, spans_of_rows = [], []
        for (ids, second), row_id in zip(texts, row_ids, strict=True):
            spans, kept = self.windows.cut(len(ids), room), ids
            if sample is not None:
                parts, spans = close_gaps(sample.choose(spans, int(row_id)))
                kept = np.concatenate([ids[start:end] for start, end in parts])
            rows.append((kept, second))
            spans_of_rows.append(spans)
        return rows, spans_of_rows

    def settings(self) -> dict[str, Any]:
        """Return the settings that determine the model's inputs for given token ids, as JSON-serialisable values."""
        return {
            "max_length": self.max_length,
            "truncation": self.truncation,
            "windows": None if self.windows is None else [self.windows.stride, self.windows.max_windows],
            "special_tokens": asdict(self.special_tokens),
            "padding": [self.padding_id, self._pad_type, self.pads_left, WIDTH_MULTIPLE],
        }

    def _truncate_row(self, first: Sequence[int], second: Sequence[int], room: int) -> tuple[Ids, Ids]:
        """Return the token ids to keep of each text of a row, at most `room` in total."""
        num_first, num_second = _divide_room(len(first), len(second), room)
        return self._truncate_text(first, num_first), self._truncate_text(second, num_second)

    def _truncate_text(self, ids: Sequence[int], num_kept: int) -> Ids:
        """Return at most `num_kept` token ids of a text."""
        values = np.asarray(ids, dtype=np.int64)
        if len(values) <= num_kept:
            return values
        num_from_start = {"head": num_kept, "tail": 0, "head_tail": (num_kept + 1) // 2}[self.truncation]
        return np.concatenate([values[:num_from_start], values[len(values) - (num_kept - num_from_start) :]])

    def _pad(self, texts: list[tuple[Ids, Ids]], *, max_width: int) -> dict[str, Tensor]:
        """Add special tokens to the texts of each row, and return the padded inputs of the model."""
        special = self.special_tokens
        needed = max(len(first) + len(second) for first, second in texts) + len(special)
        width = min(math.ceil(needed / WIDTH_MULTIPLE) * WIDTH_MULTIPLE, max_width)
        input_ids = np.full((len(texts), width), self.padding_id, dtype=np.int64)
        attention_mask = np.zeros((len(texts), width), dtype=np.int64)
        token_type_ids = np.full((len(texts), width), self._pad_type, dtype=np.int64)
        for row, (first, second) in enumerate(texts):
            ids = np.concatenate([special.prefix, first, special.between, second, special.suffix])
            positions = slice(width - len(ids), width) if self.pads_left else slice(len(ids))
            input_ids[row, positions] = ids
            attention_mask[row, positions] = 1
            if special.has_types:
                token_type_ids[row, positions] = np.concatenate(
                    [
                        special.prefix_types,
                        np.full(len(first), special.first_type),
                        special.between_types,
                        np.full(len(second), special.second_type),
                        special.suffix_types,
                    ]
                )
        inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        return {**inputs, "token_type_ids": torch.from_numpy(token_type_ids)} if special.has_types else inputs

    def _collate_labels(self, labels: Sequence[Any]) -> Tensor:
        """Return the labels of a batch as a tensor; placeholders if the rows have no labels."""
        if any(label is None for label in labels):
            return torch.from_numpy(self._task.missing_labels(len(labels)))
        return torch.from_numpy(self._task.label_array(labels))


def _divide_room(num_first: int, num_second: int, room: int) -> tuple[int, int]:
    """Return the number of tokens to keep of each text of a pair.

    The longer text is truncated first, until both have the same length; then both are truncated equally. If the room is
    odd, the longer text gets one more token (the second text if both are equally long), as with the strategy
    longest_first of Transformers.
    """
    shorter = min(num_first, num_second)
    longer = max(num_first, num_second)
    if shorter + longer > room:
        shorter = min(shorter, room // 2)
        longer = room - shorter
    return (longer, shorter) if num_first > num_second else (shorter, longer)
