"""Names and texts that contain markup or control characters are shown literally."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from markupsafe import Markup
from matplotlib.figure import Figure
from rich.table import Table

from research.system.messages import logger
from research.system.plain_text import (
    LONGEST_IN_FIGURE,
    for_csv,
    for_figure,
    for_html,
    for_latex,
    for_markdown,
    for_message,
    for_terminal,
    markdown_code,
)
from research.system.terminal import Terminal

UNSAFE_NAMES = {
    "\x1b[31mred": r"\x1b[31mred",
    "\u202eright": r"\u202eright",
    "a\u200fb\u2066": r"a\u200fb\u2066",
    "back\rspace\x08\x00": r"back\rspace\x08\x00",
    "next\x85line\u2028.": r"next\x85line\u2028.",
    "\ud800\uffff": r"\ud800\uffff",
    "$x$ [/b] :smile:": "$x$ [/b] :smile:",
}
"""Names that contain markup or control characters, and how each name is displayed."""


class VisibleText(HTMLParser):
    """Collects the text of an HTML page, without the markup."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data


def draw_svg(text: str) -> ET.Element:
    """Return the SVG that matplotlib draws for a text."""
    figure = Figure()
    figure.text(0, 0, text)
    image = io.StringIO()
    figure.savefig(image, format="svg")
    return ET.fromstring(image.getvalue())


@pytest.mark.parametrize(("name", "displayed"), UNSAFE_NAMES.items())
def test_names_are_escaped_in_messages_tables_html_csv_and_figures(
    name: str, displayed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.info(name)
    assert capsys.readouterr().out == f"{displayed}\n"
    printed = io.StringIO()
    table = Table(name, title=name, title_justify="left")
    table.add_row(name)
    Terminal(file=printed).print(table)
    assert printed.getvalue().count(displayed) == 3
    page = VisibleText()
    page.feed(str(for_html(name)))
    assert page.text == displayed
    assert for_csv(name) == displayed
    assert draw_svg(for_figure(name)).tag.endswith("svg")  # raises if the SVG is not valid XML


def test_intended_line_breaks_are_kept_in_terminals_and_html() -> None:
    assert for_terminal("two\nlines") == r"two\nlines"
    assert for_terminal("two\r\nlines\x1b", keep_lines=True) == "two\nlines\\x1b"
    assert for_html("two\nlines") == "two\nlines"


def test_for_message_keeps_the_start_and_end_of_a_long_text() -> None:
    displayed = for_message(f"start{'x' * 5000}end", longest=120)
    assert displayed.startswith("startx")
    assert displayed.endswith("xend")
    assert len(displayed) <= 130
    assert "4,908 characters" in displayed  # 60 characters are shown before, and 40 after


def test_for_html_escapes_strings_but_keeps_numbers_and_markup_objects() -> None:
    assert for_html("<script>&") == "&lt;script&gt;&amp;"
    assert for_html(3.5) == 3.5
    assert for_html(Markup("<b>")) == "<b>"


def test_for_html_keeps_direction_marks_but_escapes_overrides_in_blocks() -> None:
    assert for_html("\u05d0\u200f!\u202e", is_block=True) == "\u05d0\u200f!\\u202e"


@pytest.mark.parametrize(
    "text",
    [
        *("# no heading", "- no item", "+ no item", "1. no item", "2) no item", "> no quote", "---", "-0.5", "+0.25"),
        *("<script>", "`code` *b* _i_ ~~d~~ [l](u) ![i](u)", "a|b", "&amp;", "max_length=48 _x_", "snake_case"),
    ],
)
def test_text_escaped_for_markdown_is_rendered_literally(text: str) -> None:
    rendered = MarkdownIt("gfm-like", {"linkify": False}).render(for_markdown(text))
    page = VisibleText()
    page.feed(rendered)
    # The only two tags are those of one paragraph.
    assert (page.text.strip(), rendered.startswith("<p>"), rendered.count("<")) == (text, True, 2)


def test_for_markdown_escapes_formulas_and_removes_line_breaks() -> None:
    assert for_markdown("$x$\n\x1by") == r"&#36;x&#36; \\x1by"


def test_markdown_code_uses_a_fence_longer_than_any_in_the_code() -> None:
    code = "a: |\n  ```\n  ````\n"
    (block,) = MarkdownIt().parse(markdown_code(code, "yaml"))
    assert (block.type, block.info, block.content) == ("fence", "yaml", code)


def test_for_figure_escapes_formulas_and_shortens_names() -> None:
    figure = Figure()
    for name, displayed in {"$x_{$": "$x_{$", r"\$5$": r"\$5$", "$": "$", "two\nlines": "two lines"}.items():
        text = figure.text(0, 0, for_figure(name))
        # matplotlib returns the text that it displays, and whether the text is a formula.
        assert text._preprocess_math(text.get_text()) == (displayed, False)  # type: ignore[attr-defined]
    assert len(for_figure("very " * 1000)) <= LONGEST_IN_FIGURE + 3  # with an ellipsis between spaces
    axes = figure.subplots()
    axes.plot([0], [0], label=for_figure("_hidden"))
    assert [text.get_text().strip() for text in axes.legend().get_texts()] == ["_hidden"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & 5% #1 {x}", r"a\_b \& 5\% \#1 \{x\}"),
        ("$x$ \\ ~ ^", r"\$x\$ \textbackslash{} \textasciitilde{} \textasciicircum{}"),
        ("lr=1e-5 a--b", "lr=1e-5 a-{}-b"),
        ("caf\u00e9 \u017e \u8868", r"caf\'{e} \v{z} [U+8868]"),
        ("two\nlines\u202e", r"two lines\textbackslash{}u202e"),
    ],
)
def test_for_latex_escapes_commands_and_characters_without_a_command(text: str, escaped: str) -> None:
    assert for_latex(text) == escaped
