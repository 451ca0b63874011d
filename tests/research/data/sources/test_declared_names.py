"""Read label names from the metadata that the `datasets` library writes, and refuse invalid metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest

from research.data.sources.declared_names import MetadataError, read_declared_names

LABEL = {"_type": "ClassLabel", "names": ["neg", "pos"]}


def read_names(features: Any) -> dict[str, tuple[str, ...]]:
    """Return the label names, by column, that metadata with these features declares."""
    return read_declared_names({b"huggingface": json.dumps({"info": {"features": features}}).encode()})


@pytest.mark.parametrize("feature", [LABEL, [LABEL], {"_type": "List", "feature": LABEL}])
def test_declared_names_are_read_despite_columns_of_unknown_types(feature: Any) -> None:
    features = {"day": {"_type": "FutureType", "unit": 7}, "odd": None, "label": feature}
    assert read_names(features) == {"label": ("neg", "pos")}


def test_declared_classes_without_names_are_named_by_their_ids() -> None:
    assert read_names({"label": {"_type": "ClassLabel", "num_classes": 3}}) == {"label": ("0", "1", "2")}


@pytest.mark.parametrize("metadata", [None, {}, {b"huggingface": b"{}"}, {b"huggingface": b'{"info": null}'}])
def test_metadata_without_features_declares_no_names(metadata: dict[bytes, bytes] | None) -> None:
    assert read_declared_names(metadata) == {}


@pytest.mark.parametrize("content", [b"", b"not JSON", b"\xff\xfe", b"[" * 100_000, b"[]", b'{"info": []}'])
def test_metadata_in_an_unknown_format_is_an_error(content: bytes) -> None:
    with pytest.raises(MetadataError):
        read_declared_names({b"huggingface": content})


@pytest.mark.parametrize("names", [None, "neg", [], [1, 2], ["a", "a"], ["half \ud800"]])
def test_declared_names_must_be_distinct_strings(names: Any) -> None:
    with pytest.raises(MetadataError, match="label"):
        read_names({"label": LABEL | {"names": names}})
