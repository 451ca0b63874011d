"""From settings to a run that is ready to train."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from heads import HEADS
from heads.registry import Registry
from research.data.batches.collate import Collator
from research.data.batches.tokens import tokenize_splits
from research.data.prepare.load import Splits, load_splits
from research.edits.builtin.adapters import PEFT
from research.edits.planned_heads import planned_heads
from research.edits.rehearsal import Rehearsal
from research.edits.timeline import (
    FollowTimeline,
    Timeline,
    parse_timeline,
    planned_by_hooks,
    refuse_what_never_comes,
    resolve_timeline,
)
from research.features.cache import Layers
from research.features.encoding import use_features
from research.features.guard import Decision, decide, is_asked_for
from research.hooks.checkpointing import Checkpointing
from research.hooks.early_stopping import EarlyStopping
from research.hooks.evaluation import BestModel, Evaluation
from research.hooks.logging import MetricsLog, Progress
from research.hooks.profiling import Profiling
from research.learning.metric_names import check_metric
from research.learning.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, Objective, create_objective
from research.learning.optimizer import apply_schedule, create_optimizer
from research.learning.schedules import SCHEDULES, create_schedule
from research.model.encoder_with_head import EncoderWithHead, build_model
from research.model.encoders import describe_shadowed, load_tokenizer
from research.model.families import model_blocks
from research.model.head_check import HeadCheck, PlannedHead
from research.model.saved_models import find_saved_model
from research.records.journal_file import Parent
from research.records.trackers import check_trackers
from research.runner.first_checks.check import check_times
from research.settings.config import Choice, RunConfig
from research.settings.options import create, fill_in
from research.settings.plugins import import_plugins
from research.settings.registries import GIVEN_BY_CALLER
from research.settings.smoke import smoke_settings
from research.settings.times import Clock, parse_time
from research.system.launcher import refuse_launch
from research.system.manifest import MANIFEST
from research.system.seeds import derived_seed
from research.system.waiting import Announced
from research.tasks.task import Task
from research.training.accelerator import choose_precision, refused_for_all
from research.training.checkpoint.checkpoint import find_parent, load_checkpoint, read_checkpoint_model
from research.training.checkpoint.resuming import Start
from research.training.hook import HOOKS, Hook
from research.training.run import Run
from research.training.wrapping import wrap

Say = Callable[[str], None]


def resolve(config: RunConfig) -> RunConfig:
    """Return the settings with every option of every choice filled in and checked, before any data is touched.

    Raises:
        ValueError: for an unknown name, a wrong option, or a time that cannot be read.
    """
    disable_progress_bar()  # transformers' own; a run shows one
    refuse_launch()
    import_plugins(config.plugin)
    if config.smoke:
        config = smoke_settings(config)
    check_times(config)
    check_trackers(config.log_with)
    check_compiler(config)

    def filled(
        registry: Registry[Any], value: str | dict[str, Any], given_by_caller: tuple[str, ...] = ()
    ) -> str | dict[str, Any]:
        return fill_in(registry, Choice.of(value, registry.kind), given_by_caller=given_by_caller).to_yaml()

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


@dataclass(frozen=True)
class Plan:
    """A run as far as it is known without weights and tokens."""

    config: RunConfig
    """The settings, the objective's filled in."""
    task: Task
    """What is predicted."""
    tokenizer: PreTrainedTokenizerBase
    """The encoder's."""
    collator: Collator
    """Makes batches of rows."""
    objective: Objective
    """What is minimised."""
    clock: Clock
    """How long the run is."""
    hooks: list[Hook]
    """All that take part."""
    timeline: Timeline
    """What is due when."""


def plan_run(config: RunConfig, texts: Splits, hooks: Sequence[Hook], parent: Parent | None = None) -> Plan:
    """Return what a run will be, from its settings and the number of its rows.

    Args:
        config: the settings.
        texts: the rows.
        hooks: hooks that take part beside those of the settings.
        parent: the run that this one is a fork of.
    Raises:
        ValueError: for what the data or the length of the run do not allow.
    """
    tokenizer = load_tokenizer(config.encoder)
    task = texts.task
    chosen = choose_objective(config, task)
    config = dataclasses.replace(config, objective=chosen.to_yaml())
    objective = create_objective(chosen, task)
    if config.best_metric is not None:
        check_metric(config.best_metric, task)
    collator = Collator(
        tokenizer, task, max_length=config.max_length, truncation=config.truncation, pair=texts.has_pairs
    )
    clock = Clock.of_run(
        num_examples=len(texts.train),
        batch_size=config.batch_size,
        epochs=config.epochs,
        max_steps=config.max_steps,
    )
    own_hooks = [*hooks, *(create(HOOKS, Choice.of(hook, "hook")) for hook in config.hook)]
    planned = planned_by_hooks(own_hooks, config, block_names(config, task)) if own_hooks else []
    timeline = resolve_timeline([*parse_timeline(config), *planned], clock, smoke=config.smoke, parent=parent)
    for entry in timeline.conditional:
        assert entry.when is not None
        check_metric(entry.when.metric, task)
    every = None if config.evaluate_every is None else parse_time(config.evaluate_every).to_period(clock)
    if not config.smoke:
        refuse_what_never_comes(timeline.conditional, 0 if every is None else (clock.total_steps - 1) // every)
    return Plan(
        config, task, tokenizer, collator, objective, clock, create_hooks(config, clock, timeline, own_hooks), timeline
    )


def block_names(config: RunConfig, task: Task) -> list[str]:
    """Return the names of the blocks that the model will begin with."""
    model = build_model(config, task, with_weights=False)
    return [name for name, _ in model_blocks(model.encoder, model.head)]


def set_up(
    config: RunConfig,
    directory: Path,
    accelerator: Accelerator,
    start: Start | None,
    hooks: Sequence[Hook],
    say: Say,
    layers: Layers = "last",
) -> Run:
    """Load the data, build the model and what trains it, and continue from a checkpoint if there is one.

    Args:
        config: the settings, resolved.
        directory: the run directory; nothing is written to it.
        accelerator: this process's.
        start: the checkpoint to continue from.
        hooks: hooks that take part beside those of the settings.
        say: gets what is worth saying.
        layers: hidden states of a frozen encoder that are stored at least; its heads may read more.
    """
    # A checkpoint has the weights already; those of --init_from may be gone by now.
    initial = None if config.init_from is None or start is not None else find_saved_model(Path(config.init_from))
    parent = None if start is None else find_parent(start, config.fork)
    load_tokenizer(config.encoder)  # an encoder that is not there is said before data is read
    if (warning := describe_shadowed(config.encoder)) is not None:
        say(warning)
    with refused_for_all(accelerator):
        texts = load_splits(config, log=say) if accelerator.is_main_process else None
    texts = texts or load_splits(config, log=say)  # the others find the cache filled
    plan = plan_run(config, texts, hooks, parent)
    config, task = plan.config, plan.task
    features: Decision | None = None
    heads: list[PlannedHead] = []
    if not plan.timeline.is_empty or is_asked_for(config, plan.clock):
        rehearsal = Rehearsal.of(config, task, plan.objective, plan.collator, plan.clock, plan.tokenizer)
        if parent is not None:
            rehearsal.follow(parent)
        with Announced("Rehearsing the timeline", say):
            rehearsal.check(plan.timeline)
            heads = planned_heads(rehearsal, plan.timeline)
        if is_asked_for(config, plan.clock):
            features = decide(rehearsal, plan.timeline, plan.hooks)
    if plan.timeline.note is not None:
        say(plan.timeline.note)
    schedule = create_schedule(config, plan.clock)

    set_seed(config.seed)
    with Announced(f"Loading the encoder {config.encoder}", say):
        model = build_model(config, task)
    model.set_output_units(*plan.objective.output_units())
    if initial is not None:
        load_initial_weights(model, initial)
    model.to(accelerator.device)
    with Announced("Checking the head on a few rows", say):
        head_check = HeadCheck(model, accelerator, plan.collator, config)
        head_check.check(heads or [PlannedHead.of(model)], say)
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), config)
    apply_schedule(optimizer, schedule)
    # After all that can be refused, since of many rows it takes longest.
    tokenize = functools.partial(
        tokenize_splits, texts, plan.tokenizer, allow_unknown=config.allow_unknown_tokens, log=say
    )
    with refused_for_all(accelerator):
        splits = tokenize() if accelerator.is_main_process else None
    splits = splits or tokenize()  # the other processes find the cache filled
    # A seed of its own for each process from here on: replicas must not drop the same units.
    set_seed(derived_seed(config.seed, accelerator.process_index))
    compile_backend = config.compile_backend if config.compile else None
    run = Run(
        config=config,
        directory=directory,
        accelerator=accelerator,
        task=task,
        texts=texts,
        splits=splits,
        collator=plan.collator,
        tokenizer=plan.tokenizer,
        wrapped=wrap(accelerator, model, compile_backend),
        optimizer=accelerator.prepare_optimizer(optimizer),
        schedule=schedule,
        objective=plan.objective,
        clock=plan.clock,
        hooks=plan.hooks,
        head_check=head_check,
        compile_backend=compile_backend,
        parent=parent,
    )
    if start is not None:
        with Announced(f"Loading {start.checkpoint}", say):
            load_checkpoint(run, start)
    if features is not None:
        use_features(run, features, layers, say)
    return run


def choose_objective(config: RunConfig, task: Task) -> Choice:
    """Return the objective with all its options; the one that fits the task, if none was chosen."""
    return fill_in(OBJECTIVES, Choice.of(config.objective or DEFAULT_OBJECTIVES[task.problem_type], "objective"))


def create_hooks(config: RunConfig, clock: Clock, timeline: Timeline, own: Sequence[Hook]) -> list[Hook]:
    """Return the hooks of a run: the user's own early, so that what they do is evaluated, logged and saved."""

    def steps(time: str | None) -> int | None:
        return None if time is None else parse_time(time).to_period(clock)

    hooks: list[Hook] = [FollowTimeline(timeline)]
    if config.best_metric is not None:
        hooks.append(BestModel(metric=config.best_metric))  # saves while the user's hooks keep evaluated weights in
    hooks += [*own, Progress(), Evaluation(every=steps(config.evaluate_every))]
    if config.patience is not None:
        hooks.append(EarlyStopping(metric=config.best_metric or "loss", patience=config.patience))
    hooks.append(MetricsLog(every=config.log_every))
    save_every = steps(config.save_every)
    hooks.append(Checkpointing(every=save_every, keep=config.keep, on_save_error=config.on_save_error))
    if config.profile:
        hooks.append(Profiling())
    return hooks


def load_initial_weights(model: EncoderWithHead, folder: Path) -> None:
    """Start from the weights of a saved model or a checkpoint.

    Raises:
        ValueError: if it is built in another way, or its outputs stand for other labels.
    """
    if (folder / MANIFEST).exists():
        weights, labels = read_checkpoint_model(model, folder)
    else:
        initial = EncoderWithHead.from_pretrained(folder)
        if initial.config.adapters is not None:
            raise ValueError(
                f"The model in {folder} has adapters beside its weights; to start others from it, end its run with "
                '--timeline "{at: 100%, merge_lora: true}" and give its model/, which is merged then (best/ is not).'
            )
        weights, labels = initial.state_dict(), initial.label_names
    own_labels = model.label_names
    if labels != own_labels:
        raise ValueError(
            f"The model in {folder} has the labels {', '.join(labels)}, these data have {', '.join(own_labels)}; "
            "rename them, or sort them alike."
        )
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError:
        raise ValueError(
            f"The model in {folder} is not built like this run's (head {model.config.head}, {model.config.num_labels} "
            "labels); give the same --encoder and --head, with its options."
        ) from None
