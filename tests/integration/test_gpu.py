"""Tests that need a GPU: fp16 with its scaler, bf16, cached hidden states, and running out of memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import Launch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="requires a CUDA device; none found"),
]


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
