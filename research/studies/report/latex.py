"""Tables of a study for papers, in LaTeX with the packages booktabs and tabularx."""

from __future__ import annotations

import re
from collections.abc import Sequence

from research.studies.outcomes import StudyOutcomes
from research.studies.progress import format_count
from research.studies.report.best_arm import BestArm
from research.studies.report.contents import Contents
from research.studies.report.missing_verdicts import group_by_reason, list_arms
from research.studies.report.notation import (
    column_decimals,
    format_decimal,
    format_hours,
    format_p_value,
    format_thousands,
)
from research.studies.statistics.paired_t import LEVEL
from research.system.plain_text import LONGEST_IN_PAGE, for_latex, shorten
from research.tasks.metric_names import higher_is_better

NO_DIFFERENCE = r"\rlap{$^\dagger$}"
"""Mark of arms whose difference from the best arm is not significant."""

_BREAK = re.compile(
    r"(?:(?<=[^\w\s(\[{]|_)(?=[\w(\[{<])(?!(?<=[.+-])\d)"  # after punctuation, except within a number
    r"|(?<=[^\W_]{16})(?=[^\W_])|(?<=[^\w\s]{16})(?=[^\w\s]))"  # in a long run of letters or of punctuation
)
"""Where a line may break within the name of an arm, in addition to spaces."""


def ranking_table(contents: Contents) -> str | None:
    """Return the table of arms, the best in bold; None if no arm has a value."""
    best, decimals = contents.best, contents.decimals
    if best is None:
        return None
    rows = []
    for each in contents.ranked:
        summary, comparison = each.summary, each.comparison
        name, mean = _name(each.arm), format_decimal(summary.mean, decimals.mean)
        if each.arm == best.arm:
            name, mean = rf"\textbf{{{name}}}", rf"\textbf{{{mean}}}"
        cells = [name, mean + (NO_DIFFERENCE if each.arm in best.not_different else "")]
        cells.append(_interval(summary.interval, decimals.mean))
        if comparison is None:
            cells += ["baseline", "", ""]
        else:
            cells += [
                _signed(comparison.mean_difference, decimals.difference),
                _interval(comparison.interval, decimals.difference, signed=True),
                _p_value(comparison.p_holm),
            ]
        rows.append(cells)
    header = ["Arm", "Mean", r"95\% CI", "Difference", r"95\% CI", "$p$ (Holm)"]
    return _table(contents, "ranking", header, rows, _ranking_caption(contents, best))


def costs_table(contents: Contents) -> str | None:
    """Return the table of parameters and device hours; None if no trial is finished."""
    if not contents.costs:
        return None
    hours = column_decimals([each.device_hours for each in contents.costs])
    rows = [
        [
            _name(each.arm),
            format_thousands(each.total_parameters),
            format_thousands(each.mean_trainable_parameters),
            format_decimal(each.device_hours, hours),
        ]
        for each in contents.costs
    ]
    hardware = ", ".join(contents.environment.get("hardware", ["unknown"]))
    caption = [
        "Costs of a trial, means over the trials of an arm. Trainable parameters are averaged over steps.",
        "Device hours are the time of the whole trial times its number of processes.",
        f"Hardware (processes and device of a trial): {for_latex(hardware)}.",
    ]
    if contents.total_device_hours is not None:
        counted = "All finished trials" + (" and their common pasts" if contents.study.common_pasts else "")
        caption.append(f"{counted}: {format_hours(contents.total_device_hours)} device hours.")
    header = ["Arm", "Parameters", "Trainable", "Device hours"]
    return _table(contents, "costs", header, rows, caption)


def _ranking_caption(contents: Contents, best: BestArm) -> list[str]:
    study, ranked = contents.study, contents.ranked
    assert contents.metric is not None
    metric = for_latex(contents.metric) + ("" if higher_is_better(contents.metric) else " (lower is better)")
    sentences = [
        f"Mean {metric} on {study.spec.split} rows over {_num_units(contents)}, with Student's "
        rf"95\% confidence interval{_correction(study)}; the best mean is in bold.",
    ]
    compared = [each.comparison for each in ranked if each.comparison is not None]
    if compared:
        sentences.append(
            f"Differences from the baseline {_name(study.baseline)}: {_test(study)}, $p$ corrected "
            f"with Holm's method for {format_count(len(compared), 'comparison')}; the confidence intervals are not "
            "corrected."
        )
    sentences += [
        f"No verdict for {list_arms(arms, len(compared), _name)}: {for_latex(reason)}."
        for reason, arms in group_by_reason(compared).items()
    ]
    if best.not_different:
        sentences.append(
            rf"$^\dagger$: not significantly different from the best arm ($p$ (Holm) $> {LEVEL}$). " + _explain(best)
        )
    return sentences


def _explain(best: BestArm) -> str:
    """Return which test the marks are based on."""
    if best.is_baseline:
        return "The best arm is the baseline, so these are the tests of the table."
    return (
        "These marks are exploratory: the same test compares the best arm with each other arm, with Holm's correction "
        f"for {format_count(len(best.comparisons), 'comparison')} of their own, and the best arm was chosen after "
        "seeing the results."
    )


def _table(
    contents: Contents, name: str, header: Sequence[str], rows: Sequence[Sequence[str]], caption: Sequence[str]
) -> str:
    label = contents.study.spec.name.replace("_", "-").replace("/", "-")
    lines = [
        r"% Requires \usepackage{booktabs,tabularx}.",
        r"\begin{table*}[t]",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        # Names of arms wrap in the first column, which takes the width that the numbers leave.
        rf"\begin{{tabularx}}{{\linewidth}}{{@{{}}>{{\raggedright\arraybackslash}}X{'r' * (len(header) - 1)}@{{}}}}",
        r"\toprule",
        rf"{' & '.join(header)} \\",
        r"\midrule",
        *(rf"{' & '.join(row)} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabularx}",
        rf"\caption{{{' '.join(caption)}}}",
        rf"\label{{tab:{label}-{name}}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _name(arm: str) -> str:
    """Return the name of an arm, in which lines may break."""
    return r"\allowbreak{}".join(map(for_latex, _BREAK.split(shorten(arm, LONGEST_IN_PAGE))))


def _signed(value: float | None, decimals: int) -> str:
    return "--" if value is None else f"${format_decimal(value, decimals, signed=True)}$"


def _interval(bounds: tuple[float, float] | None, decimals: int, *, signed: bool = False) -> str:
    if bounds is None:
        return "--"
    low, high = (format_decimal(bound, decimals, signed=signed) for bound in bounds)
    return f"$[{low}, {high}]$"


def _p_value(value: float | None) -> str:
    return "--" if value is None else f"${format_p_value(value)}$"


def _test(study: StudyOutcomes) -> str:
    """Return the name of the primary test."""
    if study.num_folds is None:
        return "paired $t$ test over common seeds"
    return "corrected resampled $t$ test (Nadeau and Bengio, 2003) over common folds"


def _correction(study: StudyOutcomes) -> str:
    return "" if study.num_folds is None else ", corrected for overlapping training rows"


def _num_units(contents: Contents) -> str:
    """Return the number of seeds or folds of the arms."""
    ranked = contents.ranked
    numbers = {len(each.summary.seeds) for each in ranked}
    if contents.study.num_folds is not None:
        return f"{' to '.join(map(str, sorted({min(numbers), max(numbers)})))} folds"
    if len(numbers) == 1:
        return format_count(min(numbers), "seed")
    return f"{min(numbers)} to {max(numbers)} seeds"
