"""Labels as files have them: what kind they are, and the names that stand for them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from research.data.sources.numbers import MAX_WHOLE_CLASSES, NUMBER
from research.tasks.task import ProblemType

_INTEGER = re.compile(r"[+-]?\d+")
WHOLE = re.compile(r"[+-]?(\d+)(\.0*)?")
_LEADING_ZERO = re.compile(r"[+-]?0\d.*")
_HALF_OF_PAIR = re.compile("[\ud800-\udfff]")
_FEW_LISTS = 0.05
"""Share of the lists that may hold something else than zeros and ones by mistake."""
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_EMOJI_STYLES = "\ufe0e\ufe0f"
_TRUTH = {"true": "1", "false": "0"}
MISSING = "missing label"


class BadLabelError(ValueError):
    """A label that no task can use."""


class MissingLabelError(BadLabelError):
    """A row without a label."""

    def __init__(self) -> None:
        super().__init__(MISSING)


@dataclass(frozen=True)
class Kind:
    """What a label is."""

    scalar: str | None
    """int, float, bool or str; None for an empty list."""
    in_list: bool
    """Whether it came in a list."""


@dataclass
class LabelForms:
    """What the labels of a column look like, over all rows of a split."""

    kinds: set[Kind] = field(default_factory=set)
    """Kinds of labels met."""
    has_fractions: bool = False
    """Whether a number is not whole."""
    list_lengths: Counter[int] = field(default_factory=Counter)
    """Rows per length of their list."""
    indicator_lengths: Counter[int] = field(default_factory=Counter)
    """The same of the lists that hold nothing but 0 and 1, or false and true."""
    has_repeats: bool = False
    """Whether one of these holds a value twice."""
    num_columns: int = 1
    """Columns that a label is made of; if there are several, each holds a 0 or 1."""

    def read(self, value: Any, *, typed: bool) -> list[str]:
        """Return a label's values as strings (one, or those of a list), and take note of its form.

        Args:
            value: as the file has it.
            typed: whether the file tells numbers from strings; if not, the string is looked at.
        Raises:
            MissingLabelError: if there is none.
            BadLabelError: if it is unusable.
        """
        if is_missing(value, typed=typed):
            raise MissingLabelError
        is_list = isinstance(value, list)
        elements = [_read_scalar(element, typed=typed) for element in (value if is_list else [value])]
        texts = [text for text, _ in elements]
        self.kinds |= {Kind(scalar, is_list) for _, scalar in elements} or {Kind(None, is_list)}
        self.has_fractions |= any(scalar == "float" and not WHOLE.fullmatch(_plain(text)) for text, scalar in elements)
        if is_list:
            self.list_lengths[len(texts)] += 1
            if all(text.strip().lower() in ZEROS_AND_ONES for text in texts):
                self.indicator_lengths[len(texts)] += 1
                self.has_repeats |= len(set(texts)) < len(texts)
        return texts

    @property
    def only_zeros_and_ones(self) -> bool:
        """Whether no list holds anything but 0 and 1, or false and true."""
        return self.indicator_lengths == self.list_lengths

    @property
    def share_of_indicators(self) -> float:
        """Share of the lists that hold nothing but 0 and 1, or false and true; 0 if there are no lists."""
        return sum(self.indicator_lengths.values()) / max(sum(self.list_lengths.values()), 1)

    @property
    def has_single_values(self) -> bool:
        """Whether every row has one value, in a list or not."""
        return set(self.list_lengths) <= {1}

    @property
    def indicator_length(self) -> int | None:
        """Length of the lists if they hold a 0 or 1 per label, None if they hold the labels that apply.

        As lists of label names they would repeat one, or name both labels in every row. A few lists of another kind are
        bad rows: because of them all others would turn into the names 0 and 1.
        """
        if self.num_columns > 1:
            return self.num_columns
        if self.share_of_indicators < 1 - _FEW_LISTS:
            return None
        if self.has_repeats or set(self.indicator_lengths) == {2}:
            return self.indicator_lengths.most_common(1)[0][0]
        return None


ZEROS_AND_ONES = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
"""How a file may write, in lower case, whether a label applies."""


NO_LABEL_WORDS = {"na", "n/a", "none", "null"}
"""What programs write, in any case, for a value that is missing; any of them may be a class too."""


def is_missing(value: Any, *, typed: bool) -> bool:
    """Return whether a value stands for no label; a list does if all of its values do.

    Args:
        value: as the file has it.
        typed: whether the file tells numbers from strings.
    """
    if isinstance(value, list):
        return bool(value) and all(is_missing(element, typed=typed) for element in value)
    if isinstance(value, str):
        text = value.strip()
        return not text or text.lower() in ("nan", "<na>", "#n/a")
    return value is None or (isinstance(value, float) and math.isnan(value))


def _read_scalar(value: Any, *, typed: bool) -> tuple[str, str]:
    if is_missing(value, typed=typed):
        raise BadLabelError(MISSING)
    if isinstance(value, str):
        text = value.strip()
        if not value.isascii() and _HALF_OF_PAIR.search(value):
            raise BadLabelError("the label is invalid Unicode (half of a surrogate pair)")
        if typed:
            return value, "str"
        return value, "int" if _INTEGER.fullmatch(text) else "float" if NUMBER.fullmatch(text) else "str"
    for scalar in (bool, int, float):
        if isinstance(value, scalar):
            return str(value), scalar.__name__
    raise BadLabelError(f"the label is a {type(value).__name__}, expected a string, a number or a list")


def guess_problem_type(forms: LabelForms, values: Iterable[str], column: str) -> ProblemType:
    """Return the task that the forms of the labels suggest.

    Args:
        forms: what the labels look like.
        values: the different labels.
        column: name of the label column.
    Raises:
        ValueError: if they do not go together.
    """
    scalars = {kind.scalar for kind in forms.kinds}
    if len({kind.in_list for kind in forms.kinds}) > 1:
        raise ValueError(
            f"Column '{column}' holds lists in some rows and single labels in others; make all of them one."
        )
    if any(kind.in_list for kind in forms.kinds):
        if forms.has_fractions:
            raise ValueError(
                f"Column '{column}' holds lists of numbers with a fraction; expected lists of label names, or of zeros "
                "and ones. Turn probabilities into labels, or set task=multi_label to take the numbers as names."
            )
        return "multi_label"
    if "float" in scalars and not scalars <= {"int", "float"}:
        text = next((repr(value) for value in values if not NUMBER.fullmatch(value.strip())), "true or false")
        raise ValueError(
            f"Column '{column}' holds decimal numbers in some rows and text in others ({text}). Set the task: "
            "with task=regression the rows with text are bad rows, task=single_label takes all values as names."
        )
    if "float" not in scalars:
        return "single_label"
    return "regression" if forms.has_fractions or len(list(values)) > MAX_WHOLE_CLASSES else "single_label"


def check_problem_type(problem_type: ProblemType, forms: LabelForms, column: str) -> None:
    """Raise ValueError if labels of these forms cannot be of this task."""
    in_lists = any(kind.in_list for kind in forms.kinds)
    if problem_type == "multi_label" and not in_lists:
        raise ValueError(
            f"task=multi_label needs lists of labels, in jsonl or parquet, or labels that label_separator splits; "
            f"column '{column}' holds single values."
        )
    if problem_type == "regression" and forms.indicator_length is not None:
        raise ValueError(f"task=regression needs numbers; '{column}' holds zeros and ones for several labels.")
    if problem_type != "multi_label" and in_lists and forms.indicator_length is None and not forms.has_single_values:
        raise ValueError(
            f"task={problem_type} needs one value per row; column '{column}' holds lists of several. Set "
            "task=multi_label."
        )
    if problem_type == "regression" and not any(kind.scalar in ("int", "float") for kind in forms.kinds):
        raise ValueError(f"task=regression needs numbers; column '{column}' holds none.")


class LabelCodes:
    """Turns labels as read into their numbers.

    Args:
        names: label names in the order of the model's outputs.
        to_name: returns the name of a label as the file writes it.
        num_declared: how many names the file itself declares.
    """

    def __init__(self, names: Sequence[str], to_name: Callable[[str], str], num_declared: int = 0) -> None:
        self.names = tuple(names)
        self.num_declared = num_declared
        self._to_name = to_name
        self._codes = {name: code for code, name in enumerate(names)}

    @classmethod
    def learn(cls, values: Iterable[str]) -> LabelCodes:
        """Take the names from the values of the training rows, sorted.

        The rule is the same for every kind of file: spaces around a label do not count, and if all labels are whole
        numbers, `+1`, `1.0` and `1` are one label. Numbers with leading zeros or of one width are codes, and stay as
        they are.
        """
        stripped = {value.strip() for value in values}
        are_numbers = _are_numbers(stripped)
        names = {_name_number(value) if are_numbers else value for value in stripped}

        def to_name(value: str) -> str:
            """Return the name as it is, or that of the same number: another file may write 1 as 1.0."""
            text = value.strip()
            return text if text in names or (name := _name_number(text)) not in names else name

        sortable = all(NUMBER.fullmatch(name) for name in names)
        return cls(sorted(names, key=(lambda name: (float(name), name)) if sortable else None), to_name)

    @classmethod
    def declared(cls, names: Sequence[str]) -> LabelCodes:
        """Take the names that the file declares, as they are."""
        return cls(names, str, len(names))

    def encode(self, values: pa.StringArray) -> NDArray[np.int64]:
        """Return the number of each value, -1 for an unknown one."""
        encoded = values.dictionary_encode()
        codes = [self._codes.get(self._to_name(value), -1) for value in encoded.dictionary.to_pylist()]
        chosen: NDArray[np.int64] = np.array(codes, dtype=np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]
        return chosen

    def extended(self, names: Sequence[str]) -> LabelCodes:
        """Return codes with more names, numbered after these."""
        return LabelCodes([*self.names, *names], self._to_name, self.num_declared)

    def unknown(self, values: Iterable[str]) -> set[str]:
        """Return the names of the values that have no number."""
        return {self._to_name(value) for value in values if not self.is_nameless(value)} - self._codes.keys()

    def is_nameless(self, value: str) -> bool:
        """Return whether a value is an id for which the file declares no name."""
        return self.num_declared > 0 and value not in self._codes and _INTEGER.fullmatch(value) is not None

    def spellings(self, counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Return, for each name that the file writes in several ways, these ways with their rows.

        Args:
            counts: rows of each label as the file writes it.
        """
        found: dict[str, dict[str, int]] = {}
        for value, count in counts.items():
            found.setdefault(self._to_name(value), {})[value] = count
        return {name: ways for name, ways in found.items() if len(ways) > 1}


def _are_numbers(values: set[str]) -> bool:
    """Return whether all values are whole numbers rather than codes made of digits."""
    if not all(WHOLE.fullmatch(_plain(value)) for value in values) or any(map(_LEADING_ZERO.fullmatch, values)):
        return False
    has_one_width = len(set(map(len, values))) == 1
    return not (has_one_width and all(map(_INTEGER.fullmatch, values)))


def _name_number(value: str) -> str:
    """Return a whole number without plus sign and fraction; anything else as it is."""
    text = _plain(value)
    match = WHOLE.fullmatch(text)
    if match is None:
        return text
    return f"-{match[1]}" if text.startswith("-") and match[1].strip("0") else match[1]


def _plain(value: str) -> str:
    """Return a number without an exponent if it is whole, as 1e+18 is; anything else without the spaces around it."""
    text = value.strip()
    if "e" not in text.lower() or not NUMBER.fullmatch(text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else text


def lookalikes(names: Iterable[str]) -> list[list[str]]:
    """Return groups of names that differ only in what is hardly seen, or does not count.

    That is case, spaces, Unicode form, invisible characters, quotes around them, leading zeros, 1.0 for 1, 1 for true.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_appearance(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _appearance(name: str) -> str:
    """Return what names that look alike have in common."""
    visible = "".join(char for char in unicodedata.normalize("NFKC", name) if not _is_invisible(char))
    text = " ".join(visible.casefold().split())
    text = text.strip(_QUOTES).strip() or text
    text = _name_number(_TRUTH.get(text, text))
    return text.lstrip("0") or "0" if _INTEGER.fullmatch(text) else text


def _is_invisible(char: str) -> bool:
    """Return whether a character is a mark that shows nothing: of formatting, of control, or how to draw an emoji."""
    return char in _EMOJI_STYLES or (unicodedata.category(char) in ("Cf", "Cc") and not char.isspace())


def parse_scores(values: pa.StringArray) -> NDArray[np.float64]:
    """Return each value as a number, NaN for what is none."""
    return np.array([_parse_score(value.strip()) for value in values.to_pylist()], dtype=np.float64)


def _parse_score(value: str) -> float:
    return float(value) if NUMBER.fullmatch(value) else math.nan


def distinct(values: pa.StringArray) -> list[str]:
    """Return the different values."""
    found: list[str] = pc.unique(values).to_pylist()
    return found


def count_values(values: pa.StringArray) -> Counter[str]:
    """Return how often each value occurs."""
    counted = pc.value_counts(values)
    return Counter(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)))
