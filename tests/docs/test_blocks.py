"""Every page is tested, untested blocks have a reason, and blocks are read correctly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import test_concepts, test_how_to, test_readme, test_top_pages
from tests.docs.blocks import DOCS, PAGES, Block, lines_of_indented_code, read_blocks, repository_path
from tests.docs.running import split_into_commands

UNTESTED_BLOCKS = [block for page in PAGES for block in read_blocks(page) if "not tested" in block.notes]


@pytest.mark.parametrize("block", UNTESTED_BLOCKS, ids=lambda block: block.place)
def test_comment_above_untested_block_gives_a_reason(block: Block) -> None:
    reason = block.notes["not tested"]
    assert reason, f"{block.place}: expected a reason after 'not tested:'"
    # The summary of skipped tests lists the untested blocks.
    pytest.skip(f"{block.place} is not run: {reason}")


def test_every_page_is_tested_by_exactly_one_module() -> None:
    tested = [
        page for module in (test_readme, test_top_pages, test_concepts, test_how_to) for page in module.TESTED_PAGES
    ]
    assert sorted(tested) == PAGES


@pytest.mark.parametrize("page", [page for page in PAGES if DOCS in page.parents], ids=repository_path)
def test_page_has_no_indented_code(page: Path) -> None:
    assert lines_of_indented_code(page) == []


def write_page(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


PAGE = """Text.

    indented

1. A list

    with a paragraph of its own

<!-- tested with: --max_steps 4 -->
<!-- exits with: 1 -->
```bash
# a comment
one --flag \\
    value
two
```

```csv title="reviews.csv"
text,label
```

```python
# my_head.py
import heads
```
"""


def test_read_blocks_returns_text_title_and_notes(tmp_path: Path) -> None:
    page = write_page(tmp_path, PAGE)
    bash, csv, python = read_blocks(page)
    assert bash.notes == {"tested with": "--max_steps 4", "exits with": "1"}
    # The continued line keeps its indentation.
    assert (bash.line, split_into_commands(bash.text)) == (11, ["one --flag      value", "two"])
    assert (csv.language, csv.file_name, csv.text, csv.notes) == ("csv", "reviews.csv", "text,label\n", {})
    assert (python.file_name, python.text) == ("my_head.py", "# my_head.py\nimport heads\n")


@pytest.mark.parametrize(
    "text", ["```bash\nls\n", "<!-- tests with: -->\n```bash\nls\n```\n", "<!-- not tested: -->\n"]
)
def test_read_blocks_rejects_malformed_blocks_and_comments(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected|no end"):
        list(read_blocks(write_page(tmp_path, f"{text}\nend\n")))


def test_indented_code_is_found_only_outside_lists(tmp_path: Path) -> None:
    assert lines_of_indented_code(write_page(tmp_path, PAGE)) == [3]
