"""The settings of a study's arms are separated into shared and differing ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.settings import ComparedSettings, find_settings, trial_commands
from tests.builders.studies import make_trial


def study_with_arms(directory: Path, arms: dict[str, dict[str, Any]]) -> StudyOutcomes:
    """Return a study with two waiting trials for each arm, which is given by its settings."""
    outcomes = []
    for arm, settings in arms.items():
        for seed in (0, 1):
            trial = make_trial(arm, seed, **settings)
            outcomes.append(Outcome(trial, directory / trial.id, "waiting"))
    return StudyOutcomes(StudySpec(name="settings"), directory, outcomes)


def write_config(study: StudyOutcomes, index: int, **resolved: Any) -> None:
    """Write the config.yaml of the trial with this index, in which some settings are resolved."""
    outcome = study.outcomes[index]
    outcome.directory.mkdir()
    (outcome.directory / "config.yaml").write_text(yaml.safe_dump({**outcome.trial.settings, **resolved}))


def shared_values(settings: ComparedSettings) -> dict[str, tuple[Any, bool]]:
    """Return each shared setting's value, and whether the value differs from the default."""
    return {name: (value, differs) for _, rows in settings.shared for name, value, differs in rows}


def test_find_settings_separates_shared_and_differing_settings(tmp_path: Path) -> None:
    study = study_with_arms(tmp_path, {"a": {"head": "linear", "epochs": 2.0}, "b": {"head": "lstm", "epochs": 2.0}})
    settings = find_settings(study)
    assert settings.differing == {"head": {"a": "linear", "b": "lstm"}}
    assert shared_values(settings)["epochs"] == (2.0, True)
    assert shared_values(settings)["lr"] == (1e-4, False)
    expected = study.outcomes[0].trial.settings.keys() - {"seed", "head"}
    assert shared_values(settings).keys() == expected


def test_options_resolved_in_only_one_arm_are_not_listed_as_differing(tmp_path: Path) -> None:
    study = study_with_arms(tmp_path, {"a": {"lr": 1e-3}, "b": {"lr": 1e-4}})
    write_config(study, 1, head={"name": "linear", "dropout": 0.1}, objective="cross_entropy")
    settings = find_settings(study)
    assert settings.differing == {"lr": {"a": 1e-3, "b": 1e-4}}
    assert shared_values(settings)["head"] == ({"name": "linear", "dropout": 0.1}, False)


def test_setting_with_different_resolved_values_differs(tmp_path: Path) -> None:
    study = study_with_arms(tmp_path, {"a": {"lr": 1e-3}, "b": {"lr": 1e-4}})
    # Outcomes 0 and 2 are the first seeds of a and b.
    write_config(study, 0, mixed_precision="no")
    write_config(study, 2, mixed_precision="bf16")
    assert find_settings(study).differing["mixed_precision"] == {"a": "no", "b": "bf16"}


def test_settings_that_differ_without_an_effect_are_omitted(tmp_path: Path) -> None:
    study = study_with_arms(tmp_path, {"a": {"lr": 1e-3, "keep": 5}, "b": {"lr": 1e-4}})
    write_config(study, 0, save_every=None, on_nonfinite="error")
    write_config(study, 2, save_every="10%", on_nonfinite="error")
    settings = find_settings(study)
    assert settings.differing == {"lr": {"a": 1e-3, "b": 1e-4}}
    assert {"save_every", "keep"}.isdisjoint(shared_values(settings))
    assert shared_values(settings)["on_nonfinite"] == ("error", False)


def test_trial_command_uses_config_yaml_or_the_settings_if_it_is_missing(tmp_path: Path) -> None:
    study = study_with_arms(tmp_path, {"a": {"head": "lstm"}})
    write_config(study, 0)
    study = dataclasses.replace(
        study, outcomes=[dataclasses.replace(study.outcomes[0], result={"world_size": 2}), study.outcomes[1]]
    )
    first, second = trial_commands(study)
    assert first.command == (
        f"accelerate launch --num_processes 2 experiments/run.py --recipe {tmp_path / 'a-0' / 'config.yaml'}"
    )
    assert first.recipe is None
    assert second.command == "accelerate launch experiments/run.py --recipe a-1.yaml"
    assert second.recipe is not None
    assert yaml.safe_load(second.recipe) == study.outcomes[1].trial.settings
