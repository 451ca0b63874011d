"""Log a run to TensorBoard and to the other trackers that accelerate supports."""

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
from research.records.missing_glyphs import reporting_missing_glyphs
from research.records.results import config_as_yaml
from research.records.tracker_names import check_tracker_names, raise_missing_package
from research.records.tracker_runs import CONTINUATIONS, read_tracker_runs, write_tracker_runs
from research.settings.config import RunConfig
from research.settings.run_files import TRACKER_RUNS
from research.system.durable import converting_write_errors
from research.system.errors import one_line
from research.system.messages import logger
from research.system.plain_text import markdown_code
from research.tasks.base import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


def check_trackers(names: Sequence[str]) -> None:
    """Check that accelerate knows each tracker and that its package is installed.

    accelerate itself skips unavailable trackers without a message.

    Raises:
        UnknownNameError: if a tracker is unknown; the message suggests the nearest name and lists all trackers.
        ValueError: if a package is missing.
    """
    check_tracker_names(names, [*LOGGER_TYPE_TO_CLASS])
    available = [str(tracker) for tracker in get_available_trackers()]
    for name in names:
        if name in LoggerType.list() and name not in available:  # accelerate also checks versions
            raise_missing_package(name)


def start_trackers(accelerator: Accelerator, directory: Path, config: RunConfig, step: int) -> None:
    """Start every tracker of --log_with, or continue its run. TensorBoard's files are written to tensorboard/.

    Args:
        accelerator: the accelerator that owns the trackers.
        directory: run directory, which holds the ids of the trackers' runs.
        config: settings of the run, which the trackers show.
        step: number of steps taken; TensorBoard drops the values of later steps, which the run logged before it was
            interrupted.
    Raises:
        ValueError: if a tracker cannot be started.
    """
    settings = {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in config.to_dict().items()
    }
    for tracker in accelerator.log_with:
        if step > 0 and isinstance(tracker, TensorBoardTracker):
            tracker.init_kwargs["purge_step"] = step + 1
    if not isinstance(threading.excepthook, TensorBoardErrorFilter):
        threading.excepthook = TensorBoardErrorFilter(threading.excepthook)
    run_ids = read_tracker_runs(directory) if accelerator.is_main_process else {}
    external = [name for name in config.log_with if name != "tensorboard"]
    try:
        accelerator.init_trackers(
            "midway", init_kwargs={name: CONTINUATIONS[name].init_arguments(run_ids[name]) for name in run_ids}
        )
    except Exception as error:  # each tracker raises its own error classes
        if not external:
            raise
        remedy = f" To start new tracker runs, delete {directory / TRACKER_RUNS}." if run_ids else ""
        raise ValueError(
            f"Cannot start the trackers {', '.join(external)} ({one_line(error).rstrip('.')}).{remedy}"
        ) from error
    for tracker in accelerator.trackers:
        # TensorBoardTracker would create a separate folder with a timestamp for the settings, so they are logged as
        # text below. A continued run already has its settings, and MLflow does not allow changing them.
        if tracker.name != "tensorboard" and tracker.name not in run_ids:
            tracker.store_init_configuration(settings)
    if accelerator.is_main_process:
        write_tracker_runs(directory, run_ids, accelerator.trackers)
    restarted = [name for name in external if name not in CONTINUATIONS]
    if restarted and config.resume is not None and step > 0:
        logger.warning(f"These trackers cannot continue a run, so new runs were started: {', '.join(restarted)}.")
    writer = _tensorboard_writer(accelerator)
    if writer is not None:
        writer.add_text("config", markdown_code(config_as_yaml(config), "yaml"))


def track_values(accelerator: Accelerator, values: dict[str, float], step: int) -> None:
    """Log values to every tracker.

    Raises:
        StorageError: if the disk is full.
    """
    with converting_write_errors(Path(accelerator.project_dir), needed=0):  # only a few bytes
        accelerator.log(values, step=step)


class TensorBoardErrorFilter:
    """Exception hook that hides OSErrors of TensorBoard's writer thread, such as a full disk.

    These errors need no report here, because the next call to TensorBoard raises the same error again.

    Args:
        report: exception hook that handles all other exceptions.
    """

    def __init__(self, report: Callable[[threading.ExceptHookArgs], object]) -> None:
        self.report = report

    def __call__(self, arguments: threading.ExceptHookArgs) -> None:
        """Handle an exception that ended a thread."""
        is_tensorboard = type(arguments.thread).__module__.startswith("tensorboard.")
        if not (is_tensorboard and isinstance(arguments.exc_value, OSError)):
            self.report(arguments)


def track_final_metrics(accelerator: Accelerator, split: str, predictions: Predictions, step: int) -> None:
    """Log the metrics of a split at the end of a run, except for validation metrics, which are already logged."""
    defined = {f"{split}/{name}": value for name, value in predictions.metrics.items() if not math.isnan(value)}
    if defined and split != "validation":  # a split without labels has no metrics
        track_values(accelerator, defined, step)


def track_figures(
    accelerator: Accelerator, task: Task, split: str, predictions: Predictions, matrix: Figure | None, step: int
) -> None:
    """Add a split's confusion matrix and precision-recall curves to TensorBoard, unless the split has no labels.

    Args:
        accelerator: the accelerator that owns the trackers.
        task: the task.
        split: validation or test.
        predictions: predictions for the split.
        matrix: figure of the confusion matrix, or None.
        step: number of steps taken.
    """
    writer = _tensorboard_writer(accelerator)
    labels = predictions.labels
    if writer is None or labels is None:
        return
    from research.records.figures import pr_curve_figure  # imported here because it imports matplotlib

    with reporting_missing_glyphs(f"TensorBoard's pictures of {split}"):
        if matrix is not None:
            writer.add_figure(f"{split}/confusion_matrix", matrix, step)
        curves = pr_curve_figure(task, labels, predictions.logits)
        if curves is not None:
            writer.add_figure(f"{split}/precision_recall", curves, step)


def track_edits(accelerator: Accelerator, text: str, step: int) -> None:
    """Add a Markdown description of applied edits to TensorBoard, and mark their step in the scalar `edits/applied`."""
    writer = _tensorboard_writer(accelerator)
    if writer is not None:
        writer.add_text("edits", text, step)
        writer.add_scalar("edits/applied", 1, step)


def _tensorboard_writer(accelerator: Accelerator) -> SummaryWriter | None:
    writers = [tracker.writer for tracker in accelerator.trackers if tracker.name == "tensorboard"]
    return writers[0] if writers and accelerator.is_main_process else None
