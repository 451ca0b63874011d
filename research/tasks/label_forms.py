"""What the labels of a column look like in a file, before it is known what kind they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from research.tasks.numbers import WHOLE, without_exponent

ZEROS_AND_ONES = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
"""How a file may write, in lower case, whether a label applies."""
_FEW_LISTS = 0.05
"""Share of the lists that may hold something else than zeros and ones by mistake."""


@dataclass(frozen=True)
class Form:
    """How a value is written."""

    scalar: str | None
    """int, float, bool or str; None for an empty list."""
    in_list: bool
    """Whether it came in a list."""


@dataclass
class LabelForms:
    """What the labels of a column look like, over all rows of a split."""

    forms: set[Form] = field(default_factory=set)
    """Those met."""
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

    def add(self, values: Sequence[tuple[str, str]], *, is_list: bool) -> None:
        """Take note of a row's label.

        Args:
            values: each value as text, with the name of its type: one, or those of a list.
            is_list: whether the file has a list.
        """
        texts = [text for text, _ in values]
        self.forms |= {Form(scalar, is_list) for _, scalar in values} or {Form(None, is_list)}
        self.has_fractions |= any(
            scalar == "float" and not WHOLE.fullmatch(without_exponent(text)) for text, scalar in values
        )
        if is_list:
            self.list_lengths[len(texts)] += 1
            if all(text.strip().lower() in ZEROS_AND_ONES for text in texts):
                self.indicator_lengths[len(texts)] += 1
                self.has_repeats |= len(set(texts)) < len(texts)

    @property
    def scalars(self) -> set[str | None]:
        """Types of the values met; None for an empty list."""
        return {form.scalar for form in self.forms}

    @property
    def in_lists(self) -> bool:
        """Whether some rows hold a list."""
        return any(form.in_list for form in self.forms)

    @property
    def is_mixed(self) -> bool:
        """Whether some rows hold a list and others a single value."""
        return len({form.in_list for form in self.forms}) > 1

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
