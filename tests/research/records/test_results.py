"""The files result.json and config.yaml of a run, the weights' hash, and the commit."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from research.records import results
from research.records.results import config_as_yaml, git_commit, weights_sha256, write_result
from research.settings.config import RunConfig


def test_weights_sha256_depends_on_names_shapes_and_bytes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    first = weights_sha256(model)
    copy = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    copy.load_state_dict(model.state_dict())
    assert weights_sha256(copy) == first
    mean = copy.get_buffer("1.running_mean")
    mean[0] = torch.nextafter(mean[0], torch.tensor(1.0))
    assert weights_sha256(copy) != first
    assert weights_sha256(nn.ModuleDict({"a": model[0], "b": model[1]})) != first
    flat, square = nn.Module(), nn.Module()
    flat.register_buffer("x", torch.zeros(4))
    square.register_buffer("x", torch.zeros(2, 2))
    assert weights_sha256(flat) != weights_sha256(square)


def test_config_as_yaml_omits_settings_of_a_single_invocation() -> None:
    text = config_as_yaml(RunConfig(output_dir="/somewhere", name="x", resume="auto", overwrite=True))
    assert "somewhere" not in text
    assert "resume" not in text
    assert "seed: 0" in text


def test_result_has_null_instead_of_nan(tmp_path: Path) -> None:
    write_result(tmp_path, {"status": "finished", "metrics": {"test": {"auroc": math.nan, "accuracy": 0.5}}})
    text = (tmp_path / "result.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["metrics"]["test"] == {"auroc": None, "accuracy": 0.5}


def test_git_commit_is_none_for_untracked_code_and_has_a_suffix_after_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    for name in ("project.py", "results.py"):
        (tmp_path / name).touch()
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    assert git_commit() is None
    git("init")
    git("add", "project.py")
    git("commit", "-m", "a project that does not track the code")
    assert git_commit() is None
    git("add", "results.py")
    git("commit", "-m", "the code itself")
    assert git_commit() == git("rev-parse", "HEAD")
    (tmp_path / "project.py").write_text("changed = True")
    assert git_commit() == f"{git('rev-parse', 'HEAD')}-modified"
