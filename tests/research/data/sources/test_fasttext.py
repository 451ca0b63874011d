"""Read files in fastText format, in which each line holds labels and a text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from research.data.sources.bad_rows import BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader

GOOD_LINES = [f"__label__{'pos' if row % 2 else 'neg'} text {row}, with __label__x inside" for row in range(40)]


def test_fasttext_with_one_label_per_line_is_single_label(load: Loader, tmp_path: Path) -> None:
    path = tmp_path / "reviews.ft.txt.gz"
    path.write_bytes(gzip.compress("\n".join(["", *GOOD_LINES, ""]).encode()))
    splits = load(path)
    assert splits.task.name == "single_label"
    assert splits.task.label_names == ("neg", "pos")
    labels = {f"text {row}, with __label__x inside": row % 2 for row in range(40)}
    assert all(label == labels[text] for text, label in zip(splits.train["text"], splits.train["label"], strict=True))


def test_fasttext_with_several_labels_in_some_lines_is_multi_label(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join([*GOOD_LINES, "__label__pos\t__label__neg both"]))
    splits = load(tmp_path / "labels.txt", limit_test=3)
    assert splits.task.name == "multi_label"
    labels = {row["text"]: row["label"] for _, split in splits.items() for row in split}
    assert labels.get("both", [0, 1]) == [0, 1]  # limit_test may have dropped this row
    assert {len(label) for text, label in labels.items() if text != "both"} == {1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no label", "does not begin with __label__"),
        ("__label__ text", "no label name after __label__"),
        ("__label__pos", "empty text"),
        ("__label__pos caf\udce9", "invalid UTF-8"),
    ],
)
def test_fasttext_invalid_line_is_a_bad_row(load: Loader, tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "reviews.txt"
    path.write_bytes("\n".join([line, *GOOD_LINES]).encode("utf-8", "surrogateescape"))
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 41: ", f"reviews.txt, row 1: {reason}")):
        load(path)
    splits = load(path, bad_rows="skip")
    assert [(item.split, item.rows) for item in splits.skipped_rows] == [("train", 1)]
    assert sum(len(split) for _, split in splits.items()) == 40


def test_fasttext_file_without_labels_is_refused(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("first line\nsecond line\n")
    with pytest.raises(ValueError, match=r"notes\.txt .*__label__"):
        load(tmp_path / "notes.txt")


def test_text_files_that_are_not_named_after_splits_are_ignored(load: Loader, tmp_path: Path) -> None:
    for name in ("train.txt", "dev.txt", "test.txt"):
        (tmp_path / name).write_text("\n".join(GOOD_LINES))
    (tmp_path / "LICENSE.txt").write_text("free")
    assert len(load(tmp_path).test) == 40


def test_fasttext_splits_can_have_different_numbers_of_labels_per_line(load: Loader, tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.txt").write_text(
            "\n".join([*GOOD_LINES, *(["__label__pos __label__neg both"] * (split == "train"))])
        )
    splits = load(tmp_path)
    assert splits.task.name == "multi_label"
    assert splits.test["label"][:4] == [[0], [1], [0], [1]]
