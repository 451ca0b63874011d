"""Label names in the metadata of the `datasets` library, whole and broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from research.data.sources.declared_names import MetadataError, read_declared_names

LABEL = {"_type": "ClassLabel", "names": ["neg", "pos"]}


def read(features: Any) -> dict[str, tuple[str, ...]]:
    return read_declared_names({b"huggingface": json.dumps({"info": {"features": features}}).encode()})


@pytest.mark.parametrize("feature", [LABEL, [LABEL], {"_type": "List", "feature": LABEL}])
def test_names_are_found_beside_columns_of_unknown_types(feature: Any) -> None:
    features = {"day": {"_type": "FutureType", "unit": 7}, "odd": None, "label": feature}
    assert read(features) == {"label": ("neg", "pos")}


def test_classes_that_are_only_counted_are_named_by_their_ids() -> None:
    assert read({"label": {"_type": "ClassLabel", "num_classes": 3}}) == {"label": ("0", "1", "2")}


@pytest.mark.parametrize("metadata", [None, {}, {b"huggingface": b"{}"}, {b"huggingface": b'{"info": null}'}])
def test_files_without_features_declare_nothing(metadata: dict[bytes, bytes] | None) -> None:
    assert read_declared_names(metadata) == {}


@pytest.mark.parametrize("content", [b"", b"not JSON", b"\xff\xfe", b"[" * 100_000, b"[]", b'{"info": []}'])
def test_metadata_that_is_not_the_librarys_is_an_error(content: bytes) -> None:
    with pytest.raises(MetadataError):
        read_declared_names({b"huggingface": content})


@pytest.mark.parametrize("names", [None, "neg", [], [1, 2], ["a", "a"], ["half \ud800"]])
def test_names_that_are_not_different_strings_are_an_error(names: Any) -> None:
    with pytest.raises(MetadataError, match="label"):
        read({"label": LABEL | {"names": names}})
