"""The code blocks of the how-to pages run without errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, repository_path
from tests.docs.running import PageRunner

TESTED_PAGES = [page for page in PAGES if repository_path(page.parent) == "docs/how-to"]


@pytest.mark.parametrize("page", TESTED_PAGES, ids=repository_path)
def test_code_blocks_of_page_run_without_errors(page: Path, page_runner: PageRunner) -> None:
    page_runner.run_page(page)
