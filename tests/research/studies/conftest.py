"""Fixtures with studies and their reports."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from research.studies.grid import StudySpec
from research.studies.outcomes import StudyOutcomes
from research.studies.report.contents import Contents, collect_contents
from research.studies.report.page import write_contents
from tests.builders.studies import FAST_SETTINGS, HOSTILE, run_study


@pytest.fixture(scope="session")
def use_session_cache(cache_dir: Path) -> Iterator[None]:
    """Let runs in this process use the session's cache of prepared data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDWAY_CACHE", str(cache_dir))
        yield


@pytest.fixture
def unlabelled_spec(use_session_cache: None, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> StudySpec:
    """Specification of a study of two arms on data without test labels; it compares them on validation rows."""
    data = shutil.copytree(tiny_reviews, tmp_path / "data")
    texts = [line.rpartition(",")[0] for line in (data / "test.csv").read_text().splitlines()]
    (data / "test.csv").write_text("\n".join(texts) + "\n")
    base = {**FAST_SETTINGS, "encoder": str(tiny_encoder), "data": str(data)}
    return StudySpec(name="s", base=base, grid={"head": ["linear", "mean"]}, split="validation")


@pytest.fixture(scope="session")
def finished_study(
    use_session_cache: None, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> StudyOutcomes:
    """A finished study of three arms; one, named HOSTILE, has an edit midway. All validation texts contain HOSTILE."""
    folder = tmp_path_factory.mktemp("finished_study")
    data = shutil.copytree(tiny_reviews, folder / "data")
    text = (data / "validation.csv").read_text()
    escaped = HOSTILE.replace('"', '""')
    lines = [f'"{line.rsplit(",", 1)[0]} {escaped}",{line.rsplit(",", 1)[1]}' for line in text.splitlines()[1:]]
    (data / "validation.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    spec = StudySpec(
        name="three",
        about=f"Which is best? {HOSTILE}",
        base={**FAST_SETTINGS, "encoder": str(tiny_encoder), "data": str(data)},
        arms={
            "linear": {"head": "linear"},
            HOSTILE: {"head": "mean", "timeline": [{"at": "50%", "unfreeze": "encoder.layer[-1:]"}], "lr": 0.01},
            "lstm": {"head": {"name": "lstm", "lstm_size": 8}, "head_lr": 0.05},
        },
        grid={"seed": [0, 1]},
    )
    return run_study(folder / "runs" / "three", spec)


@pytest.fixture(scope="session")
def contents(finished_study: StudyOutcomes) -> Contents:
    """The report contents of the finished study."""
    return collect_contents(finished_study)


@pytest.fixture(scope="session")
def page(contents: Contents) -> Path:
    """The path of the finished study's report.html. The other report files are in the same folder."""
    return write_contents(contents)
