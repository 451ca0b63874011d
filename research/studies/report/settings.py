"""The settings of a study: shared and differing settings, and the commands that repeat its trials."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from research.records.results import config_as_yaml
from research.settings.config import SETTING_GROUPS, RunConfig
from research.settings.declarations import Effect
from research.settings.flags import names_where
from research.settings.run_files import CONFIG
from research.studies.outcomes import Outcome, StudyOutcomes
from research.system.scripts import launch_command


@dataclass(frozen=True)
class ComparedSettings:
    """Shared and differing settings of all arms, without the seed and the settings that concern one invocation.

    Settings in which arms differ without an effect on their results are omitted.
    """

    shared: Sequence[tuple[str, Sequence[tuple[str, Any, bool]]]]
    """Shared settings by group: name, value, and whether the value differs from the default."""
    differing: Mapping[str, Mapping[str, Any]]
    """Settings in which the arms differ: by name, the value of each arm."""


@dataclass(frozen=True)
class TrialCommand:
    """The command that repeats a trial."""

    outcome: Outcome
    """The trial and its outcome."""
    command: str
    """Command line."""
    recipe: str | None
    """Content of the recipe that the command needs; None if the trial's config.yaml is on this machine."""


def find_settings(study: StudyOutcomes) -> ComparedSettings:
    """Return the settings of a study, with all options resolved if a run's config.yaml is on this machine."""
    requested = {
        arm: next(outcome for outcome in study.outcomes if outcome.trial.arm == arm).trial.config().to_recipe()
        for arm in study.arms
    }
    resolved = {arm: settings for arm in study.arms if (settings := _resolved_settings(study, arm)) is not None}
    settings_by_arm = {arm: {**requested[arm], **resolved.get(arm, {})} for arm in study.arms}
    names = list(study.outcomes[0].trial.arm_settings)
    # Resolved settings are compared only with resolved ones: an arm without a started trial has no resolved options.
    differing = [name for name in names if _differs(requested, name) or _differs(resolved, name)]
    # Workers change some of the settings without an effect for single trials, such as the interval of checkpoints.
    without_effect = names_where(lambda declared: declared.effect is Effect.NONE)
    any_arm = next(iter(resolved), study.arms[0])
    defaults = RunConfig().to_dict()
    shared = [
        (
            group.__doc__ or "",
            [
                (name, settings_by_arm[any_arm][name], requested[any_arm][name] != defaults[name])
                for name in group.__dataclass_fields__
                if name in names and name not in differing
            ],
        )
        for group in SETTING_GROUPS
    ]
    return ComparedSettings(
        shared,
        {
            name: {arm: settings_by_arm[arm][name] for arm in study.arms}
            for name in differing
            if name not in without_effect
        },
    )


def trial_commands(study: StudyOutcomes) -> list[TrialCommand]:
    """Return the command that repeats each trial, in the order of the grid."""
    return [_command(outcome) for outcome in study.outcomes]


def _command(outcome: Outcome) -> TrialCommand:
    command = f"{launch_command((outcome.result or {}).get('world_size', 1))} --recipe "
    if (outcome.directory / CONFIG).exists():
        return TrialCommand(outcome, command + shlex.quote(str(outcome.directory / CONFIG)), None)
    name = f"{outcome.trial.id}.yaml"
    return TrialCommand(outcome, command + name, config_as_yaml(outcome.trial.config()))


def _resolved_settings(study: StudyOutcomes, arm: str) -> dict[str, Any] | None:
    """Return the resolved settings of an arm's first run with a config.yaml on this machine, or None."""
    paths = [outcome.directory / CONFIG for outcome in study.outcomes if outcome.trial.arm == arm]
    return next((_read(path) for path in paths if path.exists()), None)


def _read(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return settings


def _differs(settings: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    values = [arm_settings[name] for arm_settings in settings.values() if name in arm_settings]
    return any(value != values[0] for value in values)
