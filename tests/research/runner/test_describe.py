"""Text that a run prints before it starts and after it ends."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from research import RunConfig
from research.records.many_labels import MANY_LABELS
from research.runner.describe import describe_result, describe_run, out_of_memory_message, peak_memory_bytes
from research.system.terminal import Terminal
from tests.research.conftest import StartRun


def result_text(result: dict[str, Any]) -> str:
    file = io.StringIO()
    Terminal(file=file, width=200).print(describe_result(result, Path("runs/a")))
    return file.getvalue()


def make_result(metrics: dict[str, dict[str, float]], unlabelled: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "metrics": metrics,
        "rows": {"validation": 1234, "test": 23},
        "steps": 5600,
        "train_seconds": 61.4,
        "examples_per_second": 99.94,
        "peak_memory_bytes": 3 * 2**29,  # 1.5 GiB
        "unlabelled": list(unlabelled),
    }


def test_describe_run_gives_parameters_steps_and_processes(start_run: StartRun) -> None:
    run = start_run(head="lstm", freeze=["encoder"], max_steps=3)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in run.encoder_with_head.parameters()]
    trainable, total = sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
    model_line, length_line, directory_line = describe_run(run)
    assert f"{run.config.encoder} + lstm head: {trainable:,} of {total:,} parameters trainable" in model_line
    assert "2 outputs (single_label)" in model_line
    assert "3 steps of 8 examples, 1 process (cpu, float32, " in length_line
    assert str(run.directory) in directory_line


def test_peak_memory_bytes_exceeds_50_mib_in_a_process_with_torch(start_run: StartRun) -> None:
    assert peak_memory_bytes(start_run().accelerator) > 50 * 2**20


def test_describe_result_has_every_metric_of_every_split() -> None:
    text = result_text(
        make_result({"validation": {"loss": 0.5, "f1/a": 1.0}, "test": {"loss": float("nan"), "f1/a": 0.25}})
    )
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [["loss", "0.5000", "not defined"], ["f1/a", "1.0000", "0.2500"]]
    for value in ("runs/a", "1,234", "5,600 steps in 61 s", "99.9 examples/s", "1.50 GiB"):
        assert value in text


def test_describe_result_omits_label_metrics_if_there_are_many_labels() -> None:
    metrics = {"loss": 0.5, **{f"f1/{index}": 1.0 for index in range(MANY_LABELS)}}
    assert "f1/" not in result_text(make_result({"test": metrics}))


def test_describe_result_points_to_the_predictions_of_unlabelled_splits() -> None:
    text = result_text(make_result({"validation": {"loss": 0.5}}, ("test",)))
    assert "23 test rows" in text
    assert "runs/a/predictions/test.parquet" in text.replace("\n", "")


def test_out_of_memory_message_contains_settings_and_their_values() -> None:
    message = out_of_memory_message(RunConfig(micro_batch_size=7, max_length=99, mixed_precision="fp16"))
    for flag, value in (
        ("--micro_batch_size", "7"),
        ("--max_length", "99"),
        ("--mixed_precision", "fp16"),
        ("--gradient_checkpointing", "false"),
    ):
        assert flag in message
        assert f"now {value}" in message
