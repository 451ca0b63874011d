"""Short inline code is marked, so that lines do not break at its hyphens."""

from __future__ import annotations

import pytest
from short_code import MAX_CHARACTERS, on_page_content


@pytest.mark.parametrize("code", ["--lr", "a" * MAX_CHARACTERS, "&lt;" * MAX_CHARACTERS])
def test_short_inline_code_is_marked(code: str) -> None:
    assert on_page_content(f"<p>Set <code>{code}</code>.</p>") == f'<p>Set <code class="short">{code}</code>.</p>'


@pytest.mark.parametrize(
    "html", ["<code>" + "a" * (MAX_CHARACTERS + 1) + "</code>", "<pre><code><span>--lr</span></code></pre>"]
)
def test_long_code_and_blocks_are_unchanged(html: str) -> None:
    assert on_page_content(html) == html
