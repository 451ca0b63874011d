"""How labels are written in a file, before the task is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from research.tasks.numbers import WHOLE_NUMBER, without_exponent

ZEROS_AND_ONES = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
"""Lower-case values that a file may use to mark whether a label applies."""
_MAX_SHARE_OF_BAD_LISTS = 0.05
"""Lists are read as a 0 or 1 for each label only if at most this share contains other values. The rows of the lists
with other values then count as bad rows."""


@dataclass(frozen=True)
class Form:
    """How one value is written."""

    type_name: str | None
    """Name of its type: int, float, bool or str; None for an empty list."""
    in_list: bool
    """Whether the value is in a list."""


@dataclass
class LabelForms:
    """How the labels of all rows of a split are written, in one label column or several.

    An *indicator* is a 0 or 1 (or false or true) that says whether one label applies.
    """

    forms: set[Form] = field(default_factory=set)
    """Forms that occur."""
    has_fractions: bool = False
    """Whether at least one number has a fraction."""
    list_lengths: Counter[int] = field(default_factory=Counter)
    """Number of rows with a list, by its length."""
    indicator_lengths: Counter[int] = field(default_factory=Counter)
    """Number of rows with a list of only 0 and 1, or of only false and true, by its length."""
    has_repeats: bool = False
    """Whether a list counted in `indicator_lengths` contains a value twice."""
    num_columns: int = 1
    """Number of label columns. If there are several, each stands for one label and contains 0 or 1."""

    def add(self, values: Sequence[tuple[str, str]], *, is_list: bool) -> None:
        """Record the label of a row.

        Args:
            values: the value, or the values in a list; each as text, with the name of its type.
            is_list: whether the row's label is a list in the file.
        """
        texts = [text for text, _ in values]
        self.forms |= {Form(type_name, is_list) for _, type_name in values} or {Form(None, is_list)}
        self.has_fractions |= any(
            type_name == "float" and not WHOLE_NUMBER.fullmatch(without_exponent(text)) for text, type_name in values
        )
        if is_list:
            self.list_lengths[len(texts)] += 1
            if all(text.strip().lower() in ZEROS_AND_ONES for text in texts):
                self.indicator_lengths[len(texts)] += 1
                self.has_repeats |= len(set(texts)) < len(texts)

    @property
    def type_names(self) -> set[str | None]:
        """Names of the types that occur; None stands for an empty list."""
        return {form.type_name for form in self.forms}

    @property
    def has_lists(self) -> bool:
        """Whether at least one row has a list."""
        return any(form.in_list for form in self.forms)

    @property
    def is_mixed(self) -> bool:
        """Whether some rows have a list and other rows a single value."""
        return len({form.in_list for form in self.forms}) > 1

    @property
    def only_zeros_and_ones(self) -> bool:
        """Whether all lists contain only 0 and 1, or only false and true."""
        return self.indicator_lengths == self.list_lengths

    @property
    def share_of_indicators(self) -> float:
        """Share of the lists that contain only 0 and 1, or only false and true; 0 if there are no lists."""
        return sum(self.indicator_lengths.values()) / max(sum(self.list_lengths.values()), 1)

    @property
    def has_one_value_per_row(self) -> bool:
        """Whether every row has exactly one value, in a list or not."""
        return set(self.list_lengths) <= {1}

    @property
    def indicator_length(self) -> int | None:
        """Number of zeros and ones per row if each row has a 0 or 1 for each label; None if rows have label names.

        With one column, nearly all lists must contain only 0 and 1. Even then, 0 and 1 could be label names. They are
        not if a list repeats a value, because a row has a label only once; nor if all these lists have length 2,
        because then every row would have both labels. The few lists with other values count as bad rows. If they
        decided, one bad list would turn 0 and 1 into label names in all rows.
        """
        if self.num_columns > 1:
            return self.num_columns
        if self.share_of_indicators < 1 - _MAX_SHARE_OF_BAD_LISTS:
            return None
        if self.has_repeats or set(self.indicator_lengths) == {2}:
            return self.indicator_lengths.most_common(1)[0][0]
        return None
