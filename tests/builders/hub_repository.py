"""Write a local folder with the layout of a data set on the Hugging Face Hub, which the `datasets` library can load."""

from __future__ import annotations

from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Value

NUM_ROWS = {"train": 50, "validation": 20, "test": 10}
"""Number of rows of each split."""
CARD = """---
configs:
- config_name: default
  data_files:
  - {{split: train, path: train*.{suffix}}}
  - {{split: validation, path: validation.{suffix}}}
  - {{split: test, path: test.{suffix}}}
---
"""
"""Content of README.md, which says which split each file holds."""


def write_repository(folder: Path, suffix: str) -> Path:
    """Write parquet or jsonl files with short texts and two labels, and return the folder.

    Args:
        folder: the new folder.
        suffix: `parquet` or `jsonl`.
    """
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    folder.mkdir()
    for split, num_rows in NUM_ROWS.items():
        rows = {"text": [f"{split} film {row}" for row in range(num_rows)], "label": [0, 1] * (num_rows // 2)}
        dataset = Dataset.from_dict(rows, features)
        if suffix == "parquet":
            dataset.to_parquet(folder / f"{split}.parquet", batch_size=7)
        else:
            dataset.to_json(folder / f"{split}.jsonl")
    (folder / "README.md").write_text(CARD.format(suffix=suffix))
    return folder
