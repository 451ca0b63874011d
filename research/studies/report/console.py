"""The ranking of a study's arms, printed on the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from research.studies.report.contents import Contents
from research.studies.report.notation import format_decimal, format_interval, format_p_value
from research.studies.report.ranking import RankedArm, RankingDecimals

LONG_NAME = 12
"""Number of characters of an arm's name beyond which intervals are on a line of their own, to leave room for names."""


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
    table = Table(
        title=f"{contents.metric} on {contents.study.spec.split} rows", title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("arm", overflow="fold")
    break_or_space = "\n" if max(len(each.arm) for each in ranked) > LONG_NAME else " "
    for name in (contents.units, Text(f"mean{break_or_space}(95% CI)"), "difference", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", width=len("significant"))  # the longest word of a verdict is not broken
    for each in ranked:
        table.add_row(*_cells(each, contents.decimals, break_or_space))
    yield table
    arms_by_reason: dict[str, list[str]] = {}
    for each in ranked:
        if each.comparison is not None and each.comparison.why_no_verdict:
            arms_by_reason.setdefault(each.comparison.why_no_verdict, []).append(each.arm)
    for reason, arms in arms_by_reason.items():
        scope = "" if len(arms) == len(ranked) - 1 else f" for {', '.join(arms)}"  # all arms except the baseline
        yield f"No verdict{scope}: {reason}."
    for each in ranked:
        for note in each.earlier_failures:
            yield f"{each.arm}: {note}."


def _cells(each: RankedArm, decimals: RankingDecimals, break_or_space: str) -> list[str | Text]:
    summary, comparison = each.summary, each.comparison
    mean = format_decimal(summary.mean, decimals.mean)
    if summary.interval is not None:
        mean += f"{break_or_space}({format_interval(summary.interval, decimals.mean)})"
    cells: list[str | Text] = [each.arm, str(len(summary.seeds)), Text(mean)]
    if comparison is None:
        return [*cells, "", "", "baseline"]
    return [
        *cells,
        format_decimal(comparison.mean_difference, decimals.difference, signed=True),
        format_p_value(comparison.p_holm),
        comparison.verdict or "none",
    ]
