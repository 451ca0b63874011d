"""Libraries are imported without looking for garbage."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator

import pytest

from research.system.loading import loading_libraries


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leave the collector as it usually is."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("was_enabled", [True, False])
def test_collector_is_off_inside_and_as_before_afterwards(was_enabled: bool) -> None:
    if not was_enabled:
        gc.disable()
    with loading_libraries():
        assert not gc.isenabled()
    assert gc.isenabled() == was_enabled


def test_what_was_loaded_is_never_collected_even_after_a_failure() -> None:
    gc.unfreeze()
    with pytest.raises(ModuleNotFoundError), loading_libraries():
        importlib.import_module("no_such_library")
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()
