"""All flags of run.py by name."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from research.settings.config import SETTING_GROUPS, RunConfig
from research.settings.declarations import Effect
from research.settings.flags import (
    CHOICE_SETTINGS,
    INSPECTION_FLAGS,
    InspectionSettings,
    Listing,
    declaration_of,
    names_where,
    setting_types,
)
from research.settings.registries import REGISTRIES


def test_setting_types_are_in_the_order_of_the_help_text() -> None:
    groups = (*SETTING_GROUPS, InspectionSettings)
    assert list(setting_types()) == [field.name for group in groups for field in dataclasses.fields(group)]
    assert set(setting_types()) == {*RunConfig().to_dict(), *INSPECTION_FLAGS}
    assert (setting_types()["seed"], setting_types()["head_lr"]) == (int, float | None)


def test_inspection_flags_concern_a_single_invocation() -> None:
    assert INSPECTION_FLAGS == ("dry_run", "print_config", "list", "traceback")
    assert {declaration_of(name).effect for name in INSPECTION_FLAGS} == {Effect.INVOCATION}


def test_list_accepts_every_registry() -> None:
    # --list has no "pefts", because the help of --peft names the only entry of that registry.
    assert {*typing.get_args(Listing)} == REGISTRIES.keys() - {"pefts"}


def test_choice_settings_accept_a_name_or_a_dict_of_options() -> None:
    assert CHOICE_SETTINGS == ("head", "objective", "peft", "optimizer", "schedule")
    for name in CHOICE_SETTINGS:
        assert {str, dict[str, typing.Any]} <= {*typing.get_args(setting_types()[name])}


def test_names_where_returns_matching_flags_in_the_order_of_the_help_text() -> None:
    assert names_where(lambda declared: True) == tuple(setting_types())
    assert names_where(lambda declared: declared is declaration_of("seed")) == ("seed",)


def test_declaration_of_an_unknown_flag_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        declaration_of("sead")
