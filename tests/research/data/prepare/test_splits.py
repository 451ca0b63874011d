"""Carve and sample splits. They are stratified and reproducible, and no two splits share a text."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from research.data.prepare.load import Splits
from research.data.prepare.splits import allocate, bin_scores, carve, sample
from research.data.sources.split_names import TEST, TRAIN, VALIDATION
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl

NO_HASHES = np.empty(0, dtype=np.uint64)
"""An empty array of text hashes, for data without existing splits."""
SHARES = {VALIDATION: 0.1, TEST: 0.2}
"""Shares of the splits to carve."""


def texts_by_split(splits: Splits) -> dict[str, list[str]]:
    return {name: list(split["text"]) for name, split in splits.items()}


def hashes_of_distinct_texts(num_rows: int) -> np.ndarray:
    """Return the hashes of texts that all differ."""
    return np.random.default_rng(1).permutation(num_rows).astype(np.uint64)


def test_allocate_uses_the_largest_remainder_method() -> None:
    for seed in range(20):
        assert allocate(10, np.array([50, 30, 20]), seed).tolist() == [5, 3, 2]
        assert allocate(4, np.array([5, 3, 2]), seed).tolist() == [2, 1, 1]
        assert allocate(1, np.array([2, 3]), seed).tolist() == [0, 1]


def test_allocate_breaks_ties_by_seed_and_not_by_position() -> None:
    allocated = np.array([allocate(80, np.full(151, 10), seed) for seed in range(300)])
    assert (allocated.sum(axis=1) == 80).all()
    assert set(allocated.ravel()) == {0, 1}
    assert np.array_equal(allocated[0], allocate(80, np.full(151, 10), 0))
    # 300 draws with probability 80/151: the bounds are four standard deviations from the mean.
    assert 0.41 < allocated.mean(axis=0).min() < allocated.mean(axis=0).max() < 0.65


@pytest.mark.parametrize("method", ["sample", "carve"])
def test_small_splits_do_not_favour_labels_that_sort_first(load: Loader, write_csv: WriteCsv, method: str) -> None:
    lines = [f"text {row},label {row % 151:03}" for row in range(151 * 20)]
    settings = {"limit_validation": 80, "limit_train": 320} if method == "sample" else {"validation_share": 80 / 3020}
    splits = load(write_csv(*lines), **settings)
    labels = np.array(splits.validation["label"])
    assert len(set(labels.tolist())) == 80
    assert abs((labels > 75).sum() - 40) < 20  # about half of the 80 labels are in the second half of the 151
    assert load.reported("Warning:", "71 of 151 labels", "validation")
    assert not load.reported("151 labels", "train")


def test_carve_is_stratified() -> None:
    strata = np.repeat([0, 1, 2], [700, 200, 100]).astype(np.int32)
    split_of_row = carve(hashes_of_distinct_texts(1000), strata, SHARES, seed=0, existing=NO_HASHES)
    for stratum, size in ((0, 700), (1, 200), (2, 100)):
        counts = Counter(split_of_row[strata == stratum].tolist())
        assert counts == {TRAIN: size * 7 // 10, VALIDATION: size // 10, TEST: size // 5}


def test_carve_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    hashes = hashes_of_distinct_texts(500)
    strata = (hashes % 2).astype(np.int32)
    split_of_row = carve(hashes, strata, SHARES, seed=0, existing=NO_HASHES)
    assert np.array_equal(split_of_row, carve(hashes, strata, SHARES, seed=0, existing=NO_HASHES))
    assert not np.array_equal(split_of_row, carve(hashes, strata, SHARES, seed=1, existing=NO_HASHES))
    split_of_reversed_row = carve(hashes[::-1], strata[::-1], SHARES, seed=0, existing=NO_HASHES)
    assert np.array_equal(split_of_row[::-1], split_of_reversed_row)


def test_carve_keeps_copies_of_a_text_together() -> None:
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 200, size=1000).astype(np.uint64)
    strata = generator.integers(0, 3, size=1000).astype(np.int32)
    split_of_row = carve(hashes, strata, SHARES, seed=0, existing=NO_HASHES)
    assert all(len(set(split_of_row[hashes == text_hash])) == 1 for text_hash in set(hashes))
    # At most 10% and 20% of the 1000 rows. Copies are moved together, so the exact numbers may be impossible.
    assert 50 < (split_of_row == VALIDATION).sum() <= 100
    assert 150 < (split_of_row == TEST).sum() <= 200


def test_carve_leaves_texts_that_occur_in_existing_splits_in_train() -> None:
    hashes = hashes_of_distinct_texts(200)
    split_of_row = carve(hashes, np.zeros(200, dtype=np.int32), {TEST: 0.4}, seed=0, existing=hashes[:100])
    assert (split_of_row[:100] == TRAIN).all()
    assert (split_of_row == TEST).sum() == 80


def test_carve_leaves_rare_labels_in_train() -> None:
    strata = np.array([0] * 100 + [1] * 2 + [2], dtype=np.int32)
    for seed in range(20):
        split_of_row = carve(
            hashes_of_distinct_texts(103), strata, {VALIDATION: 0.4, TEST: 0.5}, seed, existing=NO_HASHES
        )
        assert set(strata[split_of_row == TRAIN]) == {0, 1, 2}


def test_carve_leaves_one_text_of_each_label_in_train() -> None:
    strata = np.repeat(np.arange(20), 2).astype(np.int32)
    split_of_row = carve(
        hashes_of_distinct_texts(40), strata, {VALIDATION: 0.05, TEST: 0.2}, seed=0, existing=NO_HASHES
    )
    assert Counter(split_of_row.tolist()) == {TRAIN: 30, VALIDATION: 2, TEST: 8}
    assert set(strata[split_of_row == TRAIN]) == set(range(20))


def test_carve_refuses_too_few_rows() -> None:
    with pytest.raises(ValueError, match=in_order("2 training rows", "1 different", "test split", "0.2", "test_share")):
        carve(np.zeros(2, dtype=np.uint64), np.zeros(2, dtype=np.int32), SHARES, seed=0, existing=NO_HASHES)
    with pytest.raises(ValueError, match=in_order("validation split", "--validation_share is 0")):
        carve(hashes_of_distinct_texts(9), np.zeros(9, dtype=np.int32), {VALIDATION: 0.0}, seed=0, existing=NO_HASHES)


def test_sample_is_stratified_and_keeps_the_order_of_rows() -> None:
    strata = np.tile([0, 0, 0, 1], 250).astype(np.int32)
    sampled = sample(strata, 100, seed=0)
    assert Counter(strata[sampled].tolist()) == {0: 75, 1: 25}
    assert (np.diff(sampled) > 0).all()
    assert not np.array_equal(sampled, sample(strata, 100, seed=1))
    assert sample(strata, 5000, seed=0).tolist() == list(range(1000))


def test_bin_scores_returns_bins_of_equal_size() -> None:
    assert set(np.bincount(bin_scores(np.random.default_rng(0).random(1000)))) == {100}
    assert len(set(bin_scores(np.ones(10)).tolist())) == 1


def test_missing_splits_are_carved_from_train(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"text {row % 150},label {row % 150 % 3}" for row in range(200)]
    splits = load(write_csv(*lines), validation_share=0.1, test_share=0.2)
    distinct_texts = [set(split_texts) for split_texts in texts_by_split(splits).values()]
    assert all(not first & second for first, second in itertools.combinations(distinct_texts, 2))
    assert sum(len(split) for _, split in splits.items()) == 200
    assert 36 <= len(splits.test) <= 40
    assert load.reported("validation rows", "test rows", "200 training rows", "50 rows that repeat")


def test_only_the_missing_split_is_carved(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*[f"text {row},{row % 2}" for row in range(100)], name="data/train.csv").parent
    write_csv(*[f"text {row},{row % 2}" for row in range(90, 110)], name="data/test.csv")
    splits = load(folder, validation_share=0.1)
    assert len(splits.test) == 20
    assert len(splits.validation) == 10
    assert not set(texts_by_split(splits)["validation"]) & set(texts_by_split(splits)["test"])
    assert load.reported("10 of 20 test rows", "train")


def test_pairs_are_duplicates_only_if_both_texts_are_equal(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"same,other {row},{row % 2}" for row in range(40)]
    splits = load(write_csv(*lines, header="sentence1,sentence2,label"))
    assert len(splits.test) == 8  # 20% of 40; copies of a single text would all stay in the same split


def test_carved_splits_do_not_depend_on_the_seed_of_the_run(load: Loader, write_csv: WriteCsv, tmp_path: Path) -> None:
    from research.data.prepare.load import load_splits
    from research.settings.config import RunConfig

    path = write_csv(*[f"text {row},{row % 2}" for row in range(100)])
    texts_of_runs = [
        texts_by_split(load_splits(RunConfig(data=str(path), seed=seed), tmp_path / str(seed))) for seed in (0, 1)
    ]
    assert texts_of_runs[0] == texts_of_runs[1]
    assert texts_by_split(load(path, split_seed=1)) != texts_of_runs[0]


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_limits_take_a_stratified_sample(load: Loader, write_jsonl: WriteJsonl, task: str) -> None:
    label_functions: dict[str, Callable[[int], object]] = {
        "single_label": lambda row: "rare" if row >= 600 else "common",
        "multi_label": lambda row: ["common", "rare"] if row >= 600 else ["common"],
        "regression": lambda row: row / 3,
    }
    label_of_row = label_functions[task]
    path = write_jsonl([{"text": f"text {row}", "label": label_of_row(row)} for row in range(800)])
    splits = load(path, limit_train=80, limit_validation=8, limit_test=10_000)
    assert [len(split) for _, split in splits.items()] == [80, 8, 160]
    assert splits.task.num_train == 80
    for name, split in splits.items():
        assert list(split["text"]) == [f"text {row}" for row in split["id"]], f"{name}: ids are not row numbers"
    assert load.reported("train", "80 of 600")
    if task == "regression":
        # A row's label is its number / 3, and every tenth of the labels has 80 of the 800 rows.
        rows_per_tenth = Counter(int(score * 3 // 80) for score in splits.train["label"])
        assert rows_per_tenth == dict.fromkeys(range(10), 8)
    else:
        assert splits.task.label_counts[1] == 20  # a quarter of all rows have the label "rare"
