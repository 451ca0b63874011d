"""Show a run in TensorBoard and the other trackers that accelerate knows."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, TensorBoardTracker, get_available_trackers
from accelerate.utils import LoggerType

from research.learning.predictions import Predictions
from research.records.results import config_as_yaml
from research.records.tracker_names import check_tracker_names, refuse_without_package
from research.records.tracker_runs import CONTINUATIONS, read_tracker_runs, write_tracker_runs
from research.settings.config import RunConfig
from research.settings.run_files import TRACKER_RUNS
from research.system.durable import reporting_failure
from research.system.errors import one_line
from research.system.messages import logger
from research.system.plain_text import markdown_code
from research.tasks.base import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that accelerate does not know, or whose package is missing: it leaves those out without a word.

    Raises:
        UnknownNameError: naming the nearest tracker and all of them.
        ValueError: if a package is missing.
    """
    check_tracker_names(names, [*LOGGER_TYPE_TO_CLASS])
    available = [str(tracker) for tracker in get_available_trackers()]
    for name in names:
        if name in LoggerType.list() and name not in available:  # accelerate looks closer, at versions too
            refuse_without_package(name)


def start_trackers(accelerator: Accelerator, directory: Path, config: RunConfig, step: int) -> None:
    """Start every tracker of --log_with, or continue its run; TensorBoard's files go to tensorboard/.

    Args:
        accelerator: has the trackers.
        directory: the run directory, which holds the ids of the trackers' runs.
        config: the settings, which are shown.
        step: steps taken; what TensorBoard knows of later ones is of a run that was cut.
    Raises:
        ValueError: if a tracker cannot be started.
    """
    plain = {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in config.to_dict().items()
    }
    for tracker in accelerator.log_with:
        if step > 0 and isinstance(tracker, TensorBoardTracker):
            tracker.init_kwargs["purge_step"] = step + 1
    if not isinstance(threading.excepthook, QuietThreads):
        threading.excepthook = QuietThreads(threading.excepthook)
    before = read_tracker_runs(directory) if accelerator.is_main_process else {}
    others = [name for name in config.log_with if name != "tensorboard"]
    try:
        accelerator.init_trackers(
            "midway", init_kwargs={name: CONTINUATIONS[name].init_arguments(before[name]) for name in before}
        )
    except Exception as error:  # each tracker has errors of its own
        if not others:
            raise
        remedy = f" To start new runs of them, delete {directory / TRACKER_RUNS}." if before else ""
        raise ValueError(
            f"Cannot start the trackers {', '.join(others)} ({one_line(error).rstrip('.')}).{remedy}"
        ) from error
    for tracker in accelerator.trackers:
        # TensorBoardTracker would make a folder named by the time for this; it gets a text instead. A run that is
        # continued has its settings, and MLflow does not let them change.
        if tracker.name != "tensorboard" and tracker.name not in before:
            tracker.store_init_configuration(plain)
    if accelerator.is_main_process:
        write_tracker_runs(directory, before, accelerator.trackers)
    restarted = [name for name in others if name not in CONTINUATIONS]
    if restarted and config.resume is not None and step > 0:
        logger.warning(f"New runs of these trackers were started, which cannot be continued: {', '.join(restarted)}.")
    writer = _tensorboard_writer(accelerator)
    if writer is not None:
        writer.add_text("config", markdown_code(config_as_yaml(config), "yaml"))


def track_values(accelerator: Accelerator, values: dict[str, float], step: int) -> None:
    """Hand values to every tracker.

    Raises:
        StorageError: if the disk is full.
    """
    with reporting_failure(Path(accelerator.project_dir), needed=0):
        accelerator.log(values, step=step)


class QuietThreads:
    """Says nothing of a full disk in TensorBoard's thread: the same error is raised once more by the next call to it.

    Args:
        otherwise: what says that any other thread failed.
    """

    def __init__(self, otherwise: Callable[[threading.ExceptHookArgs], object]) -> None:
        self.otherwise = otherwise

    def __call__(self, arguments: threading.ExceptHookArgs) -> None:
        """Hear that a thread failed."""
        is_tensorboard = type(arguments.thread).__module__.startswith("tensorboard.")
        if not (is_tensorboard and isinstance(arguments.exc_value, OSError)):
            self.otherwise(arguments)


def track_final_metrics(accelerator: Accelerator, split: str, found: Predictions, step: int) -> None:
    """Track the metrics of a split at the end of a run; without labels there are none."""
    defined = {f"{split}/{name}": value for name, value in found.metrics.items() if not math.isnan(value)}
    if defined and split != "validation":  # which is logged while training
        track_values(accelerator, defined, step)


def track_pictures(
    accelerator: Accelerator, task: Task, split: str, found: Predictions, matrix: Figure | None, step: int
) -> None:
    """Show a split's confusion matrix and precision-recall curves in TensorBoard, unless it has no labels.

    Args:
        accelerator: has the trackers.
        task: the labels.
        split: validation or test.
        found: the predictions.
        matrix: the confusion matrix, if there is one.
        step: steps taken.
    """
    writer = _tensorboard_writer(accelerator)
    labels = found.labels
    if writer is None or labels is None:
        return
    from research.records.figures import pr_curve_figure  # here, since it imports matplotlib

    if matrix is not None:
        writer.add_figure(f"{split}/confusion_matrix", matrix, step)
    curves = pr_curve_figure(task, labels, found.logits)
    if curves is not None:
        writer.add_figure(f"{split}/precision_recall", curves, step)


def track_text(accelerator: Accelerator, name: str, text: str, step: int) -> None:
    """Show a text in TensorBoard, in Markdown, with a mark at its step in a curve of the same name."""
    writer = _tensorboard_writer(accelerator)
    if writer is not None:
        writer.add_text(name, text, step)
        writer.add_scalar(f"{name}/applied", 1, step)


def _tensorboard_writer(accelerator: Accelerator) -> SummaryWriter | None:
    writers = [tracker.writer for tracker in accelerator.trackers if tracker.name == "tensorboard"]
    return writers[0] if writers and accelerator.is_main_process else None
