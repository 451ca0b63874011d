"""The ranking of a study's arms, printed on the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from research.studies.report.contents import Contents
from research.studies.report.notation import format_decimal, format_interval, format_p_value
from research.studies.report.ranking import RankedArm, RankingDecimals
from research.system.plain_text import for_terminal

MIN_NAME_WIDTH = 12
"""Minimum width of the column of names on very narrow terminals, in characters."""
COMFORTABLE_NAME_WIDTH = 24
"""Width of the column of names, in characters, at which long names that are broken between words can be read."""


@dataclass(frozen=True)
class _Layout:
    """How the cells of means and intervals are broken into lines."""

    before_interval: str
    """Separator of a mean and its interval, a space or a line break."""
    within_interval: str
    """Separator before the upper bound of an interval, a space or a line break."""


_LAYOUTS = (_Layout(" ", " "), _Layout("\n", " "), _Layout("\n", "\n"))
"""From the widest to the narrowest."""


@dataclass(frozen=True)
class RankingTable:
    """The ranking as a table that leaves the names of the arms as much room as they need on the given terminal."""

    title: str
    """Title of the table."""
    units: str
    """What a mean is over, seeds or folds."""
    ranked: Sequence[RankedArm]
    """The arms, best first."""
    decimals: RankingDecimals
    """Number of decimals in the columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield the table in the widest layout in which the names fit."""
        names = [for_terminal(each.arm) for each in self.ranked]
        layouts = [(layout, self._room_for_names(layout, console, options)) for layout in _LAYOUTS]
        longest_part = max(cell_len(part) for name in names for part in _parts(name))
        longest_word = max(cell_len(word) for name in names for word in name.split(" "))
        # Names are broken within a setting only if no layout has room for whole settings.
        widths = (longest_part, max(longest_word, COMFORTABLE_NAME_WIDTH))
        candidates = [(each, needed) for needed in widths for each in layouts]
        layout, room = next((each for each, needed in candidates if each[1] >= needed), layouts[-1])
        width = max(room, MIN_NAME_WIDTH)
        yield self._make_table(layout, [fold_name(name, width) for name in names])

    def _room_for_names(self, layout: _Layout, console: Console, options: ConsoleOptions) -> int:
        """Return the number of characters that the other columns leave for names."""
        without_names = self._make_table(layout, [" "] * len(self.ranked), header=" ")
        unlimited = options.update(max_width=10_000)
        return options.max_width - Measurement.get(console, unlimited, without_names).maximum + 1

    def _make_table(self, layout: _Layout, names: Sequence[str], header: str = "arm") -> Table:
        table = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(
            header, no_wrap=True, min_width=max(cell_len(line) for name in names for line in name.split("\n"))
        )
        for name in (self.units, Text(f"mean{layout.before_interval}(95% CI)"), "difference", "p (Holm)"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("verdict", width=len("significant"))  # the longest word of a verdict is not broken
        for each, name in zip(self.ranked, names, strict=True):
            table.add_row(Text(name), *_cells(each, self.decimals, layout))
        return table


def fold_name(name: str, width: int) -> str:
    """Return the name of an arm with line breaks: between settings or before their options, or else between words.

    Args:
        name: the name, in which commas separate settings and semicolons separate edits.
        width: maximum number of characters in a line. A longer word is broken as well.
    """
    parts = []
    for part in _parts(name):
        parts += [part] if cell_len(part) <= width else part.split(" ")
    lines = [""]
    for part in parts:
        first, *rest = chop_cells(part, width) or [""]
        joined = f"{lines[-1]} {first}" if lines[-1] else first
        lines = [*lines[:-1], joined] if cell_len(joined) <= width else [*lines, first]
        lines += rest
    return "\n".join(lines)


def _parts(name: str) -> list[str]:
    """Return the settings, edits and options in a name, each with the comma or semicolon that follows it."""
    return re.split(r"(?<=[,;]) | (?=\()", name)


def ranking_lines(contents: Contents) -> Iterator[RenderableType]:
    """Yield the table of arms, best first, or the reason why there is none.

    The reasons for missing verdicts and notes on earlier failures follow. If no trial is finished, nothing is yielded.

    Args:
        contents: contents of the study's report.
    """
    if "ranking" in contents.reasons:
        yield f"No comparison: {contents.reasons['ranking']}"
    ranked = contents.ranked
    if all(each.summary.mean is None for each in ranked):
        return
    title = f"{contents.metric} on {contents.study.spec.split} rows"
    yield RankingTable(title, contents.units, ranked, contents.decimals)
    yield from contents.missing_verdicts
    for each in ranked:
        for note in each.earlier_failures:
            yield f"{each.arm}: {note}."


def _cells(each: RankedArm, decimals: RankingDecimals, layout: _Layout) -> list[str | Text]:
    summary, comparison = each.summary, each.comparison
    mean = format_decimal(summary.mean, decimals.mean)
    if summary.interval is not None:
        interval = format_interval(summary.interval, decimals.mean).replace(" to ", f" to{layout.within_interval}")
        mean += f"{layout.before_interval}({interval})"
    cells: list[str | Text] = [str(len(summary.seeds)), Text(mean)]
    if comparison is None:
        return [*cells, "", "", "baseline"]
    return [
        *cells,
        format_decimal(comparison.mean_difference, decimals.difference, signed=True),
        format_p_value(comparison.p_holm),
        comparison.verdict or "none",
    ]
