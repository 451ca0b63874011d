"""A study in TensorBoard's table of hyperparameters: what its arms differ in, and the metrics that came of it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from research.ablation.outcomes import Outcome, StudyOutcomes
from research.durable import publish, reporting_failure
from research.report.rendering import as_yaml

TENSORBOARD = "tensorboard"


def write_hparams(study: StudyOutcomes, differing: Sequence[str]) -> None:
    """Write tensorboard/<trial id>/ for each finished trial, in the place of what was there.

    Args:
        study: its outcomes.
        differing: settings in which its arms differ.
    Raises:
        StorageError: if it cannot be written.
    """
    target = study.directory / TENSORBOARD
    writing = target.with_name(f".{TENSORBOARD}.writing")
    with reporting_failure(target, needed=1000 * len(study.finished)):
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
        for outcome in study.finished:
            _write(writing / outcome.trial.id, outcome, differing)
        publish(writing, target)


def _write(directory: Path, outcome: Outcome, differing: Sequence[str]) -> None:
    trial = outcome.trial
    assert outcome.result is not None
    settings = {name: _plain(trial.settings[name]) for name in differing if name in trial.settings}
    metrics = finite_metrics(outcome.result["metrics"])
    with SummaryWriter(str(directory)) as writer:
        for summary in hparams({"arm": trial.arm, "seed": trial.seed, **settings}, metrics):
            writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value, outcome.result.get("steps", 0))


def finite_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return metrics by split and name, without those that are not defined."""
    found = {
        f"{split}/{name}": float("nan" if value is None else value)
        for split, of_split in metrics.items()
        for name, value in of_split.items()
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else as_yaml(value)
