"""Where the package's scripts are."""

from __future__ import annotations

import pytest

from research.system.scripts import script


@pytest.mark.parametrize("name", ["run", "ablate"])
def test_scripts_are_files(name: str) -> None:
    assert script(name).is_file()
    assert script(name).name == f"{name}.py"
