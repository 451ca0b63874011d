"""A script for test_sharded_loading: loads models whole and in parts, and writes hashes of their weights and memory."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from torch import nn

from research.model.encoders import load_encoder
from research.settings.config import RunConfig
from research.system.sharded_tensors import gather, is_sharded
from research.training.accelerator import close_trackers
from research.training.wrapping.sharding import choose_sharding
from tests.launched.runs_in_process import hash_weights, prepare_run, script_parser, whole_weights, write_by_rank


def hash_model(model: nn.Module) -> str:
    """Return a hash of the whole values of all parameters."""
    return hash_weights({name: gather(parameter) for name, parameter in model.named_parameters()})


def share_in_memory(load: Callable[[], nn.Module]) -> float:
    """Return by how much the memory of this process is larger with a model than without it, as a share of its size."""
    gc.collect()
    before = psutil.Process().memory_info()
    model = load()
    after = psutil.Process().memory_info()
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    # Without the pages of files, which the system can drop.
    return ((after.rss - after.shared) - (before.rss - before.shared)) / size


def main() -> None:
    """Load encoders, and set up runs; write by rank what was found."""
    parser = script_parser()
    parser.add_argument("--folders", nargs="+", type=Path, required=True, help="encoders to load")
    parser.add_argument("--init_from", required=True)
    parser.add_argument("--large", required=True, help="an encoder whose memory is measured")
    arguments = parser.parse_args()
    sharding = choose_sharding(RunConfig(shard="fsdp2"), Accelerator(cpu=True))

    def load(folder: Path | str, *, splits: bool) -> nn.Module:
        with sharding.loading() if splits else contextlib.nullcontext():
            return load_encoder(str(folder))

    results: dict[str, Any] = {"encoders": {}, "runs": {}, "split": {}}
    for folder in arguments.folders:
        parts = load(folder, splits=True)
        results["encoders"][folder.name] = [hash_model(load(folder, splits=False)), hash_model(parts)]
        results["split"][folder.name] = [name for name, each in parts.named_parameters() if is_sharded(each)]
    for name, settings in {
        "plain": {},
        "with a new token": {"pad_token": "[NEW]"},
        "from a saved model": {"init_from": arguments.init_from},
    }.items():
        hashes = []
        for shard in (None, "fsdp2"):
            output = str(arguments.output.with_name("run"))
            run = prepare_run(output, [], encoder=arguments.encoder, data=arguments.data, shard=shard, **settings)
            hashes.append(hash_weights(whole_weights(run)))
            close_trackers(run.accelerator)
        results["runs"][name] = hashes
    torch.distributed.barrier()
    results["memory"] = {
        name: share_in_memory(lambda splits=splits: load(arguments.large, splits=splits))  # type: ignore[misc]
        for name, splits in (("parts", True), ("whole", False))
    }
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
