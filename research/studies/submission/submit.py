"""Submit the workers of a study that has been planned."""

from __future__ import annotations

from submitit import LocalExecutor, SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from research.studies.command import StudyCommand
from research.studies.progress import format_count
from research.studies.search.spec import SearchSpec
from research.studies.storage.study import Study
from research.studies.submission.settings import SubmitSettings
from research.studies.submission.task import WorkerTask
from research.studies.worker_command import worker_command
from research.system.errors import one_line
from research.system.messages import logger

SUBMITTED = "submitted"
"""Subdirectory of a study's directory with submitit's files: batch scripts, and the logs of tasks."""
MAX_TIMEOUTS = 50
"""Number of times that a task may reach its time limit, which ends the loop of a trial that makes no progress."""


def submit_workers(study: Study, command: StudyCommand, search: SearchSpec | None = None) -> bool:
    """Submit workers for the trials that are waiting, and return whether the study is not over yet.

    Args:
        study: the study in its storage.
        command: the parsed command line.
        search: the search that proposes trials; None for a grid.
    Raises:
        ValueError: if the submission fails.
    """
    settings, workers = command.submission, command.settings.workers
    assert settings is not None
    assert workers != "auto", "checked with the command line"
    statuses = [entry.status for entry in study.entries().values()]
    num_waiting, num_running = statuses.count("waiting"), statuses.count("running")
    may_propose = search is not None and study.is_budget_left(search)
    number = workers if may_propose else min(workers, num_waiting)
    if number:
        job = _submit(study, command, settings, number)
        logger.info(f"Submitted {format_count(number, 'worker')} to {settings.executor}: job {job}.")
    elif num_running:
        logger.info(f"{format_count(num_running, 'trial')} running, none waiting: no workers submitted.")
    else:
        return False
    logger.info(
        f"The tasks write their logs to {command.directory / SUBMITTED}. When they have ended, repeat this command: it "
        "prints and writes the report, or submits workers for trials that are left."
    )
    return True


def _submit(study: Study, command: StudyCommand, settings: SubmitSettings, number: int) -> str:
    """Submit an array of workers, and return the id of the job, or of each local one."""
    executor: LocalExecutor | SlurmExecutor
    folder = command.directory / SUBMITTED
    if settings.executor == "local":
        executor = LocalExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
        executor.update_parameters(timeout_min=settings.time_limit_minutes, signal_delay_s=settings.signal_seconds)
    else:
        executor = SlurmExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
        executor.update_parameters(
            job_name=study.name,
            partition=settings.partition,
            time=settings.time_limit_minutes,
            gpus_per_node=settings.gpus_per_task,
            cpus_per_task=settings.cpus_per_task,
            mem=None if settings.memory is None else f"{round(settings.memory * 1024)}M",
            signal_delay_s=settings.signal_seconds,
            additional_parameters={"requeue": True, **settings.sbatch_options},
        )
    arguments = worker_command(
        study,
        command.directory.resolve(),
        # Tasks of Slurm see only their own cores.
        num_workers=number if settings.executor == "local" else 1,
        accelerate_config=command.settings.accelerate_config,
        trial_timeout=command.settings.trial_timeout,
    )
    try:
        jobs = executor.submit_array([WorkerTask(arguments, settings.save_seconds)] * number)
    except (FailedJobError, FailedSubmissionError) as error:
        raise ValueError(f"Cannot submit the study's workers: {one_line(error)}") from None
    return ", ".join(dict.fromkeys(str(job.job_id).partition("_")[0] for job in jobs))
