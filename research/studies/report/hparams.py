"""TensorBoard's hyperparameter table of a study: the settings in which its arms differ, and their metrics."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.results import as_plain, flat_metrics
from research.system.durable import converting_write_errors, publish

TENSORBOARD = "tensorboard"


def write_hparams(study: StudyOutcomes, differing: Sequence[str]) -> None:
    """Write tensorboard/<trial id>/ for each finished trial, replacing an earlier tensorboard/ directory.

    Args:
        study: outcomes of the study.
        differing: names of the settings in which the arms differ.
    Raises:
        StorageError: if the files cannot be written.
    """
    target = study.directory / TENSORBOARD
    temporary = target.with_name(f".{TENSORBOARD}.writing")
    with converting_write_errors(target, needed=1000 * len(study.finished)):  # about 1000 bytes per trial
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for outcome in study.finished:
            _write(temporary / outcome.trial.id, outcome, differing)
        publish(temporary, target)


def _write(directory: Path, outcome: Outcome, differing: Sequence[str]) -> None:
    trial = outcome.trial
    assert outcome.result is not None
    settings = {name: as_plain(trial.settings[name]) for name in differing if name in trial.settings}
    values = {name: float("nan" if value is None else value) for name, value in flat_metrics(outcome).items()}
    metrics = {name: value for name, value in values.items() if math.isfinite(value)}
    with SummaryWriter(str(directory)) as writer:
        for summary in hparams({"arm": trial.arm, "seed": trial.seed, **settings}, metrics):
            writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value, outcome.result.get("steps", 0))
