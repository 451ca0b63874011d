"""Encoders are found on this machine without the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from heads.registry import UnknownNameError
from research.model.local_encoders import can_only_be_path, find_local_encoder

REGISTERED = ("minilm",)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the working directory, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_find_local_encoder_accepts_a_folder_with_a_config(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_local_encoder(str(tiny_encoder), REGISTERED) == tiny_encoder
    monkeypatch.chdir(tiny_encoder.parent)
    monkeypatch.setenv("HOME", str(tiny_encoder.parent))
    name = tiny_encoder.name
    for path in (name, f"./{name}", f"~/{name}"):
        folder = find_local_encoder(path, REGISTERED)
        assert folder is not None
        assert folder.samefile(tiny_encoder)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("encoder", ["some/model", "some_model", "bert-base-uncased"])
def test_find_local_encoder_returns_none_for_a_hub_id(encoder: str) -> None:
    assert find_local_encoder(encoder, REGISTERED) is None


@pytest.mark.usefixtures("empty_folder")
def test_find_local_encoder_suggests_a_similar_registered_name() -> None:
    with pytest.raises(UnknownNameError, match=r"'minilmm'.*'minilm'\?.* minilm\.$"):
        find_local_encoder("minilmm", REGISTERED)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("path", ["./encoder", "/no/such/encoder", "~/no_such_encoder", "runs/a/model"])
def test_find_local_encoder_refuses_a_missing_path(path: str) -> None:
    assert can_only_be_path(path)
    with pytest.raises(ValueError, match=rf" {path} does not exist\..*--list encoders"):
        find_local_encoder(path, REGISTERED)


@pytest.mark.usefixtures("empty_folder")
def test_find_local_encoder_refuses_an_invalid_hub_id() -> None:
    assert not can_only_be_path("my encoder")
    with pytest.raises(ValueError, match=r"'my encoder' .*Hub id"):
        find_local_encoder("my encoder", REGISTERED)


def test_find_local_encoder_refuses_a_file_and_a_folder_without_a_config(empty_folder: Path) -> None:
    (empty_folder / "model").mkdir()
    (empty_folder / "model" / "weights").touch()
    with pytest.raises(ValueError, match=rf"{empty_folder}/model/weights\.$"):
        find_local_encoder(f"{empty_folder}/model/weights", REGISTERED)
    with pytest.raises(ValueError, match=rf"{empty_folder}/model .*config\.json"):
        find_local_encoder(f"{empty_folder}/model", REGISTERED)
