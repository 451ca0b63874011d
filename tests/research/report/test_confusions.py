"""The most confused pairs of labels equal values computed by hand."""

from __future__ import annotations

import numpy as np

from research.report.confusions import find_confusions
from research.tasks.single_label import SingleLabel
from tests.research.report.labels import task_with_labels


def test_find_confusions_returns_the_pairs_that_were_computed_by_hand() -> None:
    labels, predicted = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array([1, 1, 0, 2, 0, 1, 1, 1])
    confusions = find_confusions(task_with_labels(3), labels, predicted)
    assert [(pair.label, pair.predicted, pair.num_rows, pair.share) for pair in confusions] == [
        ("label 0", "label 1", 2, 0.5),
        ("label 2", "label 1", 2, 1.0),
        ("label 0", "label 2", 1, 0.25),
        ("label 1", "label 0", 1, 0.5),
    ]


def test_confusions_include_unseen_labels() -> None:
    task = SingleLabel(("a", "b"), label_counts=(1, 1), num_train=2, unseen_labels=("new",))
    # The code of the unseen label is 2.
    (pair,) = find_confusions(task, np.array([0, 2, 2]), np.array([0, 1, 1]))
    assert (pair.label, pair.predicted, pair.num_rows, pair.share) == ("new", "b", 2, 1.0)
