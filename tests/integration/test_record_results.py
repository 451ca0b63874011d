"""A comparison of two recordings of results finds all differences, and nothing else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.record_results import compare, find_differences, main, read_files


@pytest.fixture
def recording() -> dict[str, Any]:
    """A recording of two cases with equal results."""
    lines = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    files = {"runs/run/metrics.jsonl": lines, "runs/run/model/model.safetensors": "ab12"}
    case = {"seconds": 3.0, "exit_statuses": [0], "files": files}
    return {"cases": {"head-lstm": case, "head-mlp": copy.deepcopy(case)}}


def test_compare_with_equal_recordings_returns_zero(
    recording: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    slower = copy.deepcopy(recording)
    slower["cases"]["head-mlp"]["seconds"] = 30.0
    assert compare(recording, slower) == 0
    assert capsys.readouterr().out == "2 cases: all equal\n"


@pytest.mark.parametrize(
    ("keys", "value", "expected_place"),
    [
        (("files", "runs/run/metrics.jsonl", 0, "loss"), 0.6, "head-mlp/runs/run/metrics.jsonl:0.loss"),
        (("files", "runs/run/metrics.jsonl", 0, "step"), 1.0, "head-mlp/runs/run/metrics.jsonl:0.step"),
        (("files", "runs/run/metrics.jsonl", 0, "accuracy"), 1, "head-mlp/runs/run/metrics.jsonl:0.accuracy"),
        (("files", "runs/run/metrics.jsonl"), [], "head-mlp/runs/run/metrics.jsonl:"),
        (("files", "runs/run/events.jsonl"), [], "head-mlp/runs/run/events.jsonl"),
        (("exit_statuses", 0), 1, "head-mlp:exit_statuses.0"),
        (("failed",), "expected exit status 0", "head-mlp"),
    ],
)
def test_differences_are_located_by_case_file_and_field(
    recording: dict[str, Any], keys: tuple[Any, ...], value: Any, expected_place: str
) -> None:
    changed = copy.deepcopy(recording)
    target = changed["cases"]["head-mlp"]
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    assert [place for place, _ in find_differences(recording, changed)] == [expected_place]
    assert [place for place, _ in find_differences(changed, recording)] == [expected_place]
    assert compare(recording, changed) == 1
    assert compare(recording, changed, ignored=["head-mlp*"]) == 0


def test_compare_fails_if_cases_are_missing_or_none_are_selected(recording: dict[str, Any], tmp_path: Path) -> None:
    shorter = {"cases": {"head-lstm": recording["cases"]["head-lstm"]}}
    assert compare(recording, shorter) == 1
    assert compare(shorter, recording) == 1
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, content in zip(paths, (recording, shorter), strict=True):
        path.write_text(json.dumps(content))
    assert main(["compare", *map(str, paths)]) == 1
    assert main(["compare", *map(str, paths), "--only", "head-l*"]) == 0
    assert main(["compare", *map(str, paths), "--only", "none"]) == 1


def test_read_files_drops_times_and_replaces_paths(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "run"
    (run / "tensorboard").mkdir(parents=True)
    (run / "tensorboard" / "events.17.vm").write_bytes(b"1")
    (run / "report.html").write_text("12 s")
    (run / "result.json").write_text(json.dumps({"train_seconds": 3, "parent": {"path": str(run), "step": 8}}))
    (run / "unknown.bin").write_bytes(b"2")
    contents = read_files(tmp_path, {str(tmp_path): "<folder>"})
    assert contents["runs/run/result.json"] == {"parent": {"path": "<folder>/runs/run", "step": 8}}
    assert contents["runs/run/report.html"] == contents["runs/run/tensorboard/"] == "present"
    assert len(contents["runs/run/unknown.bin"]) == 64  # a SHA-256 hash
    assert len(contents) == 4
