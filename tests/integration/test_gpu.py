"""Tests that need a GPU: precisions and the gradient scaler, NCCL, split parameters, compiled edits, exact resume,
moves between devices, cached hidden states, and running out of memory."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch

from tests.conftest import Launch
from tests.integration.device_checks import (
    EDITED,
    JOURNAL,
    NO_DROPOUT,
    OVERFLOW,
    SHARD,
    Runs,
    check_exact_resume,
    check_launched,
    check_moves,
    check_same_result,
    check_skips_overflow,
    largest_difference,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="requires a CUDA device; none found"),
]
needs_two_gpus = pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason=f"requires two CUDA devices; found {torch.cuda.device_count()}"
)
TOLERANCES = {"no": 1e-5, "bf16": 5e-3, "fp16": 5e-3}
"""Largest accepted difference of a weight between two ways to compute the same run, by precision. On CPUs, the
differences are below 1e-6 in float32 and 1e-3 in bf16; GPUs add numbers in other orders."""
SHARDS: list[tuple[str, ...]] = [(), SHARD]
MOVED = 1e-4
"""Largest accepted difference of a weight if a run with AdamW continues in another way after five of nine steps."""


@pytest.fixture
def launch(launch: Launch) -> Launch:
    """Starts commands in new interpreters: CUDA does not work in a fork of a process that has counted the GPUs."""
    return functools.partial(launch, forks=False)


@pytest.fixture
def runs(launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> Runs:
    """Starts short runs on the GPU."""
    return Runs(launch, tiny_encoder, tiny_reviews, tmp_path)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_gpu_run_finishes_in_every_precision(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, precision: str
) -> None:
    flags = ["--mixed_precision", precision, "--head", "lstm", "--batch_size", "8", "--epochs", "2"]
    flags += ["--max_length", "64", "--output_dir", str(tmp_path / "run")]
    launch(["--encoder", tiny_encoder, "--data", tiny_reviews, *flags])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "finished"
    assert result["metrics"]["test"]["loss"] < 1


@pytest.mark.parametrize("extra_flags", [["--mixed_precision", "fp16"], ["--mixed_precision", "bf16", "--compile"]])
def test_gpu_run_applies_edits(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, extra_flags: list[str]
) -> None:
    timeline = ["{at: 2st, unfreeze: encoder}", "{at: 3st, replace_head: lstm}", "{at: 4st, add_lora: {r: 2}}"]
    flags = [part for entry in [*timeline, "{at: 5st, merge_lora: true}"] for part in ("--timeline", entry)]
    flags += ["--freeze", "encoder", "--batch_size", "8", "--max_length", "64", *extra_flags]
    launch(["--encoder", tiny_encoder, "--data", tiny_reviews, *flags, "--output_dir", tmp_path / "run"])
    journal = [json.loads(line)["name"] for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    assert journal == ["freeze", "unfreeze", "replace_head", "add_lora", "merge_lora"]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "finished"


def test_deterministic_gpu_runs_end_with_the_same_weights(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        flags = ["--deterministic", "--batch_size", "8", "--output_dir", tmp_path / name]
        launch(["--encoder", tiny_encoder, "--data", tiny_reviews, "--max_length", "64", *flags])
    hashes = [
        json.loads((tmp_path / name / "result.json").read_text())["weights_sha256"] for name in ("first", "second")
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(("precision", "tolerance"), [("no", 1e-4), ("bf16", 0.02), ("fp16", 0.02)])
@pytest.mark.parametrize("head", ["lstm", "scalar_mix"])
def test_gpu_run_has_the_same_test_loss_with_and_without_cached_features(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, precision: str, tolerance: float, head: str
) -> None:
    results = []
    for cache_features in ("false", "true"):
        flags = ["--freeze", "encoder", "--epochs", "2", "--batch_size", "8", "--max_length", "32", "--head", head]
        flags += ["--mixed_precision", precision, "--cache_features", cache_features]
        flags += ["--output_dir", str(tmp_path / cache_features)]
        launch(["--encoder", tiny_encoder, "--data", tiny_reviews, *flags])
        results.append(json.loads((tmp_path / cache_features / "result.json").read_text()))
    assert [result["cached_features"] for result in results] == [False, True]
    losses = [result["metrics"]["test"]["loss"] for result in results]
    assert losses[1] == pytest.approx(losses[0], abs=tolerance)


def test_gpu_out_of_memory_names_the_setting_to_lower(launch: Launch, tmp_path: Path) -> None:
    reviews = tmp_path / "long.csv"
    text = "a very long review " * 2000
    reviews.write_text("text,label\n" + "".join(f"{text} {row},{row % 2}\n" for row in range(20_000)))
    flags = ["--batch_size", "16000", "--micro_batch_size", "16000", "--max_length", "512"]
    done = launch(["--data", reviews, *flags, "--output_dir", tmp_path / "run"], check=False)
    assert done.returncode == 1
    assert "Lower --micro_batch_size (now 16000" in done.stderr


@pytest.mark.parametrize("flags", SHARDS, ids=["ddp", "fsdp2"])
@pytest.mark.parametrize("num_processes", [1, pytest.param(2, marks=needs_two_gpus)])
def test_processes_on_gpus_have_the_result_of_plain_python(
    runs: Runs, num_processes: int, flags: tuple[str, ...]
) -> None:
    check_launched(runs, "fsdp2_multi_gpu" if flags else "multi_gpu", num_processes, flags, TOLERANCES["no"])


@needs_two_gpus
@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_two_gpus_with_offloading_have_the_result_of_two_without(runs: Runs, precision: str) -> None:
    flags = [*NO_DROPOUT, *EDITED, *SHARD, "--mixed_precision", precision]
    for name, own in (("kept", []), ("offloaded", ["--shard_cpu_offload", "true"])):
        runs.train(name, *flags, *own, config="fsdp2_multi_gpu", num_processes=2)
        assert runs.journal(name) == JOURNAL
    assert largest_difference(runs.weights("kept"), runs.weights("offloaded")) <= TOLERANCES[precision]


@pytest.mark.parametrize("precision", TOLERANCES)
def test_split_parameters_have_the_result_of_whole_ones(runs: Runs, precision: str) -> None:
    check_same_result(runs, ["--mixed_precision", precision], (), SHARD, TOLERANCES[precision])


@pytest.mark.parametrize("precision", TOLERANCES)
def test_offloaded_parameters_have_the_result_of_those_on_the_gpu(runs: Runs, precision: str) -> None:
    flags = ["--mixed_precision", precision, *SHARD]
    check_same_result(runs, flags, (), ["--shard_cpu_offload", "true"], TOLERANCES[precision])


def test_gradient_scaler_skips_and_counts_overflows(runs: Runs) -> None:
    check_skips_overflow(runs, ["--mixed_precision", "fp16"], TOLERANCES["fp16"])


def test_gradient_scaler_skips_and_counts_overflows_of_offloaded_gradients(runs: Runs) -> None:
    flags = [*SHARD, "--shard_cpu_offload", "true", *OVERFLOW]
    runs.train("offloaded", *NO_DROPOUT, *EDITED, "--mixed_precision", "fp16", *flags)
    assert runs.num_skipped("offloaded") >= 1


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("flags", SHARDS, ids=["whole", "fsdp2"])
def test_compiled_edits_have_the_result_of_edits_that_are_not_compiled(
    runs: Runs, flags: tuple[str, ...], precision: str
) -> None:
    check_same_result(runs, ["--mixed_precision", precision, *flags], (), ["--compile"], TOLERANCES[precision])


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize(
    "flags",
    [(), SHARD, (*SHARD, "--shard_cpu_offload", "true"), (*SHARD, "--compile")],
    ids=["whole", "fsdp2", "offloaded", "compiled"],
)
def test_gpu_run_resumes_with_the_same_bits(runs: Runs, flags: tuple[str, ...], precision: str) -> None:
    own = ["--optimizer", "adamw", "--lr", "1e-3", "--mixed_precision", precision, *flags]
    check_exact_resume(runs, own, on_gpu=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [((), SHARD), (SHARD, ()), (SHARD, (*SHARD, "--shard_cpu_offload", "true"))],
    ids=["split", "joined", "offloaded"],
)
def test_run_on_a_gpu_continues_with_other_settings(
    runs: Runs, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    check_moves(runs, ["--optimizer", "adamw", "--lr", "1e-3"], before, after, MOVED)


@pytest.mark.parametrize("flags", SHARDS, ids=["whole", "fsdp2"])
@pytest.mark.parametrize("starts_on_gpu", [True, False])
def test_checkpoint_moves_between_gpu_and_cpu(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], starts_on_gpu: bool
) -> None:
    def choose_device(name: str) -> None:
        on_gpu = starts_on_gpu == (name == "whole")
        monkeypatch.setenv("ACCELERATE_USE_CPU", str(not on_gpu).lower())

    runs.before_start = choose_device
    check_moves(runs, ["--optimizer", "adamw", "--lr", "1e-3", *flags], (), (), MOVED)
    devices = [json.loads((runs.checkpoint("whole", 5) / "state.json").read_text())["device"]]
    devices += [json.loads((runs.checkpoint("moved", 9) / "state.json").read_text())["device"]]
    assert devices == (["cuda", "cpu"] if starts_on_gpu else ["cpu", "cuda"])
