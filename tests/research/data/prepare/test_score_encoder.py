"""Encode labels that are scores."""

from __future__ import annotations

import re

import numpy as np
import pytest

from research.data.prepare.learn_labels import learn_labels
from research.data.sources.bad_rows import BadRows
from research.tasks.base import TASKS
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv
from tests.research.data.prepare.conftest import COLUMNS, IngestLabels
from tests.research.data.prepare.labelled_rows import labels_by_row_number


def test_scores_beyond_32_bit_floats_are_bad_rows(
    load: Loader, write_csv: WriteCsv, recwarn: pytest.WarningsRecorder
) -> None:
    lines = [f"review {row},{row / 7}" for row in range(20)]
    splits = load(write_csv(*lines, "large,1e39", "larger,-1e308"), bad_rows="skip")
    assert sum(item.rows for item in splits.skipped_rows) == 2
    with pytest.raises(ValueError, match=r"reviews\.csv .* for train"):
        load(write_csv("large,1e39", "larger,-1e308"), bad_rows="skip", task="regression")
    assert not list(recwarn)  # for example no overflow warning


def test_fractions_are_read_as_scores(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{row / 8}" for row in range(40)]
    splits = load(write_csv(*lines, header="text,score"))
    assert (splits.task.name, splits.task.label_names) == ("regression", ("score",))
    assert splits.task.label_counts == ()
    assert labels_by_row_number(splits)[3] == 0.375
    assert splits.task.score_mean == pytest.approx(np.mean(splits.train["label"]))
    assert splits.task.score_std == pytest.approx(np.std(splits.train["label"]))
    assert load.reported("guessed", "regression", "'score'")


def test_integers_can_be_read_as_scores(load: Loader, write_csv: WriteCsv) -> None:
    splits = load(write_csv(*[f"text {row},{row % 5}" for row in range(40)]), task="regression")
    assert labels_by_row_number(splits)[3] == 3.0
    assert str(splits.train.features["label"].dtype) == "float64"


def test_labels_that_are_not_finite_numbers_are_bad_rows(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{row}" for row in range(30)]
    path = write_csv(*lines, "x,four", "y,1e999", "z,inf")
    with pytest.raises(
        ValueError, match=in_order("3 bad rows of 33: ", "row 31 ", "'four'", "row 32 ", "'1e999'", "row 33 ", "'inf'")
    ):
        load(path, task="regression")
    assert sum(len(split) for _, split in load(path, task="regression", bad_rows="skip").items()) == 30


def test_score_encoder_keeps_scores_and_uses_quantiles_as_strata(ingest_labels: IngestLabels) -> None:
    scores = [row / 4 for row in range(20)]
    train = ingest_labels(*scores[::-1])
    encoder = learn_labels(train, COLUMNS, None)
    usable, strata = encoder.check_and_stratify(train, BadRows("error"), BadRows("error"))
    assert usable.all()
    # The scores decrease from row to row, and each of the ten strata has two rows.
    assert strata.tolist() == [9 - row // 2 for row in range(20)]
    (batch,) = train.batches()
    assert encoder.encode_labels(batch.column("label")).to_pylist() == scores[::-1]


def test_score_encoder_reports_labels_that_are_not_one_finite_number(ingest_labels: IngestLabels) -> None:
    encoder = learn_labels(ingest_labels(1.5, 2.5), COLUMNS, TASKS["regression"])
    bad = BadRows("skip")
    usable, _ = encoder.check_and_stratify(ingest_labels("3", "x", [1, 2], 1e39, None, split="validation"), bad, bad)
    assert usable.tolist() == [True, False, False, False, False]
    assert re.search(
        in_order("row 2: ", "'x'", "row 3: ", "'1', '2'", "row 4: ", "'1e+39'", "row 5: "),
        str(bad.raise_or_summarize(5)),
    )


@pytest.mark.parametrize(("scores", "is_possible"), [((-2.5, 0.5), True), ((0.5, 1.5), False), ((-1.0, 0.5), True)])
def test_minus_one_may_be_a_score_only_within_the_range_of_training_scores(
    ingest_labels: IngestLabels, scores: tuple[float, float], is_possible: bool
) -> None:
    train = ingest_labels(*scores)
    encoder = learn_labels(train, COLUMNS, None)
    assert encoder.may_be_real_labels({"-1.0"}, train) == is_possible
    assert not encoder.may_be_real_labels({"none"}, train)
