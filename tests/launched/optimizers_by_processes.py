"""A script for test_optimizers_by_processes: trains through edits with each built-in optimizer, and writes the weights.

It is started once for each number of processes. Every optimizer is a separate run in the same processes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from research.learning.optimizers.base import OPTIMIZERS
from tests.launched.runs_in_process import (
    hash_weights,
    prepare_run,
    script_parser,
    train_and_end,
    whole_weights,
    write_by_rank,
)
from tests.shipped import shipped_names

RATES = {"sgd": 0.1, "adafactor": 0.01}
"""Learning rates that differ from 0.001."""


def main() -> None:
    """Train with each optimizer; save the weights; write their hash and the number of edits."""
    arguments = script_parser().parse_args()
    results: dict[str, Any] = {}
    for name in shipped_names(OPTIMIZERS):
        with tempfile.TemporaryDirectory() as folder:
            run = prepare_run(
                folder,
                [],
                encoder=arguments.encoder,
                data=arguments.data,
                shard=arguments.shard,
                head={"name": "linear", "dropout": 0.0},
                dropout=0.0,
                optimizer=name,
                schedule="constant",
                lr=RATES.get(name, 0.001),
                head_lr=None,
                micro_batch_size=4,
                max_steps=6,
                mixed_precision="no",
                timeline=[
                    {"at": "0%", "freeze": "encoder.layer[0]"},
                    {"at": "2st", "unfreeze": "encoder", "scale_lr": 0.5},
                ],
            )
            initial = whole_weights(run)
            if run.is_main:
                save_file(initial, Path(f"{arguments.output}-initial.safetensors"))
            train_and_end(run)
        trained = whole_weights(run)
        results[name] = {"edits": len(run.journal), "hash": hash_weights(trained)}
        if run.is_main:
            save_file(trained, Path(f"{arguments.output}-{name}.safetensors"))
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
