"""Warn of labels that have a second plausible interpretation, and name the setting that selects it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from research.data.prepare.labels import POSSIBLE_MISSING_MARKS, group_lookalikes
from research.tasks.base import Task
from research.tasks.label_forms import LabelForms

_SEPARATORS = (",", ";", "|", "/")
"""Characters that may separate several label names in one string."""
_MIN_ROWS_TO_DETECT_IDS = 20
"""Minimum number of training rows for a warning about ids."""
_MAX_SHOWN = 3
"""Maximum number of labels in a warning."""


def warn_of_other_interpretations(
    task_class: type[Task], forms: LabelForms, counts: Mapping[str, int], column: str
) -> list[str]:
    """Return a warning for each other plausible interpretation of the labels.

    Args:
        task_class: the task that was guessed.
        forms: how the labels are written in the files.
        counts: number of training rows per label name or, for scores, per value. If there are many different scores,
            only some of them are counted.
        column: name of the label column.
    """
    warnings = task_class.other_interpretations(forms, counts, column)
    if not task_class.labels_are_numbers:
        if not forms.has_lists:
            warnings += _warn_of_ids(counts, column)
        warnings += _warn_of_several_names_in_one_string(list(counts), column) + _warn_of_marks(counts, column)
    return [f"Warning: {warning}" for warning in warnings]


def warn_of_spellings(spellings: Mapping[str, Mapping[str, int]], names: Sequence[str], column: str) -> list[str]:
    """Return a warning about merged spellings of labels, and one about different labels that look alike.

    Args:
        spellings: number of rows per spelling, for each label name that is written in several ways.
        names: all label names.
        column: name of the label column.
    """
    notes = []
    if spellings:
        merged = [
            f"{_list_spellings(counts)} are read as the label {name!r}" for name, counts in sorted(spellings.items())
        ]
        notes.append(f"Warning: Merged labels of column '{column}': {_list_first(merged)}.")
    alike = [" and ".join(map(repr, sorted(group))) for group in group_lookalikes(names)]
    if alike:
        notes.append(
            f"Warning: Labels of column '{column}' look alike but are read as different labels: {_list_first(alike)}. "
            "If they are the same label, use the same spelling."
        )
    return notes


def _warn_of_ids(counts: Mapping[str, int], column: str) -> list[str]:
    """Warn if the number of different labels exceeds half the number of rows, as in a column of ids or texts."""
    num_rows = sum(counts.values())
    if num_rows < _MIN_ROWS_TO_DETECT_IDS or len(counts) <= num_rows / 2:
        return []
    return [
        f"Column '{column}' holds {len(counts):,} different labels in {num_rows:,} training rows, which suggests ids "
        "or texts. Set --label_column if a different column holds the labels."
    ]


def _warn_of_marks(counts: Mapping[str, int], column: str) -> list[str]:
    """Warn of labels that often mark a missing label: NA or similar names, or -1 if all other labels are numbers."""
    marks = [name for name in counts if name.casefold() in POSSIBLE_MISSING_MARKS]
    other_names = [name for name in counts if name != "-1"]
    if "-1" in counts and len(other_names) > 1 and all(map(str.isdigit, other_names)):
        marks.append("-1")
    if not marks:
        return []
    shown = _list_first([f"{name!r} (in {counts[name]:,} training rows)" for name in marks])
    return [
        f"Labels of column '{column}' that often mark a missing label are read as classes: {shown}. If the labels are "
        "missing, leave their cells empty, or remove the rows."
    ]


def _warn_of_several_names_in_one_string(names: Sequence[str], column: str) -> list[str]:
    """Warn if labels seem to be several names in one string.

    These are names joined by a separator, such as `joy,anger` (if the parts of most such labels also occur in another
    label), or lists written as text, such as `['joy', 'anger']`.
    """
    for separator in _SEPARATORS:
        parts = {name: [part.strip() for part in name.split(separator)] for name in names}
        joined = [name for name in names if len(parts[name]) > 1]
        num_names_with: dict[str, int] = {}
        for _, part in {(name, part) for name in names for part in parts[name]}:
            num_names_with[part] = num_names_with.get(part, 0) + 1
        with_known_parts = [name for name in joined if all(part and num_names_with[part] > 1 for part in parts[name])]
        if joined and len(with_known_parts) > len(joined) / 2:
            return [
                f"Labels of column '{column}' look like several names joined by '{separator}' "
                f"({_list_first(list(map(repr, with_known_parts)))}), but each is read as one class. To read them as "
                f"several labels per row, set --label_separator '{separator}'."
            ]
    if names and all(name.startswith("[") and name.endswith("]") for name in names):
        return [
            f"Labels of column '{column}' look like lists written as text ({_list_first(list(map(repr, names)))}), but "
            "each is read as one class. Store them as lists in jsonl or parquet, or as names joined by "
            "--label_separator."
        ]
    return []


def _list_spellings(counts: Mapping[str, int]) -> str:
    """Join the spellings of a label into one string, each with its number of rows."""
    return " and ".join(
        f"{value!r} ({count:,} {'row' if count == 1 else 'rows'})" for value, count in sorted(counts.items())
    )


def _list_first(items: Sequence[str]) -> str:
    """Join the first items into one string, and add how many more there are."""
    more = f"; and {len(items) - _MAX_SHOWN:,} more" if len(items) > _MAX_SHOWN else ""
    return "; ".join(items[:_MAX_SHOWN]) + more
