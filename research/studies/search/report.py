"""The end of a search: its best trials on the terminal, and a description of what was tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from research.settings.config import Choice
from research.studies.grid import StudySpec
from research.studies.kept_models import log_removed_models
from research.studies.progress import format_count, format_duration
from research.studies.report.notation import format_objective, seconds_decimals
from research.studies.search.propose import Proposer
from research.studies.search.results import SearchTrial, best_first, read_search_trials
from research.studies.search.spec import OBJECTIVE_NAMES, SearchSpec
from research.studies.storage.study import Study
from research.studies.storage.trials import StorageEntry
from research.studies.worker import TRIALS
from research.system.messages import KEEP_LINE_BREAKS, logger
from research.system.plain_text import for_terminal
from research.system.terminal import Terminal
from research.system.waiting import WaitingMessage

NUM_BEST_SHOWN = 10
"""Number of the best trials that are printed."""


def report_search(console: Terminal, study: Study, proposer: Proposer, spec: StudySpec, directory: Path) -> int:
    """Print the best trials and the failed ones, write the report, and return the exit status.

    Args:
        console: where to print.
        study: the search in its storage.
        proposer: the search's proposer.
        spec: specification of the study.
        directory: directory of the study.
    """
    search = proposer.search
    entries = [*study.entries().values()]
    trials = read_search_trials(entries)
    console.print(_best_table(best_first(trials, higher_is_better=study.higher_is_better), search.minimize))
    logger.info(describe_tried(study, search))
    failed = [entry for entry in entries if entry.status == "failed"]
    for entry in failed:
        logger.info(f"failed: {for_terminal(entry.trial.arm)}: {entry.attributes.get('error')}", extra=KEEP_LINE_BREAKS)
    log_removed_models(directory / TRIALS / entry.trial.id for entry in entries if entry.status == "finished")
    if failed:
        logger.info(f"{len(failed)} of {len(entries)} trials failed; --retry_failed runs them again.")
    path = write_search_page(study, proposer, spec, directory)
    logger.info(f"report: {path}")
    return 1 if failed else 0


def write_search_page(study: Study, proposer: Proposer, spec: StudySpec, directory: Path) -> Path:
    """Write the report of a search, and return the path of report.html. The arguments are those of `report_search`."""
    entries = [*study.entries().values()]
    with WaitingMessage("Writing the report"):
        # Imported only now, because no trial needs the libraries for drawing.
        from research.studies.report.search_page import SearchContents, write_search_report

        contents = SearchContents(
            spec=spec,
            search=proposer.search,
            space=proposer.space,
            metric=metric_name(spec, entries),
            higher_is_better=study.higher_is_better,
            tried=describe_tried(study, proposer.search),
            trials=read_search_trials(entries),
            failed=[entry for entry in entries if entry.status == "failed"],
        )
        return write_search_report(contents, directory)


def metric_name(spec: StudySpec, entries: Sequence[StorageEntry]) -> str:
    """Return the name of the compared metric: the chosen one, or that of the task in a finished trial."""
    metrics: dict[str, Any] = next(
        (entry.attributes["metrics"] for entry in entries if "metrics" in entry.attributes), {}
    )
    return spec.compared_metric(metrics.get(spec.split, {})) or "the default metric"


def describe_tried(study: Study, search: SearchSpec) -> str:
    """Describe how many configurations a search has tried, on which budget, and how they were chosen."""
    statuses = [entry.status for entry in study.entries().values()]
    counts = ", ".join(
        f"{number} {status}" for status in ("finished", "pruned", "failed") if (number := statuses.count(status))
    )
    num_repeats = study.num_repeats()
    verb = "was" if num_repeats == 1 else "were"
    repeats = f" {format_count(num_repeats, 'more trial')} repeated earlier settings and {verb} not run."
    num_earlier = study.num_earlier()
    verb = "was" if num_earlier == 1 else "were"
    earlier = f" {format_count(num_earlier, 'trial')} of earlier studies informed the sampler and {verb} not run again."
    return (
        f"{format_count(len(statuses), 'configuration')} tried ({counts}) in "
        f"{format_duration(3600 * study.hours_used())}, on a budget of {search.describe_budget()}, with "
        f"{_describe_choices(study.choices(search))}.{earlier if num_earlier else ''}{repeats if num_repeats else ''}"
    )


def _describe_choices(choices: Sequence[tuple[int, SearchSpec]]) -> str:
    """Describe the sampler and the pruner, and from which trial on they were different."""
    described = ["a sampler that was not recorded"] if choices[0][0] else []
    for num_before, search in choices:
        sampler = ", ".join([f"seed {search.seed}", *_describe_options(search.sampler_choice)])
        pruner = "no pruner"
        if search.pruner_choice is not None:
            options = ", ".join(_describe_options(search.pruner_choice))
            pruner = f"the pruner {search.pruner_choice.name}{f' ({options})' if options else ''}"
        start = f"from trial {num_before + 1} on with " if num_before else ""
        described.append(f"{start}the sampler {search.sampler_choice.name} ({sampler}) and {pruner}")
    return "; ".join(described)


def _describe_options(choice: Choice) -> list[str]:
    return [f"{name} {value}" for name, value in choice.options.items()]


def _best_table(best: Sequence[SearchTrial], minimized: str | None) -> Table:
    decimals = seconds_decimals([each.second for each in best])
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("settings and id of the trial", overflow="fold")
    table.add_column("validation", justify="right")
    if minimized is not None:
        table.add_column(OBJECTIVE_NAMES[minimized], justify="right")
    table.add_column("time", justify="right")
    for each in best[:NUM_BEST_SHOWN]:
        second = [] if minimized is None else [format_objective(each.second, decimals)]
        # Below each other, so that the settings have room on a terminal of 80 columns.
        trial = Text(f"{for_terminal(each.trial.arm)}\n{each.trial.id}")
        table.add_row(trial, f"{each.metric:.4f}", *second, format_duration(each.seconds))
    return table
