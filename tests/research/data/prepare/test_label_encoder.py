"""Encode the labels of rows, and report rows whose label cannot be used."""

from __future__ import annotations

import re

import pytest

from research.data.prepare.learn_labels import learn_labels
from research.data.sources.bad_rows import BadRows
from research.tasks.base import TASKS
from tests.messages import in_order
from tests.research.data.prepare.conftest import COLUMNS, IngestLabels


def test_check_and_stratify_reports_unusable_rows_with_the_reason(ingest_labels: IngestLabels) -> None:
    encoder = learn_labels(ingest_labels("a", "b", "b"), COLUMNS, None)
    bad, unseen = BadRows("skip"), BadRows("skip", "unseen_labels")
    usable, strata = encoder.check_and_stratify(ingest_labels("b", "c", None, "a", "a", split="test"), bad, unseen)
    assert usable.tolist() == [True, False, False, True, True]
    assert strata[usable].tolist() == [1, 0, 0]
    assert bad.reasons == {2: {"missing label": 1}}  # 2 is the number of the table of test rows
    ((reason, count),) = unseen.reasons[2].items()
    assert "'c'" in reason
    assert count == 1
    assert re.search(in_order("test.jsonl, row 2", "'c'"), str(unseen.raise_or_summarize(5)))


@pytest.mark.parametrize(
    ("labels", "task", "expected"),
    [
        (["b", "a"], None, ("guessed", "single_label", "2 labels: a, b.")),
        ([["b"], ["a", "b"]], "multi_label", ("multi_label", "2 labels: a, b.")),
        ([0.5, 1.5], "regression", ("regression", "'label'.")),
        ([f"name {row:02}" for row in range(11)], None, ("single_label", "11 labels: name 00", "name 09, ...")),
    ],
)
def test_description_contains_the_task_and_its_labels(
    ingest_labels: IngestLabels, labels: list[object], task: str | None, expected: tuple[str, ...]
) -> None:
    task_class = None if task is None else TASKS[task]
    encoder = learn_labels(ingest_labels(*labels), COLUMNS, task_class)
    description = encoder.describe(guessed=task_class is None)
    assert re.search(in_order(*expected), description)
    assert ("guessed" in description) == (task_class is None)
    assert encoder.label_type == encoder.task_class.column_type()
