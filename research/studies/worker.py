"""A worker: takes trials one after the other until none is left, and says what came of each."""

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
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from research.records.results import config_as_yaml, read_result
from research.settings.config import Choice, RunConfig
from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.studies.devices import VISIBLE
from research.studies.grid import StudySpec, Trial
from research.studies.launcher import read_launcher
from research.studies.storage.study import Claim, Study
from research.studies.storage.trials import OPEN
from research.studies.time_limit import parse_seconds
from research.system.durable import write_text
from research.system.errors import describe_failure, is_user_facing
from research.system.events import ERROR, PLACE, last_event, writing_to
from research.system.lock import is_held
from research.system.processes import SUPERVISOR, is_alive
from research.system.scripts import script
from research.training.accelerator import default_num_threads

TRIALS = "trials"
LOGS = "logs"
POLL_SECONDS = 0.5
SAVING_SECONDS = 120
"""What a trial over its time limit gets to write a checkpoint."""
SAVE_EVERY = "10%"
"""Time between checkpoints of a trial in processes of its own, where none is chosen: it may be killed, and goes on."""


class TrialFailedError(Exception):
    """A trial that ended with an error."""


class TrialInterruptedError(Exception):
    """A trial that something asked to end, and that can go on."""


class TrialDiedError(Exception):
    """A trial whose process was killed."""


@dataclasses.dataclass
class Worker:
    """Works on the trials of a study.

    Args:
        study: where they are.
        spec: what is compared.
        directory: where the study lies on this machine.
        accelerate_config: file for `accelerate launch`; None starts each trial with plain Python.
        num_workers: how many share this machine.
        trial_timeout: how long one attempt at a trial may take, such as 2h; None for no limit.
    """

    study: Study
    spec: StudySpec
    directory: Path
    accelerate_config: str | None = None
    num_workers: int = 1
    trial_timeout: str | None = None

    def __post_init__(self) -> None:
        self._asked_to_stop = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._can_be_cut = False
        self._timed_out = False
        self._seconds = None if self.trial_timeout is None else parse_seconds(self.trial_timeout)
        self._encoded: set[str] = set()

    def work(self) -> int:
        """Take trials until none waits or runs; return the exit status.

        Raises:
            ValueError: if the storage cannot be used.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle_signal)
        self.study.retry_policy.should_stop = self._stops
        name = f"{socket.gethostname()}:{os.getpid()}"
        while not self._stops():
            claim = self.study.claim(name)
            if claim is not None:
                self._carry_out(claim)
            elif any(entry.state in OPEN for entry in self.study.entries().values()):
                self.study.requeue_dead_trials()  # those of another worker may be left to do
                time.sleep(POLL_SECONDS)
            else:
                return 0
        return 128 + self._asked_to_stop

    def _carry_out(self, claim: Claim) -> None:
        started = time.monotonic()
        place = self.directory / TRIALS / claim.trial.id
        self.study.set_attributes(claim, directory=str(place.resolve()))
        try:
            with self.study.heartbeats(claim):
                config = self._config(claim.trial, place)
                result = self._in_this_process(config) if self.shares_process(config) else self._launched(config)
        except TrialInterruptedError:
            self.study.release(claim)
        except TrialDiedError:
            self.study.requeue_killed(claim)
        except TrialFailedError as error:
            self.study.fail(claim, str(error))
        else:
            metrics = result["metrics"].get(self.spec.split, {})  # none of rows without labels
            value = metrics.get(self.spec.metric_among(metrics))
            self.study.finish(claim, value, result["metrics"], seconds=time.monotonic() - started)

    def _config(self, trial: Trial, place: Path) -> RunConfig:
        """Return a trial's settings with its place, and what this machine adds."""
        config = trial.config(output_dir=str(place), resume="auto")
        if config.num_threads is None:
            threads = default_num_threads(self.num_workers * read_launcher(self.accelerate_config).num_processes)
            config = dataclasses.replace(config, num_threads=threads)
        if config.save_every is None and not self.shares_process(config):
            config = dataclasses.replace(config, save_every=SAVE_EVERY)
        return config

    def shares_process(self, config: RunConfig) -> bool:
        """Return whether a trial runs in this process: all that it trains is a head on cached features."""
        return self.accelerate_config is None and trains_head_only(config)

    def _in_this_process(self, config: RunConfig) -> dict[str, Any]:
        from research.runner.experiment import run_experiment

        with self._log(config) as log, _printing_into(log), writing_to(self._events(config)), self._limited():
            try:
                self._can_be_cut = True
                self._wait_until_free(Path(str(config.output_dir)))
                self._encode_for_all(config)
                return run_experiment(config)
            except KeyboardInterrupt as error:
                if self._timed_out:
                    raise self._timeout() from error
                self._asked_to_stop = getattr(error, "exit_code", 128 + signal.SIGINT) - 128
                raise TrialInterruptedError from error
            except (Exception, SystemExit) as error:  # a trial that ends its process would end those of all others
                if not (isinstance(error, ValueError) and is_user_facing(error)):
                    traceback.print_exc()
                raise TrialFailedError(describe_failure(error)) from error
            finally:
                self._can_be_cut = False

    def _encode_for_all(self, config: RunConfig) -> None:
        """Store the hidden states of all layers if any trial reads them; a run by itself asks for its own."""
        from heads import HEADS
        from research.runner.store_features import ensure_features
        from research.settings.plugins import import_plugins

        import_plugins(config.plugin)  # heads of the user's own
        shared = settings_of_hidden_states(config)
        if shared in self._encoded:
            return
        self._encoded.add(shared)
        # Those of an earlier grid may have heads of a plugin that this one does not name.
        alike = [entry.trial.config() for entry in self.study.entries().values() if entry.state in OPEN]
        heads = {Choice.of(other.head, "head").name for other in alike if settings_of_hidden_states(other) == shared}
        if any(HEADS[head].wants == "all_hidden_states" for head in heads if head in HEADS):
            ensure_features(config, "all")

    def _launched(self, config: RunConfig) -> dict[str, Any]:
        """Run a trial as a user would: run.py in processes of its own."""
        assert config.output_dir is not None
        place = Path(config.output_dir)
        self._wait_until_free(place)
        recipe = self.directory / TRIALS / f"{place.name}.yaml"
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_text(recipe, config_as_yaml(config))
        command = [sys.executable]
        if self.accelerate_config is not None:
            command += ["-m", "accelerate.commands.launch", "--config_file", self.accelerate_config]
            if self.num_workers > 1 and VISIBLE in os.environ:
                command += ["--gpu_ids", "all"]  # of this worker's share; the config's list is the same for all workers
        # The log gets whole tracebacks, so that no trial must be repeated to see one.
        command += [
            str(script("run")),
            "--recipe",
            str(recipe),
            "--output_dir",
            str(place),
            "--resume",
            "auto",
            "--traceback",
        ]
        with self._log(config) as log:
            # A session of its own: Ctrl-C in a terminal reaches all of it otherwise, and what this worker passes on
            # would be the second signal, which stops at once.
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, SUPERVISOR: str(os.getpid()), PLACE: str(self._events(config).resolve())},
            )
            if self._asked_to_stop:
                self._pass_on(self._asked_to_stop)
            with self._limited():
                status = self._process.wait()
            self._process = None
        if self._asked_to_stop:
            self._wait_until_free(place)  # a launcher that passed the signal on may be gone before its run
        result = read_finished(place)
        if status == 0 and result is not None and result["status"] == "finished":
            return result
        if self._timed_out and not self._asked_to_stop:
            raise self._timeout()
        if self._asked_to_stop or status in (128 + signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGUSR1):
            raise TrialInterruptedError
        if status < 0 or status == 128 + signal.SIGKILL:
            raise TrialDiedError
        raise TrialFailedError(_error_of(result, self._events(config)) or f"exit status {status}; see {log.name}")

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        """Interrupt a trial that takes too long: it saves a checkpoint, as after any SIGTERM."""
        self._timed_out = False
        if self._seconds is None:
            yield
            return
        timers = [threading.Timer(self._seconds, self._cut, [signal.SIGTERM])]
        if self._process is not None:  # one that hangs is killed
            timers.append(threading.Timer(self._seconds + SAVING_SECONDS, self._cut, [signal.SIGKILL]))
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()

    def _cut(self, number: int) -> None:
        self._timed_out = True
        process = self._process
        if process is None:
            os.kill(os.getpid(), number)
        elif process.poll() is None:
            self._pass_on(number)

    def _timeout(self) -> TrialFailedError:
        return TrialFailedError(
            f"it took longer than --trial_timeout {self.trial_timeout}; --retry_failed with a longer limit continues "
            "from its checkpoint"
        )

    def _wait_until_free(self, place: Path) -> None:
        """Wait for a run of a worker that was killed, which ends by itself, saving, when it finds that out."""
        while place.is_dir() and is_held(place):
            time.sleep(POLL_SECONDS)

    @contextlib.contextmanager
    def _log(self, config: RunConfig) -> Iterator[Any]:
        assert config.output_dir is not None
        path = log_of(self.directory, Path(config.output_dir).name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            yield file

    def _events(self, config: RunConfig) -> Path:
        assert config.output_dir is not None
        return events_of(self.directory, Path(config.output_dir).name)

    def _stops(self) -> bool:
        """Return whether to end: on a signal, or because what started this worker is gone."""
        supervisor = os.environ.get(SUPERVISOR)
        if supervisor is not None and not is_alive(int(supervisor)):
            self._asked_to_stop = self._asked_to_stop or signal.SIGTERM
        return bool(self._asked_to_stop)

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._timed_out:
            self._asked_to_stop = number
        if self._process is not None:
            self._pass_on(number)
        elif self._can_be_cut:  # while training, a run hears for itself, and saves first
            raise KeyboardInterrupt

    def _pass_on(self, number: int) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def log_of(directory: Path, trial_id: str) -> Path:
    """Return the file with what a trial prints.

    Args:
        directory: where the study lies.
        trial_id: the trial's.
    """
    return directory / LOGS / f"{trial_id}.txt"


def events_of(directory: Path, trial_id: str) -> Path:
    """Return the file with what a trial reports, as `research.system.events` has it.

    Args:
        directory: where the study lies.
        trial_id: the trial's.
    """
    return directory / LOGS / f"{trial_id}.jsonl"


def trains_head_only(config: RunConfig) -> bool:
    """Return whether a run trains nothing but a head on features that are cached: its settings alone tell."""
    return (
        "encoder" in config.freeze
        and config.cache_features is not False
        and not (config.timeline or config.hook or config.compile)
        and config.peft is None
    )


def settings_of_hidden_states(config: RunConfig) -> str:
    """Return what decides the hidden states of a frozen encoder, as text."""
    names = names_where(lambda declared: declared.affects(Stage.HIDDEN_STATES))
    return repr([getattr(config, name) for name in names])


def read_finished(place: Path) -> dict[str, Any] | None:
    """Return what a run's result.json holds, or None if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        return read_result(place)
    return None


def _error_of(result: dict[str, Any] | None, events: Path) -> str | None:
    """Return why a run failed: what its result says, or else the error that it reported."""
    if result is not None and "error" in result:
        return str(result["error"])
    error = last_event(events, ERROR)
    return None if error is None else error.text


@contextlib.contextmanager
def _printing_into(log: Any) -> Iterator[None]:
    """Send all that this process prints into a file; libraries print past sys.stdout, too."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor, before in zip((1, 2), kept, strict=True):
            os.dup2(before, descriptor)
            os.close(before)
