"""Plain values and tensors survive being stored as JSON."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from research.system.value_codec import decode, encode


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1 + 0.2,
        math.inf,
        "text",
        [1, [2.5, "x"]],
        (1, (2, [3])),
        {1: "a", "b": {"c": (4,)}, (5, 6): None},
        {7, 8},
        torch.bfloat16,
    ],
)
def test_decode_returns_the_value_with_its_types(value: Any) -> None:
    stored = json.loads(json.dumps(encode(value, "x", {})))
    decoded = decode(stored, lambda name: torch.zeros(0))
    assert decoded == value
    assert type(decoded) is type(value)


def test_tensors_are_stored_by_name() -> None:
    value = {"a": torch.arange(3), "b": [torch.ones(2), {"c": torch.zeros(1)}], "d": OrderedDict(e=1)}
    tensors: dict[str, Tensor] = {}
    stored = json.loads(json.dumps(encode(value, "x", tensors)))
    assert list(tensors) == ["x/a", "x/b/0", "x/b/1/c"]
    decoded = decode(stored, tensors.__getitem__)
    assert decoded["a"] is tensors["x/a"]
    assert decoded["b"][1]["c"] is tensors["x/b/1/c"]
    assert decoded["d"] == {"e": 1}


@pytest.mark.parametrize("value", [Path("x"), np.float64(1), object, b"bytes", {"a": [Path("x")]}])
def test_encode_refuses_other_objects(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^x.* of type"):
        encode(value, "x", {})


@pytest.mark.parametrize("stored", [{"tensor": 3}, {"dtype": "load"}, {"dict": [[1]]}, {"tuple": {}}, {"unknown": 1}])
def test_decode_refuses_what_encode_cannot_have_stored(stored: Any) -> None:
    with pytest.raises(ValueError, match="expected a stored value"):
        decode([stored], lambda name: torch.zeros(0))
