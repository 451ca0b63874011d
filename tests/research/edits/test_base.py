"""How edits are registered and asked for."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from heads.registry import UnknownNameError
from research.edits.base import (
    EDITS,
    HARMLESS,
    Editable,
    EditProxy,
    bind_request,
    digest,
    random_numbers_of,
    register_edit,
    request_edit,
)
from research.edits.records import EditRequest


@pytest.fixture(autouse=True)
def own_edits() -> Iterator[None]:
    """Edits that are registered in a test are forgotten after it."""
    before = set(HARMLESS)
    with EDITS.isolated():
        yield
    HARMLESS.intersection_update(before)


@pytest.mark.parametrize("name", ["at", "every", "when", "on_conflict"])
def test_edit_cannot_have_the_name_of_a_time(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'"):
        register_edit(name)
    assert name not in EDITS


def test_edit_is_harmless_if_it_is_declared_so() -> None:
    def mine(run: Editable) -> None:
        raise AssertionError

    register_edit("mine", changes_parameters=False)(mine)
    register_edit("other")(mine)
    assert ("mine" in HARMLESS, "other" in HARMLESS) == (True, False)
    assert "set_lr" in HARMLESS
    assert not {"freeze", "add_lora", "drop_layers"} & HARMLESS


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
def test_request_has_all_arguments_typed(name: str, value: Any, arguments: dict[str, Any]) -> None:
    request = request_edit(name, value, "the test")
    assert request == EditRequest(name, arguments, "the test")
    assert {key: type(each) for key, each in request.arguments.items()} == {
        key: type(each) for key, each in arguments.items()
    }


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("unfreze", "head", UnknownNameError, "'unfreze'.*'unfreeze'"),
        ("set_lr", {"lr": 1, "module": "head"}, UnknownNameError, "'set_lr' 'module'.*'modules'"),
        ("set_lr", {"modules": "head"}, ValueError, "'set_lr' .*lr"),
        ("set_lr", "fast", ValueError, "'set_lr'.*lr.*fast"),
        ("merge_lora", "head", ValueError, "'merge_lora'.*'head'"),
    ],
)
def test_request_that_does_not_fit_is_refused(name: str, value: Any, error: type[ValueError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        request_edit(name, value, "the test")
    assert type(caught.value) is error


def test_call_from_python_binds_as_a_function_does() -> None:
    expected = {"lr": 0.5, "modules": "head"}
    for positional, named in (((0.5, "head"), {}), ((0.5,), {"modules": "head"}), ((), expected)):
        assert bind_request("set_lr", positional, named, "the test").arguments == expected
    with pytest.raises(ValueError, match=r"'set_lr' .*\b2\b.*lr, modules.*\b3\b"):
        bind_request("set_lr", (1, "head", 3), {}, "the test")
    with pytest.raises(ValueError, match=r"'set_lr' .*lr twice"):
        bind_request("set_lr", (1,), {"lr": 2}, "the test")


def test_proxy_asks_in_the_name_of_whoever_is_asking() -> None:
    asked: list[EditRequest] = []
    edit = EditProxy(asked.append, lambda: f"hook {len(asked)}")
    edit.freeze("encoder")
    edit.scale_lr(factor=2)
    assert [(each.name, each.asked_by) for each in asked] == [("freeze", "hook 0"), ("scale_lr", "hook 1")]
    assert asked[1].arguments == {"factor": 2.0, "modules": "all"}
    with pytest.raises(UnknownNameError, match=r"'freze'.*'freeze'"):
        edit.freze("encoder")
    assert not hasattr(edit, "__len__")


def test_digest_tells_edits_and_their_order_apart() -> None:
    freeze, other = EditRequest("freeze", {"modules": "head"}, "a"), EditRequest("freeze", {"modules": "all"}, "a")
    assert digest([]) == 0
    assert digest([freeze]) == digest([EditRequest("freeze", {"modules": "head"}, "b")])
    found = {digest(each) for each in ([freeze], [other], [freeze, other], [other, freeze])}
    assert len(found) == 4
    assert all(0 < each < 2**56 for each in found)


def test_random_numbers_of_an_edit_follow_seed_and_number_and_leave_training_alone() -> None:
    state = torch.get_rng_state()
    drawn = []
    for seed, number in ((0, 1), (0, 1), (0, 2), (1, 1)):
        with random_numbers_of(seed, number, torch.device("cpu")):
            drawn.append(float(torch.rand(())))
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


class Kind(enum.Enum):
    NEW = "new"


@pytest.mark.parametrize(("annotation", "value"), [(Kind, "NEW"), (tuple[int, int], [1, 2])])
def test_argument_that_a_resumed_run_would_not_get_is_refused(annotation: Any, value: Any) -> None:
    def mine(run: Editable, size: Any) -> None:
        raise AssertionError

    mine.__annotations__["size"] = annotation
    register_edit("mine")(mine)
    with pytest.raises(ValueError, match=r"'mine' .*size"):
        request_edit("mine", value, "the test")


def test_edit_may_take_the_run_by_position_only() -> None:
    def mine(run: Editable, /, size: int = 3) -> None:
        raise AssertionError

    register_edit("mine")(mine)
    assert request_edit("mine", 4, "the test").arguments == {"size": 4}
