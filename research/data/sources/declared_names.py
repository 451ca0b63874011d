"""Label names that the `datasets` library writes into the metadata of Arrow and parquet files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_KEY = b"huggingface"


class MetadataError(ValueError):
    """Raised for metadata that does not have the form that the `datasets` library writes."""


def read_declared_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return the label names of each column for which the metadata declares them, in the order of their ids.

    The metadata is parsed here because the library rejects the whole file if it cannot read the type of any column,
    even of one that is not used.

    Args:
        metadata: the schema's metadata.
    Raises:
        MetadataError: if the library's metadata cannot be read.
    """
    content = (metadata or {}).get(_KEY)
    if content is None:
        return {}
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        raise MetadataError("it is not JSON") from None
    features = parsed
    for name in ("info", "features"):  # the library writes {"info": {"features": ...}}
        features = features.get(name) if isinstance(features, dict) else features
        if features is None:
            return {}
    if not isinstance(features, dict):
        raise MetadataError("its features are not a JSON object")
    names = {column: _read_names(column, feature) for column, feature in features.items()}
    return {column: column_names for column, column_names in names.items() if column_names is not None}


def _read_names(column: str, feature: Any) -> tuple[str, ...] | None:
    """Return the label names of a column of labels or of lists of labels; None for any other column."""
    if isinstance(feature, list) and len(feature) == 1:  # the form of a list in older versions of the library
        feature = feature[0]
    if isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    num_classes = feature.get("num_classes")
    if names is None and isinstance(num_classes, int):
        names = [str(label) for label in range(num_classes)]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise MetadataError(f"the names of column '{column}' are not a list of strings")
    if len(set(names)) < len(names):
        raise MetadataError(f"column '{column}' declares the same label name twice")
    if not all(map(_is_unicode, names)):
        raise MetadataError(f"a label name of column '{column}' is invalid Unicode")
    return tuple(names)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
