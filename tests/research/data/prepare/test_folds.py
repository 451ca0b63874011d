"""Divide training rows into folds, and keep the rows of a group together."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.data.prepare.folds import NO_FOLD, deal_folds, warn_if_unequal
from research.data.prepare.groups import join_units
from research.settings.config import RunConfig
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv

NONE = np.empty(0, dtype=np.uint64)
STRATA = np.repeat([0, 1, 2], [703, 201, 99]).astype(np.int32)
"""Strata of 1003 rows."""


def distinct_units(num_rows: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(num_rows).astype(np.uint64)


def test_deal_folds_divides_rows_and_strata_evenly() -> None:
    folds = deal_folds(distinct_units(1003), STRATA, 5, seed=0, existing=NONE)
    assert sorted(Counter(folds.tolist()).values()) == [200, 200, 201, 201, 201]
    for stratum in range(3):
        counts = np.bincount(folds[stratum == STRATA], minlength=5)
        assert np.ptp(counts) <= 1
    assert np.array_equal(folds, deal_folds(distinct_units(1003), STRATA, 5, seed=0, existing=NONE))
    assert not np.array_equal(folds, deal_folds(distinct_units(1003), STRATA, 5, seed=1, existing=NONE))


def test_deal_folds_keeps_units_together_and_balances_them() -> None:
    generator = np.random.default_rng(0)
    units = generator.integers(0, 150, size=1003).astype(np.uint64)
    folds = deal_folds(units, STRATA, 5, seed=0, existing=NONE)
    assert all(len(set(folds[units == unit])) == 1 for unit in set(units))
    assert np.ptp(np.bincount(folds)) <= 10
    for stratum, expected in ((0, 140.6), (1, 40.2), (2, 19.8)):
        assert abs(np.bincount(folds[stratum == STRATA], minlength=5) - expected).max() <= 8


def test_each_seed_deals_groups_differently() -> None:
    units = np.repeat(np.arange(20), np.arange(5, 25)).astype(np.uint64)
    strata = np.zeros(len(units), dtype=np.int32)
    divisions = [deal_folds(units, strata, 5, seed, existing=NONE) for seed in range(5)]
    test_sets = {frozenset(units[folds == fold].tolist()) for folds in divisions for fold in range(5)}
    assert len(test_sets) > 20  # of 25
    for folds in divisions:
        assert np.ptp(np.bincount(folds)) <= 20


def test_folds_of_very_unequal_size_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    warn_if_unequal(np.array([NO_FOLD, 0, 0, 1, 1, 1, 2, 2]))
    assert not caplog.records
    warn_if_unequal(np.repeat([0, 1, 2], [50, 10, 12]))
    (record,) = caplog.records
    assert "between 10 and 50 rows" in record.getMessage()


def test_deal_folds_fills_up_folds_with_single_rows() -> None:
    units = np.array([1] * 30 + list(range(100, 170)), dtype=np.uint64)
    folds = deal_folds(units, np.zeros(100, dtype=np.int32), 3, seed=0, existing=NONE)
    assert sorted(np.bincount(folds)) == [33, 33, 34]


def test_deal_folds_deals_the_largest_units_first() -> None:
    units = np.array([unit for unit in range(10) for _ in range(2)] + [10] * 20, dtype=np.uint64)
    for seed in range(5):
        folds = deal_folds(units, np.zeros(40, dtype=np.int32), 2, seed, existing=NONE)
        assert Counter(folds.tolist()) == {0: 20, 1: 20}


def test_deal_folds_leaves_existing_units_out() -> None:
    units = distinct_units(100)
    folds = deal_folds(units, np.zeros(100, dtype=np.int32), 2, seed=0, existing=units[:40])
    assert (folds[:40] == NO_FOLD).all()
    assert Counter(folds[40:].tolist()) == {0: 30, 1: 30}


def test_join_units_connects_rows_with_the_same_text_or_group() -> None:
    texts = np.array([1, 1, 2, 3, 4, 5], dtype=np.uint64)
    groups = np.array([10, 11, 11, 12, 12, 13], dtype=np.uint64)
    units = join_units(texts, groups)
    # Rows 0 and 1 share a text, 1 and 2 a group; 3 and 4 share a group; 5 is alone.
    assert [units.tolist().index(unit) for unit in units.tolist()] == [0, 0, 0, 3, 3, 5]
    assert np.array_equal(units[::-1], join_units(texts[::-1], groups[::-1]))


def are_disjoint(sets: list[set[str]]) -> bool:
    return all(first.isdisjoint(second) for first, second in itertools.combinations(sets, 2))


def group_lines(num_rows: int = 120) -> list[str]:
    """Return rows of 30 authors with repeated texts."""
    return [f"text {row % 90},{('good', 'bad')[row % 2]},author {row % 30}" for row in range(num_rows)]


def test_folds_test_every_row_once_and_divide_no_text_and_no_group(load: Loader, write_csv: WriteCsv) -> None:
    lines = group_lines()
    path = write_csv(*lines, header="text,label,author")
    num_tested: Counter[int] = Counter()
    for fold in range(3):
        splits = load(path, folds=3, fold=fold, group_column="author", validation_share=0.2)
        ids = {name: list(split["id"]) for name, split in splits.items()}
        assert sorted(itertools.chain(*ids.values())) == list(range(120))
        assert all(len(ids[name]) >= 30 for name in ("train", "test"))
        for column in (0, 2):
            values = [{lines[row].split(",")[column] for row in ids[name]} for name in ids]
            assert are_disjoint(values)
        assert load.reported(f"fold {fold} of 0 to 2", "split_seed 0", "same author")
        num_tested.update(ids["test"])
    assert num_tested == dict.fromkeys(range(120), 1)


def test_folds_ignore_the_test_split_with_a_warning_and_keep_the_validation_split(
    load: Loader, write_csv: WriteCsv
) -> None:
    for split, num_rows in (("train", 60), ("validation", 20), ("test", 10)):
        lines = [f"{'text' if row < 5 else split} {row},{row % 2}" for row in range(num_rows)]
        path = write_csv(*lines, name=f"data/{split}.csv")
    splits = load(path.parent, folds=2)
    assert load.reported("Warning", "--folds 2", "test split")
    assert list(splits.validation["text"]) == [f"{'text' if row < 5 else 'validation'} {row}" for row in range(20)]
    # Five training rows have a text that is also in validation: they are never test rows.
    assert {len(splits.test), len(splits.train)} in ({27, 33}, {28, 32})
    assert not {f"text {row}" for row in range(5)} & set(splits.test["text"])
    assert splits.place_of("test", splits.test["id"][0]).startswith(str(Path("train.csv")))


def test_groups_stay_together_when_splits_are_carved(load: Loader, write_csv: WriteCsv) -> None:
    lines = group_lines()
    path = write_csv(*lines, header="text,label,author")
    splits = load(path, group_column="author")
    authors = [{lines[row].split(",")[2] for row in split["id"]} for _, split in splits.items()]
    assert all(authors)
    assert are_disjoint(authors)


def test_groups_may_be_texts_of_pairs_but_not_labels(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"premise {row % 20},hypothesis {row},{row % 3}" for row in range(120)]
    path = write_csv(*lines, header="premise,hypothesis,label")
    splits = load(path, group_column="premise", label_column="label", validation_share=0.1)
    assert len(splits.validation) == 12  # two premises with six rows each
    assert not set(splits.train["text"]) & set(splits.test["text"])
    with pytest.raises(ValueError, match="--group_column 'label'"):
        load(path, group_column="label", label_column="label", text_column="premise")
    with pytest.raises(ValueError, match=r"'premises'.*'premise'"):
        load(path, group_column="premises", label_column="label")


def test_rows_without_a_group_are_bad_rows(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*group_lines(), "a text,good,", header="text,label,author")
    with pytest.raises(ValueError, match="missing group"):
        load(path, group_column="author")


def test_too_few_rows_for_the_folds_are_refused(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row},{row % 2},author {row % 2}" for row in range(40)]
    path = write_csv(*lines, header="text,label,author")
    with pytest.raises(ValueError, match=in_order("40 training rows", "2 different", "3 folds")):
        load(path, folds=3, group_column="author")


@pytest.mark.parametrize(
    ("settings", "message"), [({"fold": 1}, "no --folds; got 1"), ({"folds": 3, "fold": 3}, "less than --folds 3")]
)
def test_fold_must_be_one_of_the_folds(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(**settings)
