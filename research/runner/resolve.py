"""From what the user wrote to settings with every option filled in."""

from __future__ import annotations

import dataclasses
import os
import shutil
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from heads import HEADS
from heads.registry import Registry
from research.edits.builtin.adapters import PEFT
from research.edits.timeline import parse_timeline
from research.learning.objectives import OBJECTIVES, choose_objective
from research.learning.schedules import SCHEDULES
from research.records.trackers import check_trackers
from research.runner.first_checks.check import check_times
from research.settings.config import Choice, RunConfig
from research.settings.options import complete_choice
from research.settings.plugins import import_plugins
from research.settings.registries import GIVEN_BY_CALLER
from research.settings.smoke import smoke_settings
from research.system.launcher import check_launch
from research.tasks.base import Task
from research.training.accelerator import choose_precision
from research.training.hook import HOOKS


def resolve(config: RunConfig) -> RunConfig:
    """Return the settings with every option of every choice filled in and checked, before any data is touched.

    Raises:
        ValueError: for an unknown name, a wrong option, or a time that cannot be read.
    """
    disable_progress_bar()  # transformers' own; a run shows one
    check_launch()
    import_plugins(config.plugin)
    if config.smoke:
        config = smoke_settings(config)
    check_times(config)
    check_trackers(config.log_with)
    check_compiler(config)

    def filled(
        registry: Registry[Any], value: str | dict[str, Any], given_by_caller: tuple[str, ...] = ()
    ) -> str | dict[str, Any]:
        return complete_choice(registry, Choice.of(value, registry.kind), given_by_caller=given_by_caller).to_yaml()

    config = dataclasses.replace(
        config,
        head=filled(HEADS, config.head),
        schedule=filled(SCHEDULES, config.schedule, GIVEN_BY_CALLER),
        objective=None if config.objective is None else filled(OBJECTIVES, config.objective),
        hook=[filled(HOOKS, hook) for hook in config.hook],
        peft=None if config.peft is None else filled(PEFT, config.peft),
        mixed_precision=choose_precision(config),
        micro_batch_size=min(config.micro_batch_size, config.batch_size),
    )
    parse_timeline(config)
    return config


def check_compiler(config: RunConfig) -> None:
    """Refuse to compile what cannot be compiled here.

    Raises:
        ValueError: if there is no C++ compiler, or a hook cannot take part.
    """
    if not config.compile:
        return
    on_cpu = not torch.cuda.is_available()
    compiler = os.environ.get("CXX", "g++")
    if config.compile_backend == "inductor" and on_cpu and shutil.which(compiler) is None:
        raise ValueError(
            f"--compile needs a C++ compiler on a CPU, and there is no {compiler}: install g++ (Debian: "
            "apt-get install g++), or leave --compile out."
        )
    for hook in config.hook:
        name = Choice.of(hook, "hook").name
        if not HOOKS[name].works_compiled:
            raise ValueError(f"The hook '{name}' does not work with --compile: it reaches into the forward pass.")


def defaults_beside(config: RunConfig, task: Task) -> dict[str, Any]:
    """Return the default of every setting, options filled in, for a run with some settings on some task."""
    default = RunConfig(mixed_precision=config.mixed_precision)  # the precision chosen by default may not work here
    return resolve(default).to_dict() | {"objective": choose_objective(default, task).to_yaml()}
