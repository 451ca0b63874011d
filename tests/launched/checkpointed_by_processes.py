"""A script for test_gradient_checkpointing: trains through edits with and without gradient checkpointing.

It is started with one process and with two.
"""

from __future__ import annotations

from typing import Any

from research.records.results import weights_sha256
from tests.launched.cached_by_processes import LossRecorder
from tests.launched.runs_in_process import finished_run, script_parser, write_by_rank

TIMELINE: list[dict[str, Any]] = [
    {"at": "0%", "freeze": "encoder"},
    {"at": "1st", "unfreeze": "encoder.layer"},  # the embeddings stay frozen
    {"at": "2st", "replace_head": {"name": "lstm", "lstm_size": 4}},
    {"at": "3st", "add_lora": {"r": 2, "dropout": 0.1}},
    {"at": "5st", "merge_lora": True},
    {"at": "6st", "drop_layers": "encoder.layer[0]", "reinitialize": "encoder.layer[-1]"},
    {"at": "7st", "unfreeze": "encoder"},
]


def main() -> None:
    """Train with and without gradient checkpointing; write the losses and a hash of the weights."""
    arguments = script_parser().parse_args()
    results: list[dict[str, Any]] = []
    for gradient_checkpointing in (False, True):
        losses = LossRecorder()
        run = finished_run(
            arguments,
            [losses],
            dropout=0.1,
            attention_dropout=0.1,
            lr=0.01,
            max_steps=9,
            micro_batch_size=2,
            mixed_precision="bf16",
            timeline=TIMELINE,
            gradient_checkpointing=gradient_checkpointing,
        )
        results.append(
            {
                "losses": losses.values,
                "hash": weights_sha256(run.encoder_with_head),
                "checkpointing": run.encoder_with_head.encoder.is_gradient_checkpointing,
            }
        )
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
