"""Run an encoder on the windows of long rows, and join their hidden states into one sequence per row.

Each window consists of the row's first special tokens, a part of its text, and its last special tokens. In the joined
sequence, each token of the row occurs once:

- A token of the text has its state from the window in which it has most context, as for the overlapping spans of
  Devlin et al. 2019, BERT, in its published code for SQuAD.
- A special token, which is in all windows, has the mean of its states (Sun et al. 2019, How to Fine-Tune BERT for Text
  Classification, section 5.3.1: hierarchical methods, mean pooling). So a head that reads the first token reads all
  windows.

Gradients flow through all windows in bounded memory: the activations of each batch of windows are computed again in the
backward pass, with the same dropout (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from research.data.batches.collate import WIDTH_MULTIPLE
from research.data.batches.windows import NO_WINDOW
from research.system.heap import HeapTrimmer

Layers = tuple[Tensor, ...]
"""Hidden states of one or more layers, [windows, seq, hidden] each."""
Encode = Callable[[Mapping[str, Tensor], Tensor], Layers]
"""Function that runs the encoder: from inputs and attention mask, [windows, seq] each, to hidden states."""


def run_on_windows(
    encode: Encode,
    inputs: Mapping[str, Tensor],
    attention_mask: Int[Tensor, "batch seq"],
    windows: Int[Tensor, "batch windows 2"],
    *,
    batch_size: int,
    padding: Mapping[str, int],
) -> tuple[Float[Tensor, "batch seq hidden"], ...]:
    """Return the joined hidden states of each row, for each layer that `encode` returns; 0 for padding.

    Args:
        encode: runs the encoder on some windows.
        inputs: inputs of the encoder, such as input_ids, [batch, seq] each; padding is on the right.
        attention_mask: 1 = token, 0 = padding, [batch, seq].
        windows: start and end of the text's part in each window, as positions in the row; NO_WINDOW for missing
            windows, which come last. All rows have the same number of special tokens before and after the text.
        batch_size: maximum number of windows to run the encoder on at once.
        padding: value of each input at padding.
    """
    layout = _Layout.of(attention_mask, windows, batch_size)

    def count_and_encode(of_windows: Mapping[str, Tensor], mask: Tensor) -> Layers:
        _heap_trimmer().count_batch()
        return encode(of_windows, mask)

    recomputes = torch.is_grad_enabled() and len(layout.widths) > 1
    batches: list[Layers] = []
    for index, width in enumerate(layout.widths):
        chosen = slice(index * batch_size, (index + 1) * batch_size)
        rows, positions = layout.rows[chosen, None], layout.positions[chosen, :width]
        mask = layout.mask[chosen, :width]
        of_windows = {name: value[rows, positions].where(mask, padding[name]) for name, value in inputs.items()}
        integers = mask.to(attention_mask.dtype)
        states = (
            checkpoint(count_and_encode, of_windows, integers, use_reentrant=False)
            if recomputes
            else count_and_encode(of_windows, integers)
        )
        batches.append(states)
    return tuple(layout.join(layer, attention_mask) for layer in zip(*batches, strict=True))


@functools.cache
def _heap_trimmer() -> HeapTrimmer:
    """Return the trimmer that counts batches of windows. One batch of texts may have thousands of them."""
    return HeapTrimmer()


@dataclass(frozen=True)
class _Layout:
    """Where the tokens of windows are in their rows, and which windows the states of tokens come from.

    The windows of a batch are numbered by their length, longest first.
    """

    windows: Int[Tensor, "batch windows 2"]
    """See `run_on_windows`."""
    numbers: Int[Tensor, "batch windows"]
    """Number of each window; 0 for missing windows."""
    rows: Int[Tensor, " all_windows"]
    """Row of each window."""
    lengths: Int[Tensor, " all_windows"]
    """Number of tokens of each window, special tokens included."""
    positions: Int[Tensor, "all_windows width"]
    """Position in the row of each token of each window; 0 for padding."""
    mask: Bool[Tensor, "all_windows width"]
    """Whether each position of each window contains a token."""
    widths: tuple[int, ...]
    """Width of each batch of windows."""
    offsets: Int[Tensor, " all_windows"]
    """Where the states of each window start, if the states of all batches follow one another."""
    num_before: int
    """Number of special tokens before the text."""
    num_after: int
    """Number of special tokens after the text."""

    @classmethod
    def of(cls, attention_mask: Tensor, windows: Tensor, batch_size: int) -> _Layout:
        """Return the layout of rows whose windows are run in batches of at most `batch_size`."""
        exists = windows[..., 0] != NO_WINDOW  # [batch, windows]
        ends_of_text = windows[..., 1].amax(1)  # [batch]
        num_before = int(windows[0, 0, 0])
        num_after = int(attention_mask[0].sum() - ends_of_text[0])
        rows, _ = exists.nonzero(as_tuple=True)  # [all_windows]
        spans = windows[exists]  # [all_windows, 2]
        lengths = num_before + spans[:, 1] - spans[:, 0] + num_after
        lengths, order = lengths.sort(descending=True, stable=True)
        rows, spans = rows[order], spans[order]
        numbers = torch.zeros_like(windows[..., 0])
        numbers[exists] = order.argsort()
        longest, *shorter = lengths[::batch_size].tolist()  # of each batch
        widths = (longest, *(min(math.ceil(each / WIDTH_MULTIPLE) * WIDTH_MULTIPLE, longest) for each in shorter))
        widths_of_windows = torch.tensor(widths, device=windows.device).repeat_interleave(batch_size)[: len(lengths)]
        columns = torch.arange(longest, device=windows.device)  # [width]
        from_end = columns - (lengths[:, None] - num_after)  # [all_windows, width], from 0 at the tokens after the text
        positions = torch.where(columns < num_before, columns, spans[:, :1] + columns - num_before)
        positions = torch.where(from_end < 0, positions, ends_of_text[rows, None] + from_end)
        mask = columns < lengths[:, None]
        return cls(
            windows=windows,
            numbers=numbers,
            rows=rows,
            lengths=lengths,
            positions=positions.where(mask, 0),
            mask=mask,
            widths=widths,
            offsets=widths_of_windows.cumsum(0) - widths_of_windows,
            num_before=num_before,
            num_after=num_after,
        )

    def join(
        self, batches: Sequence[Float[Tensor, "windows width hidden"]], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch seq hidden"]:
        """Return the hidden states of the rows; 0 for padding.

        It copies the states as rarely as possible, because those of a long text are large.

        Args:
            batches: hidden states of each batch of windows.
            attention_mask: 1 = token, 0 = padding, [batch, seq].
        """
        num_rows, width = attention_mask.shape
        states = [batch.flatten(0, 1) for batch in batches]
        flat = torch.cat(states) if len(states) > 1 else states[0]  # [states, hidden]
        positions = torch.arange(width, device=flat.device).expand(num_rows, -1).contiguous()  # [batch, seq]
        owners = torch.searchsorted(self._borders(width), positions, right=True)  # [batch, seq]
        columns = self.num_before + positions - self.windows[..., 0].gather(1, owners)
        # The clamps matter for special tokens, which are replaced below, and for padding.
        sources = self.offsets[self.numbers.gather(1, owners)] + columns
        sources = sources.clamp(0, len(flat) - 1).flatten()
        joined = flat.index_select(0, sources).unflatten(0, (num_rows, width))  # [batch, seq, hidden]
        if self.num_before:
            before = torch.arange(self.num_before, device=flat.device).expand(*self.numbers.shape, -1)
            joined[:, : self.num_before] = self._mean_over_windows(flat, before)
        if self.num_after:
            after = torch.arange(self.num_after, device=flat.device)
            first = self.lengths[self.numbers] - self.num_after  # [batch, windows]
            ends = attention_mask.sum(1, keepdim=True) - self.num_after  # [batch, 1]
            every_row = torch.arange(num_rows, device=flat.device)[:, None]
            joined[every_row, ends + after] = self._mean_over_windows(flat, first[..., None] + after)
        return joined.masked_fill_(attention_mask.eq(0).unsqueeze(-1), 0.0)

    def _borders(self, width: int) -> Int[Tensor, "batch borders"]:
        """Return the first position of each window, except the first, whose token has most context in that window.

        It is the middle of the overlap with the previous window. Missing windows have a border at `width`.
        """
        borders = (self.windows[:, :-1, 1] + self.windows[:, 1:, 0] + 1) // 2
        return borders.where(self.windows[:, 1:, 0] != NO_WINDOW, width).contiguous()

    def _mean_over_windows(
        self, flat: Float[Tensor, "states hidden"], columns: Int[Tensor, "batch windows special"]
    ) -> Float[Tensor, "batch special hidden"]:
        """Return the mean states of special tokens over the windows of each row.

        Args:
            flat: states of all windows, one after the other.
            columns: position of the special tokens in each window.
        """
        exists = (self.windows[..., 0] != NO_WINDOW)[..., None, None]  # [batch, windows, 1, 1]
        sources = self.offsets[self.numbers][..., None] + columns  # [batch, windows, special]
        states = flat.index_select(0, sources.flatten()).unflatten(
            0, sources.shape
        )  # [batch, windows, special, hidden]
        total = states.to(torch.promote_types(flat.dtype, torch.float32)).masked_fill(~exists, 0.0).sum(1)
        return (total / exists.sum(1)).to(flat.dtype)
