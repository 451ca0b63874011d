"""Fixtures for tests of several packages: a tiny encoder, tiny data, and functions that run the real scripts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from jaxtyping import install_import_hook

from research.system.sharding_versions import check_torch_version
from tests.forked import PROCESSES_VARIABLE, ForkedProcess, can_fork
from tests.limits import HANG_LIMIT

ROOT = Path(__file__).parent.parent
Launch = Callable[..., "subprocess.CompletedProcess[str]"]
shape_checks = install_import_hook("heads", "beartype.beartype")
"""Makes all tests check the shapes in the annotations of heads/ at run time."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of --shard with versions of PyTorch that it refuses."""
    reason = why_not_sharded()
    if reason is not None and item.get_closest_marker("sharding") is not None:
        pytest.skip(reason)


def why_not_sharded() -> str | None:
    """Return why --shard cannot be tested with this version of PyTorch; None if it can."""
    try:
        check_torch_version()
    except ValueError as error:
        return str(error)
    return None


def pytest_configure() -> None:
    """Pin each worker of pytest-xdist to its own core, and reset ignored signals.

    Without pinning, threads of one run would wait for each other. A shell or nohup may have set signals to be ignored,
    and processes started by tests would inherit that.
    """
    for signal_number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signal_number) == signal.SIG_IGN:
            signal.signal(signal_number, lambda *_: None)  # unlike SIG_IGN, a handler is not inherited
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


WORDS = ["good", "great", "fine", "warm", "bad", "poor", "dull", "cold", "film", "plot", "the", "was", "and", "very"]
"""Vocabulary of the tiny encoder: four positive words, four negative words, and six neutral words."""


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved BERT with two layers, hidden size 32, random weights and a small vocabulary."""
    folder = tmp_path_factory.mktemp("encoders") / "tiny"
    write_tiny_encoder(folder)
    return folder


def write_tiny_encoder(folder: Path, num_layers: int = 2) -> None:
    """Save a BERT with a few layers, hidden size 32, random weights and a small vocabulary into a new folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir()
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(vocab=str(vocabulary), model_max_length=64)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=num_layers,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with csv files for training, validation and test: short reviews of different lengths."""
    import numpy as np

    folder = tmp_path_factory.mktemp("data") / "reviews"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, num_rows in (("train", 47), ("validation", 19), ("test", 23)):
        lines = ["text,label"]
        for row in range(num_rows):
            sentiment_words = WORDS[:4] if row % 2 else WORDS[4:8]
            words = generator.choice([*sentiment_words, *WORDS[8:]], size=generator.integers(2, 30))
            lines.append(f"{split} {row} {' '.join(words)},{'positive' if row % 2 else 'negative'}")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the cache of prepared data, shared by all tests of the session."""
    return tmp_path_factory.mktemp("cache")


def run_forked(
    command: Sequence[str], cwd: Path, environment: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a forked process that has already imported the libraries; kill it at the time limit."""
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder) / "stdout", Path(folder) / "stderr"
        with stdout.open("w") as out, stderr.open("w") as err:
            process = ForkedProcess(command, cwd=cwd, environment=environment, stdout=out.fileno(), stderr=err.fileno())
        try:
            returncode = process.wait(timeout)
        finally:
            process.kill_group()
        # Reading text turns the carriage returns of progress bars into line breaks, as subprocess with text=True does.
        outputs = (path.read_text(encoding="utf-8") for path in (stdout, stderr))
        return subprocess.CompletedProcess(command, returncode, *outputs)


def run_command(
    command: Sequence[str], cwd: Path, environment: dict[str, str], timeout: float, *, forks: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command until it ends, and kill it at the time limit with all processes that it started.

    The command runs in a forked process if `forks` is true and the command can be forked.
    """
    if forks and can_fork(command):
        return run_forked(command, cwd, environment, timeout)
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # killing only a launcher would leave its processes behind
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def command_line(
    arguments: Sequence[object], *, num_processes: int = 0, script: str = "run.py", launcher_options: Sequence[str] = ()
) -> list[str]:
    """Return a command as a user would type it: with `accelerate launch`, or with `python` if num_processes is 0."""
    launcher: list[object] = [sys.executable]
    if num_processes:
        config = "cpu.yaml" if num_processes == 1 else "cpu_2_processes.yaml"
        launcher += ["-m", "accelerate.commands.launch", "--config_file", ROOT / "accelerate_configs" / config]
        launcher += ["--num_processes", num_processes]
    return [*map(str, [*launcher, *launcher_options]), str(ROOT / "experiments" / script), *map(str, arguments)]


@pytest.fixture(scope="session")
def user_environment(cache_dir: Path) -> dict[str, str]:
    """Environment variables for commands: no access to the Hugging Face Hub, and the session's cache."""
    return {"MIDWAY_CACHE": str(cache_dir), "HF_HUB_OFFLINE": "1"}


class BackgroundCommand:
    """A command that runs in the background.

    Args:
        command: the command line.
        cwd: working directory.
        environment: all environment variables.
        output: file for stdout and stderr.
    """

    def __init__(self, command: Sequence[str], cwd: Path, environment: dict[str, str], output: Path) -> None:
        self.output = output
        self.process: subprocess.Popen[bytes] | ForkedProcess
        self._processes_file = output.with_suffix(".processes")
        # STARTED marks all processes that the command starts, so that `running_processes` recognises them.
        environment = {**environment, "STARTED": str(output), PROCESSES_VARIABLE: str(self._processes_file)}
        with output.open("w") as file:
            if can_fork(command):
                descriptor = file.fileno()
                self.process = ForkedProcess(
                    command, cwd=cwd, environment=environment, stdout=descriptor, stderr=descriptor
                )
                return
            self.process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait_for(self, description: str, condition: Callable[[], bool], timeout: float = HANG_LIMIT) -> None:
        """Wait until a condition is true; fail if the command ends first, or at the time limit.

        Args:
            description: what the condition means, for the error message.
            condition: called repeatedly.
            timeout: time limit in seconds.
        """
        end = time.monotonic() + timeout
        while not condition():
            assert self.process.poll() is None, f"ended before {description}:\n{self.read_output()}"
            assert time.monotonic() < end, (
                f"timed out after {timeout} s, waiting for {description}:\n{self.read_output()}"
            )
            time.sleep(0.01)

    def wait(self, timeout: float = HANG_LIMIT) -> int:
        """Wait until the command ends, and return the exit status."""
        return self.process.wait(timeout)

    def running_processes(self) -> list[psutil.Process]:
        """Return all running processes of the command, including those that torchrun started in new sessions."""
        running = [process for process, _ in self.forked_processes()]
        started = str(self.output)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # the process has ended, or belongs to another user
                belongs_to_command = process.pid == self.process.pid or process.environ().get("STARTED") == started
                if belongs_to_command and process not in running and process.status() != psutil.STATUS_ZOMBIE:
                    running.append(process)
        return running

    def forked_processes(self) -> list[tuple[psutil.Process, list[str]]]:
        """Return the running forked processes of the command, each with its arguments (without the interpreter)."""
        exists = self._processes_file.exists()
        lines = self._processes_file.read_text(encoding="utf-8").splitlines() if exists else []
        running = []
        for process_id, arguments in map(json.loads, lines):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(process_id)
                if process.status() != psutil.STATUS_ZOMBIE:
                    running.append((process, arguments))
        return running

    def read_output(self) -> str:
        """Return the output so far."""
        return self.output.read_text(errors="replace")

    def kill(self) -> None:
        """Kill the command and all processes that it started."""
        while running := self.running_processes():  # a process may have started another one before it was killed
            for process in running:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(running, timeout=10)
        self.process.wait(10)


Start = Callable[..., BackgroundCommand]


@pytest.fixture
def start(user_environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts experiments/run.py in the background: `start(arguments, num_processes=2)`.

    Its options are those of `command_line`. Commands that still run after the test are killed.
    """
    started: list[BackgroundCommand] = []

    def start_run(
        arguments: Sequence[object], *, environment: dict[str, str] | None = None, **options: Any
    ) -> BackgroundCommand:
        output = tmp_path / f"output-{len(started)}.txt"
        command = command_line(arguments, **options)
        started.append(
            BackgroundCommand(command, tmp_path, {**os.environ, **user_environment, **(environment or {})}, output)
        )
        return started[-1]

    yield start_run
    for command in started:
        command.kill()


@pytest.fixture(scope="session")
def launch(user_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Return a function that runs experiments/run.py as a user does, by default in an empty working directory.

    `launch(["--head", "lstm"], num_processes=2)` goes through `accelerate launch` with the shipped config for one
    or two CPU processes; `num_processes=0` is plain `python`. `forks=False` starts a new interpreter. Tests that read
    the command lines of processes need `forks=False`: for a forked process, the system shows the fork server's command.
    """

    def run(
        arguments: Sequence[object],
        *,
        num_processes: int = 0,
        check: bool = True,
        cwd: Path | None = None,
        script: str = "run.py",
        timeout: float = HANG_LIMIT,
        launcher_options: Sequence[str] = (),
        forks: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        command = command_line(arguments, num_processes=num_processes, script=script, launcher_options=launcher_options)
        environment = {**os.environ, **user_environment}
        if Path(script).is_absolute():  # a script under tests/ imports from tests
            environment["PYTHONPATH"] = str(ROOT)
        completed = run_command(command, cwd or tmp_path_factory.mktemp("cwd"), environment, timeout, forks=forks)
        if check:
            assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-6000:]
        return completed

    return run
