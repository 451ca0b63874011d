"""Read a data set, learn its labels, assign its rows to splits, and write the splits."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from research.data.prepare.arrow import RowWriter
from research.data.prepare.cleaning import CleaningStep
from research.data.prepare.columns import Columns, check_columns_exist, choose_columns
from research.data.prepare.folds import deal_folds, warn_if_unequal
from research.data.prepare.groups import join_units
from research.data.prepare.ingest import IngestedRows, ingest
from research.data.prepare.label_encoder import LabelEncoder
from research.data.prepare.label_tally import LabelTally
from research.data.prepare.learn_labels import learn_labels
from research.data.prepare.splits import Hashes, Strata, carve, sample
from research.data.prepare.streamed import SOURCE_OF_STREAMED_LABELS, LabelForm, check_splits_exist
from research.data.prepare.unlabelled import SPLIT_THAT_MAY_LACK_LABELS, explain_unlabelled, lacks_label_columns
from research.data.sources.bad_rows import BadRows, SkippedRows
from research.data.sources.base import Source
from research.data.sources.find import describe_unused_format
from research.data.sources.reading import convert_read_errors
from research.data.sources.split_names import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from research.data.sources.text_format import TextFormat
from research.settings.config import DataSettings
from research.tasks.base import TASKS

ROWS_FORMAT = 3
"""Version of the prepared rows. Increase it by one whenever the same data and settings result in different rows or
facts, because code that reads, checks, cleans, labels or splits rows has changed. Cached rows of other versions are not
used."""
_NO_SPLIT = -1
"""Stands for the number of a split in rows that belong to no split."""


def prepare(source: Source, settings: DataSettings, clean: CleaningStep, target: Path) -> dict[str, Any]:
    """Prepare a data set, and write train.arrow, validation.arrow and test.arrow into `target`.

    With --streaming, training rows are not read, and labels are learned from the validation rows. train.arrow is empty.

    Args:
        source: the data set.
        settings: the data settings.
        clean: function to apply to each text.
        target: existing directory for the files. Temporary files are written to its sibling directory `scratch`.
    Returns:
        JSON-serialisable facts about the splits, among them the task, the columns, label names, label counts, mean
        and standard deviation of scores, numbers of rows, and messages to log.
    Raises:
        ValueError: if the data cannot be used.
    """
    scratch = target.with_name("scratch")
    scratch.mkdir()
    log: list[str] = []
    bad = BadRows(settings.bad_rows)
    policy = settings.unseen_labels
    # If unseen_labels is error or skip, it applies to rows with unseen labels instead of bad_rows.
    unseen = bad if policy is None or policy == "count_as_wrong" else BadRows(policy, "unseen_labels")
    columns, rows, notes = _read_splits(source, settings, clean, bad, scratch)
    log += notes
    num_read = sum(split_rows.num_read for split_rows in rows.values())
    learned_from = "validation" if settings.streaming else "train"
    learning_rows = rows[learned_from]
    try:
        _check_not_empty(source, len(learning_rows), learned_from)
        encoder = learn_labels(learning_rows, columns, None if settings.task is None else TASKS[settings.task])
    except ValueError:
        # An error about bad rows, if there are any, explains more than the error that results from them.
        bad.raise_or_summarize(num_read)
        raise
    if settings.streaming:
        encoder.accept_declared_labels(SOURCE_OF_STREAMED_LABELS)
    unlabelled = _find_unlabelled(rows, learning_rows, encoder)
    if policy == "count_as_wrong":
        evaluated = [split_rows for name, split_rows in rows.items() if name not in ("train", *unlabelled)]
        encoder.admit_unseen_labels(evaluated)
    usable_and_strata = {
        name: _accept_all(split_rows) if name in unlabelled else encoder.check_and_stratify(split_rows, bad, unseen)
        for name, split_rows in rows.items()
    }
    collectors = [bad] if unseen is bad else [bad, unseen]
    log += [message for collector in collectors if (message := collector.raise_or_summarize(num_read)) is not None]
    for name, (usable, _) in usable_and_strata.items():
        _check_not_empty(source, int(usable.sum()), name)

    try:
        final_splits, notes = _assign_splits(rows, usable_and_strata, settings)
    except ValueError as error:  # the notes on how labels are read may explain why there are too few rows
        raise ValueError(" ".join([str(error), *encoder.notes])) from None
    tally, num_rows = _write_splits(
        rows, final_splits, encoder, tuple(unlabelled), pair=columns.text_pair is not None, target=target
    )
    log += [encoder.describe(guessed=settings.task is None), *encoder.notes, *notes]
    label_facts = tally.facts(learned_from)
    written = [name for name in SPLIT_NAMES if name != "train" or not settings.streaming]
    num_unseen = {name: label_facts["num_unseen"][name] for name in written}
    log += _describe_unseen(num_unseen, num_rows, encoder.unseen_names)
    labelled = [name for name in written if name not in unlabelled]
    log += _describe_missing_labels(tally.find_present_labels(labelled), encoder.label_names)
    log += [
        f"Warning: The {num_rows[name]:,} {name} rows have no labels ({reason}): they are predicted, but no metrics "
        "are computed on them."
        for name, reason in unlabelled.items()
    ]
    log.append(f"{source.name}: " + ", ".join(f"{name} {num_rows[name]:,}" for name in written) + " rows.")
    if settings.streaming:
        form = LabelForm(encoder.form, in_lists=learning_rows.forms.has_lists)
        label_facts["label_form"] = dataclasses.asdict(form)
    return {
        "task": encoder.task_class.name,
        "text_columns": columns.text_columns,
        "label_columns": list(columns.label),
        "label_names": list(encoder.label_names),
        **label_facts,
        "unseen_labels": list(encoder.unseen_names),
        "unlabelled": list(unlabelled),
        "num_rows": num_rows,
        "files": _list_files(rows, learned_from),
        "skipped_rows": [dataclasses.astuple(item) for item in _count_skipped_rows(rows, collectors)],
        "log": log,
    }


def _read_splits(
    source: Source, settings: DataSettings, clean: CleaningStep, bad: BadRows, scratch: Path
) -> tuple[Columns, dict[str, IngestedRows], list[str]]:
    """Return the columns, the rows of each split in the data set, and messages to log."""
    with convert_read_errors(source.name):
        tables = source.open(scratch)
    notes = []
    if settings.folds is not None and "test" in tables:
        tables = {name: split_tables for name, split_tables in tables.items() if name != "test"}
        notes.append(
            f"Warning: With --folds {settings.folds}, the test split of the data is not used: every training row is a "
            "test row in one of the folds."
        )
    first = tables["train"][0]
    with convert_read_errors(first.name):
        columns, guesses = choose_columns(first, settings)
    notes += guesses
    notes += describe_unused_format(source, TextFormat(settings.encoding, settings.quoting, tuple(settings.columns)))
    if settings.streaming:
        check_splits_exist(source.name, tables)
    rows: dict[str, IngestedRows] = {}
    num_tables = 0
    for name in SPLIT_NAMES:
        if name in tables and not (settings.streaming and name == "train"):
            may_be_unlabelled = name == SPLIT_THAT_MAY_LACK_LABELS
            split_columns = columns
            if may_be_unlabelled and lacks_label_columns(tables[name], columns, tables["train"][0]):
                split_columns = dataclasses.replace(columns, label=())
            for table in tables[name]:
                with convert_read_errors(table.name):
                    check_columns_exist(split_columns.names(), table)
                    notes += table.notes()
            if all(table.sampled_columns for table in tables[name]):
                split_columns = columns  # only the first rows were inspected: a later row may still have a label
            rows[name] = ingest(
                tables[name],
                num_tables,
                split_columns,
                clean,
                label_separator=settings.label_separator,
                keep_unlabelled=may_be_unlabelled,
                bad=bad,
                path=scratch / f"{name}.arrow",
            )
            num_tables += len(tables[name])
    return columns, rows, notes


def _find_unlabelled(
    rows: dict[str, IngestedRows], learning_rows: IngestedRows, encoder: LabelEncoder
) -> dict[str, str]:
    """Return the splits without labels, each with the reason why it counts as unlabelled.

    Args:
        rows: rows of each split in the data set.
        learning_rows: the rows from which the labels were learned.
        encoder: label encoder.
    """
    split_rows = rows.get(SPLIT_THAT_MAY_LACK_LABELS)
    reason = None if split_rows is None else explain_unlabelled(split_rows, learning_rows, encoder)
    return {} if reason is None else {SPLIT_THAT_MAY_LACK_LABELS: reason}


def _accept_all(rows: IngestedRows) -> tuple[NDArray[np.bool_], Strata]:
    """Return usable rows and strata as `check_and_stratify` does, for a split without labels: all rows, one stratum."""
    return np.ones(len(rows), dtype=np.bool_), np.zeros(len(rows), dtype=np.int32)


def _list_files(rows: dict[str, IngestedRows], default: str) -> dict[str, list[tuple[str, int]]]:
    """Return the files of each split, each with the id of its first row. Missing splits have those of `default`."""
    files = {}
    for split in SPLIT_NAMES:
        split_rows = rows.get(split, rows[default])
        names = (table.name for table in split_rows.tables)
        files[split] = list(zip(names, split_rows.first_ids, strict=True))
    return files


def _count_skipped_rows(rows: dict[str, IngestedRows], collectors: Sequence[BadRows]) -> list[SkippedRows]:
    """Return the number of skipped rows by split and reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for split, split_rows in rows.items():
        for number in range(split_rows.first_table, split_rows.first_table + len(split_rows.tables)):
            for bad in collectors:
                for reason, count in bad.reasons.get(number, {}).items():
                    counts[split, reason] += count
    return [SkippedRows(split, reason, count) for (split, reason), count in counts.items()]


def _check_not_empty(source: Source, num_rows: int, split: str) -> None:
    if not num_rows:
        raise ValueError(f"{source.name} has no usable rows for {split}.")


def _assign_splits(
    rows: dict[str, IngestedRows],
    usable_and_strata: dict[str, tuple[NDArray[np.bool_], Strata]],
    settings: DataSettings,
) -> tuple[dict[str, NDArray[np.int8]], list[str]]:
    """Assign each row of each split in the data set to its final split, or to none.

    Returns:
        For each split in the data set, the number of each row's final split (or _NO_SPLIT); and messages to log.
    """
    final_splits = {}
    notes = []
    for name, (usable, _) in usable_and_strata.items():
        final_splits[name] = np.where(usable, SPLIT_NAMES.index(name), _NO_SPLIT).astype(np.int8)
    hashes = {name: _select(split_rows.hashes, usable_and_strata[name][0]) for name, split_rows in rows.items()}
    groups = {
        name: _select(split_rows.groups, usable_and_strata[name][0])
        for name, split_rows in rows.items()
        if split_rows.groups is not None
    }
    if "train" in rows and not {"validation", "test"} <= rows.keys():
        usable, strata = usable_and_strata["train"]
        split_of_row, carving_notes = _split_training_rows(hashes, groups, strata[usable], settings)
        final_splits["train"][usable] = split_of_row
        notes += carving_notes
    notes += _describe_leaks(hashes, "text") + _describe_leaks(groups, "group")
    notes += _apply_limits(final_splits, {name: strata for name, (_, strata) in usable_and_strata.items()}, settings)
    return final_splits, notes


def _split_training_rows(
    hashes: dict[str, Hashes], groups: dict[str, Hashes], strata: Strata, settings: DataSettings
) -> tuple[NDArray[np.int8], list[str]]:
    """Return the split of each usable training row, so that there are validation and test rows; and messages to log.

    Args:
        hashes: hashes of the texts of each split in the data set.
        groups: hashes of the groups of each split in the data set; empty if rows have no groups.
        strata: stratum of each training row.
        settings: the data settings.
    """
    texts = hashes["train"]
    units = join_units(texts, groups["train"]) if groups else texts
    exists = np.zeros(len(texts), dtype=np.bool_)  # whether the text or the group also occurs in a different split
    for values in (hashes, groups):
        for name in values.keys() - {"train"}:
            exists |= np.isin(values["train"], values[name])
    existing = units[exists]
    split_of_row = np.full(len(texts), TRAIN, dtype=np.int8)
    shares = {VALIDATION: settings.validation_share, TEST: settings.test_share}
    shares = {split: share for split, share in shares.items() if SPLIT_NAMES[split] not in hashes}
    where = f"from {len(texts):,} training rows"
    if settings.folds is not None:
        del shares[TEST]
        fold_of_row = deal_folds(units, strata, settings.folds, settings.split_seed, existing)
        warn_if_unequal(fold_of_row)
        split_of_row[fold_of_row == settings.fold] = TEST
        where += f", fold {settings.fold} of 0 to {settings.folds - 1}"
    if shares:
        rest = split_of_row == TRAIN
        split_of_row[rest] = carve(
            units[rest], strata[rest], shares, settings.split_seed, existing, top_up=bool(groups)
        )
    parts = " and ".join(
        f"{(split_of_row == split).sum():,} {SPLIT_NAMES[split]} rows"
        for split in (VALIDATION, TEST)
        if SPLIT_NAMES[split] not in hashes
    )
    num_copies = len(texts) - len(np.unique(texts))
    copies = (
        f"; {num_copies:,} rows that repeat an earlier text are in the same split as that text" if num_copies else ""
    )
    together = f"; rows with the same {settings.group_column} are in the same split" if groups else ""
    return split_of_row, [f"Carved {parts} {where} (split_seed {settings.split_seed}){copies}{together}."]


def _select(hashes: Hashes, usable: NDArray[np.bool_]) -> Hashes:
    return hashes if usable.all() else hashes[usable]


def _describe_leaks(hashes: dict[str, Hashes], what: str) -> list[str]:
    """Return messages about rows whose text or group (`what`) also occurs in a different split of the data set."""
    notes = []
    for first, second in (("validation", "train"), ("test", "train"), ("test", "validation")):
        if first in hashes and second in hashes:
            num_shared = int(np.isin(hashes[first], hashes[second]).sum())
            if num_shared:
                notes.append(
                    f"{num_shared:,} of {len(hashes[first]):,} {first} rows have a {what} that is also in {second}; "
                    "they are kept."
                )
    return notes


def _apply_limits(
    final_splits: dict[str, NDArray[np.int8]], strata: dict[str, Strata], settings: DataSettings
) -> list[str]:
    """Reduce each split to its limit by setting rows of `final_splits` to _NO_SPLIT, and return messages to log."""
    notes = []
    for split, name in enumerate(SPLIT_NAMES):
        limit = getattr(settings, f"limit_{name}")
        if limit is None:
            continue
        source_split = name if name in final_splits else "train"
        members = np.flatnonzero(final_splits[source_split] == split)
        if limit >= len(members):
            continue
        chosen = members[sample(strata[source_split][members], limit, settings.split_seed)]
        final_splits[source_split][members] = _NO_SPLIT
        final_splits[source_split][chosen] = split
        notes.append(f"Limited {name} to {limit:,} of {len(members):,} rows.")
    return notes


def _write_splits(
    rows: dict[str, IngestedRows],
    final_splits: dict[str, NDArray[np.int8]],
    encoder: LabelEncoder,
    unlabelled: Sequence[str],
    *,
    pair: bool,
    target: Path,
) -> tuple[LabelTally, dict[str, int]]:
    """Write the file of each split, and return the tally of the labels and the number of rows per split."""
    texts = ["text", "text_pair"] if pair else ["text"]
    schema = pa.schema([("id", pa.int64()), *((name, pa.string()) for name in texts), ("label", encoder.label_type)])
    num_rows = dict.fromkeys(SPLIT_NAMES, 0)
    tally = encoder.create_tally()
    with ExitStack() as stack:
        writers = [stack.enter_context(RowWriter(target / f"{name}.arrow", schema)) for name in SPLIT_NAMES]
        for source_split, source_rows in rows.items():
            start = 0
            for batch in source_rows.batches():
                split_of_row = final_splits[source_split][start : start + batch.num_rows]
                start += batch.num_rows
                for split in _list_splits(split_of_row):
                    name = SPLIT_NAMES[split]
                    chosen = batch.filter(pa.array(split_of_row == split))
                    if name in unlabelled:
                        labels = pa.nulls(chosen.num_rows, encoder.label_type)
                    else:
                        labels = encoder.encode_labels(chosen.column("label"))
                        tally.add(name, labels)
                    columns = [chosen.column("id"), *(chosen.column(text) for text in texts), labels]
                    writers[split].append_batch(pa.record_batch(columns, schema=schema))
                    num_rows[name] += chosen.num_rows
    return tally, num_rows


def _describe_unseen(num_unseen: dict[str, int], num_rows: dict[str, int], names: Sequence[str]) -> list[str]:
    """Return warnings about rows with unseen labels, which count as wrong whatever the model predicts.

    Raises:
        ValueError: if all rows of a split have unseen labels.
    """
    notes = []
    for split, count in num_unseen.items():
        if count == num_rows[split]:
            raise ValueError(
                f"Every {split} row ({count:,} in total) has a label that does not occur in the training rows. Check "
                "that both splits have the same labels."
            )
        if count:
            notes.append(
                f"Warning: {count:,} of {num_rows[split]:,} {split} rows have labels that do not occur in the training "
                "rows; they count as wrong (see --unseen_labels)."
            )
    if notes and names:
        notes[-1] += f" These labels are {', '.join(map(repr, names[:5]))}{', ...' if len(names) > 5 else ''}."
    return notes


def _describe_missing_labels(present: dict[str, NDArray[np.bool_]], label_names: Sequence[str]) -> list[str]:
    """Return warnings about labels that no row of a split has, so that they are not trained or evaluated there."""
    notes = []
    for split, has_rows in present.items():
        missing = [name for name, has_row in zip(label_names, has_rows, strict=True) if not has_row]
        if missing:
            named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            notes.append(f"Warning: {len(missing):,} of {len(label_names):,} labels have no row in {split}: {named}.")
    return notes


def _list_splits(split_of_row: NDArray[np.int8]) -> Sequence[int]:
    """Return the numbers of the splits that occur in an array of split numbers."""
    return [int(split) for split in np.unique(split_of_row) if split != _NO_SPLIT]
