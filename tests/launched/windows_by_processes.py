"""A script for test_windows: trains on windows of texts, and writes the results.

It is started with one process and with two.
"""

from __future__ import annotations

from typing import Any

from safetensors.torch import save_file

from tests.launched.cached_by_processes import LossRecorder
from tests.launched.runs_in_process import finished_run, script_parser, write_by_rank

CASES: dict[str, dict[str, Any]] = {
    "all": {"head": {"name": "lstm", "lstm_size": 8, "dropout": 0.0}},
    "random": {"head": {"name": "linear", "dropout": 0.0}, "train_windows": 2},
    "edits": {
        "head": {"name": "attention", "dropout": 0.0},
        "timeline": [
            {"at": "0%", "freeze": "encoder"},
            {"at": "2st", "unfreeze": "encoder.layer[-1]"},
            {"at": "4st", "unfreeze": "encoder"},
            {"at": "5st", "replace_head": {"name": "scalar_mix", "dropout": 0.0}},
        ],
    },
    "checkpointed": {"head": {"name": "mean", "dropout": 0.0}, "gradient_checkpointing": True},
}


def main() -> None:
    """Train each case; write losses, logits and row ids of the test split, and the weights."""
    arguments = script_parser().parse_args()
    results: dict[str, Any] = {}
    for name, settings in CASES.items():
        losses = LossRecorder()
        run = finished_run(
            arguments,
            [losses],
            dropout=0.0,
            max_steps=7,  # an epoch has 6 steps
            max_length=10,
            long_texts="windows",
            stride=6,
            window_batch_size=3,
            mixed_precision="no",
            **settings,
        )
        predictions = run.evaluate("test")
        results[name] = {
            "losses": losses.values,
            "logits": predictions.logits.tolist(),
            "ids": predictions.ids.tolist(),
        }
        if run.is_main:
            weights = {key: value.contiguous() for key, value in run.encoder_with_head.state_dict().items()}
            save_file(weights, f"{arguments.output}-{name}.safetensors")
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
