"""Set up a run, from its settings to the first step."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import set_seed

from research.data.batches.tokens import tokenize_splits
from research.data.prepare.load import Splits, load_splits
from research.data.streaming.train_stream import TrainStream
from research.edits.planned_heads import find_planned_heads
from research.edits.records import Parent
from research.features.cache import Layers
from research.features.compute import use_features
from research.features.guard import CachingDecision, decide_caching, wants_caching
from research.learning.optimizer import apply_schedule, create_optimizer
from research.model.base_dtype import store_base_weights
from research.model.build_model import build_model
from research.model.encoder_check import EncoderCheck
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import load_tokenizer, shadowed_folder_warning
from research.model.families import model_blocks
from research.model.head_check import HeadCheck, PlannedHead
from research.model.input_settings import InputSettings
from research.model.saved_models import find_saved_model
from research.runner.initial_weights import load_initial_weights
from research.runner.plan import Plan, plan_run
from research.settings.config import RunConfig
from research.settings.template import parse_template
from research.system.messages import logger
from research.system.seeds import derive_seed
from research.system.waiting import WaitingMessage
from research.tasks.base import Task
from research.training.accelerator import fail_together
from research.training.batches import Batches
from research.training.checkpoint.find import StartCheckpoint
from research.training.checkpoint.load import load_checkpoint
from research.training.checkpoint.state import find_parent
from research.training.hook import Hook
from research.training.hook_caller import HookCaller
from research.training.origin import Origin
from research.training.run import TrainingRun
from research.training.wrapping.base import prepare_optimizer
from research.training.wrapping.create import create_wrapping, find_sharding


def set_up(
    config: RunConfig,
    directory: Path,
    accelerator: Accelerator,
    start: StartCheckpoint | None,
    hooks: Sequence[Hook],
    layers: Layers = "last",
) -> TrainingRun:
    """Load the data, build the model and the optimizer, and load a checkpoint if there is one.

    Args:
        config: the final settings.
        directory: the run directory; nothing is written to it.
        accelerator: accelerator of this process.
        start: checkpoint to continue from; None for a new run.
        hooks: hooks to use in addition to those in the settings.
        layers: layers whose hidden states must be stored if the encoder is frozen; the heads may need more.
    """
    # If there is a checkpoint, it contains the weights; the model of --init_from may no longer exist.
    initial = None if config.init_from is None or start is not None else find_saved_model(Path(config.init_from))
    parent = None if start is None else find_parent(start, config.fork)
    # Before the data are read, since this also checks that the encoder exists.
    tokenizer = load_tokenizer(config.encoder, config.pad_token)
    if (warning := shadowed_folder_warning(config.encoder)) is not None:
        logger.warning(warning)
    with fail_together(accelerator):
        texts = load_splits(config) if accelerator.is_main_process else None
    texts = texts or load_splits(config)  # the main process has filled the cache
    plan = plan_run(config, texts, tokenizer, hooks, parent)
    config, task = plan.config, plan.task
    planned_heads, caching_decision = _rehearse(plan, parent)
    if plan.timeline.note is not None:
        logger.info(plan.timeline.note)

    set_seed(config.seed)
    sharding = find_sharding(config, accelerator)
    loading = contextlib.nullcontext() if sharding is None else sharding.loading()
    with WaitingMessage(f"Loading the encoder {config.encoder}"), loading:
        model = build_model(config, task, vocabulary_size=len(tokenizer))
        if initial is not None:
            load_initial_weights(model, initial)
    model.config.inputs = _input_settings(config, texts, task).to_config()
    model.set_output_units(*plan.objective.output_units())
    store_base_weights(model.encoder, config.base_dtype, accelerator.device)
    model.to(accelerator.device)
    wrapping = create_wrapping(config, accelerator, model, sharding)
    EncoderCheck(model, accelerator, tokenizer, plan.collator, config, wrapping).check()
    with WaitingMessage("Checking the head on a few rows"):
        head_check = HeadCheck(model, accelerator, plan.collator, config)
        head_check.check(planned_heads or [PlannedHead.of(model)])
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), config, plan.optimizer_kind)
    apply_schedule(optimizer, plan.schedule)
    # Tokenizing comes after all checks, because it takes longest if there are many rows.
    tokenize = functools.partial(
        tokenize_splits,
        texts,
        plan.tokenizer,
        template=parse_template(config.template),
        allow_unknown=config.allow_unknown_tokens,
        num_embeddings=model.encoder.config.vocab_size,
    )
    with fail_together(accelerator):
        splits = tokenize() if accelerator.is_main_process else None
    splits = splits or tokenize()  # the main process has filled the cache
    # From here on, each process has its own seed, so that dropout differs between replicas.
    set_seed(derive_seed(config.seed, accelerator.process_index))
    run = TrainingRun(
        config=config,
        directory=directory,
        accelerator=accelerator,
        task=task,
        batches=Batches(
            texts,
            splits,
            plan.collator,
            accelerator.device,
            config.sampling,
            open_stream(config, plan, splits, model, accelerator),
        ),
        tokenizer=plan.tokenizer,
        wrapping=wrapping,
        optimizer=prepare_optimizer(accelerator, optimizer),
        optimizer_kind=plan.optimizer_kind,
        schedule=plan.schedule,
        objective=plan.objective,
        clock=plan.clock,
        hooks=HookCaller(plan.hooks),
        head_check=head_check,
        origin=Origin(start, parent),
    )
    if start is None:
        run.wrapping.wrap(run.optimizer)
    else:
        with WaitingMessage(f"Loading {start.checkpoint}"):
            load_checkpoint(run, start)
    if caching_decision is not None:
        use_features(run, caching_decision, layers)
    return run


def _rehearse(plan: Plan, parent: Parent | None) -> tuple[list[PlannedHead], CachingDecision | None]:
    """Rehearse the timeline; return the heads in it, and whether hidden states can be stored (None if not wanted)."""
    wants_cache = wants_caching(plan.config, plan.clock)
    if plan.timeline.is_empty and not wants_cache:
        return [], None
    rehearsal = plan.create_rehearsal()
    if parent is not None:
        rehearsal.replay_journal(parent)
    with WaitingMessage("Rehearsing the timeline"):
        rehearsal.check(plan.timeline)
        planned_heads = find_planned_heads(rehearsal, plan.timeline)
    return planned_heads, decide_caching(rehearsal, plan.timeline, plan.hooks) if wants_cache else None


def _input_settings(config: RunConfig, texts: Splits, task: Task) -> InputSettings:
    return InputSettings(
        task.name,
        texts.text_columns,
        texts.label_columns,
        config.label_separator,
        tuple(config.cleaning),
        config.template,
    )


def open_stream(
    config: RunConfig, plan: Plan, splits: Splits, model: EncoderWithHead, accelerator: Accelerator
) -> TrainStream | None:
    """Return the training rows if they are streamed; None if they are prepared.

    Args:
        config: the final settings.
        plan: the run's plan.
        splits: the splits.
        model: the model, which must have an embedding for each token.
        accelerator: accelerator of this process.
    """
    if splits.streamed is None:
        return None
    stream = TrainStream(
        splits.streamed,
        plan.tokenizer,
        template=parse_template(config.template),
        shuffle_buffer=config.shuffle_buffer,
        process=accelerator.process_index,
        num_processes=accelerator.num_processes,
        allow_unknown=config.allow_unknown_tokens,
        num_embeddings=model.encoder.config.vocab_size,
    )
    stream.report_order()
    return stream
