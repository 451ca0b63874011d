"""The simulated cross-validations of fold_calibration.py equal real ones, and its tables count the tests' findings."""

from __future__ import annotations

import numpy as np
import pytest

from fold_calibration import cross_validate, draw_data_sets, find_differences, smoother, tables


def test_cross_validation_equals_training_without_each_fold() -> None:
    rng = np.random.default_rng(0)
    features = np.hstack([rng.normal(size=(60, 8)), np.full((60, 1), 10.0)])  # the last feature is the intercept
    labels = np.sign(features[:, 0] + rng.normal(size=60))
    folds = np.arange(60) % 4
    expected = []
    for fold in range(4):
        train, test = features[folds != fold], features[folds == fold]
        weights = np.linalg.solve(train.T @ train + 5 * np.eye(9), train.T @ labels[folds != fold])
        expected.append((np.sign(test @ weights) == labels[folds == fold]).mean())
    assert cross_validate(smoother(features[:, :8], 5.0), labels, folds) == pytest.approx(expected)


def test_data_sets_of_a_round_are_disjoint() -> None:
    data_sets = draw_data_sets(100, 30, 5, np.random.default_rng(0))
    assert data_sets.shape == (5, 30)
    assert len(set(data_sets[:3].ravel())) == len(set(data_sets[3:].ravel())) + 30 == 90


def test_tests_find_clear_differences_with_their_signs() -> None:
    baseline = np.random.default_rng(0).normal(0.7, 0.001, size=(3, 10))
    shifts = np.array([0.1, -0.1, 0.0])[:, None]
    arm = baseline + shifts + np.where(shifts == 0, 0, np.linspace(0, 0.01, 10))
    for found in find_differences(arm, baseline, num_folds=10).values():
        assert found.tolist() == [1, -1, 0]


def test_tables_have_a_line_for_each_pair_of_arms_and_design() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(240, 6))
    lines = list(tables(features, np.sign(features[:, 0]), draw_data_sets(240, 60, 4, rng)))
    cells = [line.split("|")[1:3] for line in lines if line.startswith(("| features", "| regularisation"))]
    assert len(cells) == 16
    assert cells[:8] == cells[8:]
