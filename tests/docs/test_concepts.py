"""The blocks of the concept and reference pages run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, place_of
from tests.docs.running import Reader

TESTED_PAGES = [page for page in PAGES if place_of(page.parent) in ("docs/concepts", "docs/reference")]


@pytest.mark.parametrize("page", TESTED_PAGES, ids=place_of)
def test_blocks_run(page: Path, reader: Reader) -> None:
    reader.follow(page)
