"""Registry of named classes and functions."""

import sys
import types

import pytest

from heads import HEADS
from heads.registry import Registry, UnknownNameError


def test_registry_suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"head 'ltsm'.*'lstm'.*attention, .*, lstm, "):
        HEADS["ltsm"]


def test_registry_suggests_nothing_if_no_name_is_similar() -> None:
    with pytest.raises(UnknownNameError, match="head 'zzz'") as caught:
        HEADS["zzz"]
    assert str(caught.value).count("'") == 2  # only 'zzz' is quoted


def test_registry_rejects_a_taken_name() -> None:
    registry: Registry[type] = Registry("thing")
    registry.register("a")(int)
    with pytest.raises(ValueError, match=r"thing 'a'.* builtins;"):
        registry.register("a")(str)
    assert registry["a"] is int


def test_registry_replaces_an_entry_that_is_defined_again() -> None:
    registry: Registry[type] = Registry("thing")

    def define() -> type:
        class Thing:
            pass

        return registry.register("a")(Thing)

    first, second = define(), define()
    assert registry["a"] is second is not first


def test_registry_rejects_names_that_cannot_be_part_of_a_flag() -> None:
    with pytest.raises(ValueError, match=r"thing.* 'a\.b'"):
        Registry("thing").register("a.b")


def test_registry_lists_names_in_alphabetical_order() -> None:
    registry: Registry[type] = Registry("thing")
    registry.register("b")(int)
    registry.register("a")(str)
    assert (list(registry), len(registry), "a" in registry, "c" in registry) == (["a", "b"], 2, True, False)


def define_in_main(name: str) -> type:
    return type(name, (), {"__module__": "__main__"})


def test_registry_replaces_an_entry_that_a_notebook_defines_again_under_another_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry: Registry[type] = Registry("thing")
    registry.register("a")(define_in_main("First"))
    script = types.ModuleType("__main__")
    script.__file__ = "script.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    with pytest.raises(ValueError, match="'a' is already registered by __main__"):
        registry.register("a")(define_in_main("Second"))
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))  # as in a notebook
    renamed = registry.register("a")(define_in_main("Second"))
    assert registry["a"] is renamed
    with pytest.raises(ValueError, match="'a' is already registered by __main__"):
        registry.register("a")(int)
