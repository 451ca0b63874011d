"""Read the fenced blocks of a documentation page, with the notes in the comments above them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
"""All pages that are written by hand. Generated pages exist only in the built site, and contain no commands."""
OUTPUT_LANGUAGE = "text"
"""Language of blocks that show the output of a command."""
TESTED_LANGUAGES = ("bash", "python", "yaml")
"""Languages of blocks that are tested: commands and programs are run, recipes and studies are checked."""
NOTE_KINDS = ("not tested", "tested with", "exits with")
"""Kinds of comments above a block. The kind is the part before the colon: `<!-- not tested: needs a GPU -->`."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    """The page that contains the block."""
    line: int
    """Number of the line with the opening fence, from 1."""
    language: str
    """The language after the opening fence."""
    title: str | None
    """The `title` after the opening fence, which is the name of a file with the block's content."""
    text: str
    """The content."""
    notes: dict[str, str]
    """The comments above the block: the text after the colon, by the part before it."""

    @property
    def place(self) -> str:
        """Page and line number, for messages."""
        return f"{repository_path(self.page)}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """Name of the file to which the block is saved: its title, or the name in its first line."""
        name_line = re.match(r"# ([\w.-]+\.(?:py|ya?ml))\n", self.text)
        return self.title or (name_line[1] if name_line else None)


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page.

    Raises:
        ValueError: if a block has no end, or a comment is unknown or not above a block. The message names page and
            line.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    notes: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number]
        note = re.fullmatch(r"\s*<!-- ([a-z ]+):(.*)-->", line)
        fence = re.fullmatch(r"(?P<indent>\s*)(?P<marker>`{3,}|~{3,})\s*(?P<language>\w*)(?P<attributes>.*)", line)
        number += 1
        if note is not None:
            if note[1] not in NOTE_KINDS:
                raise ValueError(f"{page.name}:{number}: expected a comment with one of {NOTE_KINDS}, got '{line}'.")
            notes[note[1]] = note[2].strip()
        elif fence is not None:
            start, content = number, []
            while number < len(lines) and lines[number].strip() != fence["marker"]:
                content.append(lines[number].removeprefix(fence["indent"]))
                number += 1
            if number == len(lines):
                raise ValueError(f"{page.name}:{start}: the block has no end.")
            number += 1
            title = re.search(r'title="([^"]+)"', fence["attributes"])
            yield Block(page, start, fence["language"], title and title[1], "\n".join(content) + "\n", notes)
            notes = {}
        elif notes:
            raise ValueError(
                f"{page.name}:{number}: expected a block directly below the comment '{next(iter(notes))}'."
            )


def lines_of_indented_code(page: Path) -> list[int]:
    """Return the numbers of the lines at which indented code blocks begin. The tests would not run such blocks."""
    line_numbers, is_fenced = [], False
    lines = page.read_text(encoding="utf-8").splitlines()
    previous_line = ""
    in_item = False
    for number, line in enumerate(lines, start=1):
        if re.match(r"\s*(`{3,}|~{3,})", line):
            is_fenced = not is_fenced
        elif not is_fenced:
            if re.match(r"\s*([-*+]|\d+\.|!!!|\?\?\?)\s?", line):
                in_item = True  # indented lines below belong to the list item or admonition
            elif line and not line.startswith(" "):
                in_item = False
            if line.startswith("    ") and not previous_line.strip() and not in_item:
                line_numbers.append(number)
        previous_line = line
    return line_numbers


def repository_path(page: Path) -> str:
    """Return a page's path in the repository."""
    return page.relative_to(ROOT).as_posix()
