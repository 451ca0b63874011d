"""The fenced blocks of a documentation page, each with the notes in the comments above it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
"""Every page that people write; those that are generated have no commands of their own."""
OUTPUT = "text"
"""The language of what a command prints."""
RUN = ("bash", "python", "yaml")
"""Languages of blocks that the tests run."""
NOTES = ("not tested", "tested with", "exits with")
"""What a comment above a block may say."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    """The page that it is in."""
    line: int
    """Number of the line with the fence."""
    language: str
    """As after the fence."""
    title: str | None
    """The name of a file that has this content."""
    text: str
    """What is in it."""
    notes: dict[str, str]
    """What the comments above it say, by its first words."""

    @property
    def place(self) -> str:
        """Page and line, for messages."""
        return f"{place_of(self.page)}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """The file that the block is saved as: its title, or the name in its first line."""
        named = re.match(r"# ([\w.-]+\.(?:py|ya?ml))\n", self.text)
        return self.title or (named[1] if named else None)


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page.

    Raises:
        ValueError: naming the place of a block or a comment that cannot be read.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    notes: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number]
        note = re.fullmatch(r"\s*<!-- ([a-z ]+):(.*)-->", line)
        fence = re.fullmatch(r"(\s*)(`{3,}|~{3,})\s*(\w*)(.*)", line)
        number += 1
        if note is not None:
            if note[1] not in NOTES:
                raise ValueError(f"{page.name}:{number}: expected a comment with one of {NOTES}, got '{line}'.")
            notes[note[1]] = note[2].strip()
        elif fence is not None:
            start, content = number, []
            while number < len(lines) and lines[number].strip() != fence[2]:
                content.append(lines[number].removeprefix(fence[1]))
                number += 1
            if number == len(lines):
                raise ValueError(f"{page.name}:{start}: the block has no end.")
            number += 1
            title = re.search(r'title="([^"]+)"', fence[4])
            yield Block(page, start, fence[3], title and title[1], "\n".join(content) + "\n", notes)
            notes = {}
        elif notes:
            raise ValueError(f"{page.name}:{number}: expected a block right below the comment '{next(iter(notes))}'.")


def indented_code(page: Path) -> list[int]:
    """Return the numbers of lines that begin an indented code block, which no test would run."""
    found, is_fenced = [], False
    lines = page.read_text(encoding="utf-8").splitlines()
    above = ""
    in_list = False
    for number, line in enumerate(lines, start=1):
        if re.match(r"\s*(`{3,}|~{3,})", line):
            is_fenced = not is_fenced
        elif not is_fenced:
            if re.match(r"\s*([-*+]|\d+\.|!!!|\?\?\?)\s?", line):
                in_list = True  # what is indented below it belongs to it
            elif line and not line.startswith(" "):
                in_list = False
            if line.startswith("    ") and not above.strip() and not in_list:
                found.append(number)
        above = line
    return found


def place_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return page.relative_to(ROOT).as_posix()
