"""A study keeps the models of its best trials, and removes nothing but models of its own finished trials."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from research.model.saved_models import find_saved_model, find_trained_model
from research.studies.grid import StudySpec, Trial
from research.studies.kept_models import remove_unkept_files
from research.studies.storage.trials import PAUSED, StorageEntry
from research.system.lock import DirectoryLock
from tests.messages import collect_messages


class MadeUpStudy:
    """A study whose trials are folders with the names of a run's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[StorageEntry] = []

    def add(
        self,
        arm: str,
        seed: int,
        *,
        state: TrialState = TrialState.COMPLETE,
        settings: dict[str, Any] | None = None,
        **validation: float | None,
    ) -> Path:
        trial = Trial(f"{arm}-{seed}", arm, seed, {}, {"head": arm, "seed": seed, **(settings or {})})
        directory = self.folder / trial.id
        for name in ("model", "best", "checkpoints", "predictions"):
            (directory / name).mkdir(parents=True)
            (directory / name / "file").touch()
        status = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "interrupted"}[state]
        (directory / "result.json").write_text(json.dumps({"status": status}))
        attributes = {"directory": str(directory.resolve()), "metrics": {"validation": validation}}
        self.entries.append(StorageEntry(trial, state, attributes, len(self.entries)))
        return directory

    def change_last(self, **attributes: Any) -> None:
        last = self.entries[-1]
        self.entries[-1] = dataclasses.replace(last, attributes={**last.attributes, **attributes})

    def remove(self, **spec: Any) -> None:
        remove_unkept_files(StudySpec(**spec), self.entries, self.folder)

    def kept(self) -> list[str]:
        """Return the trials that still have a model."""
        return sorted(path.parent.name for path in self.folder.glob("*/model"))


@pytest.fixture
def study(tmp_path: Path) -> MadeUpStudy:
    return MadeUpStudy(tmp_path / "trials")


def test_best_of_each_arm_is_kept_with_all_other_files(study: MadeUpStudy) -> None:
    for arm, accuracies in {"a": (0.5, 0.7, 0.6), "b": (0.2, None, float("nan"))}.items():
        for seed, accuracy in enumerate(accuracies):
            study.add(arm, seed, accuracy=accuracy)
    study.remove()
    assert study.kept() == ["a-1", "b-0"]
    assert sorted(path.parent.name for path in study.folder.glob("*/best")) == ["a-1", "b-0"]
    removed = study.folder / "a-0"
    assert sorted(path.name for path in removed.iterdir()) == [
        "model-removed.txt",
        "predictions",
        "result.json",
    ]
    for find in (find_trained_model, find_saved_model):
        for path in (removed, removed / "best"):
            with pytest.raises(ValueError, match=r"removed .*a-0.*--keep_models all.*config\.yaml"):
                find(path)
    study.add("a", 3, accuracy=0.8)
    study.remove()
    assert study.kept() == ["a-3", "b-0"]


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ({"keep_models": "all"}, ["a-0", "a-1", "b-0"]),
        ({"keep_models": "none"}, []),
        ({"keep_models": "best", "metric": "loss"}, ["a-1", "b-0"]),
        ({"search": {"space": {"lr": "1e-5..1e-3"}, "trials": 3}, "split": "validation"}, ["b-0"]),
    ],
)
def test_spec_decides_which_models_are_kept(study: MadeUpStudy, spec: dict[str, Any], kept: list[str]) -> None:
    study.add("a", 0, accuracy=0.7, loss=0.6)
    study.add("a", 1, accuracy=0.6, loss=0.5)
    study.add("b", 0, accuracy=0.9, loss=0.9)
    study.remove(**spec)
    assert study.kept() == kept


def test_models_of_all_best_trade_offs_are_kept(study: MadeUpStudy) -> None:
    # The third trial is worse than the second in both objectives, and the last one has no metric.
    for seed, (accuracy, seconds) in enumerate([(0.9, 30.0), (0.8, 10.0), (0.7, 20.0), (0.6, 5.0), (None, 1.0)]):
        study.add("a", seed, accuracy=accuracy)
        study.entries[-1] = dataclasses.replace(study.entries[-1], value=accuracy, second_value=seconds)
    study.remove(search={"space": {"lr": "1e-5..1e-3"}, "minimize": "seconds", "trials": 5}, split="validation")
    assert study.kept() == ["a-0", "a-1", "a-3"]


def test_only_models_of_finished_trials_on_this_machine_are_removed(study: MadeUpStudy, tmp_path: Path) -> None:
    study.add("a", 0, accuracy=0.5)
    study.add("a", 1, accuracy=0.9, state=TrialState.PRUNED)
    study.add("a", 2, accuracy=0.1)
    study.change_last(directory="/elsewhere/trials/a-2")  # the folder here was copied from another machine
    study.add("a", 3, accuracy=0.1)
    study.change_last(**{PAUSED: True})  # a common past
    study.add("a", 4, accuracy=0.1)
    study.change_last(directory=str(tmp_path / "missing"))
    (study.folder / "own-run" / "model").mkdir(parents=True)  # of the user, in the study's folder
    study.remove(keep_models="none")
    assert study.kept() == ["a-1", "a-2", "a-3", "a-4", "own-run"]


def test_checkpoints_of_finished_trials_are_removed_unless_the_user_wanted_them(study: MadeUpStudy) -> None:
    for seed, save_every in enumerate([None, "10%", None, None]):
        study.add("a", seed, accuracy=0.5, settings={"save_every": save_every})
    study.change_last(**{PAUSED: True})  # a common past
    study.add("a", 5, accuracy=0.5, state=TrialState.PRUNED)
    study.add("b", 0, accuracy=0.5, settings={"fork": str(study.folder / "a-2@final")})
    study.remove(keep_models="all")
    assert sorted(path.parent.name for path in study.folder.glob("*/checkpoints")) == ["a-1", "a-2", "a-3", "a-5"]


@pytest.mark.parametrize("setting", ["init_from", "fork"])
def test_model_that_another_trial_starts_from_is_kept(study: MadeUpStudy, setting: str) -> None:
    first, second = (study.add("a", seed, accuracy=0.1) for seed in (0, 1))
    value = str(first / "model") if setting == "init_from" else f"{first}@step-3"
    study.add("b", 0, accuracy=0.5, settings={setting: value})
    study.remove(keep_models="none")
    assert study.kept() == ["a-0"]
    assert not (second / "best").exists()


def test_model_in_use_is_kept_until_it_is_free(study: MadeUpStudy) -> None:
    directory = study.add("a", 0, accuracy=0.5)
    lock = DirectoryLock()
    lock.acquire(directory)
    messages: list[str] = []
    with collect_messages(messages):
        study.remove(keep_models="none")
    assert study.kept() == ["a-0"]
    assert len(messages) == 1
    lock.release()
    (directory / ".best.removing").mkdir()  # of a process that was killed
    study.remove(keep_models="none")
    assert study.kept() == []
    assert not (directory / ".best.removing").exists()
