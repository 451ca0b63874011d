"""A script for test_sharded_loading: loads models whole and in parts, and writes hashes of their weights and memory."""

from __future__ import annotations

import argparse
import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from torch import nn

from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.encoders import load_encoder
from research.model.row_checks import difference
from research.settings.config import RunConfig
from research.system.sharded_tensors import gather, is_sharded
from research.training.accelerator import close_trackers
from research.training.wrapping.fsdp2 import ShardedModel
from research.training.wrapping.sharding import Sharding, choose_sharding
from tests.launched.runs_in_process import hash_weights, prepare_run, script_parser, whole_weights, write_by_rank


def hash_model(model: nn.Module) -> str:
    """Return a hash of the whole values of all parameters."""
    return hash_weights({name: gather(parameter) for name, parameter in model.named_parameters()})


def share_in_memory(load: Callable[[], nn.Module], loaded: list[nn.Module]) -> float:
    """Return by how much the memory of this process is larger with a model than without it, as a share of its size.

    Args:
        load: loads the model.
        loaded: gets the model. If it were freed, the next model would be loaded into its memory, and need no more.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # so that the model is not loaded into memory that was freed before
    before = psutil.Process().memory_info()
    model = load()
    loaded.append(model)
    after = psutil.Process().memory_info()
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    # Without the pages of files, which the system can drop.
    return ((after.rss - after.shared) - (before.rss - before.shared)) / size


def compare_encoders(folder: Path, sharding: Sharding, accelerator: Accelerator) -> dict[str, Any]:
    """Load an encoder whole and in parts; return hashes of both, names of split parameters and the largest difference.

    The difference is that of the hidden states of three rows.
    """
    whole = load_encoder(str(folder))
    with sharding.loading():
        parts = load_encoder(str(folder))
    found: dict[str, Any] = {"hashes": [hash_model(whole), hash_model(parts)]}
    found["split"] = [name for name, parameter in parts.named_parameters() if is_sharded(parameter)]
    ids = torch.randint(5, 50, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9) < torch.tensor([[9], [5], [1]])).long()
    states = []
    for encoder in (whole, parts):
        torch.manual_seed(0)
        model = EncoderWithHead(EncoderWithHeadConfig(encoder=encoder.config, head="mean", num_labels=2), encoder)
        if encoder is parts:
            ShardedModel(accelerator, model, sharding)
        model.eval()
        with torch.no_grad():
            last = model.run_encoder(ids, mask, all_layers=False)
        assert isinstance(last, torch.Tensor)
        states.append(last)
    return {**found, "difference": difference(*states)}


def compare_runs(arguments: argparse.Namespace, sharding: Sharding) -> dict[str, Any]:
    """Return the memory of a large encoder, and hashes of the weights of runs with and without --shard."""
    loaded: list[nn.Module] = []
    with sharding.loading():
        parts = share_in_memory(lambda: load_encoder(arguments.large), loaded)
    memory = {"parts": parts, "whole": share_in_memory(lambda: load_encoder(arguments.large), loaded)}
    loaded.clear()
    runs = {}
    for name, settings in {
        "plain": {},
        "with a new token": {"pad_token": "[NEW]"},
        "from a saved model": {"init_from": str(arguments.saved_run / "model")},
        "from a checkpoint": {"init_from": str(arguments.saved_run / "checkpoints" / "step-00000001")},
    }.items():
        hashes = []
        for shard in (None, "fsdp2"):
            output = str(arguments.output.with_name("run"))
            run = prepare_run(output, [], encoder=arguments.encoder, data=arguments.data, shard=shard, **settings)
            hashes.append(hash_weights(whole_weights(run)))
            close_trackers(run.accelerator)
        runs[name] = hashes
    return {"runs": runs, "memory": memory}


def main() -> None:
    """Load encoders, and set up runs; write by rank what was found."""
    parser = script_parser()
    parser.add_argument("--folders", nargs="+", type=Path, required=True, help="encoders to load")
    parser.add_argument("--saved_run", type=Path, help="a run with a model and a checkpoint, from which runs start")
    parser.add_argument("--large", help="an encoder whose memory is measured")
    arguments = parser.parse_args()
    accelerator = Accelerator(cpu=True)
    sharding = choose_sharding(RunConfig(shard="fsdp2"), accelerator)
    others = compare_runs(arguments, sharding) if arguments.saved_run else {}
    encoders = {folder.name: compare_encoders(folder, sharding, accelerator) for folder in arguments.folders}
    write_by_rank(arguments.output, {"encoders": encoders, **others})


if __name__ == "__main__":
    main()
