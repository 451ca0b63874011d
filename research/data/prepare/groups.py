"""Groups of rows that belong together, such as all texts of one author, and units of rows that no split may divide."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from research.data.prepare.splits import Hashes, index_distinct


class BadGroupError(ValueError):
    """Raised for a group that cannot be used."""


def hash_group(value: Any) -> bytes:
    """Return a hash of a group, 8 bytes. Numbers are in the same group as strings that are written like them.

    Raises:
        BadGroupError: if the group is missing, or is not a string or a number.
        UnicodeEncodeError: if a string cannot be encoded.
    """
    if value is None or value == "":
        raise BadGroupError("missing group")
    if not isinstance(value, str | int | float):
        raise BadGroupError(f"the group has the type {type(value).__name__}, expected a string or a number")
    return hashlib.blake2b(str(value).encode(), digest_size=8).digest()


def join_units(texts: Hashes, groups: Hashes) -> Hashes:
    """Return the unit of each row, [num_rows]. Rows with the same text or the same group are in the same unit.

    So are rows that are connected by others: of the same text as a row of the same group, for example.

    Args:
        texts: hash of each row's text, [num_rows].
        groups: hash of each row's group, [num_rows].
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    distinct_texts, text_of_row, _ = index_distinct(texts)
    distinct_groups, group_of_row, _ = index_distinct(groups)
    num_texts = len(distinct_texts)
    size = num_texts + len(distinct_groups)
    edges = coo_array((np.ones(len(texts), np.int8), (text_of_row, num_texts + group_of_row)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    # Each unit is identified by its smallest text hash, so that units do not depend on the order of the rows.
    smallest = np.full(size, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, component[:num_texts], distinct_texts)
    units: Hashes = smallest[component[text_of_row]]
    return units
