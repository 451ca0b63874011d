"""Studies as users run them: the real command line, real workers, kills, interrupts and failures.

The commands of `workplace` run the study `s`, whose directory is runs/s.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from collections import Counter

import psutil
import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState

from research.studies.grid import StudySpec, expand
from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from research.system.processes import is_alive
from tests.builders.workplace import Workplace
from tests.conftest import Launch, run_command
from tests.limits import wait_until


def test_trials_with_a_frozen_encoder_share_a_process_and_give_the_results_of_single_runs(
    workplace: Workplace, launch: Launch
) -> None:
    arguments = ["--heads", "linear,lstm", "--seeds", "0,1", "--freeze", "encoder", "--epochs", "2", "--report", "true"]
    arguments += ["--keep_models", "all"]
    printed = workplace.run(*arguments)
    assert "4 trials: 0 finished, 4 to do" in printed
    assert printed.count("[4/4]") == 1
    workers = {entry.attributes["pid"] for entry in workplace.entries()}
    assert len(workers) == 1
    assert workplace.states() == ["COMPLETE"] * 4
    for entry in workplace.entries():
        folder = workplace.folder / "runs/s/trials" / entry.trial.id
        result = json.loads((folder / "result.json").read_text())
        assert result["cached_features"] is True
        assert entry.value == result["metrics"]["test"]["accuracy"]
        assert {"config.yaml", "metrics.jsonl", "model", "predictions", "report.html"} <= set(os.listdir(folder))
    single_run = workplace.folder / "single"
    trial = next(entry.trial for entry in workplace.entries() if entry.trial.arm == "lstm" and entry.trial.seed == 1)
    launch(["--recipe", workplace.folder / "runs/s/trials" / trial.id / "config.yaml", "--output_dir", single_run])
    assert (
        json.loads((single_run / "result.json").read_text())["weights_sha256"]
        == workplace.results()[trial.id]["weights_sha256"]
    )

    seconds_before = {entry.trial.id: entry.attributes["seconds"] for entry in workplace.entries()}
    # With a larger grid, only the missing trials run.
    printed = workplace.run("--heads", "linear,lstm,mean", *arguments[2:])
    assert "6 trials: 4 finished, 2 to do" in printed
    seconds_after = {entry.trial.id: entry.attributes["seconds"] for entry in workplace.entries()}
    assert seconds_before.items() <= seconds_after.items()
    assert len(seconds_after) == 6


def test_study_with_folds_tests_every_row_once_per_seed_and_corrects_the_test(workplace: Workplace) -> None:
    arguments = ["--folds", "3", "--heads", "linear,mean", "--freeze", "encoder", "--max_steps", "4"]
    printed = workplace.run(*arguments, "--seeds", "0")
    assert "the test split of the data is not used" in printed
    assert "6 trials: 0 finished, 6 to do" in printed
    assert "a verdict requires at least 5 common folds (found 3)" in printed
    # The data have 47 training rows, 19 validation rows and 23 test rows.
    assert "12 trials: 6 finished, 6 to do" in workplace.run(*arguments, "--seeds", "0,1", "--workers", "2")
    tested: dict[int, list[frozenset[int]]] = {}
    for entry in workplace.entries():
        folder = workplace.folder / "runs/s/trials" / entry.trial.id / "predictions"
        assert pq.read_table(folder / "validation.parquet").num_rows == 19
        ids = pq.read_table(folder / "test.parquet")["id"].to_pylist()
        tested.setdefault(entry.trial.seed, []).append(frozenset(ids))
    for folds in tested.values():
        assert sorted(Counter(folds).values()) == [2, 2, 2]  # both arms have the same folds
        assert sorted(itertools.chain(*set(folds))) == list(range(47))
    assert set(tested[0]) != set(tested[1])
    report = (workplace.folder / "runs/s/report.md").read_text()
    assert "2 arms, 2 seeds, 3 folds, 12 trials: 12 finished." in report
    assert "corrected resampled t test" in report
    assert re.search(r"\| mean .*\| (better|worse|no significant difference) \|", report)
    assert "by length: with folds, the trials have different rows" in report


def test_failed_trial_is_recorded_and_does_not_stop_the_study(workplace: Workplace) -> None:
    # The hook `pausing` records each started trial, and fails if the learning rate is below 1e-5.
    arguments = ["--plugin", "pausing.py", "--hook", "pausing", "--grid", "lr=1e-6,1e-3", "--seeds", "0"]
    printed = workplace.run(*arguments, status=1)
    assert re.search(r"lr=1e-06, seed 0: hook 'pausing' \(.*: ValueError: the rate is too low\n  File \"", printed)
    assert re.search(r"1 of 2 trials .*--retry_failed", printed)
    assert workplace.states() == ["COMPLETE", "FAIL"]
    workplace.run(*arguments, status=1)
    # Each line is the learning rate and the seed of a started trial.
    assert workplace.read_lines("starts.txt") == ["0.001 0", "1e-06 0"]
    workplace.run(*arguments, "--retry_failed", status=1)
    assert workplace.read_lines("starts.txt") == ["0.001 0", "1e-06 0", "1e-06 0"]


# While pause.txt exists, the hook `pausing` pauses each run in step 3 and writes paused-<learning rate>-<seed>.txt.
@pytest.mark.parametrize("victim", ["worker", "run", "study"])
def test_trial_is_resumed_after_its_run_or_its_worker_or_the_whole_study_is_killed(
    workplace: Workplace, victim: str
) -> None:
    (workplace.folder / "pause.txt").touch()
    # Checkpoints are written after every step.
    arguments = ["--plugin", "pausing.py", "--hook", "pausing", "--seeds", "0,1", "--save_every", "1st"]
    # A single worker runs in the process of the study.
    command = workplace.start(*arguments, "--workers", 2 if victim == "worker" else 1)
    wait_until(lambda: any(workplace.folder.glob("paused-*-0.txt")), "the pause in step 3")
    (entry,) = (entry for entry in workplace.entries() if entry.trial.seed == 0)
    worker = psutil.Process(entry.attributes["pid"])
    assert (worker.pid == command.process.pid) == (victim != "worker")
    run = workplace.paused_process("paused-*-0.txt")
    for process in {"worker": [worker], "run": [run], "study": [worker, run]}[victim]:
        process.kill()
    # The run must stay paused until a killed worker has ended. Otherwise, the run could finish before the worker ends.
    wait_until(lambda: not is_alive(worker.pid) or victim == "run", "the end of the worker")
    (workplace.folder / "pause.txt").unlink()
    if victim == "study":
        command.wait()
        workplace.run(*arguments)
    else:
        assert command.wait() == 0, command.read_output()
    assert [entry.state for entry in workplace.entries()] == [TrialState.COMPLETE] * 2
    assert workplace.read_lines("starts.txt") == ["0.0001 0", "0.0001 1"]  # each trial started only once
    assert len(workplace.read_lines("resumes.txt")) == 1
    assert {result["steps"] for result in workplace.results().values()} == {6}


def test_run_goes_on_if_the_process_that_started_it_is_killed(workplace: Workplace) -> None:
    (workplace.folder / "pause.txt").touch()
    command = workplace.start("--plugin", "pausing.py", "--hook", "pausing", "--seeds", "0,1")
    wait_until(lambda: any(workplace.folder.glob("paused-*-0.txt")), "the pause in step 3")
    fork_server = workplace.paused_process("paused-*-0.txt").parent()
    assert fork_server is not None
    fork_server.kill()
    (workplace.folder / "pause.txt").unlink()
    assert command.wait() == 0, command.read_output()
    assert [entry.state for entry in workplace.entries()] == [TrialState.COMPLETE] * 2
    assert workplace.read_lines("starts.txt") == ["0.0001 0", "0.0001 1"]
    assert workplace.read_lines("resumes.txt") == []


def test_interrupted_study_can_be_resumed(workplace: Workplace) -> None:
    (workplace.folder / "pause.txt").touch()
    arguments = ["--plugin", "pausing.py", "--hook", "pausing", "--seeds", "0,1"]
    command = workplace.start(*arguments)
    wait_until(lambda: any(workplace.folder.glob("paused-*-0.txt")), "the pause in step 3")
    command.process.send_signal(signal.SIGINT)
    workplace.wait_until_signalled(signal.SIGINT)
    (workplace.folder / "pause.txt").unlink()
    assert command.wait() == 130
    assert workplace.states() == ["WAITING", "WAITING"]
    workplace.run(*arguments)
    assert workplace.read_lines("starts.txt") == ["0.0001 0", "0.0001 1"]
    assert workplace.read_lines("resumes.txt") == ["0.0001 0 3"]  # learning rate, seed and step


def test_dry_run_shows_the_plan_without_training(workplace: Workplace) -> None:
    printed = workplace.run("--heads", "linear,lstm", "--seeds", "0,1", "--dry_run")
    assert "4 trials of 2 arms, 4 to do" in printed
    assert re.search(r"\babout \d", printed)
    assert not (workplace.folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--heads", "linear,ltsm"], "error: ltsm: .*'ltsm'.*'lstm'"),
        (["--haeds", "linear"], "error: .*'--haeds'.*'--heads'"),
        (["--storage", "postgresql+psycopg://nobody:secret@127.0.0.1:1/none"], r"nobody@127\.0\.0\.1:1/none\b"),
    ],
)
def test_invalid_study_is_refused_without_a_traceback_or_password(
    workplace: Workplace, arguments: list[str], message: str
) -> None:
    done = run_command(workplace.command(*arguments), workplace.folder, workplace.environment, 120)
    assert done.returncode in (1, 2)
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


# A trial with a frozen encoder runs in the worker's process.
@pytest.mark.parametrize("freeze_flags", [["--freeze", "encoder"], []], ids=["in the worker", "in its own process"])
def test_trial_that_exceeds_the_timeout_fails(workplace: Workplace, freeze_flags: list[str]) -> None:
    workplace.run(*freeze_flags, "--seeds", "0", "--max_steps", "1000000", "--trial_timeout", "2s", status=1)
    (entry,) = workplace.entries()
    assert entry.state == TrialState.FAIL
    assert "--trial_timeout 2s" in entry.attributes["error"]


def test_drop_waiting_removes_the_waiting_trials_of_an_earlier_grid(workplace: Workplace) -> None:
    flags = ["--freeze", "encoder", "--seeds", "0", "--max_steps", "1"]
    (workplace.folder / "runs/s").mkdir(parents=True)
    with Study("s", local_address((workplace.folder / "runs/s").resolve())) as study:
        study.add(expand(StudySpec(name="s", grid={"seed": [7, 8]})))
    printed = workplace.run(*flags, "--dry_run")
    assert re.search(r"\b2 waiting trials of an earlier grid .*--drop_waiting", printed)
    printed = workplace.run(*flags, "--drop_waiting")
    assert re.search(r"1 trial: 0 finished, 1 to do, 2 waiting trials .*removed", printed)
    assert [entry.trial.seed for entry in workplace.entries()] == [0]


def test_workers_split_the_gpus_of_the_launch_configuration(workplace: Workplace) -> None:
    """The trials run on the CPU, since this machine may not have these GPUs."""
    workplace.environment |= {"CUDA_VISIBLE_DEVICES": "0,1,2", "ACCELERATE_USE_CPU": "true"}
    (workplace.folder / "launcher.yaml").write_text(
        "{compute_environment: LOCAL_MACHINE, distributed_type: 'NO', gpu_ids: '4,MIG-a', num_processes: 1}"
    )
    plugin = workplace.folder / "pausing.py"
    record_devices = "import os; Path(f'seen-{run.config.seed}.txt').write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    method = "def on_train_start(self, run):\n"
    plugin.write_text(plugin.read_text().replace(method, f"{method}        {record_devices}\n"))
    (workplace.folder / "pause.txt").touch()
    command = workplace.start(
        *("--plugin", "pausing.py", "--hook", "pausing", "--seeds", "0,1", "--workers", "2"),
        *("--accelerate_config", "launcher.yaml"),
    )
    wait_until(
        lambda: len(list(workplace.folder.glob("paused-*.txt"))) == 2 or command.process.poll() is not None,
        "both trials to pause",
    )
    (workplace.folder / "pause.txt").unlink()
    assert command.wait() == 0, command.read_output()
    assert sorted(entry.attributes["devices"] for entry in workplace.entries()) == ["4", "MIG-a"]
    assert sorted(path.read_text() for path in workplace.folder.glob("seen-*.txt")) == ["4", "MIG-a"]
