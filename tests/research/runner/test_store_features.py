"""Hidden states are stored before the runs that share them start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from research import RunConfig
from research.runner.store_features import ensure_features


@pytest.fixture
def settings(tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of runs that store hidden states in a cache of their own, in the folder cache of tmp_path."""
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))
    return {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "max_length": 16,
        "mixed_precision": "no",
        "cache_features": True,
        "output_dir": str(tmp_path / "never"),
    }


def times_of_stored_files(cache: Path) -> dict[Path, int]:
    """Times at which the files of hidden states in a cache were last written."""
    # A folder is left out, as its time is that of the last use.
    return {path: path.stat().st_mtime_ns for path in cache.glob("features-*/*") if path.is_file()}


@pytest.mark.sharding
def test_ensure_features_of_a_split_model_stores_what_other_runs_read(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["freeze"] = ["encoder"]
    assert ensure_features(RunConfig(**settings, shard="fsdp2"), "all")
    assert not torch.distributed.is_initialized()
    stored = times_of_stored_files(tmp_path / "cache")
    assert len({path.parent for path in stored}) == 3  # one folder for each split
    assert ensure_features(RunConfig(**settings), "all")
    assert times_of_stored_files(tmp_path / "cache") == stored


def test_ensure_features_stores_every_split_once_if_the_encoder_is_frozen(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    can_use_features = ensure_features(RunConfig(**settings), "last")
    assert not can_use_features  # because the encoder is trained
    assert list((tmp_path / "cache").glob("features-*")) == []
    frozen = RunConfig(**settings, freeze=["encoder"])
    can_use_features = ensure_features(frozen, "all")
    assert can_use_features
    stored = times_of_stored_files(tmp_path / "cache")
    assert len({path.parent for path in stored}) == 3  # one folder for each split
    # Layer 0 is the output of the embeddings; the encoder has two more layers.
    assert {f"layer-{layer}.bin" for layer in range(3)} <= {path.name for path in stored}
    can_use_features = ensure_features(frozen, "last")  # the last layer is already stored
    assert can_use_features
    assert times_of_stored_files(tmp_path / "cache") == stored
    assert not (tmp_path / "never").exists()
