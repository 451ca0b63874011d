"""MkDocs hook: marks short inline code, so that the style sheet keeps flags such as `--batch_size 16` on one line."""

from __future__ import annotations

import re
from typing import Any

MAX_CHARACTERS = 30
"""Maximum length of code that is kept on one line. This length fits on the screen of a phone, 390 pixels wide."""
INLINE_CODE = re.compile(rf"<code>((?:&\w+;|[^<&]){{1,{MAX_CHARACTERS}}})</code>")
"""Matches short inline code. Highlighted blocks contain tags, so they do not match. An entity such as `&lt;` counts as
one character."""


def on_page_content(html: str, **_: Any) -> str:
    """Return the page with `class="short"` on each piece of short inline code."""
    return INLINE_CODE.sub(r'<code class="short">\1</code>', html)
