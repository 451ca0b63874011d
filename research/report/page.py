"""Build the report page of a run from the files in its directory and the texts that the run read."""

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
from research.records.figures import regression_figure, reliability_figure
from research.records.journal_file import read_journal
from research.records.many_labels import MANY_LABELS
from research.records.step_figures import Curve, curves_figure, rates_figure
from research.report.alt_texts import describe_curves, describe_predictions, describe_reliability
from research.report.calibration import build_threshold_table, group_by_probability
from research.report.confusions import find_confusions
from research.report.curves import draw_losses, read_curves, read_parent_curves
from research.report.label_table import build_label_table
from research.report.mistakes import LabelledPredictions, find_worst_mistakes
from research.report.rendering import Picture, embed_figure, page_environment
from research.settings.config import SETTING_GROUPS
from research.settings.run_files import CONFIG, REPORT
from research.system.durable import write_text
from research.system.json_values import as_json
from research.system.scripts import launch_command
from research.tasks.base import Task
from research.tasks.metric_names import find_metric

SHOWN_SPLITS = ("validation", "test")
MISTAKES_SPLIT = "validation"
"""Mistakes are shown for validation rows only, because tuning on test rows invalidates them."""


def write_report(
    directory: Path,
    result: dict[str, Any],
    splits: Splits,
    predictions: Mapping[str, Predictions],
    matrices: Mapping[str, Figure],
    defaults: Mapping[str, Any],
) -> Path:
    """Write report.html, a self-contained page that needs neither other files nor a network, and return its path.

    Args:
        directory: run directory.
        result: content of result.json.
        splits: the rows that the run read, with their texts.
        predictions: predictions for each split, which may have no labels.
        matrices: figure of the confusion matrix, for each split that has one.
        defaults: default value of each setting.
    """
    result = as_json(result)
    config = yaml.safe_load((directory / CONFIG).read_text(encoding="utf-8"))
    labelled = {
        split: LabelledPredictions.of(splits.task, predictions[split])
        for split in SHOWN_SPLITS
        if split in predictions and predictions[split].labels is not None
    }
    mistakes, num_mistakes = find_worst_mistakes(splits.task, labelled[MISTAKES_SPLIT], getattr(splits, MISTAKES_SPLIT))
    edits, curves = read_journal(directory), read_curves(directory)
    parent_curves = read_parent_curves(result)
    page = (
        page_environment()
        .get_template("run.html")
        .render(
            name=directory.resolve().name,
            command=launch_command(result["world_size"]),
            recipe=shlex.quote(str(directory / CONFIG)),
            result=result,
            config=config,
            task=splits.task,
            settings=_group_settings(config, defaults),
            curves=list(_draw_curves(curves, parent_curves, edits, result["steps"])),
            has_parent=bool(parent_curves),
            constant={
                name: f"{values[0]:,.12g}"
                for name, (_, values) in _curves_in_separate_figures(curves)
                if len(set(values)) == 1
            },
            edits=edits,
            pictures=list(draw_predictions(splits.task, labelled, matrices, result.get("calibration"))),
            calibration=result.get("calibration"),
            thresholds=build_threshold_table(splits.task, labelled["validation"], result.get("calibration")),
            confusions={
                split: find_confusions(splits.task, each.labels, each.predicted)
                for split, each in labelled.items()
                if splits.task.has_confusion_matrix and splits.task.num_labels >= MANY_LABELS
            },
            labels={split: build_label_table(splits.task, each) for split, each in labelled.items()},
            mistakes=mistakes,
            place_of_mistake=lambda mistake: splits.place_of(MISTAKES_SPLIT, mistake.id),
            num_mistakes=num_mistakes,
            mistakes_split=MISTAKES_SPLIT,
        )
    )
    path = directory / REPORT
    write_text(path, page)
    return path


def _draw_curves(
    curves: dict[str, Curve], parent_curves: dict[str, Curve], edits: Sequence[Record], num_steps: int
) -> Iterator[Picture]:
    validation, rates = _select_by_prefix(curves, "validation/"), _select_by_prefix(curves, "learning_rate/")
    losses: dict[str, Curve] = {name: curves[name] for name in ("loss", "validation/loss") if name in curves}
    yield embed_figure("Loss", draw_losses(curves, parent_curves, edits, num_steps), describe_curves(losses))
    # Metrics of single labels, which have a slash in their names, are not drawn.
    bounded = {name: curve for name, curve in validation.items() if not _is_unbounded(name) and "/" not in name}
    if bounded:
        background = [parent_curves[f"validation/{name}"] for name in bounded if f"validation/{name}" in parent_curves]
        figure = curves_figure(bounded, "metric", edits, num_steps, background)
        yield embed_figure("Validation metrics", figure, describe_curves(bounded))
    if rates:  # a run that was stopped before its first step has none
        yield embed_figure("Learning rates", rates_figure(rates, edits, num_steps), describe_curves(rates))
    for name, curve in _curves_in_separate_figures(curves):
        if len(set(curve[1])) > 1:
            label = name.replace("_", " ")
            figure = curves_figure({label: curve}, label, edits, num_steps)
            yield embed_figure(label.capitalize(), figure, describe_curves({label: curve}))


def _is_unbounded(name: str) -> bool:
    """Return whether a metric has no upper bound, so that it cannot share an axis with the bounded metrics."""
    metric = find_metric(name)
    return metric is not None and math.isinf(metric.bounds[1])


def _select_by_prefix(curves: dict[str, Curve], prefix: str) -> dict[str, Curve]:
    """Return the curves whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): curve for name, curve in curves.items() if name.startswith(prefix)}


def _curves_in_separate_figures(curves: dict[str, Curve]) -> list[tuple[str, Curve]]:
    """Return the curves that get a figure each, or are listed as constants if all of their values are equal."""
    shared = ("validation/", "learning_rate/")
    return [(name, curve) for name, curve in curves.items() if name != "loss" and not name.startswith(shared)]


def draw_predictions(
    task: Task,
    labelled: Mapping[str, LabelledPredictions],
    matrices: Mapping[str, Figure],
    calibration: Mapping[str, Any] | None,
) -> Iterator[Picture]:
    """Yield the confusion matrix (or the predicted scores) and the reliability of each split.

    Args:
        task: the task.
        labelled: predictions of each split with labels.
        matrices: figure of the confusion matrix, for each split that has one.
        calibration: section `calibration` of result.json; None without one.
    """
    for split, each in labelled.items():
        if split in matrices:
            yield embed_figure(f"Confusion matrix, {split}", matrices[split], describe_predictions(task, each))
        elif task.labels_are_numbers:
            figure = regression_figure(task, each.labels, each.predicted)
            yield embed_figure(f"Predictions, {split}", figure, describe_predictions(task, each))
    for split, each in labelled.items():
        if groups := group_by_probability(task, each, calibration):
            yield embed_figure(f"Reliability, {split}", reliability_figure(groups), describe_reliability(groups))


def _group_settings(
    config: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[tuple[str, list[tuple[str, Any, bool]]]]:
    """Return the settings by group: name, value, and whether the value differs from the default."""
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
