"""Training rows that are read, shuffled and tokenized during training, one buffer after another."""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from research.data.batches.order import RowIndices, buffer_batches, split_batch
from research.data.batches.tokens import (
    IDS_TYPE,
    TOKEN_COLUMNS,
    check_token_ids,
    count_unknown_rows,
    describe_unknown_rows,
    find_largest_id,
    spaces_before_texts,
    tokenize_texts,
)
from research.data.batches.train_rows import TrainRows
from research.data.prepare.streamed import StreamedRows
from research.data.sources.bad_rows import SkippedRows
from research.data.streaming.checked_rows import CheckedRows
from research.data.streaming.pieces import NUM_OPEN_ROW_GROUPS
from research.data.streaming.read_buffers import read_buffers
from research.settings.template import Template
from research.system.messages import logger

_ROWS_PER_CALL = 1000
"""Number of rows that are tokenized at once."""


@dataclass(frozen=True)
class TrainBuffer:
    """A buffer of shuffled rows, divided into global batches. Only the rows of one process are tokenized."""

    number: int
    """Number of the buffer in its epoch, from 0."""
    batches: Sequence[RowIndices]
    """Remaining global batches. A row's index is its number among the usable rows of the buffer."""
    ids: NDArray[np.int64]
    """Id of each row, [num_rows]."""
    labels: Sequence[Any]
    """Label of each row."""
    tokens: Mapping[str, TokenColumn]
    """Token ids of the process's rows, by the name of the column."""
    skipped: Counter[str]
    """Number of skipped rows, by reason."""
    skipped_message: str | None
    """Message about the skipped rows; None if there are none."""
    num_unknown: int
    """Number of the process's rows without a token that the tokenizer knows."""


@dataclass(frozen=True)
class TokenColumn:
    """Token ids of some rows."""

    positions: Mapping[int, int]
    """Position of each row, by its index."""
    values: NDArray[np.int32]
    """Token ids of all rows, one row after another."""
    offsets: NDArray[np.int64]
    """Start of each position in `values`, and the end of the last one."""

    @classmethod
    def of(cls, arrays: Sequence[pa.ListArray], positions: Mapping[int, int]) -> TokenColumn:
        """Return the column for lists of token ids."""
        values = np.concatenate([array.flatten().to_numpy() for array in arrays] or [np.empty(0, np.int32)])
        lengths = [array.value_lengths().to_numpy() for array in arrays]
        return cls(positions, values, np.cumsum(np.concatenate([[0], *lengths], dtype=np.int64)))

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        position = self.positions[row]
        return self.values[self.offsets[position] : self.offsets[position + 1]]


class TrainStream(TrainRows):
    """Training rows that are read and tokenized during training.

    While a buffer is used, the next one is read in a thread. The order of rows is determined by the files, the seed,
    the epoch, the batch size and the size of the buffer. It does not depend on the number of processes. Each process
    reads and checks all rows, but tokenizes only its share of each global batch. That is why batches contain rows of
    similar length in characters, not in tokens.

    Args:
        rows: the training rows.
        tokenizer: tokenizer of the encoder. It is copied, since a tokenizer must not be used in two threads at once.
        template: template around the texts; None for none.
        shuffle_buffer: number of rows in a buffer; rounded up to whole batches.
        process: index of the process.
        num_processes: number of processes that share a global batch.
        allow_unknown: whether more than a third of the rows may consist of unknown tokens.
        num_embeddings: number of the encoder's embeddings.
    """

    def __init__(
        self,
        rows: StreamedRows,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: Template | None,
        shuffle_buffer: int,
        process: int,
        num_processes: int,
        allow_unknown: bool,
        num_embeddings: int,
    ) -> None:
        self._rows = rows
        self._tokenizer = copy.deepcopy(tokenizer)
        self._spaces = spaces_before_texts(template)
        self._shuffle_buffer = shuffle_buffer
        self._process, self._num_processes = process, num_processes
        self._allow_unknown, self._num_embeddings = allow_unknown, num_embeddings
        self._buffer: TrainBuffer | None = None
        self._num_counted = 0  # buffers of the first epoch whose skipped rows are counted
        self._skipped: Counter[str] = Counter()
        self._warned_of_unknown = False

    def report_order(self) -> None:
        """Log what limits the shuffling of rows, if anything does."""
        num_groups = len(self._rows.row_groups)
        if self._rows.num_rows is None:
            logger.info(
                "The number of training rows is not known without reading them: they are read in the order of the "
                f"files, again and again, and shuffled only within {self._shuffle_buffer:,} rows. The whole run counts "
                "as one epoch. A resumed run first reads the rows before its position again."
            )
        elif num_groups < NUM_OPEN_ROW_GROUPS and self._rows.num_rows > self._shuffle_buffer:
            logger.warning(
                f"The training files have only {num_groups} row group{'s' if num_groups > 1 else ''}, so rows are "
                f"hardly shuffled beyond {self._shuffle_buffer:,} neighbouring rows. If they are sorted, for example "
                "by label, shuffle them, write them with smaller row groups, or raise --shuffle_buffer."
            )

    def global_batches(self, batch_size: int, seed: int, epoch: int, *, start: int, stop: int) -> Iterator[RowIndices]:
        if start >= stop:
            return
        batches_per_buffer = -(-self._shuffle_buffer // batch_size)  # rounded up
        first, num_omitted = divmod(start, batches_per_buffer)
        buffer_size = batches_per_buffer * batch_size
        cancelled = threading.Event()
        checked = read_buffers(self._rows, buffer_size, seed, epoch, first=first)
        buffers = self._build_buffers(checked, batch_size, (seed, epoch), first, num_omitted, cancelled)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read_rows") as executor:
            try:
                following = executor.submit(next, buffers)
                while start < stop:
                    buffer = following.result()
                    if start + len(buffer.batches) < stop:
                        following = executor.submit(next, buffers)
                    self._buffer = buffer
                    self._report(buffer)
                    batches = buffer.batches[: stop - start]
                    start += len(batches)
                    yield from batches
            finally:
                cancelled.set()

    def _build_buffers(
        self,
        checked: Iterator[CheckedRows],
        batch_size: int,
        seeds: tuple[int, int],
        first: int,
        num_omitted: int,
        cancelled: threading.Event,
    ) -> Iterator[TrainBuffer]:
        """Yield buffers; called in the thread.

        Args:
            checked: the rows of the buffers.
            batch_size: number of rows per batch.
            seeds: seed of the run, and number of the epoch.
            first: number of the first buffer.
            num_omitted: number of batches of the first buffer to omit.
            cancelled: set when no more buffers are needed.
        Raises:
            ValueError: if there are bad rows that must not be skipped, or too few others.
        """
        for number, rows in enumerate(checked, start=first):
            message = rows.bad.raise_or_summarize(rows.num_read)
            try:
                batches = buffer_batches(rows.lengths, rows.num_read, batch_size, *seeds, number)[num_omitted:]
            except ValueError as error:  # the bad rows explain it
                raise ValueError(f"{error} {message}") from None
            num_omitted = 0
            shares = [
                micro_batch.rows
                for batch in batches
                for micro_batch in split_batch(batch, self._process, self._num_processes, batch_size)
            ]
            own = np.unique(np.concatenate(shares))
            tokens, num_unknown = self._tokenize(rows, own, cancelled)
            if cancelled.is_set():
                return
            skipped = sum(rows.bad.reasons.values(), Counter())
            buffer = TrainBuffer(number, batches, rows.ids, rows.labels, tokens, skipped, message, num_unknown)
            del rows, tokens  # so that only the buffer is in memory while the next one is read
            yield buffer
            del buffer

    def _tokenize(
        self, rows: CheckedRows, own: RowIndices, cancelled: threading.Event
    ) -> tuple[dict[str, TokenColumn], int]:
        """Return the token ids of rows, and the number of rows without a token that the tokenizer knows.

        Args:
            rows: the rows of a buffer.
            own: indices of the rows to tokenize.
            cancelled: if it is set, the result is not needed.
        """
        chunks: dict[str, list[pa.ListArray]] = {name: [] for name in TOKEN_COLUMNS[: len(rows.texts)]}
        num_unknown = 0
        for start in range(0, len(own), _ROWS_PER_CALL):
            if cancelled.is_set():
                break
            chunk = own[start : start + _ROWS_PER_CALL]
            for arrays, texts, spaces in zip(chunks.values(), rows.texts, self._spaces, strict=False):
                ids = tokenize_texts(self._tokenizer, [texts[row] for row in chunk], spaces)
                arrays.append(pa.array(ids, IDS_TYPE))
            latest = [arrays[-1] for arrays in chunks.values()]
            num_unknown += count_unknown_rows(latest, self._tokenizer)
            check_token_ids([find_largest_id(latest)], self._tokenizer, self._num_embeddings)
        positions = {int(row): position for position, row in enumerate(own)}
        return {name: TokenColumn.of(arrays, positions) for name, arrays in chunks.items()}, num_unknown

    def __getitem__(self, rows: RowIndices) -> Mapping[str, Sequence[Any]]:
        buffer = self._buffer
        if buffer is None or not all(int(row) in buffer.tokens[TOKEN_COLUMNS[0]].positions for row in rows):
            raise ValueError(
                "Expected rows of the current global batch, since the training rows are streamed (--streaming); got "
                "different rows."
            )
        tokens = {name: [column[int(row)] for row in rows] for name, column in buffer.tokens.items()}
        return {"id": buffer.ids[rows].tolist(), **tokens, "label": [buffer.labels[row] for row in rows]}

    def ids(self, rows: Sequence[int]) -> list[int]:
        assert self._buffer is not None
        ids: list[int] = self._buffer.ids[np.asarray(rows)].tolist()
        return ids

    def skipped_rows(self) -> list[SkippedRows]:
        """Return the number of bad rows that were skipped in the first epoch, by reason."""
        return [SkippedRows("train", reason, count) for reason, count in self._skipped.items()]

    def state_dict(self) -> dict[str, Any]:
        return {"num_counted": self._num_counted, "skipped": dict(self._skipped)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._num_counted, self._skipped = state["num_counted"], Counter(state["skipped"])

    def _report(self, buffer: TrainBuffer) -> None:
        """Count the skipped rows of a buffer in the first epoch, and log the first ones.

        Raises:
            ValueError: if too many rows have only unknown tokens.
        """
        if buffer.number >= self._num_counted:
            if buffer.skipped_message is not None and not self._skipped:
                logger.info(f"{buffer.skipped_message} Later bad rows are only counted, in result.json.")
            self._num_counted = buffer.number + 1
            self._skipped += buffer.skipped
        num_own = len(buffer.tokens[TOKEN_COLUMNS[0]].positions)
        warning = describe_unknown_rows(buffer.num_unknown, num_own, "buffered train", allowed=self._allow_unknown)
        if warning is not None and not self._warned_of_unknown:
            self._warned_of_unknown = True
            logger.warning(f"{warning} The same is not reported again for later rows.")
