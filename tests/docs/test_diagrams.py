"""The diagrams in docs/pictures/ are up to date, and show all packages and all points of the loop."""

from __future__ import annotations

import re

import diagrams
import pytest

from research.training.hook import Hook
from tests.conftest import ROOT


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_diagram_file_is_up_to_date(name: str) -> None:
    expected = diagrams.DIAGRAMS[name]()
    assert (diagrams.PICTURES / name).read_text(encoding="utf-8") == expected, "run python docs/scripts/diagrams.py"


def test_all_packages_are_in_the_diagram() -> None:
    packages = {path.parent.name for path in (ROOT / "research").glob("*/__init__.py")}
    assert {name for row in diagrams.read_layers() for name in row} == packages == set(diagrams.SUMMARIES)


def test_all_hook_methods_are_in_the_diagram() -> None:
    points = {name for name in vars(Hook) if re.match(r"(on|before|after|end)_", name)}
    diagram_text = " ".join(f"{name} {text}" for _, name, text in diagrams.LOOP_STAGES)
    assert {name for name in points if not re.search(rf"\b{name}\b", diagram_text)} == set()
    assert {name for _, name, _ in diagrams.LOOP_STAGES if name} <= points
