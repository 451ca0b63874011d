"""Names and what they stand for."""

import pytest

from heads import HEADS
from heads.registry import Registry, UnknownNameError


def test_registry_answers_a_misspelt_name_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"head 'ltsm'.*'lstm'.*attention, .*, lstm, "):
        HEADS["ltsm"]


def test_registry_gives_no_hint_where_nothing_is_near() -> None:
    with pytest.raises(UnknownNameError, match="head 'zzz'") as caught:
        HEADS["zzz"]
    assert str(caught.value).count("'") == 2


def test_registry_refuses_a_taken_name() -> None:
    registry: Registry[type] = Registry("thing")
    registry.register("a")(int)
    with pytest.raises(ValueError, match=r"thing 'a'.* builtins;"):
        registry.register("a")(str)
    assert registry["a"] is int


def test_registry_takes_a_definition_again_that_was_run_twice() -> None:
    registry: Registry[type] = Registry("thing")

    def define() -> type:
        class Thing:
            pass

        return registry.register("a")(Thing)

    first, second = define(), define()
    assert registry["a"] is second is not first


def test_registry_refuses_names_that_no_flag_can_hold() -> None:
    with pytest.raises(ValueError, match=r"thing.* 'a\.b'"):
        Registry("thing").register("a.b")


def test_registry_lists_names_in_order() -> None:
    registry: Registry[type] = Registry("thing")
    registry.register("b")(int)
    registry.register("a")(str)
    assert (list(registry), len(registry), "a" in registry, "c" in registry) == (["a", "b"], 2, True, False)
