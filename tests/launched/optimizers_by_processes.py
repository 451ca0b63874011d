"""A script for test_optimizers_by_processes: trains through edits with each built-in optimizer, and writes the weights.

It is started once for each number of processes. Every optimizer is a separate run in the same processes.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from research.learning.optimizers.base import OPTIMIZERS
from research.training.run import TrainingRun
from tests.launched.runs_in_process import prepare_run, script_parser, train_and_end, write_by_rank
from tests.shipped import shipped_names

RATES = {"sgd": 0.1, "adafactor": 0.01}
"""Learning rates that differ from 0.001."""


def weights(run: TrainingRun) -> dict[str, Tensor]:
    """Return a copy of all weights."""
    return {name: parameter.detach().clone() for name, parameter in run.encoder_with_head.named_parameters()}


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
            if run.is_main:
                save_file(weights(run), Path(f"{arguments.output}-initial.safetensors"))
            train_and_end(run)
        trained = weights(run)
        digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in trained.values())).hexdigest()
        results[name] = {"edits": len(run.journal), "hash": digest}
        if run.is_main:
            save_file(trained, Path(f"{arguments.output}-{name}.safetensors"))
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
