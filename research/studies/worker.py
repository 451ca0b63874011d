"""A worker runs the trials of a study one after the other, and records the outcome of each."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from research.learning.idle_rates import only_head_trains
from research.model.encoder_check import checking_each_encoder_once
from research.records.results import config_as_yaml, read_result
from research.settings.config import RunConfig
from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.settings.forks import read_settings
from research.settings.run_files import CONFIG
from research.studies.devices import VISIBLE_DEVICES
from research.studies.grid import StudySpec, Trial
from research.studies.kept_models import remove_unkept_files
from research.studies.launcher import read_launcher
from research.studies.search.optuna_objects import create_pruner
from research.studies.search.propose import Proposer
from research.studies.search.spec import RESULT_KEYS
from research.studies.storage.study import Claim, Study
from research.studies.time_limit import parse_seconds
from research.system.durable import StorageError, write_text
from research.system.errors import describe_failure, is_user_facing
from research.system.events import ERROR, EVENTS_FILE_VARIABLE, last_event, recording_events
from research.system.fork_server import ForkedProcess, ForkServer, ForkServerError
from research.system.judging import JUDGE_VARIABLE, serving_judge
from research.system.lock import is_held
from research.system.processes import SUPERVISOR_VARIABLE, is_alive
from research.system.scripts import script_path
from research.system.signals import Paused
from research.training.accelerator import default_num_threads

TRIALS = "trials"
"""Subdirectory of a study's directory with the run directories of its trials."""
LOGS = "logs"
"""Subdirectory of a study's directory with the logs of its trials and workers."""
POLL_SECONDS = 0.5
"""Interval at which workers and their supervisor check the state of the study, in seconds."""
SAVING_SECONDS = 120
"""Time that a trial over its time limit has to write a checkpoint before it is killed, in seconds."""
SAVE_EVERY = "10%"
"""Default interval between the checkpoints of a trial that does not run in the worker's own process, as a share of the
run. A trial whose process is killed continues from its last checkpoint."""

CANNOT_WRITE_STATUS = os.EX_IOERR
"""Exit status of a worker that has stopped because a trial could not write its files."""


class TrialFailedError(Exception):
    """Raised if a trial ended with an error; the message is the error."""


class TrialInterruptedError(Exception):
    """Raised if a trial was asked to stop; it can continue later."""


class TrialPausedError(Exception):
    """Raised if a trial was paused, as its settings ask for, so that other trials can fork it."""


class TrialDiedError(Exception):
    """Raised if the process of a trial was killed."""


@dataclasses.dataclass
class Worker:
    """Runs trials of a study.

    Args:
        study: the study in its storage.
        spec: specification of the study.
        directory: directory of the study on this machine.
        accelerate_config: config file of `accelerate launch`; None starts each trial with plain Python.
        num_workers: number of workers on this machine, including this one; they share its CPU cores.
        trial_timeout: time limit for one attempt at a trial, such as 2h; None for no limit.
    """

    study: Study
    spec: StudySpec
    directory: Path
    accelerate_config: str | None = None
    num_workers: int = 1
    trial_timeout: str | None = None

    def __post_init__(self) -> None:
        self._stop_signal = 0
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self._fork_server: ForkServer | None = None  # starts runs; itself started with the first one
        self._is_interruptible = False
        self._timed_out = False
        self._timeout_seconds = None if self.trial_timeout is None else parse_seconds(self.trial_timeout)
        self._prepared_hidden_states: set[str] = set()  # settings for which `_store_hidden_states` has been run
        self._proposer: Proposer | None = None
        self._prunes = False
        self._is_pruned = False  # whether the current trial ends because the study has pruned it
        if self.spec.search:
            self._proposer = Proposer(self.spec)
            choice = self._proposer.search.pruner_choice
            if choice is not None:
                self.study.use_pruner(create_pruner(choice))
                self._prunes = True

    def work(self) -> int:
        """Run trials until none is waiting or running, and return the exit status.

        Raises:
            StorageError: if a trial cannot write its files. The trial is then waiting again.
            ValueError: if the storage cannot be used.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle_signal)
        self.study.retry_policy.should_stop = self._should_stop
        try:
            with checking_each_encoder_once():
                return self._run_trials()
        finally:
            if self._fork_server is not None:
                self._fork_server.close()

    def _run_trials(self) -> int:
        name = f"{socket.gethostname()}:{os.getpid()}"
        while not self._should_stop():
            claim = self.study.claim(name)
            if claim is None and self._proposer is not None:
                claim = self.study.ask(self._proposer, name)
            if claim is not None:
                self._run_trial(claim)
            elif any(entry.is_unfinished for entry in self.study.entries().values()):
                self.study.requeue_dead_trials()  # another worker may have died
                time.sleep(POLL_SECONDS)
            else:
                self._remove_unkept_files()  # another machine may have trained a better one
                return 0
        return 128 + self._stop_signal

    def _remove_unkept_files(self) -> None:
        remove_unkept_files(self.spec, self.study.entries().values(), self.directory / TRIALS)

    def _run_trial(self, claim: Claim) -> None:
        started = time.monotonic()
        self._is_pruned = False
        run_directory = self.directory / TRIALS / claim.trial.id
        self.study.set_attributes(claim, directory=str(run_directory.resolve()))
        try:
            with self.study.sending_heartbeats(claim), self._judging(claim):
                config = self._config(claim.trial, run_directory)
                if self.runs_in_process(config):
                    result = self._run_in_process(config, claim.trial.settings["num_threads"])
                else:
                    result = self._run_in_subprocess(config)
        except TrialInterruptedError:
            seconds = claim.earlier_seconds + time.monotonic() - started
            if self._is_pruned:
                self.study.prune(claim, seconds=seconds)
            else:
                self.study.release(claim, seconds=seconds)
        except TrialDiedError:
            self.study.requeue_killed(claim)
        except TrialFailedError as error:
            seconds = claim.earlier_seconds + time.monotonic() - started
            if self._is_pruned:  # for example, the disk was too full for the checkpoint of a pruned trial
                self.study.prune(claim, seconds=seconds, error=str(error))
            elif str(error).startswith(f"{StorageError.__name__}: "):
                self.study.release(claim, seconds=seconds)
                raise StorageError(
                    f"{str(error).partition(': ')[2]} The study stops here, because its other trials could not be "
                    "saved either. Run the same command again once there is space: no trial counts as failed."
                ) from None
            else:
                self.study.fail(claim, str(error), seconds=seconds)
        except TrialPausedError:
            self.study.pause(claim, seconds=claim.earlier_seconds + time.monotonic() - started)
        else:
            seconds = claim.earlier_seconds + time.monotonic() - started
            self.study.finish(claim, self._objectives(result), result["metrics"], seconds=seconds)
            self._remove_unkept_files()

    def _objectives(self, result: Mapping[str, Any]) -> list[float] | None:
        """Return the compared metric and, if a search has one, the second objective; None if they are not defined."""
        metrics = result["metrics"].get(self.spec.split, {})  # a split without labels has no metrics
        value = metrics.get(self.spec.compared_metric(metrics))
        if value is None:
            return None
        minimized = None if self._proposer is None else self._proposer.search.minimize
        return [value] if minimized is None else [value, float(result[RESULT_KEYS[minimized]])]

    @contextlib.contextmanager
    def _judging(self, claim: Claim) -> Iterator[None]:
        """Decide after each evaluation of a trial whether it is pruned, if the study prunes trials."""
        if not self._prunes or claim.is_promoted:
            yield
            return

        def judge(percent: int, metrics: Mapping[str, float]) -> str | None:
            name = self.spec.compared_metric(metrics)
            assert name is not None
            self._is_pruned = self.study.decide_pruning(claim, percent, metrics[name])
            return "The study's pruner" if self._is_pruned else None

        with serving_judge(judge) as address:
            os.environ[JUDGE_VARIABLE] = address
            try:
                yield
            finally:
                del os.environ[JUDGE_VARIABLE]

    def _config(self, trial: Trial, run_directory: Path) -> RunConfig:
        """Return a trial's settings with its run directory, and with defaults for threads and checkpoints."""
        config = trial.config(output_dir=str(run_directory), resume="auto")
        if trial.parent_id is not None:
            config = dataclasses.replace(config, fork=str(run_directory.parent / trial.parent_id))
        if config.num_threads is None:
            config = dataclasses.replace(config, num_threads=self._num_threads(run_directory))
        if config.save_every is None and not self.runs_in_process(config):
            config = dataclasses.replace(config, save_every=SAVE_EVERY)
        return config

    def _num_threads(self, run_directory: Path) -> int:
        """Return the number of threads of a trial: as many as in an earlier attempt, or its share of the cores.

        With a different number of threads, sums are rounded differently, so a trial would not continue exactly.
        """
        earlier = run_directory / CONFIG
        if earlier.exists() and (num_threads := read_settings(earlier, "the trial")["num_threads"]) is not None:
            return int(num_threads)
        return default_num_threads(self.num_workers * read_launcher(self.accelerate_config).num_processes)

    def runs_in_process(self, config: RunConfig) -> bool:
        """Return whether a trial runs in this process. Without a launcher, it does if it trains only a head."""
        return self.accelerate_config is None and trains_head_only(config)

    def _run_in_process(self, config: RunConfig, encoder_threads: int | None) -> Mapping[str, Any]:
        """Run a trial in this process.

        Args:
            config: settings of the trial.
            encoder_threads: number of threads that compute missing hidden states; None for one on each core.
        """
        from research.runner.experiment import execute_run

        with (
            self._open_log(config) as log,
            _redirect_output(log),
            recording_events(self._events_path(config)),
            self._enforcing_time_limit(),
        ):
            try:
                self._is_interruptible = True
                self._wait_until_free(Path(str(config.output_dir)))
                self._store_hidden_states(dataclasses.replace(config, num_threads=encoder_threads))
                return execute_run(config)
            except Paused as error:
                if not self._timed_out:  # otherwise this worker sent the signal to itself
                    self._stop_signal = self._stop_signal or error.received_signal
                raise TrialPausedError from error
            except KeyboardInterrupt as error:
                if self._timed_out:
                    raise self._timeout_error() from error
                # A run that was stopped by a signal raises a KeyboardInterrupt with the exit status 128 + signal.
                if not getattr(error, "is_requested", False):
                    self._stop_signal = getattr(error, "exit_code", 128 + signal.SIGINT) - 128
                raise TrialInterruptedError from error
            except (Exception, SystemExit) as error:  # SystemExit must not end the worker
                if not (isinstance(error, ValueError) and is_user_facing(error)):  # else the message is enough
                    traceback.print_exc()
                raise TrialFailedError(describe_failure(error)) from error
            finally:
                self._is_interruptible = False

    def _store_hidden_states(self, config: RunConfig) -> None:
        """Cache hidden states that the run itself would not, or would compute more slowly.

        The run would cache only the layers that its own head reads, but any unfinished trial with the same encoder and
        data may read all layers. If there are several workers, the run has only its share of the cores, although the
        other workers wait until the hidden states are stored.
        """
        from heads import HEADS
        from research.runner.store_features import ensure_features
        from research.settings.plugins import import_plugins

        import_plugins(config.plugin)  # registers the user's heads
        encoder_settings = hidden_states_settings(config)
        if encoder_settings in self._prepared_hidden_states:
            return
        self._prepared_hidden_states.add(encoder_settings)
        unfinished_configs = [entry.trial.config() for entry in self.study.entries().values() if entry.is_unfinished]
        heads = {
            unfinished_config.head_name
            for unfinished_config in unfinished_configs
            if hidden_states_settings(unfinished_config) == encoder_settings
        }
        # A head is unknown if a trial of an earlier grid has it from a plugin that is not imported here.
        reads_all = any(HEADS[head].wants == "all_hidden_states" for head in heads if head in HEADS)
        if reads_all or self.num_workers > 1:
            ensure_features(config, "all" if reads_all else "last")

    def _run_in_subprocess(self, config: RunConfig) -> dict[str, Any]:
        """Run a trial with run.py in its own process or processes."""
        assert config.output_dir is not None
        run_directory = Path(config.output_dir)
        self._wait_until_free(run_directory)
        recipe = self.directory / TRIALS / f"{run_directory.name}.yaml"
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_text(recipe, config_as_yaml(config))
        # The log shows full tracebacks, so that no trial must be repeated to see one.
        arguments = [str(script_path("run")), "--recipe", str(recipe), "--output_dir", str(run_directory)]
        arguments += ["--resume", "auto", "--traceback"]
        environment = {
            **os.environ,
            SUPERVISOR_VARIABLE: str(os.getpid()),
            EVENTS_FILE_VARIABLE: str(self._events_path(config).resolve()),
        }
        with self._open_log(config) as log:
            start = self._fork if self.accelerate_config is None else self._launch
            try:
                self._process = start(arguments, environment, log)
            except ForkServerError as error:
                raise TrialFailedError(f"the process that starts runs has ended; see {log.name}") from error
            if self._stop_signal:
                self._forward_signal(self._stop_signal)
            with self._enforcing_time_limit():
                status = self._process.wait()
            self._process = None
        if self._stop_signal:
            self._wait_until_free(run_directory)  # the launcher may end before the run does
        result = try_read_result(run_directory)
        if status == 0 and result is not None and result["status"] == "finished":
            return result
        if status == 0 and result is not None and result["status"] == "paused":
            raise TrialPausedError
        if self._timed_out and not self._stop_signal:
            raise self._timeout_error()
        # A launcher of several processes ends with 1 if its run was interrupted.
        if self._is_pruned and result is not None and result["status"] == "interrupted":
            raise TrialInterruptedError
        # A run ends with one of these statuses if it received the signal itself, for example from a scheduler.
        if self._stop_signal or status in (128 + signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGUSR1):
            raise TrialInterruptedError
        if status < 0 or status == 128 + signal.SIGKILL:
            raise TrialDiedError
        raise TrialFailedError(
            _failure_reason(result, self._events_path(config)) or f"exit status {status}; see {log.name}"
        )

    def _fork(self, arguments: list[str], environment: Mapping[str, str], log: TextIO) -> ForkedProcess:
        """Start a run in a fork of a process that has imported the libraries, which this worker starts once."""
        if self._fork_server is None or not self._fork_server.is_running:
            self._fork_server = ForkServer([sys.executable, str(script_path("fork_server"))], log)
        return self._fork_server.start(arguments, environment=environment, output=Path(log.name))

    def _launch(self, arguments: list[str], environment: Mapping[str, str], log: TextIO) -> subprocess.Popen[bytes]:
        """Start a run with `accelerate launch`."""
        assert self.accelerate_config is not None
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", self.accelerate_config]
        if self.num_workers > 1 and VISIBLE_DEVICES in os.environ:
            command += ["--gpu_ids", "all"]  # all that this worker sees, instead of the list in the config
        # A separate session: otherwise Ctrl-C in a terminal would reach the trial directly, and the signal that this
        # worker forwards would be its second one, which stops the trial immediately.
        return subprocess.Popen(
            [*command, *arguments], stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )

    @contextlib.contextmanager
    def _enforcing_time_limit(self) -> Iterator[None]:
        """Interrupt a trial that exceeds the time limit. The trial saves a checkpoint, as after any SIGTERM."""
        self._timed_out = False
        if self._timeout_seconds is None:
            yield
            return
        timers = [threading.Timer(self._timeout_seconds, self._interrupt_trial, [signal.SIGTERM])]
        if self._process is not None:  # a trial that does not react is killed
            timers.append(
                threading.Timer(self._timeout_seconds + SAVING_SECONDS, self._interrupt_trial, [signal.SIGKILL])
            )
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()

    def _interrupt_trial(self, number: int) -> None:
        self._timed_out = True
        process = self._process
        if process is None:
            os.kill(os.getpid(), number)
        elif process.poll() is None:
            self._forward_signal(number)

    def _timeout_error(self) -> TrialFailedError:
        return TrialFailedError(
            f"it took longer than --trial_timeout {self.trial_timeout}; to continue from its checkpoint, use "
            "--retry_failed with a longer limit"
        )

    def _wait_until_free(self, run_directory: Path) -> None:
        """Wait until no other process uses a run directory.

        The run of a killed worker saves a checkpoint and ends by itself once it notices that its worker is gone.
        """
        while run_directory.is_dir() and is_held(run_directory):
            time.sleep(POLL_SECONDS)

    @contextlib.contextmanager
    def _open_log(self, config: RunConfig) -> Iterator[TextIO]:
        assert config.output_dir is not None
        path = log_path(self.directory, Path(config.output_dir).name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            yield file

    def _events_path(self, config: RunConfig) -> Path:
        assert config.output_dir is not None
        return events_path(self.directory, Path(config.output_dir).name)

    def _should_stop(self) -> bool:
        """Return whether to stop, because of a signal or because the process that started this worker is gone.

        In the second case, the worker stops as if it had received SIGTERM.
        """
        supervisor = os.environ.get(SUPERVISOR_VARIABLE)
        if supervisor is not None and not is_alive(int(supervisor)):
            self._stop_signal = self._stop_signal or signal.SIGTERM
        return bool(self._stop_signal)

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._timed_out:  # otherwise this worker sent the signal to itself, to interrupt the trial
            self._stop_signal = number
        if self._process is not None:
            self._forward_signal(number)
        elif self._is_interruptible:  # before and after training; during training, the run's own handler is installed
            raise KeyboardInterrupt

    def _forward_signal(self, number: int) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def log_path(directory: Path, trial_id: str) -> Path:
    """Return the path of the log with everything that a trial prints.

    Args:
        directory: directory of the study.
        trial_id: id of the trial.
    """
    return directory / LOGS / f"{trial_id}.txt"


def events_path(directory: Path, trial_id: str) -> Path:
    """Return the path of the file with the events of a trial, see `research.system.events`.

    Args:
        directory: directory of the study.
        trial_id: id of the trial.
    """
    return directory / LOGS / f"{trial_id}.jsonl"


def trains_head_only(config: RunConfig) -> bool:
    """Return whether a run trains only a head, on cached hidden states, judged by its settings."""
    return only_head_trains(config) and config.cache_features is not False and not (config.streaming or config.compile)


def hidden_states_settings(config: RunConfig) -> str:
    """Return, as one string, all settings that the hidden states of a frozen encoder depend on."""
    names = names_where(lambda declared: declared.affects(Stage.HIDDEN_STATES))
    return repr([getattr(config, name) for name in names])


def try_read_result(run_directory: Path) -> dict[str, Any] | None:
    """Return the content of a run's result.json, or None if it does not exist or cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return read_result(run_directory)
    return None


def _failure_reason(result: dict[str, Any] | None, events_file: Path) -> str | None:
    """Return why a run failed: the error in its result, or else the last error among its events."""
    if result is not None and "error" in result:
        return str(result["error"])
    error = last_event(events_file, ERROR)
    return None if error is None else error.text


@contextlib.contextmanager
def _redirect_output(log: Any) -> Iterator[None]:
    """Redirect the output of this process to a file, including what libraries write directly to its descriptors."""
    originals = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor, original in zip((1, 2), originals, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
