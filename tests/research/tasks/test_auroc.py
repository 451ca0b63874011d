"""Mean area under the ROC curve, compared with scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from research.tasks import auroc
from research.tasks.auroc import mean_auroc


@pytest.mark.parametrize("labels_per_block", [1, 2, 100])
def test_mean_auroc_matches_scikit_learn(labels_per_block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    num_rows = 60
    monkeypatch.setattr(auroc, "BLOCK_BYTES", 8 * num_rows * labels_per_block)  # a score has 8 bytes
    scores = generator.integers(5, size=(num_rows, 4)) / 4  # coarse, so that many rows have equal scores
    labels = generator.integers(4, size=num_rows)
    indicators = np.eye(4, dtype=bool)[labels]
    expected = roc_auc_score(indicators, scores, average="macro")
    assert mean_auroc(lambda block: scores[:, block], labels) == pytest.approx(expected, abs=1e-12)
    assert mean_auroc(lambda block: scores[:, block], indicators) == pytest.approx(expected, abs=1e-12)


def test_mean_auroc_skips_labels_that_all_rows_or_no_rows_have() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.8, 0.1, 0.5]])
    indicators = np.array([[False, True, False], [True, True, False]])
    # Only label 0 has both a row with it and a row without it.
    assert mean_auroc(lambda block: scores[:, block], indicators) == 1.0
    assert math.isnan(mean_auroc(lambda block: scores[:, block], indicators[:, 1:]))
