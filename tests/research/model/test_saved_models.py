"""The folder of the model for --init_from is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.model.saved_models import find_saved_model


def test_find_saved_model_prefers_the_best_then_the_last_model(tmp_path: Path) -> None:
    found_folders = []
    for folder in (tmp_path, tmp_path / "model", tmp_path / "best"):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").touch()
        found_folders.append(find_saved_model(tmp_path))
    assert found_folders == [tmp_path, tmp_path / "model", tmp_path / "best"]


def test_find_saved_model_accepts_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()  # checkpoints are recognised by this file
    assert find_saved_model(tmp_path) == tmp_path


def test_find_saved_model_refuses_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=f"{folder} .*--init_from"):
            find_saved_model(folder)
