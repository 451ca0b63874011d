"""Files of predictions: predictions/<split>.parquet in a run directory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from research.learning.predictions import Predictions
from research.settings.run_files import PREDICTIONS
from research.system import durable
from research.tasks.base import Floats, Task

PREDICTIONS_BLOCK_BYTES = 2**26
"""Maximum size of the scores in one block of predictions, in bytes."""
_SCORE = "score_"
"""Start of the names of the columns with the scores."""
_UNCALIBRATED = "uncalibrated_logit_"
"""Start of the names of the columns with the logits before temperature scaling."""


def predictions_path(directory: Path, split: str) -> Path:
    """Return the path of a run's predictions for a split."""
    return directory / PREDICTIONS / f"{split}.parquet"


def write_predictions(
    path: Path,
    task: Task,
    predictions: Predictions,
    files: Sequence[tuple[str, int]],
    *,
    temperature: float = 1.0,
) -> None:
    """Write a file of predictions, atomically.

    Columns: `id`; `file` and `row` (from 1) that the text was read from; `label`; `prediction`; `label_name` and
    `prediction_name` if the labels have names; and `score_<label name>` for each output of the model. After temperature
    scaling, `uncalibrated_logit_<label name>` has the logit without it, for each output: it cannot be recovered from a
    score that was rounded to 0 or 1. In a split without labels, `label` and `label_name` are null. The rows are written
    in blocks, because the scores of all rows may not fit into memory if there are many labels.

    Args:
        path: the file.
        task: the task that the predictions belong to.
        predictions: predictions for all rows of the split.
        files: the files of the split in reading order, each with the id of its first row.
        temperature: temperature by which the logits were divided.
    """
    num_rows, num_labels = predictions.logits.shape
    rows_per_block = max(1, PREDICTIONS_BLOCK_BYTES // (8 * num_labels))  # a score has 8 bytes
    blocks = (slice(start, start + rows_per_block) for start in range(0, max(num_rows, 1), rows_per_block))
    tables = (_predictions_table(task, predictions, rows, files, temperature) for rows in blocks)
    _write(path, tables, predictions_size(num_rows, num_labels))


def predictions_size(num_rows: int, num_labels: int) -> int:
    """Return the approximate size of a file of predictions in bytes."""
    return 8 * num_rows * (num_labels + 3)  # for each score and for `id`, `label` and `prediction`


def _write(path: Path, tables: Iterator[pa.Table], needed: int) -> None:
    """Write tables to a file, one after another.

    Args:
        path: the file.
        tables: at least one table.
        needed: approximate number of bytes to write.
    """
    temporary = path.with_name(f".{path.name}.writing")
    with durable.converting_write_errors(path, needed=needed), durable.deleting_on_failure(temporary):
        path.parent.mkdir(exist_ok=True)
        first = next(tables)
        with pq.ParquetWriter(temporary, first.schema, use_dictionary=False) as writer:
            for table in itertools.chain([first], tables):
                writer.write_table(table)
        durable.sync(temporary)
        temporary.replace(path)
        durable.sync(path.parent)


def _predictions_table(
    task: Task, predictions: Predictions, rows: slice, files: Sequence[tuple[str, int]], temperature: float
) -> pa.Table:
    ids, predicted = predictions.ids[rows], _columns_of_logits(task, predictions.logits[rows], temperature)
    prediction, prediction_names = predicted["prediction"], predicted.get("prediction_name")
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
        **({} if prediction_names is None else {"label_name": label_names}),
        **predicted,
    }
    return pa.table(columns)


def _columns_of_logits(task: Task, logits: Floats, temperature: float) -> dict[str, Any]:
    """Return the columns that depend on logits: `prediction`, `prediction_name`, scores and uncalibrated logits."""
    predicted = task.predicted_labels(logits)
    is_integer = np.issubdtype(predicted.dtype, np.integer)
    names = task.label_name_column(predicted)
    columns = {
        "prediction": pa.array(list(predicted.astype(np.int64) if is_integer else predicted)),
        **({} if names is None else {"prediction_name": names}),
        **_columns_of_outputs(_SCORE, task.probabilities(logits), task),
    }
    if temperature != 1:
        columns |= _columns_of_outputs(_UNCALIBRATED, logits.astype(np.float64) * temperature, task)
    return columns


def _columns_of_outputs(prefix: str, values: Floats, task: Task) -> dict[str, Any]:
    """Return a column for each output of the model, from values [num_rows, num_labels]."""
    values = np.asfortranarray(values)  # the values of each column are contiguous in memory
    return {prefix + name: pa.array(values[:, index]) for index, name in enumerate(task.label_names)}


def read_predictions_file(path: Path, task: Task, *, uncalibrated: bool = False) -> Predictions:
    """Read a file of predictions, without the loss and metrics.

    The logits are recovered from the probabilities, in float64, unless the file has uncalibrated logits and these are
    asked for. Recovered logits may differ from the model's: for a softmax, by a constant per row; and where a sigmoid
    was rounded to 0 or 1, they are the most extreme logits that a float64 probability can express.

    Args:
        path: the file.
        task: the task that the predictions belong to.
        uncalibrated: whether to return the logits before temperature scaling.
    Raises:
        ValueError: if there is no such file, or it is damaged.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = f"{error}" if path.exists() else "there is no such file"
        raise ValueError(f"Cannot read the predictions {path}: {reason}.") from None
    if uncalibrated and _UNCALIBRATED + task.label_names[0] in table.column_names:
        logits = _read_outputs(_UNCALIBRATED, table, task)
    else:
        logits = task.logits_from(_read_outputs(_SCORE, table, task))
    label = table.column("label")
    labels = None
    if label.null_count < len(label):
        labels = np.array(label.to_pylist(), dtype=task.missing_labels(0).dtype)
    return Predictions(table.column("id").to_numpy(), logits, labels, math.nan, {})


def _read_outputs(prefix: str, table: pa.Table, task: Task) -> Floats:
    """Return the values that `_columns_of_outputs` has made columns, [num_rows, num_labels]."""
    return np.stack([table.column(prefix + name).to_numpy() for name in task.label_names], axis=1)


def update_predictions_file(path: Path, task: Task, logits: Floats, temperature: float) -> None:
    """Replace the predictions in a file by those of other logits for the same rows.

    Args:
        path: the file.
        task: the task that the predictions belong to.
        logits: logits of the calibrated model for the rows of the file, [num_rows, num_labels].
        temperature: temperature by which the logits were divided.
    """
    table = pq.read_table(path)
    columns = {name: table.column(name) for name in table.column_names if not name.startswith(_UNCALIBRATED)}
    table = pa.table(columns | _columns_of_logits(task, logits, temperature))
    _write(path, iter([table]), table.nbytes)
