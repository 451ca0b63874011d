"""Plan of a run: everything that is known before weights are loaded and texts are tokenized."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from research.data.batches.collate import Collator
from research.data.batches.sampling import check_sampling
from research.data.prepare.load import Splits
from research.edits.records import Parent
from research.edits.rehearsal import Rehearsal
from research.edits.timeline import (
    Timeline,
    TimelineEntry,
    check_conditions,
    parse_entry,
    parse_timeline,
    resolve_timeline,
)
from research.hooks.checkpointing import Checkpointing
from research.hooks.early_stopping import EarlyStopping
from research.hooks.evaluation import BestModel, Evaluation
from research.hooks.follow_timeline import FollowTimeline
from research.hooks.logging import MetricsLog, Progress
from research.hooks.profiling import Profiling
from research.learning.calibration import CalibrationRequest
from research.learning.idle_rates import describe_idle_rates
from research.learning.objectives import Objective, choose_objective, create_objective
from research.learning.optimizer import choose_optimizer
from research.learning.optimizers.base import OptimizerKind
from research.learning.schedules import Schedule, create_schedule
from research.model.build_model import build_model, windows_of
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import load_encoder_config
from research.model.families import model_blocks, pads_left
from research.settings.config import Choice, RunConfig
from research.settings.options import create
from research.settings.template import parse_template
from research.settings.times import Clock, parse_time
from research.system.judging import find_judge
from research.system.messages import logger
from research.system.user_code import describe_location
from research.tasks.base import Task
from research.tasks.metric_names import check_metric
from research.training.hook import HOOKS, Hook, describe_hook, errors_attributed_to_hook


@dataclass(frozen=True)
class Plan:
    """Plan of a run, without weights and tokens."""

    config: RunConfig
    """Settings, with all options of the objective."""
    task: Task
    """The kind of labels, and their names."""
    tokenizer: PreTrainedTokenizerBase
    """Tokenizer of the encoder."""
    collator: Collator
    """Makes batches from rows."""
    objective: Objective
    """Training objective."""
    optimizer_kind: OptimizerKind
    """The kind of the optimizer at the start."""
    schedule: Schedule
    """The schedule, at its start."""
    clock: Clock
    """Length of the run, and its position at the start."""
    hooks: list[Hook]
    """All hooks: the built-in ones, those in the settings, and those passed in addition."""
    timeline: Timeline
    """Planned edits."""
    outline: EncoderWithHead | None
    """The initial model without weights; None if neither a hook nor a check needed it."""

    def create_rehearsal(self) -> Rehearsal:
        """Return the run's rehearsal. Call this only once, because the rehearsal changes the outline."""
        arguments = (self.collator, self.clock, self.tokenizer, self.outline, self.optimizer_kind)
        return Rehearsal.of(self.config, self.task, self.objective, *arguments)


def plan_run(
    config: RunConfig,
    texts: Splits,
    tokenizer: PreTrainedTokenizerBase,
    hooks: Sequence[Hook],
    parent: Parent | None = None,
) -> Plan:
    """Plan a run from its settings and its rows.

    Args:
        config: the final settings.
        texts: rows of the splits.
        tokenizer: tokenizer of the encoder.
        hooks: hooks to use in addition to those in the settings.
        parent: the run that this run is a fork of; None if it is not a fork.
    Raises:
        ValueError: if the settings do not fit the data or the length of the run.
    """
    task = texts.task
    objective_choice = choose_objective(config, task)
    config = dataclasses.replace(config, objective=objective_choice.to_yaml())
    objective = create_objective(objective_choice, task)
    check_sampling(config.sampling, task)
    if config.sampling != "natural" and objective.favours_rare_labels:
        logger.warning(
            f"--sampling {config.sampling} and the objective {objective_choice.name} both favour rare labels; the "
            "objective counts the labels of all training rows, not of those drawn for an epoch"
        )
    if (warning := describe_idle_rates(config)) is not None:
        logger.warning(warning)
    if config.best_metric is not None:
        check_metric(config.best_metric, task)
    request = CalibrationRequest.of(temperature=config.calibrate, thresholds=config.thresholds)
    if request is not None:
        request.check(task, "calibrate")
    template = parse_template(config.template)
    if template is not None:
        template.check_fields(pair=texts.has_pairs)
    collator = Collator(
        tokenizer,
        task,
        max_length=config.input_length,
        truncation=config.truncation,
        pair=texts.has_pairs,
        pads_left=pads_left(load_encoder_config(config.encoder), tokenizer),
        template=template,
        windows=windows_of(config),
    )
    clock = Clock.of_run(
        num_examples=texts.num_train,
        batch_size=config.batch_size,
        epochs=config.epochs,
        max_steps=config.max_steps,
    )
    if config.schedule_interval == "epoch" and not clock.has_epochs:
        raise ValueError(
            "Expected --schedule_interval step, since the length of an epoch is not known without reading all rows; "
            "got epoch."
        )
    optimizer_kind, schedule = choose_optimizer(config), create_schedule(config, clock)
    optimizer_kind.check_schedule(schedule)
    user_hooks = [*hooks, *(create(HOOKS, Choice.of(hook, "hook")) for hook in config.hook)]
    # The outline also shows, before the weights are loaded, whether the encoder supports gradient checkpointing.
    needs_outline = bool(user_hooks) or config.gradient_checkpointing
    outline = build_model(config, task, vocabulary_size=len(tokenizer), with_weights=False) if needs_outline else None
    hook_entries = [] if outline is None else entries_planned_by_hooks(user_hooks, config, block_names(outline))
    timeline = resolve_timeline([*parse_timeline(config), *hook_entries], clock, smoke=config.smoke, parent=parent)
    for entry in timeline.conditional:
        assert entry.when is not None
        check_metric(entry.when.metric, task)
    period = None if config.evaluate_every is None else parse_time(config.evaluate_every).to_period(clock)
    if not config.smoke:  # a smoke run has only one evaluation before its last step
        num_evaluations_before_last_step = 0 if period is None else (clock.total_steps - 1) // period
        check_conditions(timeline.conditional, num_evaluations_before_last_step)
    all_hooks = create_hooks(config, clock, timeline, user_hooks)
    parts = (tokenizer, collator, objective, optimizer_kind, schedule, clock, all_hooks, timeline, outline)
    return Plan(config, task, *parts)


def block_names(model: EncoderWithHead) -> list[str]:
    """Return the names of a model's blocks."""
    return [name for name, _ in model_blocks(model.encoder, model.head)]


def create_hooks(config: RunConfig, clock: Clock, timeline: Timeline, user_hooks: Sequence[Hook]) -> list[Hook]:
    """Return the hooks of a run. The user's hooks run early, so that their effects are evaluated, logged and saved."""

    def to_num_steps(time: str | None) -> int | None:
        return None if time is None else parse_time(time).to_period(clock)

    hooks: list[Hook] = [FollowTimeline(timeline)]
    if config.best_metric is not None:
        # Before the user's hooks: it must save the evaluated weights before hooks such as ema restore the trained ones.
        hooks.append(BestModel(metric=config.best_metric))
    hooks += [*user_hooks, Progress(), Evaluation(every=to_num_steps(config.evaluate_every), judge=find_judge())]
    if config.patience is not None:
        hooks.append(EarlyStopping(metric=config.best_metric or "loss", patience=config.patience))
    hooks.append(MetricsLog(every=config.log_every))
    save_every, pause_at = to_num_steps(config.save_every), to_num_steps(config.pause_at)
    if pause_at is not None and pause_at >= clock.total_steps:
        raise ValueError(
            f"--pause_at {config.pause_at} is never reached: it is step {pause_at:,}, and the run has "
            f"{clock.total_steps:,} steps."
        )
    hooks.append(
        Checkpointing(
            every=save_every,
            keep=config.keep,
            on_save_error=config.on_save_error,
            in_background=config.save_in_background,
            pause_at=pause_at,
        )
    )
    if config.profile:
        hooks.append(Profiling())
    return hooks


def entries_planned_by_hooks(hooks: Sequence[Hook], config: RunConfig, blocks: Sequence[str]) -> list[TimelineEntry]:
    """Return the timeline entries that hooks plan (`Hook.timeline`).

    Args:
        hooks: hooks of the run.
        config: the final settings.
        blocks: names of the model's blocks.
    Raises:
        ValueError: if a hook returns anything but a list of valid entries.
    """
    entries = []
    for hook in hooks:
        with errors_attributed_to_hook(hook, "timeline"):
            planned = hook.timeline(config, blocks)
        if not isinstance(planned, list) or not all(isinstance(entry, dict) for entry in planned):
            raise ValueError(
                f"Expected timeline of the {describe_hook(hook)} to return a list of dicts; got {planned!r}"
                f"{describe_location(hook.timeline)}."
            )
        entries += [parse_entry(entry, f"hook {type(hook).__name__}") for entry in planned]
    return entries
