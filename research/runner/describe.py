"""Messages that describe a run: before it starts, after it has finished, and if it runs out of memory."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Group
from rich.table import Table

from research.model.parameters import count_parameters
from research.records.many_labels import MANY_LABELS
from research.records.predictions_file import predictions_path
from research.runner.example_input import describe_example
from research.settings.config import RunConfig
from research.settings.template import parse_template
from research.training.run import TrainingRun


def describe_run(run: TrainingRun) -> list[str]:
    """Return a description of the run in a few lines, for printing before training."""
    config, model = run.config, run.encoder_with_head
    head = config.head_name
    trainable, total = count_parameters(model)
    num_processes = run.accelerator.num_processes
    precision = "float32" if config.mixed_precision == "no" else f"{config.mixed_precision} mixed precision"
    device_facts = [run.accelerator.device.type, precision]
    if config.base_dtype != "float32":
        device_facts.append(f"frozen weights stored in {config.base_dtype}")
    if run.accelerator.device.type == "cpu":
        device_facts.append(f"{torch.get_num_threads()} thread{'' if torch.get_num_threads() == 1 else 's'}")
    return [
        f"{config.encoder} + {head} head: {trainable:,} of {total:,} parameters trainable, "
        f"{run.task.num_labels} outputs ({run.task.name})",
        f"{run.clock.total_steps:,} steps of {config.batch_size} examples, {num_processes} "
        f"process{'' if num_processes == 1 else 'es'} ({', '.join(device_facts)})",
        *describe_example(parse_template(config.template), run.tokenizer, run.collator, run.texts),
        f"run directory: {run.directory}",
    ]


def describe_result(result: Mapping[str, Any], directory: Path) -> Group:
    """Return the final output of a run: its directory, metrics of labelled splits, and time and memory used.

    For splits without labels, the output names the file of the predictions instead.
    """
    (metric, *splits), *rows = metric_rows(result)
    table = Table(metric)
    for split in splits:
        table.add_column(split, justify="right")
    for row in rows:
        table.add_row(*row)
    unlabelled = [
        f"The {result['rows'][split]:,} {split} rows have no labels, so no metrics were computed. Predictions: "
        f"{predictions_path(directory, split)}"
        for split in result["unlabelled"]
    ]
    return Group(str(directory), table, *unlabelled, describe_cost(result))


def metric_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a table with the metrics of labelled splits; its first row is the header.

    If there are many labels, the metrics of single labels are omitted.
    """
    splits = list(result["metrics"])
    names = list(dict.fromkeys(name for metrics in result["metrics"].values() for name in metrics))
    label_metrics = [name for name in names if "/" in name]  # metrics of one label, such as f1/positive
    if len(label_metrics) >= MANY_LABELS:
        names = [name for name in names if "/" not in name]
    rows = [("metric", *(f"{split} ({result['rows'][split]:,} rows)" for split in splits))]
    for name in names:
        values = [result["metrics"][split][name] for split in splits]
        rows.append((name, *("not defined" if math.isnan(value) else f"{value:.4f}" for value in values)))
    return rows


def describe_cost(result: Mapping[str, Any]) -> str:
    """Return the time and the memory that a run used."""
    return (
        f"{result['steps']:,} steps in {result['train_seconds']:.0f} s, {result['examples_per_second']:.1f} examples/s"
        f", peak memory {result['peak_memory_bytes'] / 2**30:.2f} GiB"
    )


def peak_memory_bytes(accelerator: Accelerator) -> int:
    """Return this process's peak memory in bytes: on the GPU if there is one, otherwise resident memory."""
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere


def out_of_memory_message(config: RunConfig) -> str:
    """Return a message that lists the settings to lower if a GPU runs out of memory."""
    return (
        f"The GPU ran out of memory. Lower --micro_batch_size (now {config.micro_batch_size}; the result stays the "
        f"same) or --max_length (now {config.max_length}), compute in 16 bits with --mixed_precision bf16 (now "
        f"{config.mixed_precision}), or keep fewer activations with --gradient_checkpointing true (now "
        f"{str(config.gradient_checkpointing).lower()})."
    )
