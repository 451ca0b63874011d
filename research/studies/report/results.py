"""results.csv: one row per trial of a study, for other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from heads.registry import UnknownNameError, describe_unknown
from research.report.rendering import as_yaml
from research.studies.outcomes import Outcome, StudyOutcomes
from research.system.plain_text import for_csv

RESULTS = "results.csv"
"""Name of the file."""
COPIED_VALUES = (
    "steps",
    "train_seconds",
    "trainable_parameters",
    "total_parameters",
    "device_hours",
    "cached_features",
    "weights_sha256",
)
"""Values of result.json that results.csv contains in addition to the metrics."""


def results_csv(study: StudyOutcomes) -> str:
    """Return results.csv, with one row per trial.

    Its columns are id, arm, seed, axes, state, all metrics of both splits, values such as times and sizes, and error.
    """
    axes = list(dict.fromkeys(axis for outcome in study.outcomes for axis in outcome.trial.axes if axis != "seed"))
    metrics = list(dict.fromkeys(name for outcome in study.finished for name in flat_metrics(outcome)))
    columns = ["id", "arm", "seed", *(f"axis/{axis}" for axis in axes), "state", *metrics, *COPIED_VALUES, "error"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writerow({name: for_csv(name) for name in columns})
    for outcome in study.outcomes:
        trial, result = outcome.trial, outcome.result or {}
        row = {"id": trial.id, "arm": trial.arm, "seed": trial.seed, "state": outcome.state}
        row |= {f"axis/{axis}": as_plain(value) for axis, value in trial.axes.items() if axis != "seed"}
        row |= {name: "" if value is None else value for name, value in flat_metrics(outcome).items()}
        row |= {name: result[name] for name in COPIED_VALUES if name in result}
        writer.writerow({name: for_csv(value) for name, value in (row | {"error": outcome.error or ""}).items()})
    return text.getvalue()


def read_finished_ids(directory: Path, arm: str) -> list[str]:
    """Return the ids of the finished trials of one arm, from the results.csv of a study.

    Args:
        directory: directory of the study.
        arm: name of the arm.
    Raises:
        ValueError: if the study has no results, no such arm, or no finished trial of it.
    """
    path = directory / RESULTS
    if not path.is_file():
        raise ValueError(f"There is no {path}. Expected the directory of a finished study.")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    if for_csv(arm) not in arms:
        raise UnknownNameError(describe_unknown("arm", arm, arms, listed_as="Arms of the study"))
    ids = [row["id"] for row in rows if row["arm"] == for_csv(arm) and row["state"] == "finished"]
    if not ids:
        raise ValueError(f"No trial of the arm '{arm}' in {directory} is finished.")
    return ids


def flat_metrics(outcome: Outcome) -> dict[str, Any]:
    """Return a trial's metrics by `<split>/<name>`; empty if the trial has no result."""
    metrics = (outcome.result or {}).get("metrics", {})
    return {
        f"{split}/{name}": value for split, split_metrics in metrics.items() for name, value in split_metrics.items()
    }


def as_plain(value: Any) -> bool | int | float | str:
    """Return a setting's value in a form for tables: numbers and strings unchanged, anything else as YAML."""
    return value if isinstance(value, bool | int | float | str) else as_yaml(value)
