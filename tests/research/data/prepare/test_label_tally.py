"""Count the labels of each split, and compute the mean and standard deviation of the training scores."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from research.data.prepare.label_tally import LabelCodeTally, ScoreTally


def test_score_tally_computes_the_mean_and_standard_deviation_of_training_scores() -> None:
    tally = ScoreTally()
    tally.add("train", pa.array([1.0, 2.0]))
    tally.add("test", pa.array([100.0]))
    tally.add("train", pa.array([6.0]))
    facts = tally.facts("train")
    assert (facts["score_mean"], facts["score_std"]) == pytest.approx((3.0, np.std([1, 2, 6])))
    assert (facts["label_counts"], set(facts["num_unseen"].values())) == ([], {0})
    assert tally.find_present_labels(["train", "test"]) == {}


def test_score_tally_of_equal_scores_has_standard_deviation_one() -> None:
    tally = ScoreTally()
    tally.add("train", pa.array([0.1, 0.1, 0.1]))
    assert tally.facts("train")["score_std"] == 1.0  # not 0, because scores are divided by it


def test_name_tally_counts_labels_by_split() -> None:
    tally = LabelCodeTally(
        num_labels=3,
        codes_of=lambda labels: labels.to_numpy(),
        count_unseen=lambda labels: int((labels.to_numpy() >= 3).sum()),
    )
    tally.add("train", pa.array([0, 2, 2]))
    tally.add("train", pa.array([0]))
    tally.add("test", pa.array([1, 3, 4]))  # 3 and 4 are codes of unseen labels
    facts = tally.facts("train")
    assert facts["label_counts"] == [2, 0, 2]
    assert facts["num_unseen"] == {"train": 0, "validation": 0, "test": 2}
    assert (facts["score_mean"], facts["score_std"]) == (0.0, 1.0)
    present = {split: has_rows.tolist() for split, has_rows in tally.find_present_labels(["train", "test"]).items()}
    assert present == {"train": [True, False, True], "test": [False, True, False]}
