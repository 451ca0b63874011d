"""The files with a run's settings, predictions and result, and the hash and versions that the result contains."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from research.learning.predictions import Predictions
from research.settings.config import RunConfig
from research.settings.run_files import CONFIG, PREDICTIONS, RESULT
from research.system.durable import converting_write_errors, write_text
from research.system.json_values import as_json
from research.tasks.base import Task

PREDICTIONS_BLOCK_BYTES = 2**26
"""Maximum size of the scores in one block of predictions, in bytes."""


def write_config(directory: Path, config: RunConfig) -> None:
    """Write every resolved setting to config.yaml, so that `run.py --recipe config.yaml` repeats the run."""
    write_text(directory / CONFIG, config_as_yaml(config))


def config_as_yaml(config: RunConfig) -> str:
    """Return the settings as YAML, without those that concern only one invocation, such as --resume."""
    return yaml.safe_dump(config.to_recipe(), sort_keys=False, allow_unicode=True)


def write_predictions(
    directory: Path, split: str, task: Task, predictions: Predictions, files: Sequence[tuple[str, int]]
) -> None:
    """Write predictions/<split>.parquet.

    Columns: `id`; `file` and `row` (from 1) that the text was read from; `label`; `prediction`; `label_name` and
    `prediction_name` if the labels have names; and `score_<label name>` for each output of the model. In a split
    without labels, `label` and `label_name` are null. The rows are written in blocks, because the scores of all rows
    may not fit into memory if there are many labels.

    Args:
        directory: run directory.
        split: name of the split.
        task: the task that the predictions belong to.
        predictions: predictions for all rows of the split.
        files: the files of the split in reading order, each with the id of its first row.
    """
    path = predictions_path(directory, split)
    num_rows, num_labels = predictions.logits.shape
    rows_per_block = max(1, PREDICTIONS_BLOCK_BYTES // (8 * num_labels))  # a score has 8 bytes
    first_block = _predictions_table(task, predictions, slice(0, rows_per_block), files)
    # 8 bytes for each score and for `id`, `label` and `prediction`, as an estimate
    with converting_write_errors(path, needed=8 * num_rows * (num_labels + 3)):
        path.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(path, first_block.schema, use_dictionary=False) as writer:
            writer.write_table(first_block)
            for start in range(rows_per_block, num_rows, rows_per_block):
                writer.write_table(_predictions_table(task, predictions, slice(start, start + rows_per_block), files))


def _predictions_table(task: Task, predictions: Predictions, rows: slice, files: Sequence[tuple[str, int]]) -> pa.Table:
    # The scores of each label are contiguous in memory, because they become a column.
    scores = np.asfortranarray(task.probabilities(predictions.logits[rows]))
    ids, predicted = predictions.ids[rows], task.predicted_labels(predictions.logits[rows])
    is_integer = np.issubdtype(predicted.dtype, np.integer)
    prediction = pa.array(list(predicted.astype(np.int64) if is_integer else predicted))
    prediction_names = task.label_name_column(predicted)
    if predictions.labels is None:
        label = pa.nulls(len(ids), prediction.type)
        label_names = None if prediction_names is None else pa.nulls(len(ids), prediction_names.type)
    else:
        label = pa.array(list(predictions.labels[rows]))
        label_names = task.label_name_column(predictions.labels[rows])
    first_ids = np.array([first for _, first in files], dtype=np.int64)
    # A row belongs to the last file whose first id is at most the row's id. (An empty file has the same first id as the
    # next file, so the last such file is the one that contains the row.)
    file_of_row = np.searchsorted(first_ids, ids, side="right") - 1
    columns: dict[str, Any] = {
        "id": ids,
        "file": pa.array([name for name, _ in files]).take(pa.array(file_of_row)),
        "row": ids - first_ids[file_of_row] + 1,
        "label": label,
        "prediction": prediction,
        **({} if prediction_names is None else {"label_name": label_names, "prediction_name": prediction_names}),
        **{f"score_{name}": scores[:, index] for index, name in enumerate(task.label_names)},
    }
    return pa.table(columns)


def predictions_path(directory: Path, split: str) -> Path:
    """Return the path of a run's predictions for a split."""
    return directory / PREDICTIONS / f"{split}.parquet"


def write_result(directory: Path, result: dict[str, Any]) -> None:
    """Write result.json atomically."""
    write_text(directory / RESULT, json.dumps(as_json(result), indent=2, allow_nan=False))


def read_result(directory: Path) -> dict[str, Any] | None:
    """Return the content of a directory's result.json, or None if there is no such file.

    Raises:
        ValueError: if the file is damaged.
    """
    path = directory / RESULT
    try:
        result: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except json.JSONDecodeError as error:
        raise ValueError(f"Cannot read {path} ({error}). Delete it to continue from the newest checkpoint.") from None
    return result


def weights_sha256(model: torch.nn.Module) -> str:
    """Return a SHA-256 hash over the names, shapes and bytes of all parameters and buffers, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    packages = ("midway", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def git_commit() -> str | None:
    """Return the Git commit of this package's source code, with the suffix `-modified` if tracked files differ from it.

    Returns None if the source files are not tracked by Git, for example because the package is installed in a virtual
    environment inside another project's repository.
    """
    folder = Path(__file__).parent
    commands = (
        ["git", "ls-files", "--error-unmatch", Path(__file__).name],
        ["git", "rev-parse", "HEAD"],
        ["git", "status", "--porcelain", "--untracked-files=no"],
    )
    try:
        _, commit, changes = (
            subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-modified" if changes else commit
