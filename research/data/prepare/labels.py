"""Read labels from values in files, and encode label names as label codes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from research.tasks.label_forms import LabelForms
from research.tasks.numbers import NUMBER, WHOLE_NUMBER, without_exponent

_INTEGER = re.compile(r"[+-]?\d+")
_LEADING_ZERO = re.compile(r"[+-]?0\d.*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_EMOJI_STYLES = "\ufe0e\ufe0f"
"""Invisible characters that select the style of an emoji."""
_TRUTH = {"true": "1", "false": "0"}
"""The number that means the same as each truth value."""
MISSING = "missing label"
"""Reason to report for a bad row without a label."""


class BadLabelError(ValueError):
    """Raised for a label that no task can read."""


class MissingLabelError(BadLabelError):
    """Raised for a row without a label."""

    def __init__(self) -> None:
        super().__init__(MISSING)


def read_label(value: Any, forms: LabelForms, *, typed: bool) -> list[str]:
    """Return the value of a label, or the values of a list of labels, as strings.

    Args:
        value: the value in the file.
        forms: records the form of the label.
        typed: whether the file distinguishes numbers from strings; if not, the form is derived from the string.
    Raises:
        MissingLabelError: if the label is missing.
        BadLabelError: if the label cannot be read.
    """
    if is_missing(value, typed=typed):
        raise MissingLabelError
    is_list = isinstance(value, list)
    elements = [_read_scalar(element, typed=typed) for element in (value if is_list else [value])]
    forms.add(elements, is_list=is_list)
    return [text for text, _ in elements]


POSSIBLE_MISSING_MARKS = {"na", "n/a", "none", "null"}
"""Marks for missing values that other programs write (here in lower case). Unlike the marks that `is_missing`
recognises, any of them may also be a real label name."""


def is_missing(value: Any, *, typed: bool) -> bool:
    """Return whether a value means that the label is missing. A list that is not empty does if all its values do.

    Args:
        value: the value in the file.
        typed: whether the file distinguishes numbers from strings.
    """
    if isinstance(value, list):
        return bool(value) and all(is_missing(element, typed=typed) for element in value)
    if isinstance(value, str):
        text = value.strip()
        return not text or text.lower() in ("nan", "<na>", "#n/a")
    return value is None or (isinstance(value, float) and math.isnan(value))


def _read_scalar(value: Any, *, typed: bool) -> tuple[str, str]:
    """Return a label that is not a list as a string, and the name of its form: str, int, float or bool."""
    if is_missing(value, typed=typed):  # a value inside a list; a missing label as a whole is noticed earlier
        raise BadLabelError(MISSING)
    if isinstance(value, str):
        text = value.strip()
        if not value.isascii() and _SURROGATE.search(value):
            raise BadLabelError("the label is invalid Unicode (half of a surrogate pair)")
        if typed:
            return value, "str"
        return value, "int" if _INTEGER.fullmatch(text) else "float" if NUMBER.fullmatch(text) else "str"
    for scalar in (bool, int, float):
        if isinstance(value, scalar):
            return str(value), scalar.__name__
    raise BadLabelError(f"the label has the type {type(value).__name__}, expected a string, a number or a list")


class LabelCodes:
    """Mapping from labels as written in the files to label codes.

    Args:
        names: label names in the order of their codes.
        to_name: function that returns the label name for a label as written in the file.
        num_declared: number of label names that the file declares.
    """

    def __init__(self, names: Sequence[str], to_name: Callable[[str], str], num_declared: int = 0) -> None:
        self.names = tuple(names)
        self.num_declared = num_declared
        self._to_name = to_name
        self._codes = {name: code for code, name in enumerate(names)}

    @classmethod
    def learn(cls, values: Iterable[str]) -> LabelCodes:
        """Return label codes for the labels in the training rows.

        The label names are sorted, as numbers if all of them are numbers. The rules for names are the same for all file
        types: spaces around a label are ignored, and if all labels are whole numbers, `+1`, `1.0` and `1` are the same
        label. But integers are identifiers, which are kept unchanged, if any of them has leading zeros or all have the
        same width, as postcodes have.
        """
        stripped = {value.strip() for value in values}
        are_quantities = _are_quantities(stripped)
        names = {_simplify_number(value) if are_quantities else value for value in stripped}

        def to_name(value: str) -> str:
            return _match_name(value.strip(), names)

        are_numbers = all(NUMBER.fullmatch(name) for name in names)
        return cls(sorted(names, key=(lambda name: (float(name), name)) if are_numbers else None), to_name)

    @classmethod
    def from_declared(cls, names: Sequence[str]) -> LabelCodes:
        """Return label codes for the names that a file declares, which are used unchanged."""
        return cls(names, str, len(names))

    @classmethod
    def of_model(cls, names: Sequence[str], renames: Mapping[str, str]) -> LabelCodes:
        """Return label codes for the labels of another file, which a trained model evaluates.

        A renamed label keeps its own code, so that a row that repeats a label differs from a row whose labels get the
        same name.

        Args:
            names: label names of the model, in the order of their codes.
            renames: label name of the model for labels that the file writes differently.
        Returns:
            Codes of the model's labels, followed by those of the other renamed labels.
        """
        known = dict.fromkeys([*names, *renames])

        def to_name(value: str) -> str:
            text = value.strip()
            # Names that a file declared are used unchanged, with any spaces.
            return value if value in names and text not in renames else _match_name(text, known)

        return cls(tuple(known), to_name)

    def encode(self, values: pa.StringArray) -> NDArray[np.int64]:
        """Return the label code of each value, -1 for an unknown value."""
        encoded = values.dictionary_encode()
        codes = [self._codes.get(self._to_name(value), -1) for value in encoded.dictionary.to_pylist()]
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        code_of_value: NDArray[np.int64] = np.array(codes, dtype=np.int64)[indices]
        return code_of_value

    def with_names(self, names: Sequence[str]) -> LabelCodes:
        """Return label codes that include additional names, numbered after the existing ones."""
        return LabelCodes([*self.names, *names], self._to_name, self.num_declared)

    def find_unknown(self, values: Iterable[str]) -> set[str]:
        """Return the label names of values without a label code, except for undeclared integers.

        An undeclared integer is not a name but the code of a label that the file does not declare, so it is invalid.
        """
        return {self._to_name(value) for value in values if not self.is_undeclared_integer(value)} - self._codes.keys()

    def count_unknown(self, counts: Mapping[str, int]) -> Counter[str]:
        """Return the number of rows of each label name without a label code.

        Args:
            counts: number of rows of each label as written in the file.
        """
        unknown: Counter[str] = Counter()
        for value, count in counts.items():
            if (name := self._to_name(value)) not in self._codes:
                unknown[name] += count
        return unknown

    def is_undeclared_integer(self, value: str) -> bool:
        """Return whether the file declares label names, and a value is an integer that is not one of them."""
        return self.num_declared > 0 and value not in self._codes and _INTEGER.fullmatch(value) is not None

    def find_spellings(self, counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Return the spellings of each label name that is written in several ways, with the number of rows of each.

        Args:
            counts: number of rows of each label as written in the file.
        """
        by_name: dict[str, dict[str, int]] = {}
        for value, count in counts.items():
            by_name.setdefault(self._to_name(value), {})[value] = count
        return {name: spellings for name, spellings in by_name.items() if len(spellings) > 1}


def _match_name(text: str, names: Collection[str]) -> str:
    """Return the label name of a label: one file may write a number as 1, and another file as 1.0.

    Args:
        text: the label in the file, without surrounding spaces.
        names: all label names.
    """
    return text if text in names or (name := _simplify_number(text)) not in names else name


def _are_quantities(values: set[str]) -> bool:
    """Return whether all values are whole numbers that count something, not identifiers such as postcodes.

    Integers are identifiers if any of them has leading zeros, or if all have the same width (as in 1, 2, 3).
    """
    are_whole = all(WHOLE_NUMBER.fullmatch(without_exponent(value)) for value in values)
    if not are_whole or any(map(_LEADING_ZERO.fullmatch, values)):
        return False
    has_one_width = len(set(map(len, values))) == 1
    return not (has_one_width and all(map(_INTEGER.fullmatch, values)))


def _simplify_number(value: str) -> str:
    """Return a whole number without plus sign, exponent and `.0`, and any other value without surrounding spaces."""
    text = without_exponent(value)
    match = WHOLE_NUMBER.fullmatch(text)
    if match is None:
        return text
    return f"-{match[1]}" if text.startswith("-") and match[1].strip("0") else match[1]


def group_lookalikes(names: Iterable[str]) -> list[list[str]]:
    """Return groups of names that look alike or are likely to mean the same.

    Names in a group differ only in case, spaces, Unicode form, invisible characters, surrounding quotes, leading zeros,
    or in writing 1 as 1.0 or true.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_normalize_appearance(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _normalize_appearance(name: str) -> str:
    """Return a normal form that is the same for all names that look alike."""
    visible = "".join(char for char in unicodedata.normalize("NFKC", name) if not _is_invisible(char))
    text = " ".join(visible.casefold().split())
    text = text.strip(_QUOTES).strip() or text
    text = _simplify_number(_TRUTH.get(text, text))
    return text.lstrip("0") or "0" if _INTEGER.fullmatch(text) else text


def _is_invisible(char: str) -> bool:
    """Return whether a character is invisible: a formatting or control character, or an emoji style selector."""
    return char in _EMOJI_STYLES or (unicodedata.category(char) in ("Cf", "Cc") and not char.isspace())


def parse_scores(values: pa.StringArray) -> NDArray[np.float64]:
    """Return each value as a number, NaN for values that are not numbers."""
    return np.array([_parse_score(value.strip()) for value in values.to_pylist()], dtype=np.float64)


def _parse_score(value: str) -> float:
    return float(value) if NUMBER.fullmatch(value) else math.nan


def find_distinct_values(values: pa.StringArray) -> list[str]:
    """Return the distinct values."""
    unique: list[str] = pc.unique(values).to_pylist()
    return unique


def count_values(values: pa.StringArray) -> Counter[str]:
    """Return how often each value occurs."""
    counted = pc.value_counts(values)
    return Counter(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)))
