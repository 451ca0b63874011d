"""Edits are registered, and requests for them are checked."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from heads.registry import UnknownNameError
from research.edits.base import (
    EDITS,
    TOUCHES,
    Editable,
    EditProxy,
    bind_request,
    hash_requests,
    parse_request,
    register_edit,
    seeded,
    touched_by,
)
from research.edits.records import EditRequest
from research.system import random_states

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def isolated_registry() -> Iterator[None]:
    """Unregister the edits of a test after the test."""
    before = dict(TOUCHES)
    with EDITS.isolated():
        yield
    TOUCHES.clear()
    TOUCHES.update(before)


@pytest.mark.parametrize("name", ["at", "every", "when", "on_conflict"])
def test_register_edit_refuses_keywords_of_timeline_entries(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'"):
        register_edit(name)
    assert name not in EDITS


def test_register_edit_stores_what_edits_touch() -> None:
    def mine(run: Editable) -> None:
        raise AssertionError

    register_edit("mine", touches="values")(mine)
    register_edit("other")(mine)
    expected = {"mine": "values", "other": "structure", "set_lr": "nothing", "freeze": "mask", "reinitialize": "values"}
    assert {name: TOUCHES[name] for name in expected} == expected
    assert {TOUCHES[name] for name in ("add_lora", "drop_layers", "replace_head")} == {"modules"}
    assert {TOUCHES[name] for name in ("add_dora", "merge_adapters")} == {"structure"}
    requests = [EditRequest(name, {}, "test") for name in ("set_lr", "mine", "freeze")]
    assert touched_by(requests) == "values"
    assert touched_by(requests[:1]) == touched_by([]) == "nothing"
    with pytest.raises(ValueError, match="'weights'"):
        register_edit("third", touches="weights")  # type: ignore[arg-type]
    assert "third" not in EDITS


@pytest.mark.parametrize(
    ("name", "value", "arguments"),
    [
        ("freeze", "encoder", {"modules": "encoder"}),
        ("freeze", ["encoder", "head"], {"modules": ["encoder", "head"]}),
        ("set_lr", {"lr": "0.5", "modules": "head"}, {"lr": 0.5, "modules": "head"}),
        ("set_lr", 1, {"lr": 1.0, "modules": "all"}),
        ("replace_head", {"name": "lstm", "lstm_size": 4}, {"head": {"name": "lstm", "lstm_size": 4}}),
        ("merge_lora", True, {}),
        ("merge_lora", None, {}),
    ],
)
def test_parse_request_returns_all_arguments_with_their_types(name: str, value: Any, arguments: dict[str, Any]) -> None:
    request = parse_request(name, value, "the test")
    assert request == EditRequest(name, arguments, "the test")
    assert {key: type(argument) for key, argument in request.arguments.items()} == {
        key: type(argument) for key, argument in arguments.items()
    }


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("unfreze", "head", UnknownNameError, "'unfreze'.*'unfreeze'"),
        ("set_lr", {"lr": 1, "module": "head"}, UnknownNameError, "'module'.*'modules'.*'set_lr'"),
        ("set_lr", {"modules": "head"}, ValueError, "'set_lr' .*lr"),
        ("set_lr", "fast", ValueError, "'set_lr'.*lr.*fast"),
        ("merge_lora", "head", ValueError, "'merge_lora'.*'head'"),
    ],
)
def test_parse_request_refuses_invalid_names_and_arguments(
    name: str, value: Any, error: type[ValueError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        parse_request(name, value, "the test")
    assert type(caught.value) is error


def test_bind_request_binds_arguments_like_a_function_call() -> None:
    expected = {"lr": 0.5, "modules": "head"}
    for positional, named in (((0.5, "head"), {}), ((0.5,), {"modules": "head"}), ((), expected)):
        assert bind_request("set_lr", positional, named, "the test").arguments == expected
    with pytest.raises(ValueError, match=r"'set_lr' .*\b2\b.*lr, modules.*\b3\b"):
        bind_request("set_lr", (1, "head", 3), {}, "the test")
    with pytest.raises(ValueError, match=r"'set_lr' .*lr twice"):
        bind_request("set_lr", (1,), {"lr": 2}, "the test")


def test_edit_proxy_records_who_requested_each_edit() -> None:
    requests: list[EditRequest] = []
    edit = EditProxy(requests.append, lambda: f"hook {len(requests)}")
    edit.freeze("encoder")
    edit.scale_lr(factor=2)
    assert [(request.name, request.requested_by) for request in requests] == [
        ("freeze", "hook 0"),
        ("scale_lr", "hook 1"),
    ]
    assert requests[1].arguments == {"factor": 2.0, "modules": "all"}
    with pytest.raises(UnknownNameError, match=r"'freze'.*'freeze'"):
        edit.freze("encoder")
    assert not hasattr(edit, "__len__")  # special methods are not looked up as edits


def test_hash_requests_depends_on_edits_and_their_order() -> None:
    freeze_head, freeze_all = (
        EditRequest("freeze", {"modules": "head"}, requested_by="a"),
        EditRequest("freeze", {"modules": "all"}, requested_by="a"),
    )
    assert hash_requests([]) == 0
    freeze_head_again = EditRequest("freeze", {"modules": "head"}, requested_by="b")
    assert hash_requests([freeze_head]) == hash_requests([freeze_head_again])
    hashes = {
        hash_requests(requests)
        for requests in ([freeze_head], [freeze_all], [freeze_head, freeze_all], [freeze_all, freeze_head])
    }
    assert len(hashes) == 4
    assert all(0 < value < 2**56 for value in hashes)


@pytest.mark.parametrize("draw", [lambda: float(torch.rand(())), np.random.random, random.random])
def test_seeded_depends_on_seed_and_number_and_restores_the_random_state(draw: Callable[[], float]) -> None:
    drawn, next_numbers = [], []
    for seed, number in ((0, 1), (0, 1), (0, 2), (1, 1)):
        with random_states.preserving(CPU):
            with seeded(seed, number, CPU):
                drawn.append(draw())
            next_numbers.append(draw())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
    assert len(set(next_numbers)) == 1


class Kind(enum.Enum):
    NEW = "new"


# JSON has neither enums nor tuples.
@pytest.mark.parametrize(("annotation", "value"), [(Kind, "NEW"), (tuple[int, int], [1, 2])])
def test_parse_request_refuses_arguments_that_json_cannot_store(annotation: Any, value: Any) -> None:
    def mine(run: Editable, size: Any) -> None:
        raise AssertionError

    mine.__annotations__["size"] = annotation
    register_edit("mine")(mine)
    with pytest.raises(ValueError, match=r"'mine' .*size"):
        parse_request("mine", value, "the test")


def test_register_edit_accepts_a_positional_only_run() -> None:
    def mine(run: Editable, /, size: int = 3) -> None:
        raise AssertionError

    register_edit("mine")(mine)
    assert parse_request("mine", 4, "the test").arguments == {"size": 4}
