"""The raw IMDB release of one text file per review, unpacked.

Source: Maas et al. 2011, Learning Word Vectors for Sentiment Analysis.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from research.data.sources.bad_rows import INVALID_UTF8
from research.data.sources.base import PathSource, Source, identify, register_data
from research.data.sources.folders import is_named_like_split
from research.data.sources.tables import Report, Table, refuse_lfs_pointer
from research.data.sources.text_format import TextFormat

SENTIMENTS = ("negative", "positive")
_FOLDERS = {"neg": "negative", "pos": "positive"}
RAW_SPLITS = ("train", "test")


@register_data("aclimdb")
class ReleaseFolder(PathSource):
    """An aclImdb folder: the raw IMDB release, unpacked."""

    precedence = 62
    expected = "an aclImdb folder"

    def find_at(self, path: Path, text_format: TextFormat) -> Source | None:
        root = find_raw_release(path)
        if root is None:
            return None
        beside = [
            each.name for each in sorted(root.iterdir()) if each.name not in RAW_SPLITS and is_named_like_split(each)
        ]
        if beside:
            raise ValueError(
                f"'{root}' has the reviews of {' and '.join(RAW_SPLITS)} in folders pos/ and neg/, beside which "
                f"{', '.join(beside)} would not be read. Move it away."
            )
        reviews = list_reviews(root)
        return Source(
            root.resolve().name,
            identify(review for split in reviews.values() for _, review in sorted(split)),
            lambda _: {
                split: [ReviewFiles(split, list(found), Path.read_bytes)] for split, found in reviews.items() if found
            },
        )


class ReviewFiles(Table):
    """The reviews of one split of the raw release; a row is a file.

    The order is that of `sort_key`, so that a folder and an archive give the same rows.

    Args:
        name: what messages call the split.
        reviews: path inside the release, and where the text is (a file, or whatever `read` understands).
        read: returns the bytes of one review.
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
            record = {"text": text, "label": _FOLDERS[path.split("/")[1]]}
            yield row, 0, [record[column] for column in columns]


def sort_key(path: str) -> tuple[str, float, str]:
    """Order reviews as the packaged ones are: negatives first, then by the number that starts the file name."""
    _, folder, name = path.split("/")
    number = re.match(r"\d+", name)
    return folder, int(number.group()) if number else float("inf"), name


def review_path(path: str) -> str | None:
    """Return `split/sentiment/name` of a review's path inside the release, None for any other file."""
    parts = path.split("/")[-3:]
    if len(parts) < 3 or parts[0] not in RAW_SPLITS or parts[1] not in _FOLDERS:
        return None
    # A leading dot marks the shadow files that macOS adds.
    return "/".join(parts) if parts[2].endswith(".txt") and not parts[2].startswith(".") else None


def find_raw_release(folder: Path) -> Path | None:
    """Return the folder that holds train/pos and train/neg: this one or its aclImdb/; None if neither does."""
    for root in (folder, folder / "aclImdb"):
        # Not Path.is_dir, which raises where a folder may not be entered: listing the folder reports that.
        if os.path.isdir(root / "train" / "pos") and os.path.isdir(root / "train" / "neg"):
            return root
    return None


def list_reviews(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """Return the reviews of each split of an unpacked release, in no particular order."""
    return {
        split: [
            (path, root / path)
            for folder in _FOLDERS
            if (root / split / folder).is_dir()
            for name in os.listdir(root / split / folder)
            if (path := review_path(f"{split}/{folder}/{name}"))
        ]
        for split in RAW_SPLITS
    }
