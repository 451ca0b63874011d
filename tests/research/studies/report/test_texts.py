"""A report omits the parts that need texts if the data have been deleted or changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.studies.outcomes import StudyOutcomes
from research.studies.report.contents import collect_contents


def test_only_parts_that_need_texts_are_omitted_if_the_data_are_deleted(
    finished_study: StudyOutcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(finished_study.outcomes[0].trial.settings["data"])
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))
    data.rename(data.with_name("moved"))
    try:
        contents = collect_contents(finished_study)
    finally:
        data.with_name("moved").rename(data)
    assert contents.reasons.keys() == {"texts", "by length", "disagreements"}
    (reason,) = set(contents.reasons.values())
    assert f"'{data}'" in reason
    assert len(contents.model_comparisons) == 2
    (label_breakdown,) = contents.breakdowns
    assert len(label_breakdown.groups) == 2


def test_only_parts_that_need_texts_are_omitted_if_the_data_are_changed(
    finished_study: StudyOutcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))
    files = [
        Path(finished_study.outcomes[0].trial.settings["data"]) / f"{split}.csv" for split in ("validation", "test")
    ]
    original_contents = collect_contents(finished_study)
    original_texts = [file.read_text() for file in files]
    try:
        files[0].write_text("\n".join(original_texts[0].splitlines()[:-1]) + "\n")  # one row fewer
        files[1].write_text(  # with swapped labels
            original_texts[1].replace(",positive", ",?").replace(",negative", ",positive").replace(",?", ",negative")
        )
        contents = collect_contents(finished_study)
    finally:
        for file, text in zip(files, original_texts, strict=True):
            file.write_text(text)
    # The texts of the changed data can be read, but do not belong to the predictions.
    assert contents.reasons.keys() == {"by length", "disagreements"}
    assert contents.disagreements == []
    titles, original_titles = ([part.title for part in each.breakdowns] for each in (contents, original_contents))
    assert titles == original_titles[1:]  # without the breakdown by length
