"""A script for test_sharded_matrix: trains a tiny model through every edit, and writes the weights at the end.

It is started once for each number of processes. Every cell of the matrix (an edit, a precision, whether parameters are
split, and whether an evaluation precedes the edit) is a separate run in the same processes.
"""

from __future__ import annotations

import argparse
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from heads import HEADS as REGISTERED_HEADS
from tests.launched.edit_matrix import CASES, Case
from tests.launched.runs_in_process import (
    finished_run,
    hash_weights,
    script_parser,
    whole_weights,
    write_by_rank,
)
from tests.shipped import shipped_names

NUM_STEPS = 20
STEP_OF_EDIT = 10


def cells_of(arguments: argparse.Namespace) -> list[tuple[str, str, str, bool]]:
    """Return the requested cells: edit, precision, way to split (or "none"), and whether an evaluation comes first."""
    return [
        (edit, precision, shard, evaluates)
        for edit in arguments.edits.split(",")
        for precision in arguments.precisions.split(",")
        for shard in arguments.shards.split(",")
        for evaluates in (False, True)
    ]


HEADS = {f"head {name}": {"name": name, "dropout": 0.0} for name in shipped_names(REGISTERED_HEADS)}
"""Heads by the name of their cells, in which the edit changes nothing."""


def run_cell(arguments: argparse.Namespace, edit: str, precision: str, shard: str, evaluates: bool) -> dict[str, Any]:
    """Train through an edit; return the weights, and whether the optimizer has each parameter exactly once."""
    case = CASES.get(edit, Case({"scale_lr": 1.0}))
    run = finished_run(
        argparse.Namespace(
            encoder=arguments.decoder if case.needs_decoder else arguments.encoder,
            data=arguments.data,
            shard=None if shard == "none" else shard,
        ),
        [],
        head=HEADS.get(edit, {"name": "mean", "dropout": 0.0}),
        dropout=0.0,
        optimizer="sgd",
        lr=0.05,
        layer_decay=0.9,
        warmup="3st",
        micro_batch_size=3,
        max_steps=NUM_STEPS,
        mixed_precision=precision,
        evaluate_every=f"{STEP_OF_EDIT}st" if evaluates else None,
        timeline=[*case.earlier_entries, {"at": f"{STEP_OF_EDIT}st", **_without_dropout(case.edit)}],
    )
    counts = Counter(parameter for group in run.optimizer.param_groups for parameter in group["params"])
    covered = counts == Counter(run.encoder_with_head.parameters())
    return {"weights": whole_weights(run), "covered": covered}


def _without_dropout(edit: dict[str, Any]) -> dict[str, Any]:
    """Return an edit that adds no dropout, since each process would drop different units."""
    if "replace_head" in edit:
        return {"replace_head": {**edit["replace_head"], "dropout": 0.0}}
    return {"set_dropout": 0.0} if "set_dropout" in edit else edit


def main() -> None:
    """Run the requested cells; write the hash of each one's weights, and the weights."""
    parser = script_parser()
    parser.add_argument("--decoder", required=True)
    parser.add_argument("--edits", default=",".join([*CASES, *HEADS]))
    parser.add_argument("--precisions", default="no,bf16")
    parser.add_argument("--shards", default="none,fsdp2")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    weights: dict[str, Tensor] = {}
    for edit, precision, shard, evaluates in cells_of(arguments):
        cell = f"{edit}-{precision}-{shard}-{'evaluated' if evaluates else 'not'}"
        try:
            outcomes = [run_cell(arguments, edit, precision, shard, evaluates) for _ in range(arguments.repeats)]
        except Exception:  # run and report the remaining cells too
            results[cell] = {"error": traceback.format_exc()}
            continue
        results[cell] = {
            "hashes": [hash_weights(outcome["weights"]) for outcome in outcomes],
            "covered": all(outcome["covered"] for outcome in outcomes),
        }
        weights |= {f"{cell}|{name}": value for name, value in outcomes[0]["weights"].items()}
    write_by_rank(arguments.output, results)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    save_file(weights, Path(f"{arguments.output}-weights.{rank}.safetensors"))


if __name__ == "__main__":
    main()
