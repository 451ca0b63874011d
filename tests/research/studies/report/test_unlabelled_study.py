"""A study whose test rows have no labels compares its arms on validation rows, or says why it cannot."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from research.studies.conduct import check_compared
from research.studies.grid import StudySpec, expand
from research.studies.report.console import ranking_lines
from research.studies.report.contents import find_contents
from research.studies.report.page import write_contents
from tests.research.studies.report.studies import SMALL, run_study


@pytest.fixture
def spec(environment: pytest.MonkeyPatch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> StudySpec:
    data = shutil.copytree(tiny_reviews, tmp_path / "data")
    texts = [line.rpartition(",")[0] for line in (data / "test.csv").read_text().splitlines()]
    (data / "test.csv").write_text("\n".join(texts) + "\n")
    base = {**SMALL, "encoder": str(tiny_encoder), "data": str(data)}
    return StudySpec(name="s", base=base, grid={"head": ["linear", "mean"]}, split="validation")


@pytest.mark.parametrize("metric", [None, "accuracy"])
def test_study_on_unlabelled_rows_is_refused_before_it_trains(spec: StudySpec, metric: str | None) -> None:
    spec = dataclasses.replace(spec, metric=metric)
    check_compared(spec, expand(spec))
    with pytest.raises(ValueError, match=r"cannot be compared on test rows.*--split validation"):
        check_compared(dataclasses.replace(spec, split="test"), expand(spec))


def test_report_compares_on_validation_rows_only(spec: StudySpec, tmp_path: Path) -> None:
    study = run_study(tmp_path / "runs" / "s", spec)
    contents = find_contents(study)
    assert (contents.reasons, contents.metric) == ({}, "accuracy")
    for each, outcome in zip(sorted(contents.ranked, key=lambda arm: arm.arm), study.outcomes, strict=True):
        assert outcome.result is not None
        assert each.values == {0: outcome.result["metrics"]["validation"]["accuracy"]}
    assert write_contents(contents).exists()
    assert "test/" not in (study.directory / "results.csv").read_text()

    on_test = dataclasses.replace(study, spec=dataclasses.replace(spec, split="test"))
    contents = find_contents(on_test)
    assert [*contents.ranked, *contents.breakdowns, *contents.models] == []
    assert set(contents.reasons.values()) == {contents.reasons["ranking"]}
    assert "no labels" in contents.reasons["ranking"]
    (line,) = ranking_lines(contents)
    assert "no labels" in str(line)
    assert "no labels" in write_contents(contents).read_text()
