"""Find the encoder that adapters were trained for, and check that training did not change it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from research.export.plain_encoder import find_plain_encoder
from research.inference.saved_model import load_model
from research.model.encoder_with_head import EncoderWithHead
from research.system.manifest import file_sha256
from tests.builders.trained_run import train_tiny_run

FREEZE: dict[str, Any] = {"freeze": ["encoder"]}


@pytest.fixture
def train(tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path) -> Any:
    """A function that trains with a copy of the tiny encoder in tmp_path, and returns the model."""

    def train_model(timeline: list[dict[str, Any]], **settings: Any) -> EncoderWithHead:
        encoder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
        run = train_tiny_run(
            tmp_path / "run", encoder, tiny_reviews, cache_dir, timeline=timeline, lr=0.01, max_length=12, **settings
        )
        return load_model(run).model

    return train_model


@pytest.mark.parametrize(
    ("timeline", "settings"),
    [
        ([], {"peft": "lora"}),
        ([{"at": "1st", "add_lora": {"modules": "encoder.layer[-1:]"}}], FREEZE),
    ],
    ids=["from the start", "midway, on a frozen encoder"],
)
def test_find_plain_encoder_accepts_adapters_on_an_unchanged_encoder(
    train: Any, timeline: list[dict[str, Any]], settings: dict[str, Any], tmp_path: Path
) -> None:
    encoder = find_plain_encoder(train(timeline, **settings))
    assert (encoder.name, encoder.folder) == ("encoder", tmp_path / "encoder")
    assert encoder.sha256_by_file == {"model.safetensors": file_sha256(tmp_path / "encoder" / "model.safetensors")}


@pytest.mark.parametrize(
    ("timeline", "settings", "changed"),
    [
        ([{"at": "1st", "add_lora": {}}], {}, "embeddings.LayerNorm"),
        ([{"at": "1st", "unfreeze": "encoder.layer[-1:]"}], {"peft": "lora"}, "encoder.layer.1"),
        (
            [{"at": "1st", "drop_layers": "encoder.layer[-1:]"}, {"at": "2st", "add_lora": {}}],
            FREEZE,
            "encoder.layer.1",
        ),
        (
            [{"at": "1st", "merge_lora": {}}, {"at": "2st", "add_lora": {}}],
            {**FREEZE, "peft": "lora"},
            "encoder.layer.0",
        ),
    ],
    ids=["trained before", "unfrozen", "dropped layers", "merged before"],
)
def test_find_plain_encoder_refuses_a_changed_encoder(
    train: Any, timeline: list[dict[str, Any]], settings: dict[str, Any], changed: str
) -> None:
    model = train(timeline, **settings)
    assert model.config.adapters is not None
    with pytest.raises(ValueError, match=rf"\({changed}.*--merge"):
        find_plain_encoder(model)


def test_find_plain_encoder_refuses_an_encoder_that_is_gone(train: Any, tmp_path: Path) -> None:
    model = train([], peft="lora")
    shutil.rmtree(tmp_path / "encoder")
    with pytest.raises(ValueError, match=r"encoder does not exist.*--merge"):
        find_plain_encoder(model)
