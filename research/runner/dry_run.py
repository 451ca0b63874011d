"""`--dry_run`: show the plan of a run by ranges of steps, without loading weights, tokenizing all rows or training."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from research.data.batches.order import split_batch
from research.data.batches.tokens import tokenize_texts
from research.data.prepare.load import load_splits
from research.edits.records import Record
from research.edits.rehearsal import StepPlan
from research.edits.timeline import list_edits
from research.model.encoders import load_tokenizer
from research.runner.dry_run_figure import timeline_figure
from research.runner.example_input import describe_example
from research.runner.plan import Plan, plan_run
from research.runner.resolve import resolve
from research.settings.config import Choice, RunConfig
from research.settings.template import Template, parse_template
from research.system.launcher import num_launched_processes
from research.system.terminal import Terminal
from research.training.checkpoint.find import find_fork_checkpoint
from research.training.checkpoint.state import parent_at

NUM_TEXTS = 1000
"""Maximum number of texts that are tokenized to count their windows."""
FIGURE = Path("timeline.png")
"""File of the figure, in the working directory."""


@dataclass(frozen=True)
class DryRun:
    """The plan of a run, and the result of its rehearsal."""

    plan: Plan
    """Plan of the run, without weights and tokens."""
    steps: list[StepPlan]
    """The steps that the run takes, as rehearsed; in a fork, those after its parent's checkpoint."""
    example: list[str]
    """Description of an input with its template; empty without a template."""
    windows: NDArray[np.int64] | None
    """Number of windows of some training texts (with --streaming, of validation texts); None if texts are truncated to
    one input."""
    edits: list[Record]
    """All edits at known steps, as rehearsed. Conditional edits are not included."""


def print_dry_run(config: RunConfig) -> None:
    """Print the plan of a run, and draw it to timeline.png in the working directory.

    Raises:
        ValueError: if the run itself would stop with an error before training.
    """
    if int(os.environ.get("RANK", "0")) > 0:  # only the main process prints
        return
    dry_run = plan_and_rehearse(config)
    console = Terminal()
    console.print(describe_dry_run(dry_run))
    timeline_figure(dry_run.steps, dry_run.edits).savefig(FIGURE, dpi=120)
    console.print(f"Drawn to {FIGURE}; nothing was trained.")


def plan_and_rehearse(config: RunConfig) -> DryRun:
    """Plan and rehearse a run.

    Raises:
        ValueError: if the run itself would stop with an error before training.
    """
    config = resolve(config)
    parent = None if config.fork is None else parent_at(config.fork, find_fork_checkpoint(config.fork))
    texts = load_splits(config)
    plan = plan_run(config, texts, load_tokenizer(config.encoder, config.pad_token), hooks=(), parent=parent)
    template = parse_template(config.template)
    example = describe_example(template, plan.tokenizer, plan.collator, texts)
    rehearsal = plan.create_rehearsal()
    if parent is not None:
        rehearsal.replay_journal(parent)
    rehearsal.check(plan.timeline)
    counted = texts.train if texts.streamed is None else texts.validation
    windows = None if plan.collator.windows is None else _count_windows(plan, template, counted)
    return DryRun(plan, list(rehearsal.plan_steps(plan.timeline)), example, windows, rehearsal.journal)


def _count_windows(plan: Plan, template: Template | None, rows: Dataset) -> NDArray[np.int64]:
    """Return the number of windows of some rows, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), NUM_TEXTS)).astype(np.int64))
    ids = tokenize_texts(plan.tokenizer, rows[chosen]["text"], "" if template is None else template.spaces[0])
    return np.array([plan.collator.count_windows(len(of_text)) for of_text in ids])


def describe_dry_run(dry_run: DryRun) -> Group:
    """Return what `print_dry_run` prints: the run, its edits, a table of rates, and what only the run will show."""
    return Group(
        *_describe_run(dry_run),
        "",
        *_describe_edits(dry_run),
        "",
        _make_rate_table(dry_run),
        *_describe_open_questions(dry_run),
    )


def split_at_edits(dry_run: DryRun) -> list[Sequence[StepPlan]]:
    """Split the steps into ranges within which no edit is applied."""
    num_earlier, num_steps = dry_run.steps[0].step - 1, len(dry_run.steps)  # a fork does not start at step 1
    indices_after_edits = (record.step - num_earlier for record in dry_run.edits)
    starts = sorted({0, *(index for index in indices_after_edits if 0 <= index < num_steps)})
    return [dry_run.steps[start:end] for start, end in zip(starts, [*starts[1:], num_steps], strict=True)]


def _describe_run(dry_run: DryRun) -> list[str]:
    config, clock = dry_run.plan.config, dry_run.plan.clock
    num_processes = num_launched_processes()
    micro_batches = split_batch(np.arange(config.batch_size), 0, num_processes, config.micro_batch_size)
    plural = "es" * (len(micro_batches) > 1)
    processes = f"{num_processes} process{'es' * (num_processes > 1)}"
    lines = [
        f"{config.encoder} + {config.head_name} head on {config.data}",
        f"{clock.total_steps:,} steps of {config.batch_size} examples ({clock.steps_per_epoch:,} per epoch): "
        f"{processes}, {'each ' * (num_processes > 1)}with {len(micro_batches)} micro-batch{plural} of up to "
        f"{len(micro_batches[0].rows)} examples",
        *dry_run.example,
    ]
    if (counts := dry_run.windows) is not None:
        kind = "validation" if config.streaming else "training"
        median = f"{np.median(counts):g}"
        lines.append(f"windows per text: median {median}, maximum {counts.max()} (of {len(counts):,} {kind} texts)")
    return [*lines, dry_run.plan.timeline.note] if dry_run.plan.timeline.note else lines


def _describe_edits(dry_run: DryRun) -> list[str]:
    if not dry_run.edits:
        return [f"No edit at a known step; trainable parameters: {dry_run.steps[0].trainable_parameters:,}"]
    return [
        f"{record.number:>3}  after step {record.step:,} (epoch {record.epoch:.2f}): {record}"
        for record in dry_run.edits
    ]


def _make_rate_table(dry_run: DryRun) -> Table:
    table = Table("steps", "trainable", "block", "first rate", "highest", "last", title="Learning rates")
    for steps in split_at_edits(dry_run):
        label = f"{steps[0].step:,} - {steps[-1].step:,}"
        trainable = f"{steps[0].trainable_parameters:,}"
        for blocks, is_frozen in _group_by_frozen(steps[0]):
            rates = [step.learning_rates[blocks[0]] for step in steps]
            columns = (rates[0], max(rates), rates[-1])
            shown = ["frozen", "", ""] if is_frozen else [_format_rate(rate) for rate in columns]
            name = blocks[0] if len(blocks) == 1 else f"{blocks[0]} ... {blocks[-1]}"
            table.add_row(label, trainable, name, *shown)
            label = trainable = ""  # shown only in the first row of each range
        table.add_section()
    return table


def _group_by_frozen(step: StepPlan) -> list[tuple[list[str], bool]]:
    """Group the blocks of a step: neighbouring frozen blocks form one group; every other block is a group of its own.

    Returns:
        The names of each group's blocks, and whether they are frozen.
    """
    groups: list[tuple[list[str], bool]] = []
    for block in step.learning_rates:
        is_frozen = block not in step.trainable_blocks
        if is_frozen and groups and groups[-1][1]:
            groups[-1][0].append(block)
        else:
            groups.append(([block], is_frozen))
    return groups


def _format_rate(value: float) -> str:
    assert math.isfinite(value)
    return f"{value:.3g}"


def _describe_open_questions(dry_run: DryRun) -> list[str]:
    """Describe what only the run will show: conditional edits, rates of the schedule plateau, and edits by hooks."""
    lines = []
    for entry in dry_run.plan.timeline.conditional:
        lines.append(
            f"Conditional (applied at most once, not in the table): when {entry.when}: {list_edits(entry.requests)} "
            f"({entry.requested_by})."
        )
    config = dry_run.plan.config
    if Choice.of(config.schedule, "schedule").name == "plateau":
        lines.append("The schedule 'plateau' depends on validation/loss; the rates in the table ignore it.")
    hooks = [Choice.of(hook, "hook").name for hook in config.hook]
    if hooks:
        lines.append(f"Hooks that may request more edits during the run, or stop it: {', '.join(hooks)}.")
    return lines
