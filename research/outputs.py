"""The run directory: everything that one run leaves."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from numpy.typing import NDArray

from research.config import NOT_REPEATED, Choice, RunConfig
from research.durable import remove, remove_leftovers, reporting_failure, write_text
from research.evaluation import Predictions
from research.forks import parse_fork
from research.launch import start_time
from research.metrics import predictions as predicted_labels
from research.metrics import probabilities
from research.paths import look_up
from research.plain_text import for_terminal
from research.resuming import CHECKPOINTS
from research.task import Task

CONFIG = "config.yaml"
RESULT = "result.json"
METRICS_LOG = "metrics.jsonl"
_LONGEST_PART = 40
PREDICTIONS_BLOCK_BYTES = 2**26
"""Size of the scores that are written at once, in bytes."""


def run_directory(config: RunConfig) -> Path:
    """Return the directory of a run: --output_dir, or runs/<name>; a name that nobody gave ends in the time."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    return Path("runs") / (config.name or default_name(config))


def default_name(config: RunConfig) -> str:
    """Return a name made of encoder, head, data and time."""
    parts = (Path(config.encoder).name, Choice.of(config.head, "head").name, Path(config.data.rstrip("/")).name)
    # Shortened: a system takes 255 bytes, and the name of a file may have as many itself.
    words = "-".join(for_terminal(part.split(".")[0].replace(":", "-")[:_LONGEST_PART]) for part in parts)
    return f"{words}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(start_time()))}"


def check_directory(directory: Path, config: RunConfig) -> None:
    """Refuse a directory that the run may not have; nothing is changed.

    Raises:
        ValueError: if it cannot be looked up, if it exists without --resume or --overwrite, or if it is
            no run's directory.
    """
    if look_up(str(directory)).exists() and not directory.is_dir():
        raise ValueError(f"The run directory {directory} is a file.")
    try:
        is_empty = not directory.exists() or not os.listdir(directory)
    except OSError as error:
        raise ValueError(f"Cannot read the run directory {directory}: {error.strerror}.") from error
    if config.resume is None and not is_empty:
        if not config.overwrite:
            raise ValueError(
                f"The run directory {directory} exists. Choose another --name or --output_dir, go on with "
                "--resume auto, or replace it with --overwrite."
            )
        # A kill may have come before the settings had their name.
        if not any((directory / name).exists() for name in (CONFIG, f".{CONFIG}.writing")):
            raise ValueError(f"{directory} is not empty and no run's directory; --overwrite does not delete it.")
        _refuse_deleting_sources(directory, config)


def _refuse_deleting_sources(directory: Path, config: RunConfig) -> None:
    """Refuse to replace a directory with what the run itself reads in it, or with other runs in it.

    Raises:
        ValueError: naming the setting, or the other run.
    """
    sources = {
        "fork": None if config.fork is None else str(parse_fork(config.fork).run),
        "init_from": config.init_from,
        "encoder": config.encoder,
        "data": config.data,
    }
    named = [(name, path) for name, path in sources.items() if path is not None]
    for name, path in [*named, *(("plugin", path) for path in config.plugin)]:
        if _is_inside(path, directory):
            raise ValueError(
                f"--overwrite would delete the run directory {directory} with what --{name} {path} reads. Choose "
                "another --name or --output_dir."
            )
    own = directory.resolve()
    found = (path.parent for pattern in ("*", "*/*") for path in directory.glob(f"{pattern}/{CONFIG}"))
    others = sorted(path for path in found if own in path.resolve().parents)  # not behind a link
    if others:
        raise ValueError(
            f"--overwrite would delete other runs with the run directory {directory}: "
            f"{', '.join(map(str, others[:3]))}{', ...' if len(others) > 3 else ''}. Choose another --name or "
            "--output_dir, or delete them first."
        )


def _is_inside(path: str, directory: Path) -> bool:
    """Return whether something that exists is a directory or lies in it, by its name or where links lead."""
    found = Path(path).expanduser()
    within = os.path.abspath(directory), os.path.realpath(directory)
    names = os.path.abspath(found), os.path.realpath(found)
    return os.path.lexists(found) and any(Path(name).is_relative_to(folder) for name in names for folder in within)


def make_directory(directory: Path) -> bool:
    """Make the run directory, if it is not there; return whether it was made.

    Raises:
        ValueError: if it cannot be made, or written to.
    """
    is_new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):  # which has no name
            pass
    except OSError as error:
        raise ValueError(f"Cannot write to the run directory {directory}: {error.strerror}.") from None
    return is_new


def claim_directory(directory: Path, config: RunConfig) -> None:
    """Make room in the run directory; called on the main process only.

    Raises:
        ValueError: as `check_directory`, or if the old files cannot be removed.
    """
    check_directory(directory, config)
    try:
        if config.resume is None:
            empty_directory(directory)
        else:
            remove_leftovers(directory)
            remove_leftovers(directory / CHECKPOINTS)
            remove(directory / RESULT)  # of the run that was cut
    except OSError as error:
        raise ValueError(f"Cannot replace the run directory {directory}: {error.strerror}.") from None


def empty_directory(directory: Path) -> None:
    """Delete what is in a directory, which itself may be a mount point or a link and stays."""
    # The settings last: without them a half emptied directory would be no run's.
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name == CONFIG):
        remove(entry)


def write_config(directory: Path, config: RunConfig) -> None:
    """Write every setting, resolved, so that `run.py --recipe config.yaml` repeats the run."""
    write_text(directory / CONFIG, config_as_yaml(config))


def config_as_yaml(config: RunConfig) -> str:
    """Return every setting as YAML, but for those that say where this one run lies."""
    settings = {name: value for name, value in config.to_dict().items() if name not in NOT_REPEATED}
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def write_predictions(
    directory: Path, split: str, task: Task, found: Predictions, files: Sequence[tuple[str, int]]
) -> None:
    """Write predictions/<split>.parquet.

    Its columns: id, file and row (from 1) that the text came from, label, prediction, their names (not for regression),
    one score per class. Without labels, label and its name are null. Rows are written in blocks, since all scores of
    many labels may not fit into memory.

    Args:
        directory: of the run.
        split: the split.
        task: what is predicted.
        found: the predictions.
        files: the files of the split in reading order, with the id of the first row of each.
    """
    path = predictions_path(directory, split)
    num_rows, num_labels = found.logits.shape
    size = max(1, PREDICTIONS_BLOCK_BYTES // (8 * num_labels))
    first = _predictions_table(task, found, slice(0, size), files)
    with reporting_failure(path, needed=8 * num_rows * (num_labels + 3)):
        path.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(path, first.schema, use_dictionary=False) as writer:
            writer.write_table(first)
            for start in range(size, num_rows, size):
                writer.write_table(_predictions_table(task, found, slice(start, start + size), files))


def _predictions_table(task: Task, found: Predictions, rows: slice, files: Sequence[tuple[str, int]]) -> pa.Table:
    scores = np.asfortranarray(probabilities(task, found.logits[rows]))
    ids, predicted = found.ids[rows], predicted_labels(task, found.logits[rows])
    prediction = pa.array(list(predicted.astype(np.int64) if task.problem_type == "multi_label" else predicted))
    names = _name_labels(task, predicted)
    if found.labels is None:
        label = pa.nulls(len(ids), prediction.type)
        label_names = None if names is None else pa.nulls(len(ids), names.type)
    else:
        label = pa.array(list(found.labels[rows]))
        label_names = _name_labels(task, found.labels[rows])
    first_ids = np.array([first for _, first in files], dtype=np.int64)
    # The last file that starts at or before the id: files without rows start where the next one does.
    file_of_row = np.searchsorted(first_ids, ids, side="right") - 1
    columns: dict[str, Any] = {
        "id": ids,
        "file": pa.array([name for name, _ in files]).take(pa.array(file_of_row)),
        "row": ids - first_ids[file_of_row] + 1,
        "label": label,
        "prediction": prediction,
        **({} if names is None else {"label_name": label_names, "prediction_name": names}),
        **{f"score_{name}": scores[:, index] for index, name in enumerate(task.label_names)},
    }
    return pa.table(columns)


def _name_labels(task: Task, labels: NDArray[Any]) -> pa.Array | None:
    """Return the name of each label; of several labels, lists of the names that apply; None for regression."""
    if task.problem_type == "regression":
        return None
    names = task.label_names
    if task.problem_type == "multi_label":
        applying = [[names[index] for index in np.flatnonzero(row)] for row in labels]
        return pa.array(applying, pa.list_(pa.string()))
    return pa.array(task.names_of(labels.tolist()), pa.string())


def predictions_path(directory: Path, split: str) -> Path:
    """Return where a run leaves its predictions for a split."""
    return directory / "predictions" / f"{split}.parquet"


def write_result(directory: Path, result: dict[str, Any]) -> None:
    """Write result.json in one go."""
    write_text(directory / RESULT, json.dumps(as_json(result), indent=2, allow_nan=False))


def as_json(value: Any) -> Any:
    """Return a value as JSON can have it: None in place of NaN, "inf" and "-inf" in place of infinite numbers."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def read_result(directory: Path) -> dict[str, Any] | None:
    """Return what a directory's result.json holds, or None if there is none.

    Raises:
        ValueError: if it is damaged.
    """
    path = directory / RESULT
    try:
        result: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} cannot be read ({error}); delete it to go on from the newest checkpoint.") from None
    return result


def weights_sha256(model: torch.nn.Module) -> str:
    """Return the hash of all parameters and buffers: names, shapes and bytes, in name order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    packages = ("midway", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def git_commit() -> str | None:
    """Return the commit of the code that runs, marked when files differ from it; None outside a repository."""
    here = Path(__file__).parent
    commands = (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"])
    try:
        commit, changes = (
            subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-modified" if changes else commit
