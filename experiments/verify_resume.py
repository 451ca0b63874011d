"""Check that a resumed run gives bit-identical results: python experiments/verify_resume.py --head lstm.

The script accepts the settings of run.py, including plugins. It makes the same run twice: once without interruption,
and once with cuts. At a cut, the run is killed in the middle of a randomly drawn step, and then resumed. After every
step, both runs record hashes of every weight, optimizer state, random number generator and hook. For each cut, the
script prints the first hash that differs; at the end, it prints any differences in result.json, metrics.jsonl,
journal.jsonl and the predictions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from research.runner.first_checks.check import check_first
from research.runner.listing import print_help
from research.settings.arguments import Flag
from research.settings.command_line import Command, build_command, build_help_request, separate_flags
from research.settings.declarations import Effect, setting
from research.settings.flags import names_where
from research.settings.program import HelpRequest, Program
from research.settings.script_settings import parse_group, split_flags
from research.system.errors import run_script
from research.system.loading import loading_libraries
from research.system.paths import expand_path

if TYPE_CHECKING:
    from research.training.api import Run

POINTS = ("on_batch", "after_backward", "before_step", "after_step", "end_of_step")
"""Points of a step at which the run may be killed."""
WATCHED = "watched"
"""First argument of this script when it starts itself as a watched run: one of the two runs that it compares."""
REJECTED_SETTINGS = {*names_where(lambda declared: declared.effect is Effect.INVOCATION)} - {"traceback"}
"""Settings of run.py that this script does not accept: it sets them for its runs itself, or does not use them."""


@dataclass(frozen=True)
class Cut:
    """The step, and the point in it, at which a run is killed."""

    step: int
    """Number of the step, from 1."""
    point: str
    """Point of the step at which the run is killed."""

    def __str__(self) -> str:
        return f"step {self.step}, {self.point}"


@dataclass(frozen=True, kw_only=True)
class VerifySettings:
    """Cuts"""  # the heading of the group in --help

    cuts: int = setting(3, effect=Effect.INVOCATION, at_least=0, unit="cuts")
    """Number of times that the run is killed and resumed."""
    cut_seed: int = setting(0, effect=Effect.INVOCATION, at_least=0, unit="seed")
    """Seed for drawing the steps in which the run is killed."""
    folder: str = setting("runs/verify_resume", effect=Effect.INVOCATION)
    """Folder for both runs; must not exist yet."""
    accelerate_config: str | None = setting(None, effect=Effect.INVOCATION)
    """Start the runs through `accelerate launch` with this config file."""


@dataclass(frozen=True, kw_only=True)
class WatchedRunSettings:
    """A run that records hashes"""

    watch: str = setting("", effect=Effect.INVOCATION)
    """Folder for the hashes."""
    cut: str | None = setting(None, effect=Effect.INVOCATION)
    """When to kill the run, as step:point."""


USAGE = "python experiments/verify_resume.py [--recipe FILE.yaml] [--setting value ...] [--cuts 3] [--cut_seed 0]"
VERIFY = Program("verify_resume.py", USAGE, __doc__, extra_groups=(VerifySettings,))
WATCHED_RUN = Program(
    "verify_resume.py watched", USAGE, "A run that records hashes.", extra_groups=(WatchedRunSettings,)
)


@dataclass
class VerifyCommand:
    """The parsed command line of this script."""

    settings: VerifySettings
    """Settings of this script itself."""
    run_flags: list[str]
    """Settings of run.py, as command-line flags."""
    run: Command
    """The settings in `run_flags`, parsed."""

    @property
    def traceback(self) -> bool:
        """Whether errors are printed with their tracebacks; see `research.system.errors.run_script`."""
        return self.run.traceback


@dataclass
class WatchedRunCommand:
    """The parsed command line of a watched run."""

    settings: WatchedRunSettings
    """Folder for the hashes, and the cut."""
    run: Command
    """Settings of the run."""
    traceback: bool = True
    """Always true: tracebacks go into the file with the run's output."""


def parse_verify(arguments: Sequence[str]) -> VerifyCommand | HelpRequest:
    """Parse the command line of this script.

    Raises:
        ValueError: for an unknown setting or an invalid value.
    """
    given, flags = split_flags(VerifySettings, VERIFY.read_flags(arguments))
    for flag in flags:
        if flag.name in REJECTED_SETTINGS:
            raise ValueError(f"verify_resume.py does not accept --{flag.name}: it makes its own runs in --folder.")
    separated = separate_flags(flags)
    if separated.wants_help:
        return build_help_request(VERIFY, separated)
    settings = parse_group(VerifySettings, given)
    if expand_path(settings.folder).exists():
        raise ValueError(f"{settings.folder} exists; delete it, or choose another --folder.")
    if settings.accelerate_config is not None and not expand_path(settings.accelerate_config).is_file():
        raise ValueError(f"--accelerate_config: the file {settings.accelerate_config} does not exist.")
    run = build_command(separated)
    if run.config.save_every is None and all(flag.name != "save_every" for flag in flags):
        flags.append(Flag("save_every", None, "20%"))  # so that there are checkpoints to resume from
    return VerifyCommand(settings, list(map(str, flags)), run)


def parse_watched(arguments: Sequence[str]) -> WatchedRunCommand:
    """Parse the command line of a watched run."""
    given, flags = split_flags(WatchedRunSettings, WATCHED_RUN.read_flags(arguments))
    return WatchedRunCommand(parse_group(WatchedRunSettings, given), build_command(separate_flags(flags)))


def execute(command: VerifyCommand | HelpRequest) -> int:
    """Make the runs, compare them, and return the exit status; or print the help that was requested."""
    if isinstance(command, HelpRequest):
        return print_help(command)
    check_first(command.run.config)
    return verify(command.run_flags, command.settings)


def verify(run_flags: Sequence[str], settings: VerifySettings) -> int:
    """Make an uninterrupted run and a run with cuts, and print their differences; return 0 if there are none."""
    from rich.table import Table

    from research.system.terminal import Terminal

    uninterrupted_run, cut_run = Path(settings.folder, "whole"), Path(settings.folder, "cut")
    print("uninterrupted run ...", flush=True)
    if run_in_new_process(uninterrupted_run, run_flags, settings.accelerate_config) != 0:
        print(uninterrupted_run.with_suffix(".txt").read_text(), file=sys.stderr)
        return 1
    num_steps = json.loads((uninterrupted_run / "result.json").read_text())["steps"]
    cuts = draw_cuts(num_steps, settings.cuts, settings.cut_seed)
    table = Table(
        "killed at", "started from", "first difference", title=f"{len(cuts)} cuts (--cut_seed {settings.cut_seed})"
    )
    identical = True
    for number in range(len(cuts) + 1):
        next_cut = cuts[number] if number < len(cuts) else None
        print(f"running until {next_cut} ..." if next_cut else "running until the end ...", flush=True)
        flags = [*run_flags, "--resume=auto"]
        status = run_in_new_process(cut_run, flags, settings.accelerate_config, next_cut)
        if (status == 0) != (next_cut is None):  # a run with a cut is killed, so it fails; the last run has no cut
            print(cut_run.with_suffix(".txt").read_text(), file=sys.stderr)
            return 1
        difference = next(compare_hashes(uninterrupted_run, cut_run), None)
        identical = identical and difference is None
        table.add_row(str(next_cut or "the end"), describe_start(cut_run), difference or "none")
    Terminal().print(table)
    final_differences = [*compare_files(uninterrupted_run, cut_run)]
    print(
        f"At the end: {'; '.join(final_differences) or 'same weights, metrics.jsonl, journal.jsonl and predictions'}."
    )
    return 0 if identical and not final_differences else 1


def draw_cuts(num_steps: int, num_cuts: int, seed: int) -> list[Cut]:
    """Draw the cuts of a run at random, and return them in the order of their steps.

    Args:
        num_steps: number of steps of the run.
        num_cuts: number of cuts; no two are in the same step.
        seed: seed for drawing steps and points.
    """
    generator = np.random.default_rng(seed)
    steps = sorted(generator.choice(num_steps, size=min(num_cuts, num_steps), replace=False).tolist())
    return [Cut(step + 1, str(generator.choice(POINTS))) for step in steps]


def run_in_new_process(
    folder: Path, flags: Sequence[str], accelerate_config: str | None, cut: Cut | None = None
) -> int:
    """Start this script as a watched run, wait until the run ends, and return its exit status.

    The output of the run goes into a text file next to the run directory.
    """
    launcher = [sys.executable]
    if accelerate_config is not None:
        launcher += ["-m", "accelerate.commands.launch", "--config_file", accelerate_config]
    watch_flags = [f"--watch={folder.with_suffix('.hashes')}", f"--output_dir={folder}"]
    cut_flag = [f"--cut={cut.step}:{cut.point}"] if cut else []
    command = [*launcher, str(Path(__file__).resolve()), WATCHED, "--report=false", *flags, *watch_flags, *cut_flag]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".txt").open("w", encoding="utf-8") as output:
        return subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode


def run_watched(command: WatchedRunCommand) -> int:
    """Run as run.py does, record hashes of the complete state after each step, and kill this process at the cut."""
    folder, cut = Path(command.settings.watch), command.settings.cut
    with loading_libraries():
        from research.runner.experiment import execute_run
        from research.training.digests import hash_run_state
        from research.training.hook import Hook
        from research.training.run import TrainingRun

    class HashRecorder(Hook):
        """Record the checkpoint that the run starts from, and hashes after every step."""

        def on_train_start(self, run: Run) -> None:
            self._write(run, "begun", {"resumed_from": None})

        def on_resume(self, run: Run) -> None:
            assert run.start is not None
            self._write(run, "begun", {"resumed_from": run.start.checkpoint.name})

        def end_of_step(self, run: Run) -> None:
            assert isinstance(run, TrainingRun)
            self._write(run, "process", {"step": run.clock.step, "hashes": hash_run_state(run)})

        def _write(self, run: Run, kind: str, line: dict[str, Any]) -> None:
            folder.mkdir(exist_ok=True, parents=True)
            with (folder / f"{kind}-{run.accelerator.process_index}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    if cut is not None:
        step, _, point = cut.partition(":")
        original = getattr(HashRecorder, point)

        def kill_at_cut(self: HashRecorder, run: Run, *arguments: Any) -> Any:
            # At the last two points, the clock has already counted the step.
            if run.clock.step + (point not in ("after_step", "end_of_step")) == int(step):
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, run, *arguments)

        setattr(HashRecorder, point, kill_at_cut)

    execute_run(command.run.config, hooks=[HashRecorder()])
    return 0


def describe_start(run: Path) -> str:
    """Return the name of the checkpoint from which a run was last started, or "the beginning"."""
    lines = _read_lines(run.with_suffix(".hashes") / "begun-0.jsonl")
    return lines[-1]["resumed_from"] or "the beginning"


def compare_hashes(uninterrupted_run: Path, cut_run: Path) -> Iterator[str]:
    """Yield the differences between the hashes of both runs, for every step that the run with cuts recorded."""
    for path in sorted(cut_run.with_suffix(".hashes").glob("process-*.jsonl")):
        expected_path = uninterrupted_run.with_suffix(".hashes") / path.name
        expected = {line["step"]: line["hashes"] for line in _read_lines(expected_path)}
        for line in _read_lines(path):
            hashes, expected_hashes = line["hashes"], expected[line["step"]]
            for name in dict.fromkeys([*expected_hashes, *hashes]):
                if expected_hashes.get(name) != hashes.get(name):
                    yield f"after step {line['step']}, {path.stem}: {name}"


def compare_files(uninterrupted_run: Path, cut_run: Path) -> Iterator[str]:
    """Yield the differences between the results, logs and predictions of the two runs."""
    import pyarrow.parquet as pq

    results = [json.loads((run / "result.json").read_text()) for run in (uninterrupted_run, cut_run)]
    for name in ("weights_sha256", "metrics", "steps"):
        if results[0][name] != results[1][name]:
            yield f"{name} of result.json differs"
    for name in ("metrics.jsonl", "journal.jsonl"):
        lines = [
            [
                {key: value for key, value in line.items() if key != "examples_per_second"}
                for line in _read_lines(run / name)
            ]
            for run in (uninterrupted_run, cut_run)
        ]
        if lines[0] != lines[1]:
            yield f"{name} differs"
    for path in sorted((uninterrupted_run / "predictions").iterdir()):
        if not pq.read_table(path).equals(pq.read_table(cut_run / "predictions" / path.name)):
            yield f"predictions/{path.name} differs"


def _read_lines(path: Path) -> list[dict[str, Any]]:
    # A killed process may have left an incomplete last line.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]


if __name__ == "__main__":
    if sys.argv[1:2] == [WATCHED]:
        sys.exit(run_script(sys.argv[2:], parse_watched, run_watched))
    sys.exit(run_script(sys.argv[1:], parse_verify, execute))
