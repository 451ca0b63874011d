"""A script for test_hooks_by_processes: trains without and with each built-in hook, and writes the weights.

It is started once for each number of processes. Every entry of SETTINGS is a separate run in the same processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tests.launched.runs_in_process import finished_run, hash_weights, script_parser, whole_weights, write_by_rank

SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "early_stopping": {"hook": [{"name": "early_stopping", "patience": 1}], "evaluate_every": "1st", "lr": 5.0},
    "ema": {"hook": [{"name": "ema", "decay": 0.5}], "evaluate_every": "2st"},
    "fgm": {"hook": [{"name": "fgm", "epsilon": 0.5}]},
    "gradual_unfreezing": {"hook": [{"name": "gradual_unfreezing", "over": "6st"}]},
    "length_warmup": {"hook": [{"name": "length_warmup", "start": 8, "num_stages": 2}]},
    "loss_spike_guard": {"hook": [{"name": "loss_spike_guard", "window": 2, "threshold": 0.1}]},
    "swa": {"hook": [{"name": "swa", "start": "4st", "every": "2st"}], "evaluate_every": "2st"},
}
"""Settings of each run, by the name of its hook. The unit `st` is steps: `2st` is two steps."""


def main() -> None:
    """Train with each hook; save the weights; write their hash and the numbers of steps, skipped steps and edits."""
    arguments = script_parser().parse_args()
    results: dict[str, Any] = {}
    for name, settings in SETTINGS.items():
        run = finished_run(
            arguments,
            [],
            head={"name": "linear", "dropout": 0.0},
            dropout=0.0,
            optimizer="sgd",
            micro_batch_size=4,
            max_steps=8,
            mixed_precision="no",
            **{"lr": 0.5, "head_lr": None, **settings},
        )
        weights = whole_weights(run)
        results[name] = {
            "steps": run.clock.step,
            "skipped": run.num_skipped,
            "edits": len(run.journal),
            "hash": hash_weights(weights),
        }
        if run.is_main:
            save_file(weights, Path(f"{arguments.output}-{name}.safetensors"))
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
