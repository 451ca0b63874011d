"""Where the model of --init_from is."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.model.saved_models import find_saved_model


def test_best_model_comes_before_the_last_one_and_the_folder_itself(tmp_path: Path) -> None:
    found = []
    for folder in (tmp_path, tmp_path / "model", tmp_path / "best"):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").touch()
        found.append(find_saved_model(tmp_path))
    assert found == [tmp_path, tmp_path / "model", tmp_path / "best"]


def test_checkpoint_is_a_model_by_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    assert find_saved_model(tmp_path) == tmp_path


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ValueError, match=f"{folder} .*--init_from"):
            find_saved_model(folder)
