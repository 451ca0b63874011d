"""Settings that may differ between a checkpoint's run and the run that continues it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from heads import HEADS
from heads.registry import Registry
from research import RunConfig
from research.learning.optimizers.base import OPTIMIZERS
from research.learning.schedules import SCHEDULES
from research.settings.comparison import compare_settings
from research.settings.config import Choice
from research.settings.declarations import Effect, declarations
from research.settings.options import complete_choice
from research.settings.registries import STEP_COUNT_PARAMETERS
from research.training.hook import HOOKS

SETTINGS = [item.name for item in dataclasses.fields(RunConfig)]


def compare(name: str, value: Any, *, same_rows: bool = True, is_fork: bool = False) -> tuple[bool, bool]:
    """Return whether changing a setting to `value`, which need not be valid, is noted, and whether it is refused."""
    before = RunConfig().to_dict()
    comparison = compare_settings(before, before | {name: value}, same_rows=same_rows, is_fork=is_fork)
    return bool(comparison.notes), bool(comparison.refused)


@pytest.mark.parametrize("name", SETTINGS)
def test_changed_setting_is_noted_or_refused_unless_it_concerns_a_single_invocation(name: str) -> None:
    declared = declarations(RunConfig)[name]
    if declared.effect is Effect.INVOCATION:
        assert compare(name, "another") == compare(name, "another", is_fork=True) == (False, False)
        return
    is_noted = declared.effect is not Effect.TRAINING
    assert compare(name, "another") == (is_noted, not is_noted)
    is_fixed = declared.why_fixed_in_forks is not None
    # Every fork has a value of `fork` that its parent did not have.
    expected = (False, False) if name == "fork" else (not is_fixed, is_fixed)
    assert compare(name, "another", is_fork=True) == expected


@pytest.mark.parametrize(
    ("kind", "registry"), [("head", HEADS), ("hook", HOOKS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)]
)
def test_options_survive_a_checkpoint_unchanged(kind: str, registry: Registry[Any]) -> None:
    for name in registry:
        choice = complete_choice(registry, Choice(name), supplied_parameters=STEP_COUNT_PARAMETERS).to_yaml()
        before = RunConfig().to_dict() | {kind: [choice] if kind == "hook" else choice}
        comparison = compare_settings(json.loads(json.dumps(before)), before, same_rows=True, is_fork=False)
        assert (comparison.notes, comparison.refused) == ([], [])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("is_fork", [False, True])
def test_bare_name_in_a_checkpoint_of_an_earlier_version_equals_the_entry_with_its_defaults(
    name: str, is_fork: bool
) -> None:
    def compare_optimizers(before: Any, now: Any) -> list[str]:
        settings = RunConfig().to_dict()
        comparison = compare_settings(
            settings | {"optimizer": before}, settings | {"optimizer": now}, same_rows=True, is_fork=is_fork
        )
        assert not comparison.notes
        return comparison.refused

    with_defaults = complete_choice(OPTIMIZERS, Choice(name)).to_yaml()
    assert isinstance(with_defaults, dict)
    assert compare_optimizers(name, with_defaults) == []
    option = next(key for key in with_defaults if key != "name")
    for changed in (with_defaults | {option: 0.25}, {"name": "lion"}, {"name": "of a plugin"}):
        assert len(compare_optimizers(name, changed)) == 1


@pytest.mark.parametrize("is_fork", [False, True])
def test_setting_missing_from_a_checkpoint_counts_as_the_default(is_fork: bool) -> None:
    defaults = RunConfig().to_dict()
    for name in defaults:
        before = {setting: value for setting, value in defaults.items() if setting != name}
        comparison = compare_settings(before, defaults, same_rows=True, is_fork=is_fork)
        assert (comparison.notes, comparison.refused) == ([], []), name
    changed = defaults | {"allow_unknown_tokens": True, "weight_decay": 0.5}
    before = {name: value for name, value in defaults.items() if name not in ("allow_unknown_tokens", "weight_decay")}
    comparison = compare_settings(before, changed, same_rows=True, is_fork=is_fork)
    assert len(comparison.notes + comparison.refused) == 2


@pytest.mark.parametrize("value", [(1, 2), {1: (2,)}, {"a": float("nan")}, {"limit": float("inf")}, [{"at": ("9st",)}]])
def test_values_are_compared_as_stored_in_a_checkpoint(value: Any) -> None:
    before = RunConfig().to_dict()
    saved = json.loads(json.dumps(before | {"head": value}))
    assert not compare_settings(saved, before | {"head": value}, same_rows=True, is_fork=False).refused
    assert compare_settings(saved, before, same_rows=True, is_fork=False).refused


def test_changed_rows_are_refused() -> None:
    assert compare("data", "other.csv", same_rows=False) == (False, True)
    # The rows of a file may have changed although its name has not.
    assert compare("log_every", 5, same_rows=False) == (True, True)
    assert compare("limit_train", 5, same_rows=False, is_fork=True) == (False, True)


@pytest.mark.parametrize(
    ("name", "value", "alters"),
    [("lr", 0.5, True), ("timeline", [{"at": "10st"}], True), ("log_every", 3, False), ("compile", True, False)],
)
def test_fork_alters_training_only_if_settings_that_affect_training_changed(
    name: str, value: Any, alters: bool
) -> None:
    before = RunConfig().to_dict()
    comparison = compare_settings(before, before | {name: value}, same_rows=True, is_fork=True)
    assert (len(comparison.notes), comparison.refused, comparison.alters_training) == (1, [], alters)
