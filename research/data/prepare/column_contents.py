"""Classify columns by their names and first rows: text, ids or numbers, or short strings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from enum import Enum

from research.data.sources.tables import Table

_MAX_ROWS_READ = 500
"""Maximum number of rows that are read to classify columns."""
_MIN_ID_SHARE = 0.9
"""Minimum share of values that are ids or numbers in a column of ids."""
_MIN_WORDS = 3
"""Minimum number of words in more than half of the values of a text column."""
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Letters of languages without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_LETTERS_PER_WORD = 2
"""Approximate number of letters per word in languages without spaces."""
_ID_NAME = re.compile(r"|(.*[_\- .])?(id|idx|index|uuid|guid|key|hash)|unnamed.*", re.IGNORECASE)
"""Matches names of columns that usually hold ids, and the empty name."""
_CODE = re.compile(r"[!-~]*\d[!-~]*")  # printable ASCII without spaces, with a digit


class Content(Enum):
    """Kind of values in a column."""

    TEXT = "text"
    """Most values have several words."""
    ID = "id"
    """Nearly all values are strings that are numbers, ids or codes, which are not useful as text, or the column's name
    says so."""
    OTHER = "other"
    """Most values are short strings, or no value is a string."""


def classify_columns(table: Table, columns: Sequence[str]) -> dict[str, Content]:
    """Classify each column by its name and the first rows of the table.

    Args:
        table: the table.
        columns: columns that may hold text.
    """
    if not columns:
        return {}
    rows = [values for _, _, values in itertools.islice(table.rows(columns, _ignore), _MAX_ROWS_READ)]
    return {column: _classify(column, [row[index] for row in rows]) for index, column in enumerate(columns)}


def _classify(name: str, values: Sequence[object]) -> Content:
    texts = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    if _ID_NAME.fullmatch(name.strip()):
        return Content.ID
    if not texts:
        return Content.OTHER
    if sum(map(_is_id, texts)) >= _MIN_ID_SHARE * len(texts):
        return Content.ID
    has_words = sum(_num_words(text) >= _MIN_WORDS for text in texts) > len(texts) / 2
    return Content.TEXT if has_words else Content.OTHER


def _num_words(text: str) -> float:
    """Return the approximate number of words in a text."""
    return max(len(text.split()), len(_WITHOUT_SPACES.findall(text)) / _LETTERS_PER_WORD)


def _is_id(text: str) -> bool:
    """Return whether a value is a number, a date or time, or a code such as a hash or `user_12`."""
    if _CODE.fullmatch(text):
        return True
    return any(map(str.isdigit, text)) and not any(map(str.isalpha, text))


def _ignore(row: int, line: int, reason: str) -> None:
    """Do not report a bad row here; it is reported later, when all rows are read."""
