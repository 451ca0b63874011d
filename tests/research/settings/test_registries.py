"""Names and options read from the source match those that importing the source registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD

from heads import EncoderSpec
from research.edits.base import arguments_of
from research.runner.first_checks.choices import check_choice
from research.runner.first_checks.source_options import read_options
from research.settings.config import Choice
from research.settings.options import options_of
from research.settings.registries import GIVEN_BY_CALLER, REGISTRIES, load_registry, read_registry
from research.system.errors import is_user_facing
from research.tasks.single_label import SingleLabel
from tests.shipped import shipped


@pytest.mark.parametrize("listing", REGISTRIES)
def test_source_gives_the_same_names_and_options_as_importing(listing: str) -> None:
    registry, found = load_registry(listing), read_registry(listing)
    assert sorted(found) == shipped(registry)
    for name, function in found.items():
        options = read_options(function, from_second_on=listing == "edits")
        expected = arguments_of(name) if listing == "edits" else options_of(registry[name])
        assert [(each.name, each.type, each.default) for each in options] == [
            (each.name, each.type, each.default) for each in expected
        ]


NOT_KNOWN_EARLY = {("attention", "num_heads"), ("length_warmup", "start"), ("length_warmup", "num_stages")}
"""Options whose valid values depend on the encoder, or on a constant in the module of the class."""
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "heads": (EncoderSpec(8, 7), 2),
    "hooks": (),
    "schedules": (SGD([torch.zeros(1)], lr=1.0),),
    "objectives": (SingleLabel(("a", "b"), (1, 1), 2),),
}
"""Positional arguments for the entries of each registry."""
STEPS = {"num_warmup_steps": 1, "num_training_steps": 10}


@pytest.mark.parametrize("listing", ARGUMENTS)
def test_values_that_an_entry_rejects_are_rejected_by_first_checks(listing: str) -> None:
    registry = load_registry(listing)
    compared = []
    for name in shipped(registry):
        for option in options_of(registry[name], given_by_caller=GIVEN_BY_CALLER):
            if option.type in (int, float) and (name, option.name) not in NOT_KNOWN_EARLY:
                for value in map(option.type, (-1, 0, 0.5, 1, 1.5)):
                    given = {option.name: value}
                    steps = STEPS if listing == "schedules" else {}
                    late = is_rejected(registry[name], *ARGUMENTS[listing], **given, **steps)
                    early = is_rejected(check_choice, listing, "entry", Choice(name, given), allow_unregistered=False)
                    assert early == late, (name, given)
                    compared.append(late)
    assert {True, False} == set(compared)


def is_rejected(function: Callable[..., object], *positional: Any, **named: Any) -> bool:
    """Return whether a call raises an error for the user."""
    try:
        function(*positional, **named)
    except ValueError as error:
        return is_user_facing(error)
    return False
