"""Read labelled rows for a trained model. Labels are matched by name to the labels of the model."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from research.data.prepare import cleaning
from research.data.prepare.arrow import RowWriter
from research.data.prepare.columns import Columns, check_columns_exist, choose_columns
from research.data.prepare.ingest import IngestedRows, ingest
from research.data.prepare.label_encoder import MAX_NAMES_SHOWN, LabelEncoder
from research.data.prepare.label_lists import IndicatorReader, LabelReader, NameReader, RowLabels
from research.data.prepare.labels import LabelCodes, count_values
from research.data.prepare.load import open_dataset
from research.data.prepare.name_encoder import MultiLabelEncoder, SingleLabelEncoder
from research.data.prepare.score_encoder import ScoreEncoder
from research.data.sources.bad_rows import BadRows, SkippedRows
from research.data.sources.find import describe_unused_format, find_source
from research.data.sources.reading import convert_read_errors, make_errors_printable
from research.data.sources.tables import Table
from research.data.sources.text_format import TextFormat
from research.settings.config import DataSettings
from research.system.durable import converting_write_errors
from research.system.messages import WARNING
from research.tasks.base import Task


@dataclass(frozen=True)
class ModelColumns:
    """The columns that a model was trained on."""

    text: tuple[str, ...]
    """Column of the text, or both columns of a pair."""
    label: tuple[str, ...]
    """Columns of the label."""


@dataclass(frozen=True)
class LabelledRows:
    """Rows of a data set, with label codes of a trained model."""

    rows: Dataset
    """Columns: id (number of the row over all files, from 0), text, text_pair (for pairs), and label."""
    files: Sequence[tuple[str, int]]
    """The files, each with the id of its first row."""
    skipped_rows: Sequence[SkippedRows]
    """Number of bad rows that were skipped, by reason."""
    notes: Sequence[str]
    """Messages to log."""


def read_labelled_rows(
    settings: DataSettings,
    split: str | None,
    task: Task,
    model_columns: ModelColumns,
    renames: Mapping[str, str],
    folder: Path,
) -> LabelledRows:
    """Read the rows of a data set for a trained model.

    Args:
        settings: the data, how they are read, and the model's cleaning steps. Columns that the settings do not name are
            those of the model, if the file has them; otherwise, they are guessed.
        split: split to read; None if the data have only one.
        task: the model's task, with its label names.
        model_columns: the columns that the model was trained on.
        renames: label name of the model for labels that the file writes differently.
        folder: an existing folder for temporary files. It must exist as long as the rows are used.
    Raises:
        ValueError: if the data cannot be used; the message explains what to do.
    """
    with make_errors_printable():
        text_format = TextFormat(settings.encoding, settings.quoting, tuple(settings.columns))
        with convert_read_errors(settings.data):
            source = find_source(settings.data, text_format)
        with convert_read_errors(source.name):
            tables = _choose_split(source.open(folder), split, source.name)
        with convert_read_errors(tables[0].name):
            columns, notes = _choose_columns(tables[0], settings, model_columns)
        for table in tables:
            with convert_read_errors(table.name):
                check_columns_exist(columns.names(), table)
                notes += table.notes()
        bad = BadRows(settings.bad_rows)
        with converting_write_errors(folder, needed=0):
            ingested = ingest(
                tables,
                0,
                columns,
                cleaning.compose(settings.cleaning),
                label_separator=settings.label_separator,
                keep_unlabelled=False,
                bad=bad,
                path=folder / "ingested.arrow",
            )
        if len(ingested):
            encoder = _create_encoder(ingested, columns, task, renames, source.name)
            notes += encoder.notes
            usable, _ = encoder.check_and_stratify(ingested, bad, bad)
        if (message := bad.raise_or_summarize(ingested.num_read)) is not None:
            notes.append(message)
        if not len(ingested) or not usable.any():
            raise ValueError(f"{source.name} has no usable rows.")
        path = folder / "rows.arrow"
        with converting_write_errors(path, needed=(folder / "ingested.arrow").stat().st_size):
            _write(ingested, usable, encoder, path, pair=columns.text_pair is not None)
    reasons: Counter[str] = sum(bad.reasons.values(), Counter())
    return LabelledRows(
        open_dataset(path, "evaluation"),
        list(zip((table.name for table in tables), ingested.first_ids, strict=True)),
        [SkippedRows(split or "data", reason, count) for reason, count in reasons.items()],
        [*source.notes, *describe_unused_format(source, text_format), *notes],
    )


def _choose_split(tables: Mapping[str, Sequence[Table]], split: str | None, name: str) -> Sequence[Table]:
    """Return the tables of the chosen split, or of the only one."""
    if split is None and len(tables) == 1:
        return next(iter(tables.values()))
    if split is None or split not in tables:
        problem = "several splits" if split is None else f"no split '{split}'"
        raise ValueError(f"{name} has {problem}; choose one with --split: {', '.join(tables)}.")
    return tables[split]


def _choose_columns(table: Table, settings: DataSettings, model_columns: ModelColumns) -> tuple[Columns, list[str]]:
    """Return the columns to read, and messages about guesses."""
    has_pairs = len(model_columns.text) == 2
    if settings.text_pair_column is not None and not has_pairs:
        raise ValueError("The model reads one text per row, not a pair of texts. Omit --text_pair_column.")
    present = table.columns()
    defaults = dict(zip(("text_column", "text_pair_column"), model_columns.text, strict=False))
    defaults["label_column"] = ",".join(model_columns.label)
    is_present = {name: value in present for name, value in defaults.items()}
    is_present["label_column"] = set(model_columns.label) <= set(present)
    chosen: dict[str, Any] = {
        name: value for name, value in defaults.items() if getattr(settings, name) is None and is_present[name]
    }
    columns, notes = choose_columns(table, dataclasses.replace(settings, **chosen))
    if not has_pairs:
        return dataclasses.replace(columns, text_pair=None), notes
    if columns.text_pair is None:
        raise ValueError(
            f"The model needs pairs of texts; set --text_pair_column. Columns of {table.name}: {', '.join(present)}."
        )
    return columns, notes


class _ModelLabelReader(LabelReader):
    """Reader that returns the codes of a model's labels for the labels of a data set.

    Several labels of a row that mean the same label of the model are merged into one.

    Args:
        reader: reads the labels of the data set, with codes of its own.
        meanings: label of the model for each code of `reader`.
        label_names: labels of the model in the order of their codes.
    """

    def __init__(self, reader: LabelReader, meanings: Sequence[str], label_names: Sequence[str]) -> None:
        self.names = tuple(label_names)
        self.form = reader.form
        self._reader = reader
        self._codes = np.array([label_names.index(name) for name in meanings], dtype=np.int64)

    def read(self, labels: pa.ListArray) -> RowLabels:
        row_labels = self._reader.read(labels)
        codes = self._codes[row_labels.codes]
        rows = np.repeat(np.arange(len(labels)), row_labels.lengths)
        _, first = np.unique(rows * len(self.names) + codes, return_index=True)
        kept = np.sort(first)
        return RowLabels(codes[kept], np.bincount(rows[kept], minlength=len(labels)), row_labels.invalid)

    def explain_unreadable(self, label: list[str]) -> str | None:
        return self._reader.explain_unreadable(label)


def _create_encoder(
    rows: IngestedRows, columns: Columns, task: Task, renames: Mapping[str, str], name: str
) -> LabelEncoder:
    """Return an encoder that encodes the labels of rows as the codes of a model's labels.

    Raises:
        ValueError: if the labels do not fit the task, or the model does not have some of them.
    """
    task_class, column = type(task), columns.joined_label_columns
    try:
        task_class.check_forms(rows.forms, column)
    except ValueError as error:
        raise ValueError(f"The labels in {name} do not fit the model: {error}") from None
    if task.labels_are_numbers:
        return ScoreEncoder(task_class, column, _describe_unused_renames(renames, (), name))
    codes = LabelCodes.of_model(task.label_names, renames)
    reader: LabelReader
    notes: list[str] = []
    labels: Collection[str] = ()  # names of the labels in the data, if they have names there
    length = rows.forms.indicator_length
    if length is not None and len(columns.label) == 1:
        reader = _create_list_reader(length, column, task, name)
        notes.append(
            f"The lists in column '{column}' of {name} are read as a 0 or 1 for each label in the order of the model: "
            f"{_join_names(task)}."
        )
    elif length is not None:
        _check_known(codes.count_unknown(dict.fromkeys(columns.label, 1)), task, name, "columns")
        labels = _find_names(columns.label, codes)
        meanings = [renames.get(label, label) for label in labels]
        _check_columns(labels, meanings, task, name)
        reader = _ModelLabelReader(IndicatorReader(columns.label), meanings, task.label_names)
    else:
        counts: Counter[str] = Counter()
        for batch in rows.batches():
            counts.update(count_values(batch.column("label").flatten()))
        _check_known(codes.count_unknown(counts), task, name, "rows")
        labels = set(_find_names(list(counts), codes))
        meanings = [renames.get(label, label) for label in codes.names]
        reader = _ModelLabelReader(NameReader(codes), meanings, task.label_names)
    notes += _describe_unused_renames(renames, labels, name)
    encoder = MultiLabelEncoder if task.several_per_row else SingleLabelEncoder
    return encoder(task_class, column, reader, np.ones(task.num_labels, dtype=np.int64), notes)


def _describe_unused_renames(renames: Mapping[str, str], labels: Collection[str], name: str) -> list[str]:
    """Return a message about renamed labels that are not among the labels of a data set."""
    unused = [repr(old) for old in renames if old not in labels]
    return [f"{WARNING}{name} does not have these labels of --label_map: {', '.join(unused)}."] if unused else []


def _create_list_reader(length: int, column: str, task: Task, name: str) -> IndicatorReader:
    """Return a reader of lists that hold a 0 or 1 for each label, in the order of the model."""
    if length != task.num_labels:
        raise ValueError(
            f"The lists in column '{column}' of {name} have {length} zeros and ones; the model has {task.num_labels} "
            "labels."
        )
    return IndicatorReader(task.label_names)


def _find_names(values: Sequence[str], codes: LabelCodes) -> list[str]:
    """Return the label name of each value, all of which have a label code."""
    return [codes.names[code] for code in codes.encode(pa.array(values, pa.string()))]


def _check_columns(labels: Sequence[str], meanings: Sequence[str], task: Task, name: str) -> None:
    """Check that a data set has one column for each label.

    Args:
        labels: label of each column.
        meanings: label of the model for each column. Several columns may mean the same label.
        task: the model's task.
        name: name of the data set.
    Raises:
        ValueError: if a label of the model has no column, or a label has several.
    """
    missing = [label for label in task.label_names if label not in labels and label not in meanings]
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if missing or repeated:
        problem = f"missing: {', '.join(missing)}" if missing else f"several columns: {', '.join(repeated)}"
        raise ValueError(f"Expected one label column in {name} for each label of the model; {problem}.")


def _check_known(unknown: Counter[str], task: Task, name: str, unit: str) -> None:
    """Raise ValueError if there are labels that the model does not have.

    Args:
        unknown: number of rows (or columns) of each unknown label.
        task: the model's task.
        name: name of the data set.
        unit: what is counted, in the plural.
    """
    if not unknown:
        return
    described, example = [], ""
    for label, count in unknown.most_common(MAX_NAMES_SHOWN):
        nearest = difflib.get_close_matches(label, task.label_names, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        example = example or (f"{label}={nearest[0]}" if nearest else "")
        described.append(f"{label!r} ({count:,} {unit[:-1] if count == 1 else unit}{hint})")
    more = f", and {len(unknown) - MAX_NAMES_SHOWN:,} more" if len(unknown) > MAX_NAMES_SHOWN else ""
    raise ValueError(
        f"{name} has {len(unknown):,} label{'s' if len(unknown) > 1 else ''} that the model does not have: "
        f"{', '.join(described)}{more}. The model's labels: {_join_names(task)}. Rename labels with --label_map "
        f"{example or 'old=new'}, or remove these rows."
    )


def _join_names(task: Task) -> str:
    """Return the names of the first labels."""
    return ", ".join(task.label_names[:MAX_NAMES_SHOWN]) + (", ..." if task.num_labels > MAX_NAMES_SHOWN else "")


def _write(rows: IngestedRows, usable: NDArray[np.bool_], encoder: LabelEncoder, path: Path, *, pair: bool) -> None:
    """Write the usable rows with their label codes to an Arrow file."""
    texts = ["text", "text_pair"] if pair else ["text"]
    schema = pa.schema([("id", pa.int64()), *((name, pa.string()) for name in texts), ("label", encoder.label_type)])
    start = 0
    with RowWriter(path, schema) as writer:
        for batch in rows.batches():
            chosen = batch.filter(pa.array(usable[start : start + batch.num_rows]))
            start += batch.num_rows
            columns = [chosen.column("id"), *(chosen.column(text) for text in texts)]
            labels = encoder.encode_labels(chosen.column("label"))
            writer.append_batch(pa.record_batch([*columns, labels], schema=schema))
