"""The settings of a study: what its trials share, in what its arms differ, and how each trial is repeated."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from research.records.results import config_as_yaml
from research.settings.config import SETTING_GROUPS, RunConfig
from research.settings.run_files import CONFIG
from research.studies.outcomes import Outcome, StudyOutcomes
from research.system.scripts import launch_command


@dataclass(frozen=True)
class StudySettings:
    """Every setting but the seed and those of a run's place."""

    shared: Sequence[tuple[str, Sequence[tuple[str, Any, bool]]]]
    """By group: name, value, and whether it is another than the default."""
    differing: Mapping[str, Mapping[str, Any]]
    """By name: the value of each arm."""


@dataclass(frozen=True)
class Repetition:
    """How one trial is repeated."""

    outcome: Outcome
    """The trial."""
    command: str
    """What to type."""
    recipe: str | None
    """The recipe that the command needs, where the trial has left none here."""


def find_settings(study: StudyOutcomes) -> StudySettings:
    """Return the settings of a study, with every option filled in where a run has left its config.yaml here."""
    asked = {
        arm: next(o for o in study.outcomes if o.trial.arm == arm).trial.config().to_recipe() for arm in study.arms
    }
    filled = {arm: found for arm in study.arms if (found := _filled_in(study, arm)) is not None}
    known = {arm: {**asked[arm], **filled.get(arm, {})} for arm in study.arms}
    names = [name for name in next(iter(asked.values())) if name != "seed"]
    # An arm of which no trial has begun has no options filled in: that is no difference.
    differing = [name for name in names if _differs(asked, name) or _differs(filled, name)]
    any_arm = next(iter(filled), study.arms[0])
    defaults = RunConfig().to_dict()
    shared = [
        (
            group.__doc__ or "",
            [
                (name, known[any_arm][name], asked[any_arm][name] != defaults[name])
                for name in group.__dataclass_fields__
                if name in names and name not in differing
            ],
        )
        for group in SETTING_GROUPS
    ]
    return StudySettings(shared, {name: {arm: known[arm][name] for arm in study.arms} for name in differing})


def repeat_trials(study: StudyOutcomes) -> list[Repetition]:
    """Return how each trial is repeated, in the order of the grid."""
    return [_repetition(outcome) for outcome in study.outcomes]


def _repetition(outcome: Outcome) -> Repetition:
    command = f"{launch_command((outcome.result or {}).get('world_size', 1))} --recipe "
    if (outcome.directory / CONFIG).exists():
        return Repetition(outcome, command + shlex.quote(str(outcome.directory / CONFIG)), None)
    name = f"{outcome.trial.id}.yaml"
    return Repetition(outcome, command + name, config_as_yaml(outcome.trial.config()))


def _filled_in(study: StudyOutcomes, arm: str) -> dict[str, Any] | None:
    """Return the settings of an arm's first run that has left them here."""
    paths = [outcome.directory / CONFIG for outcome in study.outcomes if outcome.trial.arm == arm]
    return next((_read(path) for path in paths if path.exists()), None)


def _read(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return settings


def _differs(settings: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    values = [of_arm[name] for of_arm in settings.values() if name in of_arm]
    return any(value != values[0] for value in values)
