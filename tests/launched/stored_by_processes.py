"""A script for test_base_dtype: trains adapters on stored weights, and writes losses and a hash of the weights.

It is started with one process and with two.
"""

from __future__ import annotations

from typing import Any

from research.records.results import weights_sha256
from research.settings.config import BaseDtype
from tests.launched.cached_by_processes import LossRecorder
from tests.launched.runs_in_process import finished_run, script_parser, write_by_rank

DTYPES: tuple[BaseDtype, ...] = ("bf16", "int8", "int4")
TIMELINE: list[dict[str, Any]] = [
    {"at": "2st", "unfreeze": "name:*.LayerNorm.*"},
    {"at": "5st", "merge_lora": True},
    {"at": "6st", "unfreeze": "encoder"},
]


def main() -> None:
    """Train with each data type."""
    arguments = script_parser().parse_args()
    results: dict[str, dict[str, Any]] = {}
    for base_dtype in DTYPES:
        losses = LossRecorder()
        run = finished_run(
            arguments,
            [losses],
            lr=0.01,
            max_steps=8,
            micro_batch_size=2,
            mixed_precision="no",
            peft="lora",
            base_dtype=base_dtype,
            timeline=TIMELINE,
        )
        results[base_dtype] = {"losses": losses.values, "hash": weights_sha256(run.encoder_with_head)}
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
