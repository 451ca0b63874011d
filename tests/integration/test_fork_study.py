"""Studies whose arms fork a common past: the past is trained once for each seed, and each arm continues it exactly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.builders.workplace import Workplace
from tests.conftest import Launch

STUDY = {
    "name": "s",
    "base": {"head": "mean", "limit_train": 32, "max_steps": 4, "log_every": 1},
    "fork_at": "50%",
    "arms": {
        "unchanged": {},
        "shallow": {"timeline": [{"at": "50%", "drop_layers": "encoder.layer[-1]"}]},
        "slow": {"timeline": [{"at": "3st", "scale_lr": 0.5}]},
    },
    "grid": {"seed": [0, 1]},
}


@pytest.fixture
def study_file(workplace: Workplace) -> Path:
    path = workplace.folder / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return path


@pytest.mark.parametrize("flags", [[], ["--freeze", "encoder"]], ids=["own processes", "worker process"])
def test_arms_continue_one_past_of_each_seed(
    workplace: Workplace, launch: Launch, study_file: Path, flags: list[str]
) -> None:
    flags = [*flags, "--workers", "2"]
    printed = workplace.run("--study", study_file, *flags)
    assert "8 trials" in printed
    entries = {(entry.trial.arm, entry.trial.seed): entry for entry in workplace.entries()}
    assert len(entries) == 8
    results = workplace.results()
    hashes: dict[tuple[str, int], str] = {}
    for (arm, seed), entry in entries.items():
        result = results[entry.trial.id]
        if arm == "common past":
            assert (result["status"], result["steps"]) == ("paused", 2)
            continue
        past = entries["common past", seed]
        assert (result["parent"]["run"].endswith(past.trial.id), result["parent"]["step"]) == (True, 2)
        hashes[arm, seed] = result["weights_sha256"]
    assert len(set(hashes.values())) == 6
    # The unchanged arm has the bits of a run that was never paused.
    recipe = yaml.safe_load(
        (workplace.folder / "runs/s/trials" / entries["unchanged", 1].trial.id / "config.yaml").read_text()
    )
    recipe["fork"] = None
    (workplace.folder / "whole.yaml").write_text(yaml.safe_dump(recipe))
    whole = workplace.folder / "whole"
    launch(["--recipe", workplace.folder / "whole.yaml", "--output_dir", whole])
    assert json.loads((whole / "result.json").read_text())["weights_sha256"] == hashes["unchanged", 1]
    # A new arm needs no new past.
    study_file.write_text(yaml.safe_dump({**STUDY, "arms": {**STUDY["arms"], "swapped": _SWAPPED}}))  # type: ignore[dict-item]
    assert "10 trials: 8 finished, 2 to do" in workplace.run("--study", study_file, *flags)


_SWAPPED = {"timeline": [{"at": "50%", "replace_head": "linear"}]}


def test_failed_past_fails_its_arms(workplace: Workplace, study_file: Path) -> None:
    # The hook `pausing` fails if the learning rate is below 1e-5.
    printed = workplace.run(
        "--study", study_file, "--plugin", "pausing.py", "--hook", "pausing", "--lr", "1e-6", status=1
    )
    failed = [entry for entry in workplace.entries() if entry.status == "failed"]
    assert len(failed) == 8
    assert printed.count("past-mean-seed0") >= 3
    assert "the rate is too low" in next(entry.attributes["error"] for entry in failed if entry.trial.arm == "slow")


@pytest.mark.parametrize(
    ("changes", "expected", "status"),
    [
        ({"fork_at": "half"}, "half", 2),
        ({"fork_at": "100%"}, "100%", 1),
        ({"arms": {"other seed": {"seed": 3}}}, "seed", 2),
        ({"arms": {"other batches": {"batch_size": 4}}}, "batch_size", 1),
        ({"arms": {"early": {"timeline": [{"at": "1st", "freeze": "encoder"}]}}}, "timeline entry 1", 1),
    ],
)
def test_impossible_forks_are_refused_before_a_trial_runs(
    workplace: Workplace, study_file: Path, changes: dict[str, object], expected: str, status: int
) -> None:
    study_file.write_text(yaml.safe_dump({**STUDY, **changes}))
    assert expected in workplace.run("--study", study_file, "--dry_run", status=status)
    assert not (workplace.folder / "runs").exists()
