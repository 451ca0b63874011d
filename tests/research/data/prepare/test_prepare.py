"""Prepare data. Prepared rows may change only if ROWS_FORMAT changes, because users' caches contain them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research.data.prepare.cleaning import CLEANING
from research.data.prepare.prepare import ROWS_FORMAT
from research.data.sources.bad_rows import BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl
from tests.research.data.entry_hash import hash_entry


# Each of the following functions takes two writers, writes data with one of them, and returns the path of the data and
# the settings to load it with.
def write_texts(write_csv: Callable[..., Path], _: Any) -> tuple[Path, dict[str, Any]]:
    """Write only training rows, from which all splits are carved: repeated texts, texts to clean, and bad rows."""
    lines: list[str | bytes] = [
        f"<b>Cafe\u0301</b>  {row % 70}\x07,{'other' if row % 3 else 'rest'}" for row in range(90)
    ]
    lines += [",rest", "no label,", "three,fields,here", b"\xe9,rest", "text,label"]
    limits = {"limit_train": 40, "limit_validation": 7, "split_seed": 3, "validation_share": 0.2}
    return write_csv(*lines), {"cleaning": list(CLEANING), "bad_rows": "skip", **limits}


def write_pairs(write_csv: Callable[..., Path], _: Any) -> tuple[Path, dict[str, Any]]:
    """Write a folder with three splits of pairs. Splits share rows, and some labels do not occur in training rows."""
    for split, num_rows in (("train", 30), ("validation", 20), ("test", 12)):
        lines = [f'"premise, {row}";hypothesis {row};{row % (2 if split == "train" else 3)}' for row in range(num_rows)]
        path = write_csv(*lines, name=f"pairs/{split}.csv", header="premise;hypothesis;label")
    return path.parent, {"unseen_labels": "count_as_wrong", "cleaning": ["lowercase"]}


def write_label_lists(_: Any, write_jsonl: Callable[..., Path]) -> tuple[Path, dict[str, Any]]:
    """Write lists of labels, some of them empty, and an unlabelled test split."""
    names = ["joy", "anger", "\u00e9tat"]
    rows = [
        {"text": f"text {row}", "label": [name for bit, name in enumerate(names) if row >> bit & 1]}
        for row in range(40)
    ]
    path = write_jsonl([*rows, {"label": ["joy"]}, "[1]"], name="labels/train.jsonl")
    write_jsonl([{"text": f"unlabelled {row}"} for row in range(9)], name="labels/test.jsonl")
    return path.parent, {"bad_rows": "skip"}


def write_separated_labels(write_csv: Callable[..., Path], _: Any) -> tuple[Path, dict[str, Any]]:
    """Write strings that hold several labels with a separator."""
    lines = [f"text {row}\t{('a|b', 'b', 'c| a')[row % 3]}" for row in range(40)]
    return write_csv(*lines, name="labels.tsv", header="text\tlabel"), {"label_separator": "|"}


def write_label_columns(write_csv: Callable[..., Path], _: Any) -> tuple[Path, dict[str, Any]]:
    """Write one column per label."""
    lines = [f"text {row},{row % 2},{row // 2 % 2}" for row in range(40)]
    return write_csv(*lines, header="text,good,long"), {"label_column": "good,long", "text_column": "text"}


def write_scores(_: Any, write_jsonl: Callable[..., Path]) -> tuple[Path, dict[str, Any]]:
    """Write one score per row."""
    return write_jsonl([{"text": f" text {row}\n", "label": row / 8 - 1} for row in range(40)]), {"test_share": 0.3}


@pytest.mark.parametrize(
    ("write_example", "expected_hash"),
    [
        (write_texts, "7fab4babc49210b8"),
        (write_pairs, "5cc1911923308d13"),
        (write_label_lists, "cbf9180186f46659"),
        (write_separated_labels, "30f67ba062ecd39a"),
        (write_label_columns, "8044dc0d43da1cb9"),
        (write_scores, "0ee4d625c176a12d"),
    ],
)
def test_rows_change_only_if_rows_format_changes(
    load: Loader,
    write_csv: WriteCsv,
    write_jsonl: WriteJsonl,
    write_example: Callable[..., tuple[Path, dict[str, Any]]],
    expected_hash: str,
) -> None:
    path, settings = write_example(write_csv, write_jsonl)
    load(path, **settings)
    entry_hash = hash_entry(load.cache_dir, "rows")
    assert (ROWS_FORMAT, entry_hash) == (3, expected_hash), (
        "The prepared rows or facts have changed. Increase ROWS_FORMAT in research/data/prepare/prepare.py, so that "
        "old entries in users' caches are not used, and update the format number and the hashes in this test."
    )


@pytest.mark.parametrize(("name", "header"), [("a.csv", "text,label"), ("a.tsv", "text\tlabel")])
def test_load_refuses_a_header_without_rows(load: Loader, write_csv: WriteCsv, name: str, header: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} .* for train"):
        load(write_csv(name=name, header=header))


def test_bad_rows_are_reported_if_no_row_is_usable(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match="10 bad rows of 10"):
        load(write_csv(*[f"text {row},nan" for row in range(10)]))


def test_label_column_of_ids_is_refused_because_no_split_can_be_carved(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=in_order("60 training rows", "test split", "60 labels", "test_share")):
        load(write_csv(*[f"text {row},{10**18 + row}" for row in range(60)]))


@pytest.mark.parametrize(
    ("labels", "explanation"),
    [
        ([f"{number},25" for number in range(40)], "'label'.*as text"),  # a decimal comma does not make a number
        ([f"id {number}" for number in range(40)], "'label'.*40 .* 40 .*label_column"),
    ],
)
def test_carving_error_explains_how_labels_were_read(
    load: Loader, write_jsonl: WriteJsonl, labels: list[str], explanation: str
) -> None:
    path = write_jsonl([{"text": f"text {row}", "label": label} for row, label in enumerate(labels)])
    with pytest.raises(ValueError, match=f"40 training rows.*test split.*{explanation}"):
        load(path)
