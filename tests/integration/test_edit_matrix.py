"""Every edit, on one and two processes, with and without accumulation, in float32 and bf16, and compiled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from research.edits import EDITS
from tests.conftest import Launch
from tests.integration.edit_matrix import CASES
from tests.integration.runs_in_process import read_by_rank

SCRIPT = Path(__file__).with_name("edit_matrix.py")
Results = dict[str, list[str]]


def run_matrix(launch: Launch, encoder: Path, data: Path, output: Path, num_processes: int, *options: str) -> Results:
    """Run the script, and return what was wrong in each cell on any process."""
    launch(
        ["--encoder", encoder, "--data", data, "--output", output, "--num_processes", num_processes, *options],
        num_processes=num_processes,
        script=str(SCRIPT),
        timeout=240,
    )
    merged: Results = {}
    for rank, found in enumerate(read_by_rank(output, num_processes)):
        for cell, wrong in found.items():
            merged.setdefault(cell, []).extend(f"process {rank}: {each}" for each in wrong)
    return merged


@pytest.fixture(scope="module")
def results(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Results]:
    folder = tmp_path_factory.mktemp("matrix")
    return {
        num_processes: run_matrix(
            launch, tiny_encoder, tiny_reviews, folder / str(num_processes), num_processes, *options
        )
        for num_processes, options in ((1, ["--backends", "none,aot_eager"]), (2, []))
    }


def test_matrix_has_every_edit() -> None:
    assert set(CASES) == set(EDITS)


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("edit", CASES)
def test_edit_does_what_it_says(
    results: dict[int, Results], edit: str, accumulation: int, precision: str, num_processes: int
) -> None:
    assert results[num_processes][f"{edit}-{accumulation}-{precision}-none"] == []


@pytest.mark.parametrize("edit", CASES)
def test_edit_does_what_it_says_compiled(results: dict[int, Results], edit: str) -> None:
    assert results[1][f"{edit}-1-no-aot_eager"] == []


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler, and there is none here")
def test_unfreeze_with_inductor(launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> None:
    options = ("--backends", "inductor", "--edits", "unfreeze")
    found = run_matrix(launch, tiny_encoder, tiny_reviews, tmp_path / "found", 1, *options)
    assert found == {"unfreeze-1-no-inductor": []}


def test_matrix_sees_a_drift(launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> None:
    options = ("--edits", "scale_lr", "--sabotage", "drift")
    found = run_matrix(launch, tiny_encoder, tiny_reviews, tmp_path / "found", 2, *options)
    for wrong in found.values():
        assert any("replicas differ from step 1 after the edit" in each for each in wrong), found
        assert any("Audit: all processes must have the same parameters" in each for each in wrong), found
