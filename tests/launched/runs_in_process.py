"""Functions for test scripts that make many short runs in the same processes."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from research import Hook, RunConfig
from research.runner.resolve import resolve
from research.runner.set_up import set_up
from research.system.sharded_tensors import gather
from research.training.accelerator import close_trackers, create_accelerator
from research.training.loop import train
from research.training.run import TrainingRun


def script_parser() -> argparse.ArgumentParser:
    """Return a parser with the options that all test scripts share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--shard", default=None)
    return parser


def prepare_run(folder: str, hooks: Sequence[Hook], **settings: Any) -> TrainingRun:
    """Return a short run that is ready to train. By default, it has no evaluations during training and no trackers."""
    # One thread, since several threads are slower for a tiny model.
    defaults: dict[str, Any] = {
        "batch_size": 8,
        "max_length": 32,
        "evaluate_every": None,
        "log_with": [],
        "overwrite": True,
        "num_threads": 1,
    }
    config = resolve(RunConfig(**{**defaults, "output_dir": folder, **settings}))
    accelerator = create_accelerator(config, folder)
    try:
        return set_up(config, Path(folder), accelerator, start=None, hooks=hooks)
    except BaseException:
        close_trackers(accelerator)
        raise


def train_and_end(run: TrainingRun) -> None:
    """Train, and leave the processes ready for another run."""
    try:
        train(run)
    finally:
        close_trackers(run.accelerator)


def finished_run(arguments: argparse.Namespace, hooks: Sequence[Hook], **settings: Any) -> TrainingRun:
    """Return a short run after its training. Its directory is deleted.

    Args:
        arguments: the options of `script_parser`.
        hooks: the run's hooks.
        **settings: the run's settings; see `prepare_run`.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = prepare_run(
            folder, hooks, encoder=arguments.encoder, data=arguments.data, shard=arguments.shard, **settings
        )
        train_and_end(run)
    return run


def whole_weights(run: TrainingRun) -> dict[str, Tensor]:
    """Return a copy of all parameters; called on every process."""
    return {name: gather(parameter).clone() for name, parameter in run.encoder_with_head.named_parameters()}


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """Return a hash of the values of weights, in their order."""
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in weights.values())).hexdigest()


def write_by_rank(output: Path, results: Any) -> None:
    """Write the results of this process to its own file: `output` with the rank as its suffix."""
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    output.with_suffix(f".{rank}").write_text(json.dumps(results))


def read_by_rank(output: Path, num_processes: int) -> list[Any]:
    """Return the results that `write_by_rank` wrote, in the order of the processes."""
    return [json.loads(output.with_suffix(f".{rank}").read_text()) for rank in range(num_processes)]
