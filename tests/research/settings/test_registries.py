"""Names, options and checks that are read from source code agree with those of the imported code.

The first checks of a run read the source code, because importing the registries imports torch, which takes seconds.
"""

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
from research.settings.registries import REGISTRIES, STEP_COUNT_PARAMETERS, load_registry, read_registry
from research.system.errors import is_user_facing
from research.tasks.single_label import SingleLabel
from tests.shipped import shipped_names


@pytest.mark.parametrize("listing", REGISTRIES)
def test_source_gives_the_same_names_and_options_as_importing(listing: str) -> None:
    registry, functions = load_registry(listing), read_registry(listing)
    assert sorted(functions) == shipped_names(registry)
    for name, function in functions.items():
        # The first parameter of an edit is the run.
        options = read_options(function, from_second_on=listing == "edits")
        expected = arguments_of(name) if listing == "edits" else options_of(registry[name])
        assert [(option.name, option.type, option.default) for option in options] == [
            (option.name, option.type, option.default) for option in expected
        ]


OPTIONS_WITHOUT_FIRST_CHECKS = {("attention", "num_heads"), ("length_warmup", "start"), ("length_warmup", "num_stages")}
"""Options without first checks, because their valid values depend on the encoder or on a constant of the module."""
POSITIONAL_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "heads": (EncoderSpec(hidden_size=8, num_hidden_states=7), 2),  # the encoder and the number of labels
    "hooks": (),
    "optimizers": (),
    "schedules": (SGD([torch.zeros(1)], lr=1.0),),
    "objectives": (SingleLabel(("a", "b"), label_counts=(1, 1), num_train=2),),
}
"""Positional arguments for calling any entry of a registry."""
STEP_COUNTS = {"num_warmup_steps": 1, "num_training_steps": 10}
"""Values that a run would supply to schedules."""


@pytest.mark.parametrize("listing", POSITIONAL_ARGUMENTS)
def test_first_checks_reject_exactly_the_values_that_the_entry_rejects(listing: str) -> None:
    registry = load_registry(listing)
    outcomes = []
    for name in shipped_names(registry):
        for option in options_of(registry[name], supplied_parameters=STEP_COUNT_PARAMETERS):
            if option.type in (int, float) and (name, option.name) not in OPTIONS_WITHOUT_FIRST_CHECKS:
                for value in map(option.type, (-1, 0, 0.5, 1, 1.5)):
                    option_values = {option.name: value}
                    steps = STEP_COUNTS if listing == "schedules" else {}
                    rejected_by_entry = is_rejected(
                        registry[name], *POSITIONAL_ARGUMENTS[listing], **option_values, **steps
                    )
                    rejected_by_first_checks = is_rejected(
                        check_choice, listing, "entry", Choice(name, option_values), allow_unregistered=False
                    )
                    assert rejected_by_first_checks == rejected_by_entry, (name, option_values)
                    outcomes.append(rejected_by_entry)
    assert {True, False} == set(outcomes)  # some values were rejected, and some accepted


def is_rejected(function: Callable[..., object], *positional: Any, **named: Any) -> bool:
    """Return whether a call raises a user-facing error."""
    try:
        function(*positional, **named)
    except ValueError as error:
        return is_user_facing(error)
    return False
