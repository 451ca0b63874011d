"""Read the unpacked raw IMDB release, which has one text file per review.

Source: Maas et al. 2011, Learning Word Vectors for Sentiment Analysis.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from research.data.sources.bad_rows import INVALID_UTF8
from research.data.sources.base import PathSource, Source, identify_files, register_data
from research.data.sources.folders import may_hold_split
from research.data.sources.tables import Report, Table, refuse_lfs_pointer
from research.data.sources.text_format import TextFormat

SENTIMENTS = ("negative", "positive")
"""Label names, ordered by label code."""
_SENTIMENT_OF_FOLDER = {"neg": "negative", "pos": "positive"}
RAW_SPLITS = ("train", "test")
"""Splits of the raw release, each in the folder of that name."""


@register_data("aclimdb")
class ReleaseFolder(PathSource):
    """An aclImdb folder: the unpacked raw IMDB release."""

    precedence = 62
    expected = "an aclImdb folder"

    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        root = find_raw_release(path)
        if root is None:
            return None
        unread = [path.name for path in sorted(root.iterdir()) if path.name not in RAW_SPLITS and may_hold_split(path)]
        if unread:
            raise ValueError(
                f"'{root}' is an aclImdb folder. Only its folders {'/ and '.join(RAW_SPLITS)}/ are read, but it also "
                f"has {', '.join(unread)}. Move these to a different folder."
            )
        reviews = list_reviews(root)
        return Source(
            root.resolve().name,
            identify_files(review for split in reviews.values() for _, review in sorted(split)),
            lambda _: {
                split: [ReviewFiles(split, list(paths), Path.read_bytes)] for split, paths in reviews.items() if paths
            },
        )


class ReviewFiles(Table):
    """The reviews of one split of the raw release, with one row per file.

    Rows are ordered by `sort_key`, so that a folder and an archive have the same rows.

    Args:
        name: name of the split in messages.
        reviews: path of each review inside the release, and the location of its text, which is passed to `read`.
        read: returns the bytes of the review at a location.
    """

    fixed_columns = True

    def __init__(self, name: str, reviews: list[tuple[str, Any]], read: Any) -> None:
        super().__init__(name)
        self._reviews = sorted(reviews, key=lambda review: sort_key(review[0]))
        self._read = read

    def columns(self) -> list[str]:
        return ["text", "label"]

    def label_names(self, column: str) -> tuple[str, ...] | None:
        return SENTIMENTS if column == "label" else None

    def place(self, row: int, line: int) -> str:
        del line
        # Each file has a single row.
        return f"{self._reviews[row - 1][0]}, row 1"

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        for row, (path, location) in enumerate(self._reviews, 1):
            try:
                content = self._read(location)
                refuse_lfs_pointer(content, path)
                text = content.decode("utf-8")
            except UnicodeDecodeError:
                report(row, 0, INVALID_UTF8)
                continue
            record = {"text": text, "label": _SENTIMENT_OF_FOLDER[path.split("/")[1]]}
            yield row, 0, [record[column] for column in columns]


def sort_key(path: str) -> tuple[str, float, str]:
    """Return the sort key of a review, which sorts by sentiment (negative first), then by the number in the file name.

    The packaged reviews have the same order.
    """
    _, folder, name = path.split("/")
    number = re.match(r"\d+", name)
    return folder, int(number.group()) if number else float("inf"), name


def extract_review_path(path: str) -> str | None:
    """Return `split/sentiment/name` for the path of a review inside the release, None for any other file."""
    parts = path.split("/")[-3:]
    if len(parts) < 3 or parts[0] not in RAW_SPLITS or parts[1] not in _SENTIMENT_OF_FOLDER:
        return None
    # The shadow files that macOS adds start with a dot.
    return "/".join(parts) if parts[2].endswith(".txt") and not parts[2].startswith(".") else None


def find_raw_release(folder: Path) -> Path | None:
    """Return the folder that contains train/pos and train/neg: `folder` or its subfolder aclImdb, else None."""
    for root in (folder, folder / "aclImdb"):
        # Path.is_dir would raise an error for a folder without permission; listing the folder reports that later.
        if os.path.isdir(root / "train" / "pos") and os.path.isdir(root / "train" / "neg"):
            return root
    return None


def list_reviews(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """Return the reviews of each split of an unpacked release, in no particular order."""
    return {
        split: [
            (path, root / path)
            for folder in _SENTIMENT_OF_FOLDER
            if (root / split / folder).is_dir()
            for name in os.listdir(root / split / folder)
            if (path := extract_review_path(f"{split}/{folder}/{name}"))
        ]
        for split in RAW_SPLITS
    }
