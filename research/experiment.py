"""One run from its settings to its result."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from heads import HEADS
from heads.registry import Registry
from research.checkpoint import MANIFEST, find_damage, load_checkpoint, newest_checkpoint, read_checkpoint_model
from research.choices import create, resolve_options
from research.clock import Clock, parse_time
from research.config import Choice, RunConfig
from research.data import Collator, load_splits, tokenize_splits
from research.encoders import load_tokenizer
from research.families import model_blocks
from research.hooks import (
    HOOKS,
    BestModel,
    Checkpointing,
    EarlyStopping,
    Evaluation,
    Hook,
    MetricsLog,
    Profiling,
    Progress,
)
from research.launch import choose_precision, create_accelerator, end_run, refused_for_all
from research.loop import train
from research.metrics import check_metric
from research.model import EncoderWithHead, build_model
from research.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, Objective
from research.optim import apply_schedule, create_optimizer
from research.outputs import (
    check_directory,
    claim_directory,
    empty_directory,
    git_commit,
    read_result,
    run_directory,
    versions,
    weights_sha256,
    write_config,
    write_predictions,
    write_result,
)
from research.plugins import import_plugins
from research.run import Run
from research.schedules import GIVEN_BY_CALLER, SCHEDULES, Schedule
from research.smoke import smoke_settings
from research.summary import describe, out_of_memory_message, peak_memory_bytes, summary
from research.task import Task
from research.tracking import check_trackers, start_trackers, track_predictions

Say = Callable[[str], None]


def run_experiment(config: RunConfig, *, hooks: Sequence[Hook] = ()) -> dict[str, Any]:
    """Train and evaluate as the settings say; the same as `experiments/run.py` with these settings.

    Args:
        config: every setting.
        hooks: hooks that take part beside those of the settings, as objects.
    Returns:
        What result.json holds.
    Raises:
        ValueError: for settings or data that cannot be used; the message is one for the user.
    """
    if was_restarted():
        config = dataclasses.replace(config, resume="auto")  # the launcher repeats the very same command
    config = resolve(config)
    directory = run_directory(config)
    accelerator = create_accelerator(config, str(directory))
    directory = _same_everywhere(directory)
    say: Say = print if accelerator.is_main_process else _say_nothing
    if config.resume == "auto" and (result := read_result(directory)) and result["status"] == "finished":
        say(f"{directory} is finished; there is nothing to resume.")
        return result
    checkpoint = find_checkpoint(config, directory, say)
    with refused_for_all(accelerator):
        if accelerator.is_main_process:
            check_directory(directory, config)
    try:
        run = set_up(config, directory, accelerator, checkpoint, hooks, say)
        # Only now: settings or data that cannot be used leave nothing behind and replace nothing.
        with refused_for_all(accelerator):
            if accelerator.is_main_process:
                claim_directory(directory, config)
                write_config(directory, run.config)
        return train_and_finish(run, say)
    except torch.OutOfMemoryError as error:
        raise ValueError(out_of_memory_message(config)) from error
    finally:
        end_run(accelerator)


def was_restarted() -> bool:
    """Return whether the launcher (--max_restarts) started this process again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def resolve(config: RunConfig) -> RunConfig:
    """Return the settings with every option of every choice filled in and checked, before any data is touched.

    Raises:
        ValueError: for an unknown name, a wrong option, or a time that cannot be read.
    """
    disable_progress_bar()  # transformers' own; a run shows one
    import_plugins(config.plugin)
    if config.smoke:
        config = smoke_settings(config)
    check_times(config)
    check_trackers(config.log_with)

    def filled(
        registry: Registry[Any], value: str | dict[str, Any], given_by_caller: tuple[str, ...] = ()
    ) -> str | dict[str, Any]:
        choice = Choice.of(value, registry.kind)
        return Choice(choice.name, resolve_options(registry, choice, given_by_caller=given_by_caller)).to_yaml()

    return dataclasses.replace(
        config,
        head=filled(HEADS, config.head),
        schedule=filled(SCHEDULES, config.schedule, GIVEN_BY_CALLER),
        objective=None if config.objective is None else filled(OBJECTIVES, config.objective),
        hook=[filled(HOOKS, hook) for hook in config.hook],
        mixed_precision=choose_precision(config),
        micro_batch_size=min(config.micro_batch_size, config.batch_size),
    )


def check_times(config: RunConfig) -> None:
    """Refuse times that cannot be read, and periods of 0.

    Raises:
        ValueError: naming the setting.
    """
    for name in ("warmup", "evaluate_every", "save_every"):
        text = getattr(config, name)
        if text is None:
            continue
        try:
            time = parse_time(text)
        except ValueError as error:
            raise ValueError(f"--{name}: {error}") from None
        if time.value == 0 and name != "warmup":
            raise ValueError(f"Expected --{name} above 0, got '{text}'; null turns it off.")


def find_checkpoint(config: RunConfig, directory: Path, say: Say) -> Path | None:
    """Return the checkpoint to continue from, or None for a fresh start.

    Raises:
        ValueError: if a checkpoint is named and cannot be used.
    """
    if config.resume is None:
        return None
    if config.resume == "auto":
        if config.name is None and config.output_dir is None and not was_restarted():
            raise ValueError("--resume auto needs --name or --output_dir: the default name is new for every run.")
        checkpoint = newest_checkpoint(directory, say)
        say(f"Resuming from {checkpoint}." if checkpoint else f"No checkpoint in {directory}: starting afresh.")
        return checkpoint
    checkpoint = Path(config.resume)
    if not (checkpoint / MANIFEST).exists():
        raise ValueError(
            f"{checkpoint} is no checkpoint. One is a folder such as runs/<name>/checkpoints/step-00000400; --resume "
            "auto finds the newest in the run directory."
        )
    damage = find_damage(checkpoint)
    if damage is not None:
        raise ValueError(f"Cannot resume from {checkpoint}: {damage}.")
    return checkpoint


def set_up(
    config: RunConfig,
    directory: Path,
    accelerator: Accelerator,
    checkpoint: Path | None,
    hooks: Sequence[Hook],
    say: Say,
) -> Run:
    """Load the data, build the model and what trains it, and continue from a checkpoint if there is one."""
    tokenizer = load_tokenizer(config.encoder)
    initial = None if config.init_from is None else find_saved_model(Path(config.init_from))
    with refused_for_all(accelerator):
        texts = load_splits(config, log=say) if accelerator.is_main_process else None
    texts = texts or load_splits(config, log=say)  # the others find the cache filled
    task = texts.task
    chosen = choose_objective(config, task)
    config = dataclasses.replace(config, objective=chosen.to_yaml())
    objective: Objective = create(OBJECTIVES, chosen, task)
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
    num_warmup_steps, num_training_steps = schedule_lengths(config, clock)
    schedule = Schedule(
        Choice.of(config.schedule, "schedule"),
        num_warmup_steps=num_warmup_steps,
        num_training_steps=num_training_steps,
    )

    set_seed(config.seed)
    head = Choice.of(config.head, "head")
    model = build_model(
        config.encoder,
        head.name,
        head.options,
        task,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        max_length=config.max_length,
        truncation=config.truncation,
    )
    model.set_output_units(*objective.output_units())
    if initial is not None:
        load_initial_weights(model, initial)
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), config)
    apply_schedule(optimizer, schedule)
    # After all that can be refused, since of many rows it takes longest.
    with accelerator.main_process_first():
        splits = tokenize_splits(texts, tokenizer, log=say)
    # A seed of its own for each process from here on: replicas must not drop the same units.
    set_seed(int(np.random.SeedSequence([config.seed, accelerator.process_index]).generate_state(1)[0]))
    run = Run(
        config=config,
        directory=directory,
        accelerator=accelerator,
        task=task,
        splits=splits,
        collator=collator,
        tokenizer=tokenizer,
        model=accelerator.prepare_model(model),
        optimizer=accelerator.prepare_optimizer(optimizer),
        schedule=schedule,
        objective=objective,
        clock=clock,
        hooks=create_hooks(config, clock, hooks),
    )
    if checkpoint is not None:
        load_checkpoint(run, checkpoint)
    return run


def train_and_finish(run: Run, say: Say) -> dict[str, Any]:
    """Train and write what a run leaves; a run that fails says so in its result.json, if it has taken a step."""
    try:
        start_trackers(run.accelerator, run.config)
        say(describe(run))
        train(run)
        return finish(run)
    except BaseException as error:
        end_run(run.accelerator)  # trackers write from threads of their own
        if run.is_main and run.clock.step == 0 and run.config.resume is None:
            empty_directory(run.directory)
            say(f"No step was taken: {run.directory} is empty again.")
        elif run.is_main:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            write_result(run.directory, {"status": status, "error": f"{type(error).__name__}: {error}"})
        raise


def choose_objective(config: RunConfig, task: Task) -> Choice:
    """Return the objective with all its options; the one that fits the task, if none was chosen."""
    choice = Choice.of(config.objective or DEFAULT_OBJECTIVES[task.problem_type], "objective")
    return Choice(choice.name, resolve_options(OBJECTIVES, choice))


def create_hooks(config: RunConfig, clock: Clock, own: Sequence[Hook]) -> list[Hook]:
    """Return the hooks of a run: the user's own first, so that what they do is evaluated, logged and saved."""

    def steps(time: str | None) -> int | None:
        return None if time is None else parse_time(time).to_period(clock)

    hooks: list[Hook] = [*own, *(create(HOOKS, Choice.of(hook, "hook")) for hook in config.hook)]
    hooks += [Progress(), Evaluation(every=steps(config.evaluate_every))]
    if config.best_metric is not None:
        hooks.append(BestModel(metric=config.best_metric))
    if config.patience is not None:
        hooks.append(EarlyStopping(metric=config.best_metric or "loss", patience=config.patience))
    hooks.append(MetricsLog(every=config.log_every))
    save_every = steps(config.save_every)
    if save_every is not None:
        hooks.append(Checkpointing(every=save_every, keep=config.keep))
    if config.profile:
        hooks.append(Profiling())
    return hooks


def find_saved_model(source: Path) -> Path:
    """Return the folder of the model in a run directory (of its best one if it kept one), or the folder itself.

    Raises:
        ValueError: if there is no model.
    """
    folders = [folder for folder in (source / "best", source / "model", source) if (folder / "config.json").exists()]
    if (source / MANIFEST).exists():
        folders.append(source)
    if not folders:
        raise ValueError(
            f"No saved model in {source} for --init_from: expected a run directory, its best/ or model/, or one of its "
            "checkpoints."
        )
    return folders[0]


def load_initial_weights(model: EncoderWithHead, folder: Path) -> None:
    """Start from the weights of a saved model or a checkpoint.

    Raises:
        ValueError: if it is built in another way, or its outputs stand for other labels.
    """
    if (folder / MANIFEST).exists():
        weights, labels = read_checkpoint_model(model, folder)
    else:
        initial = EncoderWithHead.from_pretrained(folder)
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


def finish(run: Run) -> dict[str, Any]:
    """Save the model, test the best one (or the last), and write predictions and result."""
    config, directory, accelerator = run.config, run.directory, run.accelerator
    if run.is_main:
        run.save_model(directory / "model")
    accelerator.wait_for_everyone()
    sha256 = weights_sha256(run.encoder_with_head)
    has_best = config.best_metric is not None and (directory / "best").exists()
    if has_best:
        run.predictions.clear()
        best = EncoderWithHead.from_pretrained(directory / "best")
        run.encoder_with_head.load_state_dict(best.state_dict(), strict=True)
    elif config.best_metric is not None:
        run.say(f"No evaluation defined {config.best_metric}: the last model is tested instead of the best one.")
    # The last model's validation is known already: it was evaluated after the last step.
    found = {split: run.predictions.get(split) or run.evaluate(split) for split in ("validation", "test")}
    result = {
        "status": "finished",
        "stopped_because": run.stop_reason,
        "steps": run.clock.step,
        "epochs": run.clock.epochs_done,
        "world_size": accelerator.num_processes,
        "examples_per_second": run.clock.num_examples_seen / run.train_seconds,
        "train_seconds": run.train_seconds,
        "skipped_steps": run.num_skipped,
        "peak_memory_bytes": peak_memory_bytes(accelerator),
        "trainable_parameters": sum(p.numel() for p in run.encoder_with_head.parameters() if p.requires_grad),
        "tested": "best" if has_best else "last",
        "metrics": {split: predictions.metrics for split, predictions in found.items()},
        "rows": {
            "train": len(run.splits.train),
            "validation": len(run.splits.validation),
            "test": len(run.splits.test),
        },
        "weights_sha256": sha256,
        "versions": versions(),
        "git_commit": git_commit(),
    }
    if run.is_main:
        for split, predictions in found.items():
            write_predictions(directory, split, run.task, predictions)
            track_predictions(accelerator, run.task, split, predictions, run.clock.step)
        write_result(directory, result)
        Console().print(summary(result, directory))
    accelerator.wait_for_everyone()
    return result


def schedule_lengths(config: RunConfig, clock: Clock) -> tuple[int, int]:
    """Return how often the schedule moves during warm-up, and in the whole run."""
    num_warmup_steps = parse_time(config.warmup).to_steps(clock)
    if config.schedule_interval == "step":
        return num_warmup_steps, clock.total_steps
    return round(num_warmup_steps / clock.steps_per_epoch), max(1, round(clock.total_steps / clock.steps_per_epoch))


def _same_everywhere(directory: Path) -> Path:
    """Return the main process's directory: a name that ends in the time may differ between processes."""
    shared = [str(directory)]
    broadcast_object_list(shared)
    return Path(shared[0])


def _say_nothing(message: str) -> None:
    """Stand in for `print` on all processes but the main one."""
