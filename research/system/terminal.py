"""Print messages and tables safely: names from a file may hold commands for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from research.system.plain_text import for_terminal


class Terminal(Console):
    """Prints tables and lines whose strings may be any: brackets, colons and control characters are shown as they are.

    Strings are made safe when rich renders them; a `Text` is taken for safe.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string of a table or a line as text."""
        return super().render_str(for_terminal(text), **options | {"markup": False, "emoji": False})

    def print_line(self, line: str, *, keep_lines: bool = False) -> None:
        """Print a line, however long, without folding it; `keep_lines` as for `print_message`."""
        self.print(Text(for_terminal(line, keep_lines=keep_lines)), soft_wrap=True)
