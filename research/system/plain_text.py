"""Show the user's names and texts as they are in each format: no character acts as a command.

Labels, arms, settings, errors and texts may hold anything. There is one function for each format that people look at.
JSON, YAML and parquet quote by themselves and keep every character.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_MARKS = "\u061c\u200e\u200f"
"""Marks of right-to-left writing: they order what stands beside them."""
_COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    f"{_MARKS}\u202a-\u202e\u2066-\u2069"  # order of writing
    "\u2028\u2029\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"  # line ends, byte order, annotations, not characters
)
_COMMANDS_IN_BLOCK = re.compile(_COMMANDS.pattern.replace(_MARKS, ""))
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""Characters with which spreadsheets take a cell for a formula."""
LONGEST_IN_PAGE = 200
"""Characters of a name in a page; results.csv and the files of the runs have all."""
LONGEST_IN_PICTURE = 40
"""Characters of a name in a picture; the tables beside it have all."""

LONGEST_MESSAGE = 2000
"""Characters of a message about other people's files."""


def for_terminal(text: str, *, keep_lines: bool = False) -> str:
    r"""Return text that moves no cursor and changes no colour; `\x1b`, `\u202e` and the like are written out.

    Args:
        text: a name, or a message that has some.
        keep_lines: whether line ends are the message's own; otherwise they are written out, too.
    """
    shown = _written_out(text)
    return shown if keep_lines else shown.replace("\n", r"\n").replace("\t", r"\t")


def for_message(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return what a file says, or an error about it, for a message: on one line, and of bounded length.

    Args:
        text: any text.
        longest: number of characters from which on its middle is left out.
    """
    shown = for_terminal(text)
    if len(shown) <= longest:
        return shown
    first, last = shown[: longest // 2], shown[len(shown) - longest // 3 :]
    return f"{first} [{len(shown) - len(first) - len(last):,} characters] {last}"


def for_html(text: object, *, is_block: bool = False) -> object:
    """Return a value for a page: text escaped, without characters that HTML forbids or that reorder what follows.

    Args:
        text: what a template shows; markup and what is no text stay as they are.
        is_block: whether the text has an element of its own, out of which no order leaks: there the marks of
            right-to-left writing are kept.
    """
    if not isinstance(text, str) or isinstance(text, Markup):
        return text
    return escape(_written_out(text, _COMMANDS_IN_BLOCK if is_block else _COMMANDS))


def name_in_html(name: str) -> Markup:
    """Return a name for a table or a sentence of a page: shortened if it is very long, with all of it as a tooltip."""
    if len(name) <= LONGEST_IN_PAGE:
        return escape(_written_out(name))
    return Markup('<span title="{}">{}</span>').format(_written_out(name), shortened(name, LONGEST_IN_PAGE))


def for_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, on one line, wherever a line or a cell may begin with it.

    Dollar signs become entities, since some programs read formulas between them in spite of a backslash.
    """
    flat = re.sub(r"([\\`*\[\]|~])", r"\\\1", _on_one_line(text))
    flat = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", flat)  # inside of a word it is no mark
    flat = re.sub(r"^(\d*)(#{1,6}(?= |$)|>|[+-](?=[ -])|(?<=\d)[.)](?= |$))", r"\1\\\2", flat)  # headings and lists
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace("$", "&#36;")


def markdown_code(text: str, language: str) -> str:
    """Return a block of code in Markdown; its fence is longer than any in the code."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{_written_out(text).rstrip()}\n{fence}"


def for_picture(text: str, longest: int = LONGEST_IN_PICTURE) -> str:
    """Return text for matplotlib: on one line, shortened, without formulas and without what SVG forbids.

    Args:
        text: a name.
        longest: number of characters from which on its middle is left out.
    """
    shown = shortened(text, longest).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # matplotlib leaves such names out of legends


def for_csv(value: object) -> object:
    """Return a cell that spreadsheets do not execute: an apostrophe before text that looks like a formula.

    Text that is a number, and what is no text, stays as it is.
    """
    if not isinstance(value, str):
        return value
    if value.startswith(FORMULA_STARTS) and not _is_number(value):
        value = f"'{value}"
    return _written_out(value)


def shortened(text: str, longest: int) -> str:
    """Return a name on one line, its middle left out if it is long: beginnings and ends tell names apart."""
    flat = _on_one_line(text)
    if len(flat) <= longest:
        return flat
    first, last = flat[: longest // 2], flat[1 - longest // 2 :]
    # Whole words, where that does not take too much.
    if " " in first[longest // 4 :]:
        first = first.rpartition(" ")[0]
    if " " in last[: longest // 4]:
        last = last.partition(" ")[2]
    return f"{first} … {last}"


def _written_out(text: str, commands: re.Pattern[str] = _COMMANDS) -> str:
    return commands.sub(lambda at: at[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def _on_one_line(text: str) -> str:
    return _written_out(" ".join(text.split()))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
