"""Check a timeline as far as possible without a model or data."""

from __future__ import annotations

from typing import Any

from research.edits.entries import Due, given_arguments, read_entry
from research.model.selector_forms import check_syntax
from research.runner.first_checks.choices import check_choice
from research.runner.first_checks.source_options import check_values, read_options
from research.settings.config import Choice, RunConfig
from research.settings.options import convert_options
from research.settings.registries import read_registry
from research.settings.times import Clock, parse_time
from research.system.errors import one_line
from research.tasks.metric_names import check_metric_name

_UNITS_KNOWN_EARLY = ("st", "%")
"""Units of times that can be converted to steps without the number of rows if --max_steps is set."""


def check_timeline(config: RunConfig) -> None:
    """Check that each entry has a time or condition, known edits and valid arguments, and is due within the run.

    Raises:
        ValueError: if not; gives the number of the entry.
    """
    labelled_entries = [(f"timeline entry {number}", entry) for number, entry in enumerate(config.timeline, start=1)]
    if config.freeze:
        labelled_entries.insert(0, ("--freeze", {"at": "0%", "freeze": config.freeze}))
    for label, entry in labelled_entries:
        try:
            due, edits = read_entry(entry, read_registry("edits"), allow_unregistered=bool(config.plugin))
            _check_due(due, config)
            for edit, value in edits.items():
                _check_edit(edit, value, config)
        except ValueError as error:
            raise type(error)(f"{label}: {one_line(error)}") from None


def _check_due(due: Due, config: RunConfig) -> None:
    if due.when is not None:
        check_metric_name(due.when.metric, config.task)
    if config.smoke:  # a smoke test has its own length and compresses the timeline
        return
    # The number of steps per epoch is not known yet; the times that are checked below do not depend on it.
    clock = Clock(steps_per_epoch=1, total_steps=config.max_steps or 0, batch_size=config.batch_size)
    evaluate_every = None if config.evaluate_every is None else parse_time(config.evaluate_every)
    time = due.at or due.every or evaluate_every
    if time is not None and (config.max_steps is None or time.unit not in _UNITS_KNOWN_EARLY):
        return
    due.steps(clock)  # raises an error if the entry is not due within the run
    if config.fork is None:  # a fork's conditions may have come true in its parent
        period = None if evaluate_every is None else evaluate_every.to_period(clock)
        num_evaluations_before_last_step = 0 if period is None else (clock.total_steps - 1) // period
        due.check_evaluations(num_evaluations_before_last_step)


def _check_edit(edit: str, value: Any, config: RunConfig) -> None:
    known = read_registry("edits")
    if edit not in known:  # registered by a plugin
        return
    function = known[edit]
    options = read_options(function, from_second_on=True)
    values = convert_options(f"edit '{edit}'", options, given_arguments(edit, options, value), "argument")
    check_values(function, values)
    if "modules" in values:
        check_syntax(values["modules"])
    for kind in ("head", "objective"):  # arguments with these names are choices
        if kind in values:
            check_choice(f"{kind}s", kind, Choice.of(values[kind], kind), allow_unregistered=bool(config.plugin))
