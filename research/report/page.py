"""The page: made of the files of a run directory and the texts that the run read."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from research.data.prepare.load import Splits
from research.edits.records import Record
from research.learning.predictions import Predictions
from research.records.figures import regression_figure
from research.records.journal_file import read_journal
from research.records.many_labels import MANY_LABELS
from research.records.results import as_json
from research.records.step_figures import Curve, curves_figure, loss_figure, rates_figure
from research.report.confusions import most_confused
from research.report.curves import read_curves
from research.report.label_table import label_table
from research.report.mistakes import Scored, worst_mistakes
from research.report.rendering import Picture, page_environment, picture
from research.settings.config import SETTING_GROUPS
from research.settings.run_files import CONFIG, REPORT
from research.system.durable import write_text
from research.system.scripts import launch_command
from research.tasks.base import Task
from research.tasks.metric_names import find_metric

SHOWN_SPLITS = ("validation", "test")
MISTAKES_OF = "validation"
"""Whoever changes a model for what he reads in the test rows has no test rows any more."""


def write_report(
    directory: Path,
    result: dict[str, Any],
    texts: Splits,
    found: Mapping[str, Predictions],
    matrices: Mapping[str, Figure],
    defaults: Mapping[str, Any],
) -> Path:
    """Write report.html, which needs no other file and no network, and return its path.

    Args:
        directory: the run directory.
        result: what result.json holds.
        texts: the rows that the run read.
        found: predictions of each split.
        matrices: confusion matrices, of the splits that have one.
        defaults: value of each setting that was not given.
    """
    result = as_json(result)
    config = yaml.safe_load((directory / CONFIG).read_text(encoding="utf-8"))
    scored = {split: Scored.of(texts.task, found[split]) for split in SHOWN_SPLITS if found[split].labels is not None}
    mistakes, num_mistakes = worst_mistakes(texts.task, scored[MISTAKES_OF], getattr(texts, MISTAKES_OF))
    edits, curves = read_journal(directory), read_curves(directory)
    parent = {} if result["parent"] is None else read_curves(Path(result["parent"]["run"]))
    page = (
        page_environment()
        .get_template("run.html")
        .render(
            name=directory.resolve().name,
            command=launch_command(result["world_size"]),
            recipe=shlex.quote(str(directory / CONFIG)),
            result=result,
            config=config,
            task=texts.task,
            settings=_settings(config, defaults),
            curves=list(_draw_curves(curves, parent, edits, result["steps"])),
            has_parent=bool(parent),
            constant={name: f"{values[0]:,.12g}" for name, (_, values) in _plain(curves) if len(set(values)) == 1},
            edits=edits,
            pictures=list(_prediction_pictures(texts.task, scored, matrices)),
            confusions={
                split: most_confused(texts.task, each.labels, each.predicted)
                for split, each in scored.items()
                if texts.task.has_confusion_matrix and texts.task.num_labels >= MANY_LABELS
            },
            labels={split: label_table(texts.task, each) for split, each in scored.items()},
            mistakes=mistakes,
            place_of_mistake=lambda mistake: texts.place_of(MISTAKES_OF, mistake.id),
            num_mistakes=num_mistakes,
            mistakes_of=MISTAKES_OF,
        )
    )
    path = directory / REPORT
    write_text(path, page)
    return path


def _draw_curves(
    curves: dict[str, Curve], parent: dict[str, Curve], edits: Sequence[Record], num_steps: int
) -> Iterator[Picture]:
    validation, rates = _below(curves, "validation/"), _below(curves, "learning_rate/")
    none: Curve = ([], [])
    behind = [parent[name] for name in ("loss", "validation/loss") if name in parent]
    figure = loss_figure(curves.get("loss", none), validation.get("loss", none), edits, num_steps, behind)
    yield picture("Loss", figure)
    shares = {name: curve for name, curve in validation.items() if not _is_unbounded(name) and "/" not in name}
    if shares:
        behind = [parent[f"validation/{name}"] for name in shares if f"validation/{name}" in parent]
        yield picture("Validation metrics", curves_figure(shares, "metric", edits, num_steps, behind))
    if rates:  # there are none where a run was stopped before its first step
        yield picture("Learning rates", rates_figure(rates, edits, num_steps))
    for name, curve in _plain(curves):
        if len(set(curve[1])) > 1:
            words = name.replace("_", " ")
            yield picture(words.capitalize(), curves_figure({words: curve}, words, edits, num_steps))


def _is_unbounded(name: str) -> bool:
    """Return whether a metric would not fit on an axis with those that are shares or correlations."""
    metric = find_metric(name)
    return metric is not None and math.isinf(metric.bounds[1])


def _below(curves: dict[str, Curve], prefix: str) -> dict[str, Curve]:
    return {name.removeprefix(prefix): curve for name, curve in curves.items() if name.startswith(prefix)}


def _plain(curves: dict[str, Curve]) -> list[tuple[str, Curve]]:
    """Return the curves that share no picture with others."""
    shared = ("validation/", "learning_rate/")
    return [(name, curve) for name, curve in curves.items() if name != "loss" and not name.startswith(shared)]


def _prediction_pictures(task: Task, scored: Mapping[str, Scored], matrices: Mapping[str, Figure]) -> Iterator[Picture]:
    for split, each in scored.items():
        if split in matrices:
            yield picture(f"Confusion matrix, {split}", matrices[split])
        elif task.labels_are_numbers:
            yield picture(f"Predictions, {split}", regression_figure(task, each.labels, each.predicted))


def _settings(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any, bool]]]]:
    """Return the settings of each group: name, value, and whether it is another than the default."""
    return [
        (
            group.__doc__ or "",
            [
                (item.name, config[item.name], config[item.name] != defaults[item.name])
                for item in dataclasses.fields(group)
                if item.name in config
            ],
        )
        for group in SETTING_GROUPS
    ]
