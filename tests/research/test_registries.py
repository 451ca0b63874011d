"""What is read from the source is what importing it registers: names, and the options of each."""

from __future__ import annotations

import inspect

import pytest

from research.choices import options_of
from research.registries import REGISTRIES, read_registry, registry_of
from tests.shipped import shipped


@pytest.mark.parametrize("listing", REGISTRIES)
def test_names_and_options_are_read_from_the_source(listing: str) -> None:
    registry, found = registry_of(listing), read_registry(listing)
    assert sorted(found) == shipped(registry)
    for name, options in found.items():
        inherits = inspect.isclass(registry[name]) and "__init__" not in vars(registry[name])
        assert (options is None) is inherits, name
        if options is not None:
            assert list(options) == [option.name for option in options_of(registry[name])]
