"""Searches as users run them: the real command line, pruned trials that continue, interrupts, kills and failures.

The commands of `workplace` run the search `s`, whose directory is runs/s.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from research.studies.storage.trials import StorageEntry
from tests.builders.workplace import Workplace
from tests.conftest import ROOT, Launch

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
