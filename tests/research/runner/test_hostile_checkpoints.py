"""The pickles of hostile checkpoints are never loaded; their manifests give no access to files outside the folder.

The fixture `must_not_be_created` asserts after each test that no pickle was run.
For archives with paths that lead outside their folder, see tests/research/data/sources/test_archives.py.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch

from research.system.manifest import MANIFEST, find_damage
from research.training.checkpoint.find import CheckpointError
from tests.builders.hostile import (
    Forge,
    Trap,
    add_to_manifest,
    assert_one_line,
    rewrite_manifest,
    save_as_pickle,
    save_in_old_torch_format,
    save_with_torch,
)
from tests.research.runner.conftest import Train

FILES = (
    *("model.safetensors", "optimizer.json", "optimizer.safetensors", "process-0.json", "process-0.safetensors"),
    "state.json",
)
"""All files of a checkpoint except for its manifest."""
FILES_OF_SPLIT_MODEL = (*FILES, "hooks.safetensors")
"""All files of a checkpoint of a split model."""
FILES_OF_PROCESSES = (
    *(f"{name}{ending}" for name in ("model", "optimizer", "hooks") for ending in ("-0.safetensors", ".parts.json")),
    *("optimizer.json", "process-0.json", "process-0.safetensors", "state.json"),
)
"""All files of a checkpoint with one file per process."""
SPLIT = {"shard": "fsdp2", "hook": ["ema"]}
"""Settings of a run whose checkpoints contain split tensors of a hook."""


@pytest.fixture(scope="module")
def split_checkpoints(train: Train, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A checkpoint of a split model with whole tensors (False), and one with one file per process (True)."""
    checkpoints = {}
    for by_process in (False, True):
        directory = tmp_path_factory.mktemp("split") / "run"
        train(directory, **SPLIT, shard_checkpoints=by_process)
        checkpoints[by_process] = directory / "checkpoints" / "step-00000002"
    return checkpoints


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("forge", [save_with_torch, save_in_old_torch_format, save_as_pickle])
def test_checkpoint_with_a_hostile_pickle_is_rejected_without_running_it(
    train: Train, checkpoint: Path, must_not_be_created: Path, tmp_path: Path, name: str, forge: Forge
) -> None:
    content = {"state": Trap(must_not_be_created), "param_groups": []}  # the keys of an optimizer's state
    (checkpoint / name).write_bytes(forge(content))
    rewrite_manifest(checkpoint)
    assert find_damage(checkpoint) is None
    with pytest.raises(CheckpointError, match=re.escape(str(checkpoint))) as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [b"", b"some text", save_with_torch({}), b"{}"], ids=["empty", "text", "torch", "json"]
)
def test_checkpoint_with_an_invalid_file_gives_a_one_line_error(
    train: Train, checkpoint: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (checkpoint / name).write_bytes(content)
    rewrite_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=re.escape(str(checkpoint))) as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.sharding
@pytest.mark.parametrize(
    ("by_process", "name"),
    [*((False, name) for name in FILES_OF_SPLIT_MODEL), *((True, name) for name in FILES_OF_PROCESSES)],
)
def test_checkpoint_of_a_split_model_with_a_hostile_pickle_is_rejected_without_running_it(
    train: Train,
    split_checkpoints: dict[bool, Path],
    must_not_be_created: Path,
    tmp_path: Path,
    by_process: bool,
    name: str,
) -> None:
    checkpoint = shutil.copytree(split_checkpoints[by_process], tmp_path / "checkpoint")
    files = {path.name for path in checkpoint.iterdir() if path.is_file()} - {MANIFEST}
    assert files == {*(FILES_OF_PROCESSES if by_process else FILES_OF_SPLIT_MODEL)}
    (checkpoint / name).write_bytes(save_with_torch(Trap(must_not_be_created)))
    rewrite_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=re.escape(str(checkpoint))) as caught:
        train(tmp_path / "run", hook=["ema"], resume=str(checkpoint))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.sharding
@pytest.mark.parametrize("name", ["model", "optimizer", "hooks"])
@pytest.mark.parametrize("rows", [{}, {"../model-0.safetensors": [0, 32]}, {"model-7.safetensors": [0, 32]}])
def test_checkpoint_with_a_hostile_index_gives_a_one_line_error(
    train: Train, split_checkpoints: dict[bool, Path], tmp_path: Path, name: str, rows: dict[str, list[int]]
) -> None:
    checkpoint = shutil.copytree(split_checkpoints[True], tmp_path / "checkpoint")
    path = checkpoint / f"{name}.parts.json"
    index = json.loads(path.read_text())
    entry = next(entry for entry in index.values() if entry["shape"])
    entry["rows"] = {file.replace("model", name): [0, entry["shape"][0]] for file in rows}
    path.write_text(json.dumps(index))
    rewrite_manifest(checkpoint)
    for settings in ({"resume": str(checkpoint)}, {"init_from": str(checkpoint)})[: 2 if name == "model" else 1]:
        with pytest.raises(CheckpointError, match=re.escape(str(checkpoint))) as caught:
            train(tmp_path / "run", hook=["ema"], **settings)
        assert_one_line(caught.value)
        assert not (tmp_path / "run").exists()


def test_resume_auto_rejects_a_hostile_pickle_in_the_run_directory(
    train: Train, finished_run: Path, must_not_be_created: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    (run / "result.json").unlink()
    newest = run / "checkpoints" / "step-00000003"
    (newest / "process-0.safetensors").write_bytes(save_with_torch([Trap(must_not_be_created)]))
    rewrite_manifest(newest)
    with pytest.raises(CheckpointError, match="step-00000003") as caught:
        train(run, resume="auto")
    assert_one_line(caught.value)


def test_init_from_does_not_read_a_hostile_pickle(
    train: Train, checkpoint: Path, must_not_be_created: Path, tmp_path: Path
) -> None:
    # --init_from reads only the weights and labels of the checkpoint.
    for name in FILES[1:-1]:
        (checkpoint / name).write_bytes(save_with_torch(Trap(must_not_be_created)))
    rewrite_manifest(checkpoint)
    assert train(tmp_path / "run", init_from=str(checkpoint))["status"] == "finished"


def test_trap_runs_code_when_unpickled(tmp_path: Path) -> None:
    # If the trap did not work, the tests above would pass even if pickles were loaded.
    for forge in (save_with_torch, save_in_old_torch_format):
        torch.load(io.BytesIO(forge(Trap(tmp_path / forge.__name__))), weights_only=False)
        assert (tmp_path / forge.__name__).exists()
    pickle.loads(save_as_pickle(Trap(tmp_path / "bare")))
    assert (tmp_path / "bare").exists()


# Manifests


@pytest.mark.parametrize("name", ["../x", "kept/../../x", "an absolute path"])
def test_manifest_that_names_a_file_outside_the_folder_is_rejected(checkpoint: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "x"
    outside.write_text("not yours")
    if name == "an absolute path":
        name = str(outside)
    add_to_manifest(checkpoint, name, outside)  # length and hash are correct
    assert re.search(rf"outside .*\({re.escape(name)}\)", str(find_damage(checkpoint)))


@pytest.mark.parametrize("link", ["file", "folder"])
def test_manifest_that_lists_a_file_behind_a_link_is_rejected(checkpoint: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not yours")
    if link == "file":
        (checkpoint / "kept" / "secret").symlink_to(outside / "secret")
    else:
        shutil.rmtree(checkpoint / "kept")
        (checkpoint / "kept").symlink_to(outside, target_is_directory=True)
    rewrite_manifest(checkpoint)
    # rewrite_manifest() omits the file in versions of Python whose Path.rglob does not follow links to folders.
    add_to_manifest(checkpoint, "kept/secret", outside / "secret")
    assert find_damage(checkpoint) is not None


def test_run_rejects_a_checkpoint_with_a_link_to_a_file_outside(train: Train, checkpoint: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not yours")
    (checkpoint / "kept" / "metrics.jsonl").unlink()
    (checkpoint / "kept" / "metrics.jsonl").symlink_to(secret)
    rewrite_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=r"outside .*kept/metrics\.jsonl") as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()


def test_link_missing_from_the_manifest_is_not_followed(train: Train, checkpoint: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"step": 1, "not": "yours"}\n')
    log = checkpoint / "kept" / "metrics.jsonl"
    log.unlink()
    rewrite_manifest(checkpoint)
    log.symlink_to(secret)
    try:  # the checkpoint may be rejected, or resumed without the link
        train(tmp_path / "run", resume=str(checkpoint))
    except CheckpointError as error:
        assert_one_line(error)
    else:
        assert "yours" not in (tmp_path / "run" / "metrics.jsonl").read_text()
