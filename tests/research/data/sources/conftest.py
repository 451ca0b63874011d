"""A small data set with the layout of the raw IMDB release."""

from __future__ import annotations

from pathlib import Path

import pytest

REVIEWS = {
    f"{split}/{folder}/{number}_{rating}.txt": f"{split} {folder} review {number}<br />caf\u00e9"
    for split in ("train", "test")
    for folder, rating in (("pos", 8), ("neg", 2))
    for number in (10, 9, 0, 100)
}
"""Texts of the reviews, by their paths in the release."""


@pytest.fixture
def imdb_release(tmp_path: Path) -> Path:
    """Return the folder of the unpacked release, including a README and an unlabelled review, which are not read."""
    root = tmp_path / "aclImdb"
    for name, text in {**REVIEWS, "train/unsup/0_0.txt": "unlabelled", "README": "read me"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root
