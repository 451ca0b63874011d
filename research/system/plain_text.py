"""Escape the user's names and texts for each output format, so that no character acts as a command.

Labels, arms, settings, errors and texts may contain any characters. There is one function for each format that people
read. JSON, YAML and parquet do their own quoting and keep every character.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

_DIRECTION_MARKS = "\u061c\u200e\u200f"
"""Marks of right-to-left text, which reorder the text next to them."""
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, except tab and line feed
    f"{_DIRECTION_MARKS}\u202a-\u202e\u2066-\u2069"  # text direction
    "\u2028\u2029\ufeff\ufff9-\ufffb"  # line ends, byte order marks, annotations
    "\ufffe\uffff\ud800-\udfff]"  # noncharacters, surrogates
)
_UNSAFE_IN_BLOCK = re.compile(_UNSAFE.pattern.replace(_DIRECTION_MARKS, ""))
"""`_UNSAFE` without the direction marks, which `for_html` keeps in blocks."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make spreadsheets treat a cell as a formula."""
LONGEST_IN_PAGE = 200
"""Length above which a name in a page is shortened; results.csv and the files of the runs contain the full name."""
LONGEST_IN_FIGURE = 40
"""Length above which a name in a figure is shortened; the tables next to it contain the full name."""

_LATEX = {
    **{character: rf"\{character}" for character in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "\u2026": r"\ldots{}",
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
    "\u00d7": r"$\times$",
    "\u2192": r"$\rightarrow$",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
}
"""LaTeX for characters that are special in it or that some of its fonts lack."""
_LATEX_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u0327": "c",
    "\u030c": "v",
}
"""LaTeX commands of combining accents."""

LONGEST_MESSAGE = 2000
"""Length above which a message about the user's files is shortened."""


def for_terminal(text: str, *, keep_lines: bool = False) -> str:
    r"""Return text without terminal control sequences: characters such as `\x1b` and `\u202e` are escaped.

    Args:
        text: a name, or a message that contains names.
        keep_lines: whether to keep line breaks and tabs, because they are part of the message; if not, escape them.
    """
    shown = _escape_unsafe(text)
    return shown if keep_lines else shown.replace("\n", r"\n").replace("\t", r"\t")


def for_message(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return text from a file, or an error about a file, on one line and with a bounded length, for use in a message.

    Args:
        text: any text.
        longest: length above which the middle of the text is left out.
    """
    shown = for_terminal(text)
    if len(shown) <= longest:
        return shown
    # A half and a third of the length leave room for the number of omitted characters in between.
    first, last = shown[: longest // 2], shown[len(shown) - longest // 3 :]
    return f"{first} [{len(shown) - len(first) - len(last):,} characters] {last}"


def for_html(text: object, *, is_block: bool = False) -> object:
    """Escape a value for a page, including characters that HTML forbids or that reorder the following text.

    Args:
        text: value shown by a template; markup and values that are not strings are returned unchanged.
        is_block: whether the text has an element of its own, outside which nothing is reordered; if so, marks of
            right-to-left text are kept.
    """
    if not isinstance(text, str) or isinstance(text, Markup):
        return text
    return escape(_escape_unsafe(text, _UNSAFE_IN_BLOCK if is_block else _UNSAFE))


def name_in_html(name: str) -> Markup:
    """Return a name for a table or sentence of a page.

    Very long names are shortened, with a tooltip. A line may break after an equals sign, because names of arms often
    contain long settings, as in `head_lr=0.0001`.
    """
    if len(name) <= LONGEST_IN_PAGE:
        return _break_after_equals_signs(_escape_unsafe(name))
    shown = _break_after_equals_signs(shorten(name, LONGEST_IN_PAGE))
    return Markup('<span title="{}">{}</span>').format(_escape_unsafe(name), shown)


def for_markdown(text: str) -> str:
    """Return text on one line that Markdown shows unchanged, even at the start of a line or cell.

    Dollar signs become entities, because some programs render formulas between them in spite of a backslash.
    """
    flat = re.sub(r"([\\`*\[\]|~])", r"\\\1", _on_one_line(text))
    flat = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", flat)  # within a word, an underscore is not markup
    flat = re.sub(r"^(\d*)(#{1,6}(?= |$)|>|[+-](?=[ -])|(?<=\d)[.)](?= |$))", r"\1\\\2", flat)  # headings and lists
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace("$", "&#36;")


def markdown_code(text: str, language: str) -> str:
    """Return a code block in Markdown, with a fence longer than any in the code."""
    longest = max((len(backticks) for backticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{_escape_unsafe(text).rstrip()}\n{fence}"


def for_latex(text: str) -> str:
    r"""Return text on one line that LaTeX shows unchanged, with any engine and any font.

    Accents become commands such as `\'{e}`. A character without a command for it becomes its code, such as [U+8868].
    """
    shown = "".join(_LATEX.get(each) or _accents_for_latex(each) for each in _on_one_line(text))
    return re.sub("-(?=-)", "-{}", shown)  # LaTeX makes a dash of several hyphens


def _accents_for_latex(character: str) -> str:
    decomposed = unicodedata.normalize("NFD", character)
    base, accents = decomposed[0], decomposed[1:]
    if not base.isascii() or not all(each in _LATEX_ACCENTS for each in accents):
        return f"[U+{ord(character):04X}]"
    for each in accents:
        base = rf"\{_LATEX_ACCENTS[each]}{{{base}}}"
    return base


def for_figure(text: str, longest: int = LONGEST_IN_FIGURE) -> str:
    """Return text for matplotlib: on one line, shortened, with formulas and characters that SVG forbids escaped.

    Args:
        text: a name.
        longest: length above which the middle of the name is left out.
    """
    shown = shorten(text, longest).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # matplotlib omits labels that start with "_" from legends


def for_csv(value: object) -> object:
    """Return a cell that spreadsheets do not execute: text that looks like a formula gets a leading apostrophe.

    Values that are not strings are returned unchanged. Numbers in strings, such as -0.5, do not count as formulas.
    """
    if not isinstance(value, str):
        return value
    if value.startswith(FORMULA_STARTS) and not _is_number(value):
        value = f"'{value}"
    return _escape_unsafe(value)


def shorten(text: str, longest: int) -> str:
    """Return a name on one line; the middle of a long name is left out, because names mostly differ at the ends."""
    flat = _on_one_line(text)
    if len(flat) <= longest:
        return flat
    first, last = flat[: longest // 2], flat[1 - longest // 2 :]
    # Cut at spaces if that does not remove too much.
    if " " in first[longest // 4 :]:
        first = first.rpartition(" ")[0]
    if " " in last[: longest // 4]:
        last = last.partition(" ")[2]
    return f"{first} … {last}"


def _break_after_equals_signs(text: str) -> Markup:
    return Markup("=<wbr>").join(text.split("="))


def _escape_unsafe(text: str, unsafe: re.Pattern[str] = _UNSAFE) -> str:
    return unsafe.sub(lambda match: match[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def _on_one_line(text: str) -> str:
    return _escape_unsafe(" ".join(text.split()))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
