"""Fixtures that tests of several packages share: a tiny encoder on disk, and functions that run the real scripts."""

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

from tests.forked import MEMBERS, Forked, can_fork
from tests.limits import HANG_LIMIT

ROOT = Path(__file__).parent.parent
Launch = Callable[..., "subprocess.CompletedProcess[str]"]
hook = install_import_hook("heads", "beartype.beartype")
"""Installed here, so that the shapes in the heads' annotations are checked at run time in all tests."""


def pytest_configure() -> None:
    """Pin each worker of pytest-xdist to its own core, and reset ignored signals.

    Without pinning, two threads of one run would wait for each other. Signals that a shell or nohup ignores are reset,
    so that processes started by tests handle them as usual.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # unlike SIG_IGN, a handler is not inherited
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


WORDS = ["good", "great", "fine", "warm", "bad", "poor", "dull", "cold", "film", "plot", "the", "was", "and", "very"]


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
            polar = WORDS[:4] if row % 2 else WORDS[4:8]
            words = generator.choice([*polar, *WORDS[8:]], size=generator.integers(2, 30))
            lines.append(f"{split} {row} {' '.join(words)},{'positive' if row % 2 else 'negative'}")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of prepared data that the whole session shares."""
    return tmp_path_factory.mktemp("cache")


def run_forked(
    command: Sequence[str], cwd: Path, environment: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a forked process that has already imported the libraries; kill it at the time limit."""
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder) / "stdout", Path(folder) / "stderr"
        with stdout.open("w") as out, stderr.open("w") as err:
            process = Forked(command, cwd=cwd, environment=environment, stdout=out.fileno(), stderr=err.fileno())
        try:
            returncode = process.wait(timeout)
        finally:
            process.kill_group()
        # As in text mode of subprocess, a carriage return of a progress bar counts as a line break.
        printed = (path.read_text(encoding="utf-8") for path in (stdout, stderr))
        return subprocess.CompletedProcess(command, returncode, *printed)


def run_to_the_end(
    command: Sequence[str], cwd: Path, environment: dict[str, str], timeout: float, *, forks: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command; at the time limit, kill it and all processes that it started."""
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
    """Return a command as a user types it, with `accelerate launch`, or with plain `python` if num_processes is 0."""
    launcher: list[object] = [sys.executable]
    if num_processes:
        config = "cpu.yaml" if num_processes == 1 else f"cpu_{num_processes}_processes.yaml"
        launcher += ["-m", "accelerate.commands.launch", "--config_file", ROOT / "accelerate_configs" / config]
    return [*map(str, [*launcher, *launcher_options]), str(ROOT / "experiments" / script), *map(str, arguments)]


@pytest.fixture(scope="session")
def user_environment(cache_dir: Path) -> dict[str, str]:
    """Environment variables for commands: no network access, and the session's cache."""
    return {"MIDWAY_CACHE": str(cache_dir), "HF_HUB_OFFLINE": "1"}


class Started:
    """A command that runs in the background.

    Args:
        command: the command line.
        cwd: working directory.
        environment: the whole environment.
        output: file for its output.
    """

    def __init__(self, command: Sequence[str], cwd: Path, environment: dict[str, str], output: Path) -> None:
        self.output = output
        self.process: subprocess.Popen[bytes] | Forked
        self._members = output.with_suffix(".members")
        environment = {**environment, "STARTED": str(output), MEMBERS: str(self._members)}
        with output.open("w") as file:
            if can_fork(command):
                descriptor = file.fileno()
                self.process = Forked(command, cwd=cwd, environment=environment, stdout=descriptor, stderr=descriptor)
                return
            self.process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait_for(self, what: str, condition: Callable[[], bool], timeout: float = HANG_LIMIT) -> None:
        """Wait until a condition holds; fail if the command ends first, or at the time limit."""
        end = time.monotonic() + timeout
        while not condition():
            assert self.process.poll() is None, f"ended before {what}:\n{self.printed()}"
            assert time.monotonic() < end, f"timed out after {timeout} s, waiting for {what}:\n{self.printed()}"
            time.sleep(0.01)

    def end(self, timeout: float = HANG_LIMIT) -> int:
        """Wait until the command ends, and return the exit status."""
        return self.process.wait(timeout)

    def members(self) -> list[psutil.Process]:
        """Return all running processes of the command, including those that torchrun started in new sessions."""
        found = [process for process, _ in self.forked()]
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # the process has ended, or belongs to another user
                is_own = process.pid == self.process.pid or process.environ().get("STARTED") == str(self.output)
                if is_own and process not in found and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def forked(self) -> list[tuple[psutil.Process, list[str]]]:
        """Return the running forked processes of the command, with their command lines."""
        lines = self._members.read_text(encoding="utf-8").splitlines() if self._members.exists() else []
        found = []
        for number, command in map(json.loads, lines):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(number)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append((process, command))
        return found

    def printed(self) -> str:
        """Return the output so far."""
        return self.output.read_text(errors="replace")

    def kill(self) -> None:
        """Kill the command and all processes that it started, all at once."""
        while members := self.members():  # a process may have started another one before it was killed
            for process in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(members, timeout=10)
        self.process.wait(10)


Start = Callable[..., Started]


@pytest.fixture
def start(user_environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start experiments/run.py in the background: `start(arguments, num_processes=2)`. Options are as in `launch`."""
    started: list[Started] = []

    def begin(arguments: Sequence[object], *, environment: dict[str, str] | None = None, **options: Any) -> Started:
        output = tmp_path / f"output-{len(started)}.txt"
        command = command_line(arguments, **options)
        started.append(Started(command, tmp_path, {**os.environ, **user_environment, **(environment or {})}, output))
        return started[-1]

    yield begin
    for each in started:
        each.kill()


@pytest.fixture(scope="session")
def launch(user_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Run experiments/run.py as a user does, in an empty working directory unless `cwd` names one.

    `launch(["--head", "lstm"], num_processes=2)` goes through `accelerate launch` with the shipped config for one
    or two CPU processes; `num_processes=0` is plain `python`. `forks=False` starts a new interpreter. It is needed by
    tests that read the command lines of processes, since the system shows the server's command for forked processes.
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
        done = run_to_the_end(command, cwd or tmp_path_factory.mktemp("cwd"), environment, timeout, forks=forks)
        if check:
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return done

    return run
