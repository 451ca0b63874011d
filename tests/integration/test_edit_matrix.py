"""Every edit works on one and two processes, with one and several micro-batches, in float32 and bf16, and compiled."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from research.edits.base import EDITS
from tests.builders.tiny_decoder import save_tiny_decoder
from tests.conftest import ROOT, Launch
from tests.launched.edit_matrix import CASES, COMPILED_IN_QUICK_TESTS, UNCOMPILED
from tests.launched.runs_in_process import read_by_rank
from tests.shipped import shipped_names

SCRIPT = ROOT / "tests" / "launched" / "edit_matrix.py"
Deviations = dict[str, list[str]]
"""Descriptions of unexpected effects, by cell: `<edit>-<micro-batches>-<precision>-<compiler backend>`."""


def run_matrix(
    launch: Launch, encoder: Path, data: Path, output: Path, num_processes: int, *options: str
) -> Deviations:
    """Run the script, and return the deviations that any process found."""
    decoder = save_tiny_decoder(output.parent / "decoder")
    folders = ["--encoder", encoder, "--decoder", decoder, "--data", data, "--output", output]
    launch(
        [*folders, "--num_processes", num_processes, *options],
        num_processes=num_processes,
        script=str(SCRIPT),
    )
    merged: Deviations = {}
    for rank, results in enumerate(read_by_rank(output, num_processes)):
        for cell, deviations in results.items():
            merged.setdefault(cell, []).extend(f"process {rank}: {deviation}" for deviation in deviations)
    return merged


@pytest.fixture(scope="module", params=[1, 2])
def uncompiled_deviations(
    request: pytest.FixtureRequest, launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: Any
) -> Deviations:
    """Deviations of uncompiled cells. The parameter is the number of processes."""
    return run_matrix(launch, tiny_encoder, tiny_reviews, tmp_path_factory.mktemp("matrix") / "results", request.param)


@pytest.fixture(scope="module")
def compiled_deviations(
    request: pytest.FixtureRequest, launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: Any
) -> Deviations:
    """Deviations of compiled cells. The parameter names their edits, separated by commas."""
    output = tmp_path_factory.mktemp("compiled") / "results"
    return run_matrix(
        launch, tiny_encoder, tiny_reviews, output, 1, "--backends", "aot_eager", "--edits", request.param
    )


def test_matrix_has_every_edit() -> None:
    assert sorted(CASES) == sorted([*shipped_names(EDITS), "shift_bias"])  # shift_bias is an edit of the script


@pytest.mark.parametrize(("num_micro_batches", "precision"), UNCOMPILED)
@pytest.mark.parametrize("edit", CASES)
def test_edit_has_only_its_expected_effects(
    uncompiled_deviations: Deviations, edit: str, num_micro_batches: int, precision: str
) -> None:
    assert uncompiled_deviations[f"{edit}-{num_micro_batches}-{precision}-none"] == []


@pytest.mark.parametrize("compiled_deviations", [",".join(COMPILED_IN_QUICK_TESTS)], indirect=True, ids=["quick"])
@pytest.mark.parametrize("edit", COMPILED_IN_QUICK_TESTS)
def test_compiled_edit_has_only_its_expected_effects(compiled_deviations: Deviations, edit: str) -> None:
    assert compiled_deviations[f"{edit}-1-no-aot_eager"] == []


@pytest.mark.slow
@pytest.mark.parametrize("compiled_deviations", [",".join(CASES)], indirect=True, ids=["all"])
@pytest.mark.parametrize("edit", CASES)
def test_every_compiled_edit_has_only_its_expected_effects(compiled_deviations: Deviations, edit: str) -> None:
    assert compiled_deviations[f"{edit}-1-no-aot_eager"] == []


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor requires g++; not found")
def test_unfreeze_compiled_with_inductor_has_only_its_expected_effects(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    options = ("--backends", "inductor", "--edits", "unfreeze")
    results = run_matrix(launch, tiny_encoder, tiny_reviews, tmp_path / "results", 1, *options)
    assert results == {"unfreeze-1-no-inductor": []}


def test_matrix_detects_differing_replicas(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    options = ("--edits", "scale_lr", "--sabotage", "drift")
    results = run_matrix(launch, tiny_encoder, tiny_reviews, tmp_path / "results", 2, *options)
    for deviations in results.values():
        assert any("replicas differ from step 1 " in deviation for deviation in deviations), results
        assert any(": Audit: " in deviation for deviation in deviations), results
