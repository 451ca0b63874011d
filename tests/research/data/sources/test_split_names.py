"""Choose the split of each part of a data set by the name of the part."""

from __future__ import annotations

import re

import pytest

from research.data.sources.split_names import choose_splits
from tests.messages import in_order


def test_choose_splits_reports_unused_parts() -> None:
    splits, notes = choose_splits("my data", ["dev", "unsupervised", "training", "extra", "test"])
    assert splits == {"dev": "validation", "training": "train", "test": "test"}
    (note,) = notes
    assert re.search(in_order("my data", "unsupervised, extra"), note)
    assert choose_splits("my data", ["train"]) == ({"train": "train"}, ())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "val", "dev"], ("my data", "validation", "val, dev")),
        (["test", "rest"], ("my data", "train", "test, rest")),
        ([], ("my data", "train")),
    ],
)
def test_choose_splits_refuses_duplicate_splits_and_a_missing_train_split(
    names: list[str], expected: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=in_order(*expected)):
        choose_splits("my data", names)
