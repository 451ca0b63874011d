"""Run an experiment, from its settings to its result."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list

from heads import HEADS
from research.learning.calibration import CalibrationRequest
from research.learning.predictions import Predictions
from research.model.parameters import count_parameters
from research.records.hardware import device_name
from research.records.predictions_file import predictions_path, write_predictions
from research.records.results import (
    git_commit,
    read_result,
    versions,
    weights_sha256,
    write_config,
    write_result,
)
from research.records.run_directory import (
    check_directory,
    empty_directory,
    make_directory,
    prepare_directory,
    run_directory,
)
from research.records.trackers import start_trackers, track_figures, track_final_metrics
from research.runner.calibrate_run import calibrate_run
from research.runner.describe import describe_result, describe_run, out_of_memory_message, peak_memory_bytes
from research.runner.resolve import default_settings_for, resolve
from research.runner.run_result import RunResult
from research.runner.same_run import check_finished, check_resume_directory
from research.runner.set_up import set_up
from research.runner.shared_files import check_same_checkpoint, check_shared_directory
from research.settings.config import RunConfig
from research.settings.plugins import hash_plugins
from research.settings.python_arguments import naming_arguments
from research.settings.run_files import BEST, MODEL, REPORT, RESULT
from research.system import durable
from research.system.durable import StorageError
from research.system.errors import describe_failure, one_line
from research.system.launcher import num_launched_processes
from research.system.lock import DirectoryLock
from research.system.messages import logger
from research.system.signals import Paused
from research.system.terminal import Terminal
from research.system.user_code import ErrorsOccurring
from research.system.waiting import WaitingMessage
from research.training.accelerator import close_trackers, create_accelerator, fail_together, release, was_restarted
from research.training.checkpoint.find import StartCheckpoint, check_checkpoint, find_fork_checkpoint, newest_checkpoint
from research.training.checkpoint.kept_files import restore_kept_files
from research.training.checkpoint.load import delete_later_checkpoints
from research.training.hook import Hook
from research.training.loop import train
from research.training.run import TrainingRun

if TYPE_CHECKING:
    from accelerate import Accelerator
    from matplotlib.figure import Figure


@naming_arguments()
def run_experiment(config: RunConfig, *, hooks: Sequence[Hook] = ()) -> RunResult:
    """Train and evaluate with the given settings, as `experiments/run.py` does with the same settings.

    Args:
        config: settings of the run.
        hooks: hook objects to use in addition to those in the settings.
    Returns:
        The result, which is the same on every process.
    Raises:
        ValueError: if settings or data are invalid; the message is written for the user. Like all other messages, it
            names arguments of `RunConfig`.
    """
    return execute_run(config, hooks=hooks)


def execute_run(config: RunConfig, *, hooks: Sequence[Hook] = ()) -> RunResult:
    """Train and evaluate like `run_experiment`; messages name flags of the command line."""
    started = time.perf_counter()
    any_precision = config.mixed_precision == "auto"  # `resolve` replaces auto with the precision of this machine
    config = resolve(config)
    directory = run_directory(config)
    with WaitingMessage("Joining the other processes") if num_launched_processes() > 1 else contextlib.nullcontext():
        accelerator = create_accelerator(config, str(directory))
    (directory,) = _broadcast_from_main([directory])
    is_restart = was_restarted()
    if is_restart:
        config = dataclasses.replace(config, resume="auto")  # the launcher repeats the original command
    finished: RunResult | None = None
    with fail_together(accelerator):
        if accelerator.is_main_process and config.resume == "auto":
            finished = _find_finished(config, directory, any_precision=any_precision)
    (content,) = _broadcast_from_main([finished and dict(finished)])
    if content is not None:
        logger.info(f"The run in {directory} is finished; there is nothing to resume.")
        return RunResult(directory, content)
    lock = DirectoryLock()
    start: StartCheckpoint | None = None
    try:
        with fail_together(accelerator):
            if accelerator.is_main_process:
                check_directory(directory, config)
                if directory.is_dir():
                    _acquire_lock(lock, directory)
                start = find_start_checkpoint(config, directory, is_restart=is_restart)
                if config.resume not in (None, "auto"):
                    check_resume_directory(config, directory, any_precision=any_precision)
        (start,) = _broadcast_from_main([start])
        if start is not None:
            check_same_checkpoint(accelerator, start.checkpoint)
        with ErrorsOccurring("before training"):
            run = set_up(config, directory, accelerator, start, hooks)
            run.totals.started = started
        # Only after the setup: if settings or data are invalid, nothing must be created or replaced.
        is_new = _claim_directory(directory, config, accelerator, lock)
        with fail_together(accelerator):
            if accelerator.is_main_process:
                prepare_directory(directory, config)
                write_config(directory, run.config)  # first, because it marks the folder as a run directory
                delete_later_checkpoints(run)
                restore_kept_files(run)
        return train_and_finish(run, is_new=is_new)
    except torch.OutOfMemoryError as error:
        raise ValueError(out_of_memory_message(config)) from error
    finally:
        lock.release()
        release(accelerator)


def _find_finished(config: RunConfig, directory: Path, *, any_precision: bool) -> RunResult | None:
    """Return the result of the finished run in a directory, after checking that it has these settings; else None."""
    result = read_result(directory)
    if result is None or result["status"] != "finished":
        return None
    check_finished(config, directory, result, any_precision=any_precision)
    return RunResult.read(directory)


def _claim_directory(directory: Path, config: RunConfig, accelerator: Accelerator, lock: DirectoryLock) -> bool:
    """Create and lock the run directory if necessary, check that all processes see it, and return whether it is new."""
    is_new = False
    with fail_together(accelerator):
        if accelerator.is_main_process:
            is_new = make_directory(directory)
            _acquire_lock(lock, directory)
    try:
        check_shared_directory(accelerator, directory, config)
    except ValueError:
        if is_new:
            durable.remove(directory)
        raise
    return is_new


def find_start_checkpoint(config: RunConfig, directory: Path, *, is_restart: bool = False) -> StartCheckpoint | None:
    """Return the checkpoint to continue from, or None for a new run.

    Args:
        config: the final settings.
        directory: the run directory.
        is_restart: whether the launcher restarted the run; if so, `--resume auto` was not typed and needs no name.
    Raises:
        ValueError: if a specified checkpoint cannot be used.
    """
    if config.resume == "auto":
        if config.name is None and config.output_dir is None and not is_restart:
            raise ValueError("--resume auto needs --name or --output_dir: the default name changes with every run.")
        newest = newest_checkpoint(directory)
        if newest is not None:
            logger.info(f"Resuming from {newest}.")
            return StartCheckpoint(newest)
        logger.info(f"No checkpoint in {directory}: starting a new run.")
    elif config.resume is not None:
        check_checkpoint(Path(config.resume), "--resume")
        return StartCheckpoint(Path(config.resume))
    if config.fork is None:
        return None
    checkpoint = find_fork_checkpoint(config.fork)
    logger.info(f"Forking from {checkpoint}.")
    return StartCheckpoint(checkpoint, is_fork=True)


def train_and_finish(run: TrainingRun, *, is_new: bool) -> RunResult:
    """Train, write all results, and return the result of the main process.

    If a run fails after at least one step, result.json records the failure.

    Args:
        run: the run; its directory exists.
        is_new: whether the directory was created for this run; it is deleted if the run fails before its first step.
    """
    # Signals are only recorded until the end: when one process ends, torchrun sends SIGTERM to the remaining processes,
    # which must still be able to finish.
    with run.interruption.watch:
        try:
            with WaitingMessage("Starting the trackers"):
                start_trackers(run.accelerator, run.directory, run.config, run.clock.step)
            for line in describe_run(run):
                logger.info(line)
            train(run)
            result, predictions = finish(run)
        except BaseException as error:
            _clean_up_after_failure(run, error, is_new=is_new)
            raise
        if run.is_main and run.config.report:
            draw_results(run, result, predictions)
        run.accelerator.wait_for_everyone()
        (result,) = _broadcast_from_main([result])  # each process has measured its own time and memory
    terminal = Terminal()
    if run.is_main and not terminal.is_jupyter:  # a notebook shows the returned object
        terminal.print(describe_result(result, run.directory))
    return RunResult(run.directory, result, heads={name: HEADS[name] for name in HEADS})


def _clean_up_after_failure(run: TrainingRun, error: BaseException, *, is_new: bool) -> None:
    """Delete or empty the run directory if the run failed at step 0; otherwise write the failure to result.json.

    A directory that existed before is not emptied if --resume is set.
    """
    with _log_secondary_errors():
        close_trackers(run.accelerator)  # first, because trackers write to the directory in threads
    if run.is_main and run.clock.step == 0 and is_new:
        durable.remove(run.directory)
        logger.info(f"No step was taken; {run.directory} was deleted.")
    elif run.is_main and run.clock.step == 0 and run.config.resume is None:
        empty_directory(run.directory)  # the directory existed before the run
        logger.info(f"No step was taken; {run.directory} was emptied.")
    elif run.is_main:
        with _log_secondary_errors():
            if isinstance(error, Paused):
                write_result(run.directory, {"status": "paused", "steps": run.clock.step, **_times(run)})
            else:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                write_result(run.directory, {"status": status, "error": describe_failure(error)})


def finish(run: TrainingRun) -> tuple[dict[str, Any], dict[str, Predictions]]:
    """Save the model, evaluate and calibrate the best (or last) model, write and return the result and predictions."""
    config, directory, accelerator = run.config, run.directory, run.accelerator
    run.save_model(directory / MODEL)
    accelerator.wait_for_everyone()
    with WaitingMessage("Hashing the weights"):
        sha256 = weights_sha256(run.encoder_with_head)
    has_best = config.best_metric is not None and (directory / BEST).exists()
    _, num_parameters = count_parameters(run.encoder_with_head)
    num_trainable = run.wrapping.num_trainable
    if has_best:
        max_input_length = run.encoder_with_head.config.max_input_length
        with WaitingMessage("Loading the best model"):
            # A new model, because edits after the best evaluation may have changed the architecture of the current one.
            run.wrapping = run.wrapping.for_evaluation(directory / BEST)
        # The same weights give different logits for longer inputs.
        if run.encoder_with_head.config.max_input_length != max_input_length:
            run.evaluations.forget_predictions()
        if run.batches.features is not None:
            run.batches.disable_cache_if(run.batches.features.reattach_to(run))
    elif config.best_metric is not None:
        run.print(
            f"{config.best_metric} was not defined in any evaluation; the last model is tested instead of the best one."
        )
    # If the weights are unchanged, for example because the best model is the last one, this reuses the last evaluation.
    scored = ("validation", "test") if config.score_test else ("validation",)
    predictions = {split: run.evaluations.current_predictions(run, split) for split in scored}
    calibration = {}
    request = CalibrationRequest.of(temperature=config.calibrate, thresholds=config.thresholds)
    if request is not None:
        tested = directory / (BEST if has_best else MODEL)
        calibration["calibration"], predictions = calibrate_run(run, request, tested, predictions)
    with WaitingMessage("Hashing the rows"):
        rows_sha256 = run.batches.rows_sha256
    result = {
        "status": "finished",
        "stopped_because": run.stop_reason,
        "steps": run.clock.step,
        "epochs": run.clock.epochs_done,
        "world_size": accelerator.num_processes,
        "device": device_name(accelerator.device),
        "num_threads": torch.get_num_threads(),
        "examples_per_second": run.clock.num_examples_seen / run.totals.train_seconds
        if run.totals.train_seconds
        else 0.0,
        **_times(run),
        "skipped_steps": run.totals.num_skipped,
        "peak_memory_bytes": peak_memory_bytes(accelerator),
        "trainable_parameters": num_trainable,
        "total_parameters": num_parameters,
        "edits": sum(record.skipped is None for record in run.applied_edits.journal),
        "cached_features": run.batches.features is not None,
        "mixed_precision": accelerator.mixed_precision,
        "tested": "best" if has_best else "last",
        "metrics": {
            split: split_predictions.metrics
            for split, split_predictions in predictions.items()
            if split_predictions.labels is not None
        },
        **calibration,
        "unlabelled": [split for split in run.texts.unlabelled if split in scored],
        "rows": run.splits.num_rows(),
        "skipped_rows": [
            dataclasses.asdict(item) for item in (*run.texts.skipped_rows, *run.batches.train.skipped_rows())
        ],
        "rows_counted_as_wrong": {split: count for split, count in run.texts.num_unseen.items() if count},
        "rows_sha256": rows_sha256,
        "plugins": hash_plugins(config.plugin),
        "parent": None if run.parent is None else {"run": run.parent.run, "step": run.parent.step},
        "resumed_from": None if run.start is None or run.start.is_fork else run.start.checkpoint.name,
        "weights_sha256": sha256,
        "versions": versions(),
        "git_commit": git_commit(),
    }
    if run.is_main:
        for split, split_predictions in predictions.items():
            with WaitingMessage(f"Writing the predictions of {split}"):
                temperature = run.encoder_with_head.config.calibration_temperature
                path = predictions_path(directory, split)
                write_predictions(path, run.task, split_predictions, run.texts.files[split], temperature=temperature)
            track_final_metrics(accelerator, split, split_predictions, run.clock.step)
        write_result(directory, result)  # last, because it marks the run as finished
    accelerator.wait_for_everyone()
    return result, predictions


def _times(run: TrainingRun) -> dict[str, float]:
    """Return how long a run took, for result.json."""
    device_seconds = run.totals.device_seconds(run.accelerator.num_processes)
    return {"train_seconds": run.totals.train_seconds, "device_hours": device_seconds / 3600}


def draw_results(run: TrainingRun, result: dict[str, Any], predictions: dict[str, Predictions]) -> None:
    """Draw report.html and the figures for TensorBoard for a finished run. An error only causes a warning.

    Plotting libraries are imported here, so that training does not have to wait for them.

    Args:
        run: the run, with its result and predictions written.
        result: content of result.json.
        predictions: predictions for each split.
    """
    matrices: dict[str, Figure] = {}

    def draw_matrices() -> None:
        from research.records.figures import confusion_matrix_figures

        matrices.update(confusion_matrix_figures(run.task, predictions))

    def draw_for_tensorboard() -> None:
        for split, split_predictions in predictions.items():
            track_figures(run.accelerator, run.task, split, split_predictions, matrices.get(split), run.clock.step)

    def draw_report() -> None:
        from research.report.page import write_report

        texts = dataclasses.replace(run.texts, task=run.task)  # with the thresholds of a calibrated model
        write_report(run.directory, result, texts, predictions, matrices, default_settings_for(run.config, run.task))

    for name, draw_item in (
        ("the confusion matrices", draw_matrices),
        ("the figures for TensorBoard", draw_for_tensorboard),
        (REPORT, draw_report),
    ):
        try:
            with WaitingMessage(f"Drawing {name}"):
                draw_item()
        except Exception as error:  # plotting libraries may raise any error
            logger.warning(
                f"cannot draw {name} ({type(error).__name__}: {one_line(error)}). The run is complete: its results "
                f"are in {run.directory / RESULT}."
            )


@contextlib.contextmanager
def _log_secondary_errors() -> Iterator[None]:
    """Report storage errors during failure handling without masking the original error."""
    try:
        yield
    except StorageError as error:
        logger.info(str(error))


def _acquire_lock(lock: DirectoryLock, directory: Path) -> None:
    warning = lock.acquire(directory)
    if warning is not None:
        logger.info(warning)


def _broadcast_from_main(values: list[Any]) -> list[Any]:
    """Return the main process's values on every process.

    Processes may see different files, and names that contain the current time may differ between processes.
    """
    broadcast_object_list(values)
    return values
