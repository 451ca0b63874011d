"""report.html, results.csv and figures of a search."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.report.rendering import embed_svg, page_environment
from research.studies.arm_names import describe_value
from research.studies.grid import StudySpec, Trial
from research.studies.progress import format_count
from research.studies.report import notation
from research.studies.report.paper import write_search_figures
from research.studies.report.pictures import StudyPicture
from research.studies.report.results import RESULTS, as_plain
from research.studies.report.search_figures import (
    budget_figure,
    slices_figure,
    trade_off_figure,
)
from research.studies.search.results import SearchTrial, best_first, mean_hours
from research.studies.search.space import Dimension, Range
from research.studies.search.spec import CONFIRMATION, OBJECTIVE_NAMES, SearchSpec
from research.studies.statistics.expected_best import expected_best
from research.studies.storage.trials import StorageEntry
from research.system.durable import write_text
from research.system.plain_text import for_csv
from research.tasks import metric_names

REPORT = "report.html"


@dataclass(frozen=True)
class SearchContents:
    """Contents of the report of a search."""

    spec: StudySpec
    """Specification of the study."""
    search: SearchSpec
    """The search."""
    space: dict[str, Dimension]
    """Its space."""
    metric: str
    """The compared metric."""
    higher_is_better: bool
    """Whether higher values of the metric are better."""
    tried: str
    """How many configurations were tried, on which budget, and how they were chosen."""
    trials: Sequence[SearchTrial]
    """Trials with a value, in the order in which they started."""
    failed: Sequence[StorageEntry]
    """Failed trials."""

    def is_numeric(self, setting: str) -> bool:
        """Return whether the values of a searched setting are numbers."""
        return isinstance(self.space[setting], Range)

    def format_value(self, setting: str, value: Any) -> str:
        """Format a value of a searched setting, with the same number of decimals as all values in its column."""
        dimension = self.space[setting]
        if not isinstance(dimension, Range) or not isinstance(value, float):
            return describe_value(value)
        if dimension.is_log:
            return f"{value:.2e}"
        width = dimension.high - dimension.low or 1.0
        return notation.format_decimal(value, max(0, 2 - math.floor(math.log10(width))))

    @property
    def ranked(self) -> list[SearchTrial]:
        """Return the trials, finished ones first, the best first."""
        sign = -1 if self.higher_is_better else 1
        return sorted(self.trials, key=lambda trial: (trial.is_pruned, sign * trial.metric))


def write_search_report(contents: SearchContents, directory: Path) -> Path:
    """Write report.html, results.csv and report/ of a search, and return the path of report.html.

    Args:
        contents: contents of the report.
        directory: directory of the study.
    Raises:
        StorageError: if the files cannot be written.
    """
    pictures = list(_draw(contents))
    environment = page_environment("research.studies.report")
    trials, confirmation = contents.trials, f"{CONFIRMATION}/{REPORT}"
    environment.filters |= {
        "decimal": notation.format_decimal,
        "sort_key": notation.format_sort_key,
        "objective": notation.format_objective,
    }
    page = environment.get_template("search.html").render(
        name=contents.spec.name,
        contents=contents,
        spec=contents.spec,
        search=contents.search,
        confirmation=confirmation if (directory / confirmation).exists() else None,
        minimized=None if contents.search.minimize is None else OBJECTIVE_NAMES[contents.search.minimize],
        pictures=[embed_svg(each.title, each.svg, each.alt) for each in pictures],
        decimals=notation.column_decimals([trial.metric for trial in trials]),
        seconds_decimals=notation.seconds_decimals([trial.seconds for trial in trials]),
        objective_decimals=notation.seconds_decimals([trial.second for trial in trials]),
        front={trial.trial.id: number for number, trial in enumerate(_front(contents), start=1)},
    )
    path = directory / REPORT
    write_text(path, page)
    write_text(directory / RESULTS, _results_csv(contents))
    write_search_figures(directory, pictures)
    return path


def _front(contents: SearchContents) -> list[SearchTrial]:
    if contents.search.minimize is None:
        return []
    return best_first(contents.trials, higher_is_better=contents.higher_is_better)


def _draw(contents: SearchContents) -> Iterator[StudyPicture]:
    trials = contents.trials
    if not trials:
        return
    values, hours = [trial.metric for trial in trials], mean_hours(trials)
    yield _draw_budget(values, hours, contents.metric, higher_is_better=contents.higher_is_better)
    if contents.search.minimize is not None and (front := _front(contents)):
        finished = [trial for trial in trials if not trial.is_pruned]
        yield _draw_trade_offs(
            finished, front, contents.metric, contents.search.minimize, higher_is_better=contents.higher_is_better
        )
    best = contents.ranked[0]
    yield StudyPicture(
        "searched_settings",
        "Searched settings",
        slices_figure(trials, contents.space, contents.metric),
        f"Metric against each of {', '.join(contents.space)}. Best: {best.trial.arm}, {best.metric:.4f}",
    )


def draw_selection(selection: Mapping[str, Any], metric: str | None) -> Iterator[StudyPicture]:
    """Draw the expected performance and the trade-offs of the search that chose the arms of a study, if one did.

    Args:
        selection: `StudySpec.selection`.
        metric: the compared metric.
    """
    if not selection or metric is None:
        return
    values, is_higher_better = selection["values"], metric_names.higher_is_better(metric)
    yield _draw_budget(values, selection["hours"], metric, higher_is_better=is_higher_better)
    if "minimized" in selection:
        pairs = zip(values, selection["second_values"], strict=True)
        trials = [
            SearchTrial(Trial(str(index), "", 0, {}, {}), value, second, 0.0, None)  # names are not stored
            for index, (value, second) in enumerate(pairs)
        ]
        front = best_first(trials, higher_is_better=is_higher_better)
        yield _draw_trade_offs(trials, front, metric, selection["minimized"], higher_is_better=is_higher_better)


def _draw_budget(values: Sequence[float], hours: float, metric: str, *, higher_is_better: bool) -> StudyPicture:
    """Draw the expected and the actual best of a search against its budget.

    Args:
        values: metric of each configuration, in the order in which they started.
        hours: hours that a configuration took on average.
        metric: name of the metric.
        higher_is_better: whether higher values of the metric are better.
    """
    expected = expected_best(values, higher_is_better=higher_is_better)
    best_so_far = list(itertools.accumulate(values, max if higher_is_better else min))
    shown = sorted({1, max(1, len(values) // 2), len(values)})
    alt = "; ".join(f"{format_count(count, 'configuration')}: expected {expected[count - 1]:.4f}" for count in shown)
    figure = budget_figure(expected, best_so_far, metric, hours)
    title, alt = "Expected validation performance against budget", f"{alt}; best {best_so_far[-1]:.4f}"
    return StudyPicture("expected_performance", title, figure, alt)


def _draw_trade_offs(
    trials: Sequence[SearchTrial],
    front: Sequence[SearchTrial],
    metric: str,
    minimized: str,
    *,
    higher_is_better: bool,
) -> StudyPicture:
    """Draw the metric against the second objective.

    Args:
        trials: finished trials.
        front: the best trade-offs among them, the best metric first.
        metric: name of the metric.
        minimized: the second objective, as in `SearchSpec.minimize`.
        higher_is_better: whether higher values of the metric are better.
    """
    decimals = notation.seconds_decimals([trial.second for trial in trials])
    points = "; ".join(
        f"{number}. {f'{trial.trial.arm}: ' if trial.trial.arm else ''}{trial.metric:.4f} at "
        f"{notation.format_objective(trial.second, decimals)}"
        for number, trial in enumerate(front[:12], start=1)
    )
    name = OBJECTIVE_NAMES[minimized]
    figure = trade_off_figure(trials, front, metric, name, higher_is_better=higher_is_better)
    return StudyPicture("trade_offs", f"{metric} against {name}", figure, f"Best trade-offs: {points}")


def _results_csv(contents: SearchContents) -> str:
    """Return results.csv, with one row per trial that has a value, in the order in which the trials started."""
    columns = ["id", "status", "pruned_at", f"validation/{contents.metric}", "second_objective", "seconds"]
    columns += [f"search/{name}" for name in contents.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(for_csv, columns))
    for trial in contents.trials:
        second = "" if contents.search.minimize is None or trial.is_pruned else trial.second
        status = "pruned" if trial.is_pruned else "finished"
        row = [trial.trial.id, status, trial.pruned_at, trial.metric, second, trial.seconds]
        row += [as_plain(trial.values[name]) if name in trial.values else "" for name in contents.space]
        writer.writerow("" if value is None else for_csv(value) for value in row)
    return text.getvalue()
