"""Files of predictions: predictions/<split>.parquet in a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from research.learning.predictions import Predictions
from research.settings.run_files import PREDICTIONS
from research.system import durable
from research.tasks.base import Array, Floats, Task

PREDICTIONS_BLOCK_BYTES = 2**26
"""Maximum size of the scores in one block of predictions, in bytes."""
TEMPERATURE = "calibration_temperature"
"""Key of the temperature in the metadata of a file of predictions."""


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
    `prediction_name` if the labels have names; and `score_<label name>` for each output of the model. In a split
    without labels, `label` and `label_name` are null. The rows are written in blocks, because the scores of all rows
    may not fit into memory if there are many labels.

    Args:
        path: the file.
        task: the task that the predictions belong to.
        predictions: predictions for all rows of the split.
        files: the files of the split in reading order, each with the id of its first row.
        temperature: temperature by which the logits were divided. It is stored in the file's metadata, unless it is 1.
    """
    num_rows, num_labels = predictions.logits.shape
    rows_per_block = max(1, PREDICTIONS_BLOCK_BYTES // (8 * num_labels))  # a score has 8 bytes
    first_block = _predictions_table(task, predictions, slice(0, rows_per_block), files)
    schema = first_block.schema
    if temperature != 1:
        schema = schema.with_metadata({TEMPERATURE: repr(temperature)})
    temporary = path.with_name(f".{path.name}.writing")
    # 8 bytes for each score and for `id`, `label` and `prediction`, as an estimate
    needed = 8 * num_rows * (num_labels + 3)
    with durable.converting_write_errors(path, needed=needed), durable.deleting_on_failure(temporary):
        path.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(temporary, schema, use_dictionary=False) as writer:
            writer.write_table(first_block.cast(schema))
            for start in range(rows_per_block, num_rows, rows_per_block):
                rows = slice(start, start + rows_per_block)
                writer.write_table(_predictions_table(task, predictions, rows, files).cast(schema))
        durable.sync(temporary)
        temporary.replace(path)
        durable.sync(path.parent)


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


@dataclass(frozen=True)
class StoredPredictions:
    """Content of a file of predictions."""

    ids: NDArray[np.int64]
    """Number of each row, counted from 0 over all files that the split was read from, [num_rows]."""
    logits: Floats
    """Logits before temperature scaling, recovered from the probabilities, [num_rows, num_labels] float64."""
    labels: Array | None
    """Labels as `Task.label_array` returns them; None if the rows have no labels."""


def read_predictions_file(path: Path, task: Task) -> StoredPredictions:
    """Read a file of predictions of a task with `has_temperature`.

    Recovered logits may differ from the model's: for a softmax, by a constant per row; and where a sigmoid was rounded
    to 0 or 1, they are the most extreme logits that a float64 probability can express.

    Raises:
        ValueError: if there is no such file, or it is damaged.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = "there is no such file" if not path.exists() else f"{error}"
        raise ValueError(f"Cannot read the predictions {path}: {reason}.") from None
    temperature = float((table.schema.metadata or {}).get(TEMPERATURE.encode(), b"1"))
    scores = np.stack([table.column(f"score_{name}").to_numpy() for name in task.label_names], axis=1)
    label = table.column("label")
    labels = None
    if label.null_count < len(label):
        labels = np.array(label.to_pylist(), dtype=task.missing_labels(0).dtype)
    return StoredPredictions(table.column("id").to_numpy(), task.logits_from(scores) * temperature, labels)
