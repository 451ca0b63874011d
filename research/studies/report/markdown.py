"""report.md: the main tables of a study in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from research.studies.report.contents import Contents
from research.studies.report.model_comparisons import ModelComparison
from research.studies.report.notation import (
    column_decimals,
    format_amount,
    format_decimal,
    format_interval,
    format_p_value,
    format_thousands,
    seconds_decimals,
)
from research.studies.report.ranking import RankedArm, RankingDecimals
from research.studies.report.second_opinions import (
    EXPLANATION,
    FOLDS_WARNING,
    ORDER_EXPLANATION,
    SIGNED_RANK_EXPLANATION,
)
from research.studies.statistics.over_rows import SCOPE
from research.studies.statistics.over_seeds import Comparison
from research.system.errors import one_line
from research.system.plain_text import for_markdown


def markdown_report(contents: Contents) -> str:
    """Return the main tables of a study in Markdown."""
    return "\n".join(_blocks(contents))


def _blocks(contents: Contents) -> Iterator[str]:
    spec = contents.study.spec
    yield f"# {for_markdown(spec.name)}\n"
    if spec.about:
        yield f"{for_markdown(spec.about)}\n"
    yield f"{for_markdown(contents.summary)}\n"
    yield from _missing(contents)
    if spec.selection:
        yield "## How the arms were chosen\n"
        yield from _selection(contents)
    yield f"## Arms{f', ranked by {for_markdown(contents.metric)} on {spec.split} rows' if contents.metric else ''}\n"
    if "ranking" in contents.reasons:
        yield f"No comparison: {for_markdown(contents.reasons['ranking'])}.\n"
    elif contents.ranked:
        yield _ranking(contents.ranked, contents.decimals, contents.units)
        for sentence in (*contents.missing_verdicts, contents.method):
            yield f"{for_markdown(sentence)}\n"
        notes = [f"- {for_markdown(f'{each.arm}: {note}')}\n" for each in contents.ranked for note in each.notes]
        yield "".join(notes) or "\n"
        if contents.second_opinions:
            yield "### Second opinions\n"
            yield _second_opinions(contents)
    else:
        yield "No trial is finished.\n"
    if contents.costs:
        yield "## Costs\n"
        yield _costs(contents)
    for table in contents.breakdowns:
        yield f"## By {for_markdown(table.title + table.title_suffix)}\n"
        yield f"{for_markdown(table.measure)}, mean over {contents.units}, on {spec.split} rows\n"
        cells = (
            [
                name,
                format_thousands(rows),
                *(format_decimal(table.means[arm][i], table.decimals) for arm in table.means),
            ]
            for i, (name, rows) in enumerate(table.groups)
        )
        yield markdown_table([table.title.split(",")[0], ">rows", *(f">{arm}" for arm in table.means)], cells)
    # The reason for a missing ranking is shown above; parts that need rows or texts have their own reasons.
    omitted = [part for part in contents.reasons if part not in ("ranking", "rows", "texts")]
    if omitted:
        yield "## Not shown\n"
        yield "".join(f"- {for_markdown(f'{part}: {contents.reasons[part]}')}\n" for part in omitted)
    if contents.model_comparisons:
        yield f"## Tests over rows: {SCOPE}\n"
        yield _model_comparisons(contents.model_comparisons)


def _missing(contents: Contents) -> Iterator[str]:
    missing = contents.missing
    if missing.is_empty:
        return
    yield "## Missing results\n"
    lines = [
        f"{each.trial.id} ({each.trial.arm}, seed {each.trial.unit}) failed: "
        + one_line(each.error or "no error was recorded")
        for each in missing.failed
    ]
    for state, outcomes in (("running", missing.running), ("waiting", missing.waiting)):
        if outcomes:
            lines.append(f"{state}: {', '.join(outcome.trial.id for outcome in outcomes)}")
    lines += [
        f"{each.trial.id} is finished, but has files that are not on this machine: {', '.join(files)}"
        for each, files in missing.with_missing_files
    ]
    yield "".join(f"- {for_markdown(line)}\n" for line in lines)


def _selection(contents: Contents) -> Iterator[str]:
    """Yield what the search that chose the arms tried, and the arms' metrics in the search beside those here."""
    spec = contents.study.spec
    for sentence in (spec.selection["tried"], spec.selection["rule"]):
        yield f"{for_markdown(sentence)}\n"
    yield markdown_table(["searched setting", "values"], spec.selection["space"].items())
    if contents.ranked:
        validation, decimals = spec.selection["validation"], contents.decimals.mean
        rows = (
            [each.arm, *(format_decimal(value, decimals) for value in (validation.get(each.arm), each.summary.mean))]
            for each in contents.ranked
        )
        yield markdown_table(["arm", ">search, validation rows", f">mean here, {spec.split} rows"], rows)


def _ranking(ranked: Sequence[RankedArm], decimals: RankingDecimals, units: str) -> str:
    header = ["arm", f">{units}", ">mean", ">sd", ">95% CI", ">difference", ">95% CI", ">p", ">p (Holm)"]
    rows = []
    for each in ranked:
        summary = each.summary
        summary_cells = [
            each.arm,
            str(len(summary.seeds)),
            format_decimal(summary.mean, decimals.mean),
            format_decimal(summary.std, decimals.std),
            format_interval(summary.interval, decimals.mean),
        ]
        rows.append(
            [
                *summary_cells,
                *(
                    ["baseline", *[""] * 5]
                    if each.comparison is None
                    else _comparison(each.comparison, decimals.difference)
                ),
            ]
        )
    return markdown_table([*header, "verdict", ">seeds needed"], rows)


def _comparison(comparison: Comparison, decimals: int) -> list[str]:
    return [
        format_decimal(comparison.mean_difference, decimals, signed=True),
        format_interval(comparison.interval, decimals, signed=True),
        format_p_value(comparison.p),
        format_p_value(comparison.p_holm),
        comparison.verdict or "none",
        format_thousands(comparison.seeds_needed.total),
    ]


def _second_opinions(contents: Contents) -> str:
    rows = [
        [
            each.arm,
            format_p_value(each.signed_rank_p),
            format_decimal(each.order.violation_ratio),
            format_interval((each.order.low, each.order.high)),
        ]
        for each in contents.second_opinions
    ]
    table = markdown_table(["arm", ">signed-rank p", ">violation ratio", ">bounds"], rows)
    sentences = [EXPLANATION, *([FOLDS_WARNING] if contents.units == "folds" else [])]
    sentences += [SIGNED_RANK_EXPLANATION, ORDER_EXPLANATION]
    return f"{table}\n{for_markdown(' '.join(sentences))}\n"


def _costs(contents: Contents) -> str:
    seconds = seconds_decimals([each.seconds for each in contents.costs])
    hours = column_decimals([each.device_hours for each in contents.costs])
    header = [
        "arm",
        ">trials",
        ">time of all steps (s)",
        ">device hours",
        "trials without encoder",
        ">all parameters",
        ">trainable parameters at the end",
        ">mean over steps",
    ]
    return markdown_table(
        header,
        (
            [
                each.arm,
                str(len(each.trials)),
                format_amount(each.seconds, seconds),
                format_decimal(each.device_hours, hours),
                f"{each.num_cached} of {len(each.trials)}",
                format_thousands(each.total_parameters),
                format_thousands(each.trainable_parameters),
                format_thousands(each.mean_trainable_parameters),
            ]
            for each in contents.costs
        ),
    )


def _model_comparisons(comparisons: Sequence[ModelComparison]) -> str:
    rows = []
    for each in comparisons:
        tests = ", ".join(f"seed {seed}: {format_p_value(test.p)}" for seed, test in each.by_seed.items())
        bootstrap = each.over_all_seeds
        difference = (
            ["-", "-"]
            if bootstrap is None
            else [format_decimal(bootstrap.difference, signed=True), format_interval(bootstrap.interval, signed=True)]
        )
        rows.append([each.arm, *difference, tests or "-"])
    return markdown_table(["models of", ">difference", ">95% CI over rows", "McNemar's p"], rows)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, with right-aligned columns of numbers.

    Args:
        header: names of the columns; a name with the prefix ">" marks a column of numbers.
        rows: unescaped cells of each row.
    """
    names = [for_markdown(name.removeprefix(">")) for name in header]
    rules = ["---:" if name.startswith(">") else "---" for name in header]
    lines = [names, rules, *([for_markdown(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
