"""Stored hidden states are keyed by everything that they depend on, and equal those that a run computes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from research import RunConfig
from research.features import compute
from research.features.store import FEATURES_FORMAT
from research.model.encoder_with_head import EncoderWithHead
from research.runner.store_features import ensure_features
from research.training.run import TrainingRun
from tests.messages import collect_messages
from tests.research.conftest import StartRun

SPLITS = ["train", "validation", "test"]
CACHING_SETTINGS: dict[str, Any] = {"freeze": ["encoder"], "cache_features": True, "num_threads": 1}
"""Settings of a run that caches hidden states."""
PrepareRun = Callable[..., TrainingRun]


@pytest.fixture
def computed_splits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which every split is appended when its hidden states are computed."""
    splits: list[str] = []
    original = compute.compute_hidden_states

    def record_split(run: TrainingRun, split: str, *arguments: Any) -> Iterator[tuple[Tensor, ...]]:
        splits.append(split)
        return original(run, split, *arguments)

    monkeypatch.setattr(compute, "compute_hidden_states", record_split)
    return splits


@pytest.fixture
def prepare_run(start_run: StartRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrepareRun:
    """Return a function that prepares a run with a frozen encoder. The runs of a test share a cache."""
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))
    return lambda **settings: start_run(**{**CACHING_SETTINGS, **settings})


def copy_with_changed_weight(folder: Path, target: Path) -> str:
    """Copy an encoder, change one weight, and return the path of the copy."""
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] += 1e-3
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return str(target)


def copy_with_changed_text(folder: Path, target: Path) -> str:
    """Copy the data, change the text of one training row, and return the path of the copy."""
    shutil.copytree(folder, target)
    rows = (target / "train.csv").read_text().splitlines()
    rows[5] = "good " + rows[5]
    (target / "train.csv").write_text("\n".join(rows) + "\n")
    return str(target)


def copy_with_changed_labels(folder: Path, target: Path) -> str:
    """Copy the data, invert the labels of some training rows, and return the path of the copy."""
    shutil.copytree(folder, target)
    rows = (target / "train.csv").read_text().splitlines()
    opposite = {"positive": "negative", "negative": "positive"}
    parts = [row.rpartition(",") for row in rows[1:]]  # text, comma and label
    rows[1:] = [f"{text},{opposite[label] if number < 9 else label}" for number, (text, _, label) in enumerate(parts)]
    (target / "train.csv").write_text("\n".join(rows) + "\n")
    return str(target)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [  # a function stands for the path of the changed copy that it writes
        ({"max_length": 24}, SPLITS),
        ({"truncation": "tail"}, SPLITS),
        ({"truncation": "head"}, SPLITS),
        ({"mixed_precision": "bf16"}, SPLITS),
        ({"cache_dtype": "bf16"}, SPLITS),
        ({"encoder": copy_with_changed_weight}, SPLITS),
        ({"data": copy_with_changed_text}, ["train"]),
        ({"limit_validation": 10}, ["validation"]),
        ({"data": copy_with_changed_labels}, []),
        ({"seed": 7}, []),
        ({"head": "lstm", "lr": 0.1, "batch_size": 4, "objective": "focal"}, []),
        ({"dropout": 0.3, "attention_dropout": 0.2}, []),
        ({"evaluation_batch_size": 5}, []),
    ],
)
def test_hidden_states_are_computed_again_only_for_splits_whose_inputs_change(
    prepare_run: PrepareRun,
    computed_splits: list[str],
    changed: dict[str, Any],
    expected: list[str],
    tiny_encoder: Path,
    tiny_reviews: Path,
    tmp_path: Path,
) -> None:
    assert prepare_run().batches.features is not None
    assert computed_splits == SPLITS
    computed_splits.clear()
    originals = {"encoder": tiny_encoder, "data": tiny_reviews}
    settings = {
        name: value(originals[name], tmp_path / f"changed-{name}") if callable(value) else value
        for name, value in changed.items()
    }
    assert prepare_run(**settings).batches.features is not None
    assert computed_splits == expected


def test_hidden_states_of_all_layers_are_reused_by_heads_that_read_all_layers_or_only_the_last(
    prepare_run: PrepareRun, computed_splits: list[str]
) -> None:
    prepare_run(head="scalar_mix")
    prepare_run(head="linear")
    assert computed_splits == SPLITS
    computed_splits.clear()
    prepare_run(head="scalar_mix", max_length=24)
    prepare_run(head="scalar_mix", max_length=24)
    assert computed_splits == SPLITS


def test_ensure_features_stores_all_layers_once_for_every_head_unless_the_encoder_trains(
    prepare_run: PrepareRun, computed_splits: list[str], tiny_encoder: Path, tmp_path: Path
) -> None:
    config = prepare_run(max_length=24).config  # a different length, so that its hidden states cannot be reused
    computed_splits.clear()
    messages: list[str] = []
    settings = {**config.to_dict(), "max_length": 32, "output_dir": str(tmp_path / "unused")}
    with collect_messages(messages):
        can_use_features = ensure_features(RunConfig(**settings), "all")
    assert can_use_features
    assert computed_splits == SPLITS
    assert sum("47 rows of train" in line for line in messages) == 1  # all training rows of `tiny_reviews`
    with collect_messages(messages):
        can_use_features = ensure_features(RunConfig(**settings), "all")
    assert can_use_features
    prepare_run(head="scalar_mix")
    prepare_run(head="linear")
    assert computed_splits == SPLITS
    assert not (tmp_path / "unused").exists()
    messages.clear()
    with collect_messages(messages):
        can_use_features = ensure_features(RunConfig(**{**settings, "freeze": []}), "all")
    assert not can_use_features
    reasons = [line.partition(": ")[2] for line in messages if "hidden states" in line.lower()]
    assert reasons == ["the encoder trains."]


def test_size_of_the_hidden_states_is_reported_with_advice_on_how_to_reduce_it(
    prepare_run: PrepareRun, tmp_path: Path
) -> None:
    messages: list[str] = []
    run = prepare_run(messages=messages)
    num_tokens = int(run.lengths_of("train").clip(max=32).sum())  # 32 is --max_length
    megabytes = num_tokens * 32 * 4 / 1e6  # 32 numbers of 4 bytes for each token
    announcements = [line for line in messages if "47 rows of train" in line]
    assert len(announcements) == 1
    values = [f"{megabytes:.1f} MB", "float32", "--cache_dtype bf16", str(tmp_path / "cache")]
    assert re.search(".*".join(map(re.escape, values)), announcements[0])
    assert messages[-1].endswith(f" {tmp_path / 'cache'}.")  # where the hidden states are stored
    float32_size = sum(file.stat().st_size for file in (tmp_path / "cache").glob("features-*/*.bin"))
    prepare_run(cache_dtype="bf16", messages=messages)
    total_size = sum(file.stat().st_size for file in (tmp_path / "cache").glob("features-*/*.bin"))
    assert total_size == 1.5 * float32_size  # the bf16 entries are half as large
    # The advice to set --cache_dtype is not repeated to those who have followed it.
    assert not any("--cache_dtype" in line for line in messages if "bfloat16" in line)


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
@pytest.mark.parametrize("head", ["attention", "mean", "scalar_mix"])
def test_evaluation_with_stored_hidden_states_gives_the_same_logits(
    prepare_run: PrepareRun, mixed_precision: str, head: str
) -> None:
    settings = {"mixed_precision": mixed_precision, "head": {"name": head, "dropout": 0.0}}
    logits = []
    for cache_features in (True, False):
        run = prepare_run(cache_features=cache_features, **settings)
        assert (run.batches.features is not None) == cache_features
        run.hooks.begin(run)
        logits.append(run.evaluate("validation").logits)
    # Stored hidden states have the same bits. Stored pooled states are sums over batches of other shapes, which some
    # processors round differently.
    tolerance = 0.0 if head == "attention" else 1e-6
    assert np.abs(logits[0] - logits[1]).max() <= tolerance


def test_caching_hidden_states_draws_no_random_numbers_and_restores_training_modes(prepare_run: PrepareRun) -> None:
    states, modes = [], []
    for cache_features in (True, False):
        run = prepare_run(cache_features=cache_features)
        states.append(torch.get_rng_state())
        modes.append([module.training for module in run.encoder_with_head.modules()])
    assert torch.equal(*states)
    assert modes[0] == modes[1]


def test_hidden_states_of_all_layers_are_not_cached_if_the_last_differs_from_the_output(
    prepare_run: PrepareRun, monkeypatch: pytest.MonkeyPatch, computed_splits: list[str]
) -> None:
    original = EncoderWithHead.run_encoder

    def run_encoder_with_shift(self: EncoderWithHead, *arguments: Any, all_layers: bool, **named: Any) -> Any:
        states = original(self, *arguments, all_layers=all_layers, **named)
        # Without `all_layers`, this is a single tensor: the output of the last layer.
        return states + 1 if isinstance(states, Tensor) else states

    monkeypatch.setattr(EncoderWithHead, "run_encoder", run_encoder_with_shift)
    assert prepare_run(head="scalar_mix").batches.features is None
    assert computed_splits == []
    assert prepare_run(head="linear").batches.features is not None


def test_batch_moves_its_hidden_states_to_a_device(prepare_run: PrepareRun) -> None:
    from research.data.batches.order import evaluation_batches

    run = prepare_run(head="scalar_mix")
    run.encoder_with_head.eval()
    micro_batch = evaluation_batches(run.lengths_of("test"), process=0, num_processes=1, batch_size=4)[0]
    batch = run.collate(micro_batch, "test").to(torch.device("meta"))
    assert [layer.device.type for layer in batch.inputs["pooled_states"]] == ["meta"] * 3
    assert batch.labels.device.type == "meta"


def test_stored_hidden_states_cannot_be_reattached_to_a_changed_encoder(prepare_run: PrepareRun) -> None:
    run = prepare_run()
    features = run.batches.features
    assert isinstance(features, compute.Features)
    before = features.snapshot
    assert features.reattach_to(run) is None  # no reason against it
    assert features.snapshot is not before
    run.encoder_with_head.encoder.get_input_embeddings().get_parameter("weight").data[3, 3] += 1
    assert features.reattach_to(run) == "the encoder's weights have changed"


def test_features_format_matches_the_stored_values(prepare_run: PrepareRun, tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    weights = load_file(encoder / "model.safetensors")
    for weight in weights.values():  # fixed values that do not depend on the versions of libraries
        weight.copy_(torch.sin(torch.arange(weight.numel(), dtype=torch.float64)).mul(0.3).view_as(weight))
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    prepare_run(encoder=str(encoder), head="scalar_mix", max_length=12)
    # The entry of the training split is the largest.
    (entry,) = [path for path in (tmp_path / "cache").glob("features-*") if (path / "layer-0.bin").stat().st_size > 5e4]
    content = json.loads((entry / "manifest.json").read_text())["content"]
    actual_values = {}
    for layer in content["layers"]:
        assert list(layer.values())[1:] == [
            32,
            "float32",
            "float32",
        ]  # width, type in the file, type of the encoder's output
        states = np.fromfile(entry / layer["name"], np.float32).reshape(content["num_tokens"], 32)
        actual_values[layer["name"]] = states[[1, 100, 200, 300, 518], 3].tolist()  # a sample of the tokens
    expected_values = {
        "layer-0.bin": [0.02715, -0.01685, 0.10234, 0.02863, -0.01806],
        "layer-1.bin": [0.06759, 0.07106, 0.06969, 0.06756, 0.07049],
        "layer-2.bin": [0.06837, 0.06849, 0.06833, 0.06836, 0.06848],
    }
    is_unchanged = actual_values.keys() == expected_values.keys() and np.allclose(
        list(actual_values.values()), list(expected_values.values()), rtol=0, atol=2e-5
    )
    assert (FEATURES_FORMAT, is_unchanged) == (1, True), (
        "The stored hidden states have changed. Increase FEATURES_FORMAT in research/features/store.py, so that users' "
        f"cached hidden states are not used, and update the number and the values in this test to {actual_values}"
    )
