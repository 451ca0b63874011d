"""Load the training, validation and test rows for the data settings."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from heads.registry import UnknownNameError, describe_unknown
from research.data.prepare import cache, cleaning
from research.data.prepare.arrow import hash_rows
from research.data.prepare.cache_entries import Lease
from research.data.prepare.prepare import ROWS_FORMAT, prepare
from research.data.prepare.streamed import StreamedRows, open_streamed_rows
from research.data.sources.bad_rows import SkippedRows
from research.data.sources.base import Source
from research.data.sources.encodings import check_encoding
from research.data.sources.find import find_source
from research.data.sources.reading import convert_read_errors, describe_briefly, make_errors_printable
from research.data.sources.split_names import SPLIT_NAMES
from research.data.sources.text_format import TextFormat
from research.settings.config import DataSettings
from research.settings.declarations import Stage, check_bounds, declarations
from research.system.messages import WARNING, logger
from research.system.plain_text import for_message
from research.system.user_code import hash_user_code
from research.system.waiting import WaitingMessage
from research.tasks.base import TASKS, Task


@dataclass(frozen=True)
class Splits:
    """The memory-mapped rows of a run.

    Columns: id (number of the row, from 0, over all files that the split was read from; see `files`), text, text_pair
    (only if rows are pairs of texts), and label (a label code, a list of label codes, or a score; null if the split is
    `unlabelled`). Tokenized splits have other columns; see `tokenize_splits`.
    """

    train: Dataset
    """Rows for training. With --streaming, `StreamedRows`: a description of their files, which has no rows."""
    validation: Dataset
    """Rows for model selection."""
    test: Dataset
    """Rows for the final evaluation."""
    task: Task
    """The task, with the labels of the data set."""
    skipped_rows: tuple[SkippedRows, ...] = ()
    """Number of bad rows that were skipped, by split and reason."""
    num_unseen: Mapping[str, int] = field(default_factory=dict)
    """Number of rows with unseen labels in each split; these rows count as wrong."""
    files: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """Files that each split was read from, each with the id of its first row."""
    cache_dir: Path | None = None
    """Directory of the cache. None means MIDWAY_CACHE, or ~/.cache/midway if that is not set."""
    unlabelled: tuple[str, ...] = ()
    """Splits whose rows have no labels; their label column is null. Only the test split may be unlabelled."""
    text_columns: tuple[str, ...] = ()
    """The column of the files that the text was read from, or both columns of a pair."""
    label_columns: tuple[str, ...] = ()
    """Columns of the files that the label was read from."""
    source: str = ""
    """What the rows were read from, such as imdb or a file."""
    leases: tuple[Lease, ...] = field(default=(), compare=False, repr=False)
    """Keep the entries of the cache from being removed while the rows are used."""

    @property
    def streamed(self) -> StreamedRows | None:
        """The training rows if they are read during training (--streaming); None if they are prepared."""
        return self.train if isinstance(self.train, StreamedRows) else None

    @property
    def num_train(self) -> int | None:
        """Number of training rows; None if they are streamed and their number is not known."""
        return len(self.train) if self.streamed is None else self.streamed.num_rows

    def num_rows(self) -> dict[str, int]:
        """Return the number of rows of each split whose number is known."""
        num_train = {} if self.num_train is None else {"train": self.num_train}
        return num_train | {split: len(rows) for split, rows in self.items()}

    @property
    def has_pairs(self) -> bool:
        """Whether rows are pairs of texts."""
        # pair_ids is the column of a tokenized split.
        return not {"text_pair", "pair_ids"}.isdisjoint(self.train.column_names)

    def place_of(self, split: str, row_id: int) -> str:
        """Return the place of a row as a string: its file, and its number in the file, from 1."""
        return place_of_row(self.files[split], row_id)

    def items(self) -> Iterator[tuple[str, Dataset]]:
        """Yield the name and the rows of each prepared split: all splits, but not streamed training rows."""
        for name in SPLIT_NAMES:
            if name != "train" or self.streamed is None:
                yield name, getattr(self, name)

    def hash_rows(self) -> str:
        """Return a hash of tokenized splits. It changes if the rows change, and with the files of streamed rows."""
        sha256 = hash_rows([rows for _, rows in self.items()])
        if self.streamed is None:
            return sha256
        return hashlib.sha256(f"{sha256} {self.streamed.identity}".encode()).hexdigest()


def place_of_row(files: Sequence[tuple[str, int]], row_id: int) -> str:
    """Return the place of a row as a string: its file, and its number in the file, from 1.

    Args:
        files: the files, each with the id of its first row.
        row_id: id of the row.
    """
    # The last file that starts at or before the row. An empty file starts at the same row as the next file.
    name, first_id = [file for file in files if file[1] <= row_id][-1]
    return f"{name}, row {row_id - first_id + 1:,}"


def load_splits(settings: DataSettings, cache_dir: Path | None = None) -> Splits:
    """Load the splits for the data settings, from the cache if they were prepared before.

    Args:
        settings: the data settings; a RunConfig includes them.
        cache_dir: directory of the cache; MIDWAY_CACHE or ~/.cache/midway by default.
    Raises:
        ValueError: if the settings are invalid or the data cannot be used; the message explains what to do.
    """
    with make_errors_printable():
        return _load(settings, cache_dir)


def _load(settings: DataSettings, cache_dir: Path | None) -> Splits:
    _check_settings(settings)
    clean = cleaning.compose(settings.cleaning)
    if settings.encoding is not None:
        check_encoding(settings.encoding)
    with convert_read_errors(settings.data), WaitingMessage(f"Inspecting {settings.data}"):
        text_format = TextFormat(settings.encoding, settings.quoting, tuple(settings.columns))
        source = find_source(settings.data, text_format, streaming=settings.streaming)
    for message in source.notes:
        _log_message(message)
    directory = cache.find_cache_dir(cache_dir)
    key = cache.fingerprint(
        ROWS_FORMAT,
        source.identity,
        cleaning.fingerprint_steps(settings.cleaning),
        None if settings.task is None else hash_user_code(TASKS[settings.task]),
        {
            name: getattr(settings, name)
            for name, declared in declarations(DataSettings).items()
            if declared.affects(Stage.ROWS)
        },
    )
    with WaitingMessage(f"Reading the rows of {source.name}"):
        entry, facts, lease = cache.fetch(
            directory,
            "rows",
            key,
            lambda target: prepare(source, settings, clean, target),
            lambda facts: {"data": source.name, "rows": sum(facts["num_rows"].values())},
        )
    for message in facts["log"]:
        _log_message(message)
    counted_split = "validation" if settings.streaming else "train"
    task = TASKS[facts["task"]](
        label_names=tuple(facts["label_names"]),
        label_counts=tuple(facts["label_counts"]),
        num_train=facts["num_rows"][counted_split],
        score_mean=facts["score_mean"],
        score_std=facts["score_std"],
        unseen_labels=tuple(facts["unseen_labels"]),
        counted_split=counted_split,
    )
    train, validation, test = (open_dataset(entry / f"{name}.arrow", f"{key}-{name}") for name in SPLIT_NAMES)
    files = {split: [(name, first_id) for name, first_id in entries] for split, entries in facts["files"].items()}
    if settings.streaming:
        train = _open_streamed(source, settings, facts, type(task))
        files["train"] = train.files
    return Splits(
        train=train,
        validation=validation,
        test=test,
        task=task,
        skipped_rows=tuple(SkippedRows(*item) for item in facts["skipped_rows"]),
        num_unseen=facts["num_unseen"],
        files=files,
        cache_dir=directory,
        unlabelled=tuple(facts["unlabelled"]),
        text_columns=tuple(facts["text_columns"]),
        label_columns=tuple(facts["label_columns"]),
        source=source.name,
        leases=() if lease is None else (lease,),
    )


def _open_streamed(
    source: Source, settings: DataSettings, facts: Mapping[str, Any], task_class: type[Task]
) -> StreamedRows:
    """Return the training rows, which are read during training, and log messages about them."""
    with WaitingMessage(f"Reading the footers of {source.name}"), tempfile.TemporaryDirectory() as scratch:
        with convert_read_errors(source.name):
            tables = source.open(Path(scratch))["train"]
        rows = open_streamed_rows(source.name, tables, source.identity, settings, facts, task_class)
    for message in dict.fromkeys(note for table in tables for note in table.notes()):
        _log_message(message)
    return rows


def open_dataset(path: Path, fingerprint: str) -> Dataset:
    """Memory-map an Arrow file of prepared data.

    Args:
        path: the file.
        fingerprint: fingerprint to give to the data set, the same in every process.
    Raises:
        ValueError: if the file is damaged.
    """
    try:
        return Dataset(Dataset.from_file(str(path)).data, fingerprint=fingerprint)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"The cache entry {path.parent} is damaged ({describe_briefly(error)}). Delete it; it will be rebuilt."
        ) from error


def _check_settings(settings: DataSettings) -> None:
    if settings.task is not None and settings.task not in TASKS:
        raise UnknownNameError(describe_unknown("task", settings.task, TASKS))
    for name, declared in declarations(DataSettings).items():
        check_bounds(name, getattr(settings, name), declared)
    shares = (settings.validation_share, settings.test_share)
    if sum(shares) >= 1:
        raise ValueError(f"The sum of --validation_share and --test_share must be less than 1; got {shares}.")


def _log_message(message: str) -> None:
    """Log a message about the data as a warning or as information.

    Messages are cached as strings, so a warning is recognised by its prefix.
    """
    text = for_message(message)  # printable, on one line
    if text.startswith(WARNING):
        logger.warning(text.removeprefix(WARNING))
    else:
        logger.info(text)
