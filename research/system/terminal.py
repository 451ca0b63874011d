"""Print messages and tables safely: names in files may contain terminal control sequences."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from research.system.plain_text import for_terminal


class Terminal(Console):
    """Prints tables and lines with arbitrary strings: brackets, colons and control characters are shown literally.

    Strings are escaped when rich renders them; `Text` objects are assumed to be safe.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape a string of a table or line."""
        return super().render_str(for_terminal(text), **options | {"markup": False, "emoji": False})

    def print_line(self, line: str, *, keep_lines: bool = False) -> None:
        """Print a line without wrapping, whatever its length; for `keep_lines`, see `for_terminal`."""
        self.print(Text(for_terminal(line, keep_lines=keep_lines)), soft_wrap=True)
