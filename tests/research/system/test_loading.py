"""Garbage collection is disabled while libraries are imported."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator

import pytest

from research.system.loading import loading_libraries


@pytest.fixture(autouse=True)
def restore_collector() -> Iterator[None]:
    """Restore the usual state of the garbage collector after each test."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("was_enabled", [True, False])
def test_loading_libraries_disables_the_collector_and_restores_it(was_enabled: bool) -> None:
    if not was_enabled:
        gc.disable()
    with loading_libraries():
        assert not gc.isenabled()
    assert gc.isenabled() == was_enabled


def test_loaded_objects_are_never_collected_even_after_an_error() -> None:
    gc.unfreeze()
    with pytest.raises(ModuleNotFoundError), loading_libraries():
        importlib.import_module("no_such_library")
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()
