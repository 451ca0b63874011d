"""Studies on the command line keep the best model of each arm, or what --keep_models says."""

from __future__ import annotations

import json

from tests.builders.workplace import Workplace
from tests.conftest import Launch


def models_by_arm(workplace: Workplace) -> dict[str, list[str]]:
    """Return the trials of each arm that have a model."""
    kept: dict[str, list[str]] = {}
    for entry in workplace.entries():
        folder = workplace.folder / "runs/s/trials" / entry.trial.id
        assert (folder / "model").exists() != (folder / "model-removed.txt").exists()
        assert {"result.json", "predictions", "checkpoints"} <= {path.name for path in folder.iterdir()}
        kept.setdefault(entry.trial.arm, [])
        if (folder / "model").exists():
            kept[entry.trial.arm].append(entry.trial.id)
    return kept


def best_by_arm(workplace: Workplace) -> dict[str, list[str]]:
    """Return the trial of each arm with the lowest validation loss."""
    losses = {
        entry.trial.id: json.loads((workplace.folder / "runs/s/trials" / entry.trial.id / "result.json").read_text())[
            "metrics"
        ]["validation"]["loss"]
        for entry in workplace.entries()
    }
    best: dict[str, list[str]] = {}
    for entry in sorted(workplace.entries(), key=lambda entry: losses[entry.trial.id]):
        best.setdefault(entry.trial.arm, [entry.trial.id])
    return best


def test_study_keeps_the_best_model_of_each_arm(workplace: Workplace, launch: Launch) -> None:
    arguments = ["--heads", "linear,mean", "--freeze", "encoder", "--save_every", "3st", "--metric", "loss"]
    arguments += ["--best_metric", "loss", "--epochs", "1"]
    printed = workplace.run(*arguments, "--seeds", "0,1")
    assert "models were removed: 2 (" in printed
    assert models_by_arm(workplace) == best_by_arm(workplace)
    printed = workplace.run(*arguments, "--seeds", "0-3", "--workers", "2")
    assert "models were removed: 6 (" in printed
    report = (workplace.folder / "runs/s/report.html").read_text()
    assert "removed the models of 6 trials" in report
    assert "report.py runs/s/trials/TRIAL" in report
    kept = models_by_arm(workplace)
    assert kept == best_by_arm(workplace)
    removed = next(entry.trial.id for entry in workplace.entries() if [entry.trial.id] not in kept.values())
    folder = workplace.folder / "runs/s/trials" / removed
    for script, flags in (
        ("predict.py", ["--data", workplace.folder / "pausing.py", "--output", workplace.folder / "p.csv"]),
        ("export.py", ["--format", "hub", "--output", workplace.folder / "exported"]),
        ("calibrate.py", ["--temperature", "true"]),
    ):
        completed = launch([folder, *flags], script=script, check=False)
        assert completed.returncode == 1
        (line,) = completed.stderr.splitlines()
        assert "--keep_models all" in line

    # What was kept on request is not removed by a later invocation without the flag.
    assert "models were removed: 6 (" in workplace.run(*arguments, "--seeds", "0-4", "--keep_models", "all")
    workplace.run(*arguments, "--seeds", "0-5")
    assert {arm: len(trials) for arm, trials in models_by_arm(workplace).items()} == {"linear": 3, "mean": 3}
    workplace.run(*arguments, "--seeds", "0-5", "--keep_models", "none")
    assert models_by_arm(workplace) == {"linear": [], "mean": []}
