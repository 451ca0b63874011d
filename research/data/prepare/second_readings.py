"""Labels that could be read in another way: a warning, and the setting that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from research.data.prepare.labels import NO_LABEL_WORDS, lookalikes
from research.tasks.base import Task
from research.tasks.label_forms import LabelForms

SEPARATORS = (",", ";", "|", "/")
_MIN_ROWS = 20
_NUM_SHOWN = 3


def warn_of_second_readings(kind: type[Task], forms: LabelForms, counts: Mapping[str, int], column: str) -> list[str]:
    """Return a warning for each other reading of the labels that is plausible.

    Args:
        kind: the kind of labels that was guessed.
        forms: what the labels look like.
        counts: training rows per label name; of scores, per value, as far as they were counted.
        column: name of the label column.
    """
    warnings = kind.second_readings(forms, counts, column)
    if not kind.labels_are_numbers:
        if not forms.in_lists:
            warnings += _warn_of_ids(counts, column)
        warnings += _warn_of_joined_names(list(counts), column) + _warn_of_missing(counts, column)
    return [f"Warning: {warning}" for warning in warnings]


def warn_of_spellings(spellings: Mapping[str, Mapping[str, int]], names: Sequence[str], column: str) -> list[str]:
    """Return what to report of labels that are written in several ways.

    Args:
        spellings: for each name that is written in several ways, these ways with their rows.
        names: all label names.
        column: name of the label column.
    """
    notes = []
    if spellings:
        merged = [
            f"{' and '.join(f'{way!r} ({count:,} rows)' for way, count in sorted(ways.items()))} are the label {name!r}"
            for name, ways in sorted(spellings.items())
        ]
        notes.append(f"Warning: Merged labels of column '{column}': {_shorten(merged)}.")
    apart = [" and ".join(map(repr, sorted(group))) for group in lookalikes(names)]
    if apart:
        notes.append(
            f"Warning: Labels of column '{column}' that look alike are kept apart: {_shorten(apart)}. If they are one "
            "label, write them alike."
        )
    return notes


def _warn_of_ids(counts: Mapping[str, int], column: str) -> list[str]:
    num_rows = sum(counts.values())
    if num_rows < _MIN_ROWS or len(counts) <= num_rows / 2:
        return []
    return [
        f"Column '{column}' holds {len(counts):,} different labels in {num_rows:,} training rows, as ids or texts do; "
        "label_column chooses another column."
    ]


def _warn_of_missing(counts: Mapping[str, int], column: str) -> list[str]:
    """Warn of labels by which files say that there is none: NA and the like, and -1 beside the numbers of classes."""
    marks = [name for name in counts if name.casefold() in NO_LABEL_WORDS]
    others = [name for name in counts if name != "-1"]
    if "-1" in counts and len(others) > 1 and all(map(str.isdigit, others)):
        marks.append("-1")
    if not marks:
        return []
    shown = _shorten([f"{name!r} (in {counts[name]:,} of the training rows)" for name in marks])
    return [
        f"Labels of column '{column}' that often stand for none are read as classes: {shown}. If they are none, leave "
        "their cells empty, or remove the rows."
    ]


def _warn_of_joined_names(names: Sequence[str], column: str) -> list[str]:
    """Warn of names that are made of other names: `joy,anger` beside `joy` and `anger`."""
    for separator in SEPARATORS:
        parts = {name: [part.strip() for part in name.split(separator)] for name in names}
        joined = [name for name in names if len(parts[name]) > 1]
        uses: dict[str, int] = {}
        for part in {(name, part) for name in names for part in parts[name]}:
            uses[part[1]] = uses.get(part[1], 0) + 1
        made_of_others = [name for name in joined if all(part and uses[part] > 1 for part in parts[name])]
        if joined and len(made_of_others) > len(joined) / 2:
            return [
                f"Labels of column '{column}' look like several names joined by '{separator}' "
                f"({_shorten(list(map(repr, made_of_others)))}), read as one class each; "
                f"label_separator='{separator}' reads them as several labels per row."
            ]
    if names and all(name.startswith("[") and name.endswith("]") for name in names):
        return [
            f"Labels of column '{column}' look like lists written as text ({_shorten(list(map(repr, names)))}), read "
            "as one class each; store them as lists in jsonl or parquet, or as names joined by label_separator."
        ]
    return []


def _shorten(items: Sequence[str]) -> str:
    more = f"; and {len(items) - _NUM_SHOWN:,} more" if len(items) > _NUM_SHOWN else ""
    return "; ".join(items[:_NUM_SHOWN]) + more
