"""Complete and check the user's settings."""

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
from research.learning.optimizers.base import OPTIMIZERS
from research.learning.schedules import SCHEDULES
from research.model.encoders import load_encoder_config
from research.model.families import is_causal
from research.records.trackers import check_trackers
from research.runner.first_checks.check import check_times
from research.runner.first_checks.streaming import check_streaming
from research.runner.first_checks.windows import check_windows
from research.settings.config import Choice, RunConfig
from research.settings.options import complete_choice
from research.settings.plugins import import_plugins
from research.settings.registries import STEP_COUNT_PARAMETERS
from research.settings.smoke import reduce_for_smoke
from research.system.launcher import check_launch
from research.system.packages import Package
from research.tasks.base import Task
from research.training.accelerator import choose_precision
from research.training.hook import HOOKS


def resolve_trial(config: RunConfig) -> RunConfig:
    """Return a trial's settings like `resolve`, before it is known which precision its launcher will choose.

    Raises:
        ValueError: see `resolve`.
    """
    return resolve(dataclasses.replace(config, mixed_precision="no"))  # a placeholder


def resolve(config: RunConfig) -> RunConfig:
    """Return the settings, checked, with all options of the chosen head, objective, optimizer, schedule, and so on.

    This also applies --smoke and chooses the precision, and the head if none is given, which depends on the encoder. It
    does not need any data.

    Raises:
        ValueError: if a name is unknown, an option is invalid, or a time cannot be parsed.
    """
    disable_progress_bar()  # Transformers' progress bar; a run has its own
    check_launch()
    import_plugins(config.plugin)
    if config.smoke:
        config = reduce_for_smoke(config)
    check_times(config)
    check_trackers(config.log_with)
    check_windows(config)
    check_streaming(config)
    check_compiler(config)
    check_hooks_with_windows(config)

    def complete(
        registry: Registry[Any], value: str | dict[str, Any], supplied_parameters: tuple[str, ...] = ()
    ) -> str | dict[str, Any]:
        choice = Choice.of(value, registry.kind)
        return complete_choice(registry, choice, supplied_parameters=supplied_parameters).to_yaml()

    head = _default_head(config) if config.head is None else config.head
    config = dataclasses.replace(
        config,
        head=complete(HEADS, head),
        optimizer=complete(OPTIMIZERS, config.optimizer),
        schedule=complete(SCHEDULES, config.schedule, STEP_COUNT_PARAMETERS),
        objective=None if config.objective is None else complete(OBJECTIVES, config.objective),
        hook=[complete(HOOKS, hook) for hook in config.hook],
        peft=None if config.peft is None else complete(PEFT, config.peft),
        mixed_precision=choose_precision(config),
        micro_batch_size=min(config.micro_batch_size, config.batch_size),
    )
    OPTIMIZERS[Choice.of(config.optimizer, "optimizer").name].check_installed()
    parse_timeline(config)  # raises an error if the timeline is invalid
    check_base_dtype(config)
    return config


def _default_head(config: RunConfig) -> str:
    """Return the head that reads the token that sees all tokens: the last one of a causal encoder."""
    is_bidirectional = config.bidirectional or not is_causal(load_encoder_config(config.encoder))
    return "linear" if is_bidirectional else "last"


def check_base_dtype(config: RunConfig) -> None:
    """If the encoder's weights are stored in fewer bits, check that they stay frozen, and that this is possible.

    Raises:
        ValueError: if the weights would train, or a package is missing.
    """
    if config.base_dtype == "float32":
        return
    if config.peft is None and not {"encoder", "all"} & {*config.freeze}:
        raise ValueError(
            f"Expected --peft or --freeze encoder with --base_dtype {config.base_dtype}, which stores frozen weights; "
            "got neither. Add adapters, such as --peft lora, or omit --base_dtype."
        )
    if config.base_dtype == "int4":
        Package("bitsandbytes", extra="bitsandbytes").check_installed("setting --base_dtype int4")


def check_compiler(config: RunConfig) -> None:
    """If --compile is set, check that it works on this machine and with the chosen hooks.

    Raises:
        ValueError: if there is no C++ compiler, or a hook is incompatible.
    """
    if not config.compile:
        return
    on_cpu = not torch.cuda.is_available()
    compiler = os.environ.get("CXX", "g++")
    if config.compile_backend == "inductor" and on_cpu and shutil.which(compiler) is None:
        raise ValueError(
            f"Without a GPU, --compile needs a C++ compiler; {compiler} was not found. Install g++ (Debian: "
            "apt-get install g++), or omit --compile."
        )
    for hook in config.hook:
        name = Choice.of(hook, "hook").name
        if not HOOKS[name].works_compiled:
            raise ValueError(f"The hook '{name}' does not work with --compile, because it modifies the forward pass.")


def check_hooks_with_windows(config: RunConfig) -> None:
    """If texts are cut into windows, check that the chosen hooks support this.

    Raises:
        ValueError: if a hook does not.
    """
    for hook in config.hook if config.long_texts == "windows" else []:
        name = Choice.of(hook, "hook").name
        if not HOOKS[name].works_with_windows:
            raise ValueError(f"The hook '{name}' does not work with --long_texts windows. Set --long_texts truncate.")


def default_settings_for(config: RunConfig, task: Task) -> dict[str, Any]:
    """Return the defaults of all settings and options for a task, with the precision of the given settings."""
    # With the default precision, auto, the launcher would choose the precision again. It may choose one that this
    # machine does not support, such as fp16 without a GPU.
    # The default head depends on the encoder. The default encoder need not be installed.
    default = RunConfig(mixed_precision=config.mixed_precision, encoder=config.encoder)
    return resolve(default).to_dict() | {
        "encoder": RunConfig().encoder,
        "objective": choose_objective(default, task).to_yaml(),
    }
