"""Searches as users run them: the real command line, pruned trials that continue, interrupts, kills and failures.

The commands of `workplace` run the search `s`, whose directory is runs/s.
"""

from __future__ import annotations

import json
import signal
from typing import Any

import psutil
import pytest
import yaml

from research.studies.storage.trials import StorageEntry
from research.system.processes import is_alive
from tests.builders.workplace import Workplace
from tests.conftest import ROOT, Launch
from tests.integration.conftest import Disk
from tests.limits import wait_until

# The second trial is worse than the first one in each evaluation, so it is pruned after the first evaluation.
SEARCH = [
    *("--search", "head_lr=1e-6..1e-1:log", "--point", "head_lr=1e-6", "--point", "head_lr=5e-2", "--metric", "loss"),
    *("--pruner", "{name: median, n_startup_trials: 1}", "--evaluate_every", "2st", "--lr", "1e-4"),
]
TWO_PROCESSES = ROOT / "accelerate_configs" / "cpu_2_processes.yaml"


def by_status(workplace: Workplace) -> dict[str, list[StorageEntry]]:
    entries: dict[str, list[StorageEntry]] = {}
    for entry in workplace.entries():
        entries.setdefault(entry.status, []).append(entry)
    return entries


def run_alone(workplace: Workplace, launch: Launch, trial_id: str, num_processes: int = 0) -> dict[str, Any]:
    """Run the settings of a trial with run.py, and return its result."""
    recipe = workplace.folder / "runs/s/trials" / trial_id / "config.yaml"
    directory = workplace.folder / "alone" / trial_id
    launch(["--recipe", recipe, "--output_dir", directory], num_processes=num_processes, cwd=workplace.folder)
    result: dict[str, Any] = json.loads((directory / "result.json").read_text())
    return result


@pytest.mark.parametrize(
    ("flags", "num_processes"),
    [(["--freeze", "encoder"], 0), ([], 0), (["--accelerate_config", TWO_PROCESSES], 2)],
    ids=["in the worker's process", "in an own process", "in two processes"],
)
def test_promoted_trial_has_the_weights_of_an_unpruned_run(
    workplace: Workplace, launch: Launch, flags: list[object], num_processes: int
) -> None:
    printed = workplace.run(*SEARCH, "--trials", "2", *flags)
    entries = by_status(workplace)
    (finished,), (pruned,) = entries["finished"], entries["pruned"]
    assert workplace.states() == ["COMPLETE", "PRUNED"]
    assert pruned.trial.settings["head_lr"] == 5e-2
    assert pruned.attributes["pruned_at"] == 33
    assert "2 configurations tried (1 finished, 1 pruned)" in printed
    result = workplace.results()[finished.trial.id]
    assert finished.value == result["metrics"]["validation"]["loss"]
    assert set(result["metrics"]) == {"validation"}
    scored = {path.stem for path in (workplace.folder / "runs/s/trials" / finished.trial.id / "predictions").iterdir()}
    assert "validation" in scored
    assert "test" not in scored

    workplace.run(*SEARCH, "--trials", "2", *flags, "--promote", pruned.trial.id)
    assert workplace.states() == ["COMPLETE", "COMPLETE"]
    promoted = workplace.results()[pruned.trial.id]
    alone = run_alone(workplace, launch, pruned.trial.id, num_processes)
    assert promoted["weights_sha256"] == alone["weights_sha256"]
    assert promoted["metrics"] == alone["metrics"]
    # The same command does not promote the trial once more.
    workplace.run(*SEARCH, "--trials", "2", *flags, "--promote", pruned.trial.id)
    assert len(workplace.entries()) == 2


def test_search_is_interrupted_continued_extended_and_confirmed(workplace: Workplace) -> None:
    (workplace.folder / "pause.txt").touch()
    search = ["--search", "head_lr=1e-4..1e-1:log", "head=linear,mean", "--sampler", "random", "--freeze", "encoder"]
    pausing = ["--plugin", "pausing.py", "--hook", "pausing"]
    command = workplace.start(*search, *pausing, "--trials", "3")
    wait_until(lambda: any(workplace.folder.glob("paused-*-0.txt")), "the pause in step 3")
    command.process.send_signal(signal.SIGINT)
    workplace.wait_until_signalled(signal.SIGINT)
    (workplace.folder / "pause.txt").unlink()
    assert command.wait() == 130
    assert workplace.states() == ["WAITING"]
    workplace.run(*search, *pausing, "--trials", "3")
    assert workplace.states() == ["COMPLETE"] * 3
    assert len(workplace.read_lines("resumes.txt")) == 1

    # Two workers extend the search; together, they start no trial too many.
    printed = workplace.run(*search, *pausing, "--trials", "5", "--workers", "2", "--confirm", "2x2")
    assert "5 configurations tried (5 finished)" in printed
    assert len(workplace.entries()) == 5
    for result in workplace.results().values():
        assert set(result["metrics"]) == {"validation"}

    confirmation = workplace.folder / "runs/s/confirm"
    spec = yaml.safe_load((confirmation / "study.yaml").read_text())
    best = sorted(workplace.entries(), key=lambda entry: (-(entry.value or 0), entry.key))[:2]
    assert [*spec["arms"]] == ["defaults", *(entry.trial.arm for entry in best)]
    assert spec["selection"]["validation"] == {entry.trial.arm: entry.value for entry in best}
    assert (spec["split"], spec["grid"], spec["baseline"]) == ("test", {"seed": [1, 2]}, "defaults")
    results = [json.loads(path.read_text()) for path in confirmation.glob("trials/*/result.json")]
    assert len(results) == 6
    for result in results:
        assert "accuracy" in result["metrics"]["test"]
    assert (confirmation / "report.html").exists()
    assert '<a href="confirm/report.html">' in (workplace.folder / "runs/s/report.html").read_text()

    # A search does not continue with other settings, nor as a grid.
    for changed in ([*search, "--epochs", "2", "--trials", "6"], ["--heads", "linear,mean"]):
        refused = workplace.run(*changed, *pausing, status=1)
        assert "--name" in refused
        assert "Traceback" not in refused


def test_two_objectives_give_the_best_trade_offs(workplace: Workplace) -> None:
    flags = ["--search", "head=linear,mlp,mean", "--sampler", "random", "--freeze", "encoder", "--trials", "6"]
    printed = workplace.run(*flags, "--minimize", "trainable_parameters")
    assert "trainable parameters" in printed
    entries = workplace.entries()
    assert {entry.status for entry in entries} == {"finished"}
    for entry in entries:
        assert entry.second_value == workplace.results()[entry.trial.id]["trainable_parameters"]
    assert "--minimize" not in printed


PAUSING_AT_THE_END = """
import os
import time
from pathlib import Path
from research import Hook, register_hook

@register_hook("pausing_at_the_end")
class PausingAtTheEnd(Hook):
    '''Pause while pause.txt exists once the study has decided to prune the trial, before the checkpoint is saved.'''

    def end_of_step(self, run):
        while run.interruption.signal and Path("pause.txt").exists():
            pid = Path(f"{os.getpid()}.pid")
            pid.write_text(str(os.getpid()))
            pid.rename(f"paused-{run.config.head_lr}.txt")
            time.sleep(0.02)
"""


@pytest.mark.parametrize("victim", ["worker", "run", "study"])
def test_kill_between_the_decision_to_prune_and_the_end_of_the_trial(
    workplace: Workplace, launch: Launch, victim: str
) -> None:
    (workplace.folder / "plugin.py").write_text(PAUSING_AT_THE_END)
    flags = [*SEARCH, "--plugin", "plugin.py", "--hook", "pausing_at_the_end"]
    workplace.run(*flags, "--trials", 1)
    (workplace.folder / "pause.txt").touch()
    # A single worker runs in the process of the study.
    flags += ["--trials", "3"]
    command = workplace.start(*flags, "--workers", 2 if victim == "worker" else 1)
    wait_until((workplace.folder / "paused-0.05.txt").exists, "the pause of a pruned trial")
    (entry,) = (entry for entry in workplace.entries() if entry.trial.settings["head_lr"] == 5e-2)
    worker = psutil.Process(entry.attributes["pid"])
    run = workplace.paused_process("paused-0.05.txt")
    for process in {"worker": [worker], "run": [run], "study": [worker, run]}[victim]:
        process.kill()
    wait_until(lambda: not is_alive(worker.pid) or victim == "run", "the end of the worker")
    (workplace.folder / "pause.txt").unlink()
    if victim == "study":
        command.wait()
        workplace.run(*flags)
    else:
        assert command.wait() == 0, command.read_output()
    entries = by_status(workplace)
    pruned = [entry for entry in entries["pruned"] if entry.trial.settings["head_lr"] == 5e-2]
    assert len(pruned) == 1
    assert sum(map(len, entries.values())) == 3
    workplace.run(*flags, "--promote", pruned[0].trial.id)
    (promoted,) = [entry for entry in by_status(workplace)["finished"] if entry.trial.id == pruned[0].trial.id]
    alone = run_alone(workplace, launch, promoted.trial.id)
    assert workplace.results()[promoted.trial.id]["weights_sha256"] == alone["weights_sha256"]


def test_full_disk_while_a_pruned_trial_saves_its_checkpoint(workplace: Workplace, launch: Launch, disk: Disk) -> None:
    trials = workplace.folder / "runs/s/trials"
    trials.parent.mkdir(parents=True)
    trials.symlink_to(disk.path)
    filling = f"""
from pathlib import Path
from research import Hook, register_hook

@register_hook("filling")
class Filling(Hook):
    '''Fill the disk once the run has been asked to end.'''

    def end_of_step(self, run):
        if run.interruption.signal and not Path("{disk.path}/filler").exists():
            with Path("{disk.path}/filler").open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
"""
    (workplace.folder / "filling.py").write_text(filling)
    flags = [*SEARCH, "--trials", "2", "--plugin", "filling.py", "--hook", "filling", "--freeze", "encoder"]
    flags += ["--cache_features", "false"]
    printed = workplace.run(*flags)
    assert "No space left" in printed
    (pruned,) = by_status(workplace)["pruned"]
    disk.clear()
    workplace.run(*flags, "--promote", pruned.trial.id)
    assert workplace.states() == ["COMPLETE", "COMPLETE"]
    alone = run_alone(workplace, launch, pruned.trial.id)
    assert workplace.results()[pruned.trial.id]["weights_sha256"] == alone["weights_sha256"]
