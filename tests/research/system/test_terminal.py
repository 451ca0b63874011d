"""Tables and lines with arbitrary strings."""

from __future__ import annotations

import io

from rich.table import Table
from rich.text import Text

from research.system.terminal import Terminal


def test_print_line_neither_wraps_lines_nor_prints_control_characters() -> None:
    printed = io.StringIO()
    terminal = Terminal(file=printed, width=20)
    terminal.print_line(f"[bold]{'long ' * 20}:smile: \x1b[31m")
    terminal.print_line("one\ntwo\x07", keep_lines=True)
    terminal.print_line("one\ntwo")
    long_line, *other_lines = printed.getvalue().splitlines()
    assert long_line == f"[bold]{'long ' * 20}:smile: \\x1b[31m"
    assert other_lines == ["one", "two\\x07", "one\\ntwo"]


def test_table_cells_are_literal_and_text_objects_keep_their_style() -> None:
    printed = io.StringIO()
    terminal = Terminal(file=printed, width=80, force_terminal=True, color_system="standard")
    table = Table("name")
    table.add_row("[red]x[/red] \r")
    table.add_row(Text("mine", style="red"))
    terminal.print(table)
    assert "[red]x[/red] \\r" in printed.getvalue()
    assert "\x1b[31mmine " in printed.getvalue()
