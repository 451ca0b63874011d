"""Register all data sources of the package."""

from __future__ import annotations

from pathlib import Path

from research.data.sources import registered
from research.data.sources.base import SOURCES
from tests.shipped import shipped_names


def test_registered_imports_all_data_sources() -> None:
    folder = Path(registered.__file__).parent
    registering_modules = {
        path.stem for path in folder.glob("*.py") if "\n@register_data(" in path.read_text(encoding="utf-8")
    }
    assert registering_modules == set(registered.__all__)
    assert {SOURCES[name].__module__.rpartition(".")[2] for name in shipped_names(SOURCES)} == registering_modules
