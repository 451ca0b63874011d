"""Runs with adapters on stored weights: two processes, settings that are refused, the saved model and its export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import research
from research import RunConfig
from research.runner.dry_run import plan_and_rehearse
from research.runner.experiment import run_experiment
from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank
from tests.launched.stored_by_processes import DTYPES

SCRIPT = ROOT / "tests" / "launched" / "stored_by_processes.py"


@pytest.mark.parametrize("num_processes", [1, 2])
def test_processes_train_the_same_weights_through_edits(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, num_processes: int
) -> None:
    output = tmp_path / "results"
    arguments = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", output]
    launch(arguments, num_processes=num_processes, script=str(SCRIPT))
    by_rank = read_by_rank(output, num_processes)
    for base_dtype in DTYPES:
        assert len({results[base_dtype]["hash"] for results in by_rank}) == 1
        assert all(len(set(results[base_dtype]["losses"])) == 8 for results in by_rank)
    assert len({results["hash"] for results in by_rank[0].values()}) == len(DTYPES)


@pytest.mark.parametrize("base_dtype", DTYPES)
def test_a_saved_model_loads_in_float32(
    base_dtype: str,
    tiny_encoder: Path,
    tiny_reviews: Path,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    config = RunConfig(
        encoder=str(tiny_encoder),
        data=str(tiny_reviews),
        max_length=32,
        max_steps=3,
        peft="lora",
        base_dtype=base_dtype,  # type: ignore[arg-type]
        mixed_precision="no",
        log_with=[],
        report=False,
        output_dir=str(tmp_path / "run"),
    )
    result = run_experiment(config)
    weights = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert {value.dtype for value in weights.values()} <= {torch.float32, torch.bfloat16}
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["dtype"] == "float32"
    model = research.load_model(tmp_path / "run")
    assert {value.dtype for value in model.model.parameters()} == {torch.float32}
    assert set(model.predict(["a good film"])["prediction"]) <= {"negative", "positive"}
    assert result["trainable_parameters"] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "--peft or --freeze encoder"),
        ({"freeze": ["encoder.embeddings"]}, "--peft or --freeze encoder"),
        ({"peft": {"name": "lora", "freeze_base": False}}, "freeze_base true.*bf16"),
        ({"peft": "lora", "timeline": [{"at": "1st", "unfreeze": "encoder"}]}, "weight.*bf16.*float32"),
    ],
)
def test_settings_that_would_train_stored_weights_are_refused_before_training(
    settings: dict[str, object],
    message: str,
    tiny_encoder: Path,
    tiny_reviews: Path,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    config = RunConfig(
        encoder=str(tiny_encoder),
        data=str(tiny_reviews),
        max_length=32,
        max_steps=3,
        base_dtype="bf16",
        log_with=[],
        **settings,  # type: ignore[arg-type]
    )
    with pytest.raises(ValueError, match=message):
        plan_and_rehearse(config)
