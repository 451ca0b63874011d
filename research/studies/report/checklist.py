"""A checklist for reproducibility, filled with what the trials of a study recorded.

Source: Rogers, Baldwin and Leins 2021, Dodge et al. 2019, and the Responsible NLP Research checklist of the ACL Rolling
Review, whose items A to E it follows in words of its own.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from research.report.rendering import as_yaml
from research.settings.config import DataSettings, EvaluationSettings, ModelSettings, TrainingSettings
from research.studies.progress import format_count
from research.studies.report.contents import Contents
from research.studies.report.markdown import markdown_table
from research.studies.report.notation import column_decimals, format_decimal, format_hours, format_thousands
from research.system.plain_text import for_markdown

SHOWN_GROUPS = tuple(
    group.__doc__ or "" for group in (ModelSettings, DataSettings, TrainingSettings, EvaluationSettings)
)
"""Groups of settings that are hyperparameters in a wide sense."""


def write_checklist(contents: Contents) -> str:
    """Return the checklist in Markdown. Checked items are filled; items for the author are unchecked and say "Open"."""
    return "\n".join(_lines(contents)) + "\n"


def _lines(contents: Contents) -> Iterator[str]:
    yield f"# Checklist of the study {for_markdown(contents.study.spec.name)}\n"
    yield (
        "The items follow the [Responsible NLP Research checklist](https://aclrollingreview.org/responsibleNLPresearch).\n"
        "Checked items are filled from the files of the trials. Items marked **Open** need an answer from the author.\n"
    )
    yield "## A. Every paper\n"
    yield _open("A1", "limitations of the work")
    yield _open("A2", "potential risks of the work")
    yield "\n## B. Data, models and software\n"
    yield from _artifacts(contents)
    yield "\n## C. Experiments\n"
    yield from _budget(contents)
    yield from _setup(contents)
    yield from _statistics(contents)
    yield from _software(contents)
    yield "\n## D. Annotators and participants\n"
    yield _open("D1 to D5", "instructions, payment, consent, ethics review and demographics, if people annotated data")
    yield "\n## E. AI assistants\n"
    yield _open("E1", "use of AI assistants for research, code or writing")


def _artifacts(contents: Contents) -> Iterator[str]:
    used = dict.fromkeys(
        f"{config.encoder} (encoder), {config.data} (data)"
        for config in (outcome.trial.config() for outcome in contents.study.outcomes)
    )
    yield _filled("B", f"used: {'; '.join(map(for_markdown, used))}")
    yield _open("B1", "citations of the creators of the data and the encoder")
    yield _open("B2", "licenses of the data and the encoder")
    yield _open("B3", "whether this use is consistent with their intended use")
    yield _open("B4", "personal or offensive content in the data")
    yield _open("B5", "documentation of the data: domains, languages, groups of people")
    yield from _rows(contents)


def _rows(contents: Contents) -> Iterator[str]:
    """Yield the number of rows of each split, and of skipped rows."""
    counts: Counter[str] = Counter()
    for result in _results(contents, "rows"):
        text = ", ".join(f"{split} {number:,}" for split, number in result["rows"].items())
        skipped = sum(item["rows"] for item in result["skipped_rows"])
        counts[text + (f" ({skipped:,} further rows were skipped)" if skipped else "")] += 1
    if not counts:
        yield _open("B6", "number of rows of each split: the files of the trials are not on this machine")
        return
    texts = [
        text if len(counts) == 1 else f"{text} in {format_count(number, 'trial')}" for text, number in counts.items()
    ]
    yield _filled("B6", f"number of rows of each split: {'; '.join(texts)}")


def _budget(contents: Contents) -> Iterator[str]:
    totals = [cost.total_parameters for cost in contents.costs if cost.total_parameters is not None]
    if totals:
        low, high = (format_thousands(bound) for bound in (min(totals), max(totals)))
        span = low if low == high else f"{low} to {high}, depending on the arm"
        yield _filled("C1", f"total parameters: {span}")
    else:
        yield _open("C1", "total parameters: the trials did not record them")
    hours = [cost.device_hours for cost in contents.costs if cost.device_hours is not None]
    if contents.total_device_hours is not None:
        places = column_decimals(hours)
        low, high = (format_decimal(bound, places) for bound in (min(hours), max(hours)))
        yield _filled(
            "C1",
            f"computing: {low} to {high} device hours per trial (means of the arms), "
            f"{format_hours(contents.total_device_hours)} device hours for "
            f"{_describe_finished(contents)}. Device hours are the time of a trial times its number of processes. "
            "Failed and pruned trials, and hidden states that were stored before a trial, are not included",
        )
    else:
        yield _open("C1", f"device hours: not recorded by all of {_describe_finished(contents)}")
    hardware = contents.environment.get("hardware")
    if hardware:
        yield _filled("C1", f"hardware (processes and device of a trial): {for_markdown(', '.join(hardware))}")
    else:
        yield _open("C1", "hardware: the files of the trials are not on this machine")
    yield from _preliminary_computing(contents.study.spec.selection)


def _preliminary_computing(selection: Mapping[str, Any]) -> Iterator[str]:
    """Yield the device hours of the search that chose the arms, if one did, and the open point of other experiments."""
    if not selection:
        yield _open("C1", "computing for preliminary experiments that are not part of this study")
        return
    if selection["device_hours"] is None:
        yield _open("C1", "device hours of the search that chose the arms: its trials did not record them")
    else:
        hours = format_hours(selection["device_hours"])
        yield _filled(
            "C1",
            f"computing for preliminary experiments: {hours} device hours for the search that chose the arms, with "
            "failed trials and trials that were ended early",
        )
    yield _open("C1", "computing for preliminary experiments other than this search")


def _describe_finished(contents: Contents) -> str:
    """Return the number of finished trials, and of the common pasts that they fork."""
    text = format_count(len(contents.study.finished), "finished trial")
    num_pasts = len(contents.study.common_pasts)
    return text if num_pasts == 0 else f"{text} and {format_count(num_pasts, 'common past')}"


def _setup(contents: Contents) -> Iterator[str]:
    study = contents.study
    spec = study.spec
    axes = {name: values for name, values in spec.grid.items() if name != "seed"}
    if spec.arms:
        axes = {"arm": list(spec.arms), **axes}
    for name, values in axes.items():
        yield _filled("C2", f"compared values of {for_markdown(name)}: {for_markdown('; '.join(map(_value, values)))}")
    if not axes:
        yield _filled("C2", "compared settings: none")
    if spec.exclude:
        yield _filled("C2", f"excluded combinations: {for_markdown(as_yaml(spec.exclude))}")
    yield _filled("C2", f"number of trials: {for_markdown(contents.summary)}")
    yield _filled("C2", f"seeds: {', '.join(map(str, sorted({outcome.trial.seed for outcome in study.outcomes})))}")
    if spec.selection:
        yield from _search(spec.selection)
        yield _open("C2", "how the settings that were not searched were chosen, and on which split")
    else:
        yield _open("C2", "how the settings that all arms share were chosen, and on which split")
    if contents.best is None:
        yield _open("C2", "best arm: no arm has a value yet")
        return
    yield _filled("C2", f"settings of the best arm, {for_markdown(contents.best.arm)}:\n")
    yield _indent(markdown_table(["setting", "value"], _settings_of(contents, contents.best.arm).items()))


def _search(selection: Mapping[str, Any]) -> Iterator[str]:
    """Yield the space and the settings of the search that chose the arms, and how it chose them."""
    yield _filled("C2", f"search: {for_markdown(selection['tried'])}")
    yield _filled("C2", "settings of the search:\n")
    yield _indent(
        markdown_table(["setting", "value"], ((name, _value(value)) for name, value in selection["search"].items()))
    )
    yield _filled("C2", "search space:\n")
    yield _indent(markdown_table(["setting", "values"], selection["space"].items()))
    yield _filled("C2", f"how the arms were chosen: {for_markdown(selection['rule'])}")


def _settings_of(contents: Contents, arm: str) -> dict[str, str]:
    """Return the settings of an arm that are hyperparameters, with their values as text."""
    shared = {
        name: value for group, rows in contents.settings.shared if group in SHOWN_GROUPS for name, value, _ in rows
    }
    differing = {name: values[arm] for name, values in contents.settings.differing.items()}
    return {name: as_yaml(value) for name, value in {**differing, **shared}.items()}


def _statistics(contents: Contents) -> Iterator[str]:
    if contents.best is None:
        yield _open("C3", "results: no arm has a value yet")
        return
    yield _filled("C3", for_markdown(contents.method))
    yield _filled(
        "C3",
        f"{for_markdown(str(contents.metric))}, mean and standard deviation over {contents.units}, on both splits:\n",
    )
    values = {split: _metric_values(contents, split) for split in ("validation", "test")}
    decimals = column_decimals([value for by_arm in values.values() for each in by_arm.values() for value in each])
    rows = (
        [each.arm, *(_mean_and_deviation(values[split][each.arm], decimals) for split in values)]
        for each in contents.ranked
    )
    yield _indent(markdown_table(["arm", ">validation", ">test"], rows))


def _metric_values(contents: Contents, split: str) -> dict[str, list[float]]:
    """Return the values of the compared metric by arm; no values if the rows of the split have no labels."""
    study = contents.study
    values: dict[str, list[float]] = {arm: [] for arm in study.arms}
    for outcome in study.finished:
        value = (outcome.result or {})["metrics"].get(split, {}).get(contents.metric)
        if value is not None:
            values[outcome.trial.arm].append(value)
    return values


def _mean_and_deviation(values: list[float], decimals: int) -> str:
    if not values:
        return "-"
    mean = format_decimal(statistics.fmean(values), decimals)
    return mean if len(values) == 1 else f"{mean} (sd {format_decimal(statistics.stdev(values), decimals)})"


def _software(contents: Contents) -> Iterator[str]:
    facts = {name: values for name, values in contents.environment.items() if name not in ("hardware", "processes")}
    if facts:
        versions = "; ".join(f"{name} {', '.join(values)}" for name, values in facts.items())
        yield _filled("C4", f"software and its versions: {for_markdown(versions)}")
    else:
        yield _open("C4", "software and its versions: the files of the trials are not on this machine")
    yield _open("C4", "where the code, the settings and the models are published")


def _results(contents: Contents, field: str) -> Iterator[Mapping[str, Any]]:
    """Yield the results of the finished trials that have a field."""
    for outcome in contents.study.finished:
        if outcome.result is not None and field in outcome.result:
            yield outcome.result


def _value(value: Any) -> str:
    return value if isinstance(value, str) else as_yaml(value)


def _filled(item: str, text: str) -> str:
    return f"- [x] **{item}** {text.removesuffix('.')}" + ("" if text.endswith("\n") else ".")


def _open(item: str, text: str) -> str:
    return f"- [ ] **{item}** **Open**: {text}."


def _indent(table: str) -> str:
    """Indent a table, so that it belongs to the item above it."""
    return "".join(f"  {line}\n" for line in table.splitlines())
