"""Labels: what kind they are, what they are called, and the numbers that stand for them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from research.task import ProblemType

_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
MISSING = "missing label"


class BadLabelError(ValueError):
    """A label that no task can use."""


@dataclass(frozen=True)
class Kind:
    """What a label is."""

    scalar: str | None
    """int, float, bool or str; None for an empty list."""
    in_list: bool
    """Whether it came in a list."""


def read_label(value: Any, *, typed: bool) -> tuple[list[str], set[Kind]]:
    """Return a label's values as strings (one, or those of a list) and what they are.

    Args:
        value: as the file has it.
        typed: whether the file tells numbers from strings; if not, the string is looked at.
    Raises:
        BadLabelError: if it is missing or unusable.
    """
    if not isinstance(value, list):
        text, scalar = _read_scalar(value, typed=typed)
        return [text], {Kind(scalar, in_list=False)}
    if not value:
        return [], {Kind(None, in_list=True)}
    elements = [_read_scalar(element, typed=typed) for element in value]
    texts = [text for text, _ in elements]
    if len(set(texts)) < len(texts):
        raise BadLabelError(
            "a label is listed twice (a list holds the names of the labels that apply, not zeros and ones)"
        )
    return texts, {Kind(scalar, in_list=True) for _, scalar in elements}


def _read_scalar(value: Any, *, typed: bool) -> tuple[str, str]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise BadLabelError(MISSING)
    if isinstance(value, str):
        text = value if typed else value.strip()
        if not text.strip() or (not typed and text.lower() == "nan"):
            raise BadLabelError(MISSING)
        if typed:
            return text, "str"
        return text, "int" if _INTEGER.fullmatch(text) else "float" if _NUMBER.fullmatch(text) else "str"
    for scalar in (bool, int, float):
        if isinstance(value, scalar):
            return str(value), scalar.__name__
    raise BadLabelError(f"the label is a {type(value).__name__}, expected a string, a number or a list")


def guess_problem_type(kinds: set[Kind], column: str) -> ProblemType:
    """Return the task that the kinds of labels suggest.

    Raises:
        ValueError: if they do not go together.
    """
    scalars = {kind.scalar for kind in kinds}
    if len({kind.in_list for kind in kinds}) > 1:
        raise ValueError(
            f"Column '{column}' holds lists in some rows and single labels in others; make all of them one."
        )
    if any(kind.in_list for kind in kinds):
        return "multi_label"
    if "float" in scalars and not scalars <= {"int", "float"}:
        raise ValueError(
            f"Column '{column}' holds numbers with a fraction in some rows and text in others. "
            "Mend the rows, or say which task it is: task=single_label takes all of them as names."
        )
    return "regression" if "float" in scalars else "single_label"


def check_problem_type(problem_type: ProblemType, kinds: set[Kind], column: str) -> None:
    """Raise ValueError if labels of these kinds cannot be of this task."""
    in_lists = any(kind.in_list for kind in kinds)
    if problem_type == "multi_label" and not in_lists:
        raise ValueError(
            f"task=multi_label needs lists of labels, in jsonl or parquet; column '{column}' holds single values."
        )
    if problem_type != "multi_label" and in_lists:
        raise ValueError(
            f"task={problem_type} needs one value per row; column '{column}' holds lists. Set task=multi_label."
        )
    if problem_type == "regression" and not any(kind.scalar in ("int", "float") for kind in kinds):
        raise ValueError(f"task=regression needs numbers; column '{column}' holds none.")


class LabelCodes:
    """Turns labels as read into their numbers.

    Args:
        names: label names in the order of the model's outputs.
        numeric: whether the labels are integers, so that "01" and "1" are the same.
    """

    def __init__(self, names: Sequence[str], *, numeric: bool) -> None:
        self.names = tuple(names)
        self._numeric = numeric
        self._codes = {name: code for code, name in enumerate(names)}

    @classmethod
    def learn(cls, values: Iterable[str], kinds: set[Kind], declared: tuple[str, ...] | None) -> LabelCodes:
        """Take the names from the values of the training rows, sorted, or in the order that the file declares."""
        numeric = all(kind.scalar in ("int", None) for kind in kinds)
        if declared is not None:
            return cls(declared, numeric=False)
        names = {_name(value, numeric=numeric) for value in values}
        numbers = all(_NUMBER.fullmatch(name) for name in names)
        return cls(sorted(names, key=(lambda name: (float(name), name)) if numbers else None), numeric=numeric)

    def encode(self, values: pa.StringArray) -> NDArray[np.int64]:
        """Return the number of each value, -1 for an unknown one."""
        encoded = values.dictionary_encode()
        codes = [self._codes.get(_name(value, numeric=self._numeric), -1) for value in encoded.dictionary.to_pylist()]
        chosen: NDArray[np.int64] = np.array(codes, dtype=np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]
        return chosen


def _name(value: str, *, numeric: bool) -> str:
    return str(int(value)) if numeric and _INTEGER.fullmatch(value) else value


def parse_scores(values: pa.StringArray) -> NDArray[np.float64]:
    """Return each value as a number, NaN for what is none."""
    return np.array([_parse_score(value) for value in values.to_pylist()], dtype=np.float64)


def _parse_score(value: str) -> float:
    return float(value) if _NUMBER.fullmatch(value) else math.nan


def distinct(values: pa.StringArray) -> list[str]:
    """Return the different values."""
    found: list[str] = pc.unique(values).to_pylist()
    return found
