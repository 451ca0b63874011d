"""Checkpoints from elsewhere are data: their pickles run nothing, and their manifests reach nothing outside.

Archives that reach outside of their folder: tests/research/data/sources/test_archives.py.
"""

from __future__ import annotations

import io
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch

from research.system.manifest import find_damage
from research.training.checkpoint.find import CheckpointError
from tests.builders.hostile import (
    Forge,
    Trap,
    add_to_manifest,
    assert_one_line,
    replace_pickle_of,
    save_as_pickle,
    save_in_old_torch_format,
    save_with_torch,
    seal,
)
from tests.research.runner.conftest import Train


@pytest.mark.parametrize("name", ["optimizer.pt", "hooks-0.pt", "random-0.pt"])
@pytest.mark.parametrize("forge", [save_with_torch, save_in_old_torch_format, save_as_pickle, replace_pickle_of])
def test_checkpoint_with_a_hostile_pickle_is_refused_and_runs_nothing(
    train: Train, checkpoint: Path, sprung: Path, tmp_path: Path, name: str, forge: Forge
) -> None:
    content = {"state": Trap(sprung), "param_groups": []}  # looks like an optimizer's
    (checkpoint / name).write_bytes(forge(content, checkpoint / name))
    seal(checkpoint)
    assert find_damage(checkpoint) is None
    with pytest.raises(CheckpointError, match="plain values") as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert str(checkpoint / name) in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["optimizer.pt", "hooks-0.pt", "random-0.pt", "model.safetensors", "state.json"])
@pytest.mark.parametrize(
    "content", [b"", b"a text", save_with_torch({}, Path()), b"{}"], ids=["empty", "text", "torch", "json"]
)
def test_checkpoint_with_a_file_of_another_kind_is_one_line(
    train: Train, checkpoint: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (checkpoint / name).write_bytes(content)
    seal(checkpoint)
    with pytest.raises(CheckpointError, match=re.escape(str(checkpoint))) as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()


def test_hostile_pickle_in_a_run_directory_is_refused_by_resume_auto(
    train: Train, finished: Path, sprung: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "result.json").unlink()
    newest = run / "checkpoints" / "step-00000003"
    (newest / "hooks-0.pt").write_bytes(save_with_torch([Trap(sprung)], newest))
    seal(newest)
    with pytest.raises(CheckpointError, match=r"hooks-0\.pt .*plain values") as caught:
        train(run, resume="auto")
    assert_one_line(caught.value)


def test_hostile_pickle_is_not_read_by_init_from_either(
    train: Train, checkpoint: Path, sprung: Path, tmp_path: Path
) -> None:
    # Only weights and labels are taken from a checkpoint, so that it can be used all the same.
    for name in ("optimizer.pt", "hooks-0.pt", "random-0.pt"):
        (checkpoint / name).write_bytes(save_with_torch(Trap(sprung), checkpoint))
    seal(checkpoint)
    assert train(tmp_path / "run", init_from=str(checkpoint))["status"] == "finished"


def test_trap_works(tmp_path: Path) -> None:
    # The tests above could not fail if it did not.
    for forge in (save_with_torch, save_in_old_torch_format):
        torch.load(io.BytesIO(forge(Trap(tmp_path / forge.__name__), tmp_path)), weights_only=False)
        assert (tmp_path / forge.__name__).exists()
    pickle.loads(save_as_pickle(Trap(tmp_path / "bare"), tmp_path))
    assert (tmp_path / "bare").exists()


# Manifests.


@pytest.mark.parametrize("name", ["../x", "kept/../../x", "an absolute path"])
def test_manifest_that_names_a_file_outside_is_refused(checkpoint: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "x"
    outside.write_text("not yours")
    if name == "an absolute path":
        name = str(outside)
    add_to_manifest(checkpoint, name, outside)  # only its place can be what is wrong
    assert re.search(rf"outside .*\({re.escape(name)}\)", str(find_damage(checkpoint)))


@pytest.mark.parametrize("link", ["file", "folder"])
def test_manifest_that_reaches_outside_through_a_link_is_refused(checkpoint: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not yours")
    if link == "file":
        (checkpoint / "kept" / "secret").symlink_to(outside / "secret")
    else:
        shutil.rmtree(checkpoint / "kept")
        (checkpoint / "kept").symlink_to(outside, target_is_directory=True)
    seal(checkpoint)
    add_to_manifest(checkpoint, "kept/secret", outside / "secret")  # not every Python looks into linked folders
    assert find_damage(checkpoint) is not None


def test_checkpoint_that_reaches_outside_is_refused_by_a_run(train: Train, checkpoint: Path, tmp_path: Path) -> None:
    log = tmp_path / "secret"
    log.write_text("not yours")
    (checkpoint / "kept" / "metrics.jsonl").unlink()
    (checkpoint / "kept" / "metrics.jsonl").symlink_to(log)
    seal(checkpoint)
    with pytest.raises(CheckpointError, match=r"outside .*kept/metrics\.jsonl") as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()


def test_link_that_no_manifest_names_is_not_followed(train: Train, checkpoint: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"step": 1, "not": "yours"}\n')
    log = checkpoint / "kept" / "metrics.jsonl"
    log.unlink()
    seal(checkpoint)
    log.symlink_to(secret)
    try:
        train(tmp_path / "run", resume=str(checkpoint))
    except CheckpointError as error:
        assert_one_line(error)
    else:
        assert "yours" not in (tmp_path / "run" / "metrics.jsonl").read_text()
