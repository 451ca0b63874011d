"""One study of real runs for all tests of its report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from research.studies.grid import StudySpec
from research.studies.outcomes import StudyOutcomes
from tests.research.studies.report.studies import SMALL, run_study

HOSTILE = '<script>document.body.remove()</script> & <b>bold</b> "quoted" | a_b_ $x_{$'


@pytest.fixture(scope="session")
def environment(cache_dir: Path) -> Iterator[pytest.MonkeyPatch]:
    """The session's cache of prepared data, for runs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDWAY_CACHE", str(cache_dir))
        yield patch


@pytest.fixture(scope="session")
def finished_study(
    environment: pytest.MonkeyPatch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> StudyOutcomes:
    """Three arms, one of them with an edit midway and all with the names and texts of people who know HTML."""
    folder = tmp_path_factory.mktemp("finished_study")
    data = shutil.copytree(tiny_reviews, folder / "data")
    text = (data / "validation.csv").read_text()
    quoted = HOSTILE.replace('"', '""')
    lines = [f'"{line.rsplit(",", 1)[0]} {quoted}",{line.rsplit(",", 1)[1]}' for line in text.splitlines()[1:]]
    (data / "validation.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    spec = StudySpec(
        name="three",
        about=f"Which is best? {HOSTILE}",
        base={**SMALL, "encoder": str(tiny_encoder), "data": str(data)},
        arms={
            "linear": {"head": "linear"},
            HOSTILE: {"head": "mean", "timeline": [{"at": "50%", "unfreeze": "encoder.layer[-1:]"}], "lr": 0.01},
            "lstm": {"head": {"name": "lstm", "lstm_size": 8}, "head_lr": 0.05},
        },
        grid={"seed": [0, 1]},
    )
    return run_study(folder / "runs" / "three", spec)
