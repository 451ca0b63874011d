"""Find the folder of a saved model, and check that it is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from research.model.input_settings import MODEL_FORMAT
from research.settings.run_files import BEST, CONFIG, MODEL, MODEL_REMOVED
from research.system.manifest import MANIFEST

EXPORT_RECORD = "export.json"
"""File in every folder that export.py writes; it contains the format."""
LOADED_FORMAT = "hub"
"""Format that Midway loads, too."""
_CONFIG = "config.json"
_MODEL_TYPE = "encoder_with_head"


def find_saved_model(source: Path) -> Path:
    """Return the folder of a saved model for --init_from: in a run directory, best/ if there is one, otherwise model/.

    Args:
        source: a run directory, or the folder of a model or a checkpoint, which is returned unchanged.
    Raises:
        ValueError: if it contains no model.
    """
    folders = [folder for folder in (source / BEST, source / MODEL, source) if (folder / _CONFIG).exists()]
    if (source / MANIFEST).exists():  # a checkpoint
        folders.append(source)
    if not folders:
        refuse_removed_model(source)
        raise ValueError(
            f"No saved model in {source} for --init_from: expected a run directory, its best/ or model/, or one of its "
            "checkpoints."
        )
    return folders[0]


def find_trained_model(source: Path) -> Path:
    """Return the folder of a trained model: in a run directory, best/ if there is one, otherwise model/.

    This does not import torch, so that a wrong path is reported at once.

    Args:
        source: a run directory, or the folder of a model.
    Raises:
        ValueError: if there is no such folder, or it does not contain a model that a run has trained and that this
            version can load.
    """
    if not source.is_dir():
        refuse_removed_model(source)
        raise ValueError(
            f"There is no {'folder' if not source.exists() else 'folder but a file'} {source}. Expected a run "
            f"directory, its {BEST}/ or {MODEL}/, or a folder written by export.py."
        )
    _check_export(source)
    folders = [folder for folder in (source / BEST, source / MODEL, source) if (folder / _CONFIG).is_file()]
    if not folders:
        refuse_removed_model(source)
        is_run = (source / CONFIG).exists()
        reason = (
            "the run has not finished, and has saved no model. Continue it with --resume auto"
            if is_run
            else f"expected a run directory, its {BEST}/ or {MODEL}/, or a folder written by export.py"
        )
        raise ValueError(f"No trained model in {source}: {reason}.")
    _check_trained_model(folders[0])
    return folders[0]


def refuse_removed_model(source: Path) -> None:
    """Raise ValueError if a study has removed the model of a trial.

    Args:
        source: a run directory, or its model/ or best/, which does not exist.
    """
    run = source.parent if source.name in (BEST, MODEL) else source
    if (run / MODEL_REMOVED).is_file():
        raise ValueError(
            f"The study removed the model of its trial {run} (--keep_models). To get it, pass --keep_models all to new "
            f"studies, or train it again: run.py --recipe {run / CONFIG} --output_dir FOLDER."
        )


def find_run(folder: Path) -> Path | None:
    """Return the run directory that a model's folder belongs to; None if the folder is not in a run directory."""
    run = folder.absolute().parent
    return run if folder.name in (BEST, MODEL) and (run / CONFIG).is_file() else None


def _check_export(folder: Path) -> None:
    """Raise ValueError if export.py wrote a folder in a format that Midway does not load."""
    path = folder / EXPORT_RECORD
    if not path.is_file():
        return
    record = _read_json(path)
    if record.get("format") != LOADED_FORMAT or record.get("native"):
        raise ValueError(
            f"{folder} was exported for other programs ({record.get('format')}). Expected the run directory of the "
            f"model, or a folder written by export.py --format {LOADED_FORMAT} without --native."
        )


def _check_trained_model(folder: Path) -> None:
    """Raise ValueError unless a folder's config.json is that of a model trained by a run, in the current format."""
    path = folder / _CONFIG
    config = _read_json(path)
    model_type = config.get("model_type")
    if model_type != _MODEL_TYPE:
        kind = f"a plain model of type '{model_type}'" if isinstance(model_type, str) else "not a model"
        raise ValueError(
            f"{folder} is {kind}, not a model trained by a run. Expected a run directory, its {BEST}/ or {MODEL}/, or "
            "a folder written by export.py. To train a head on an encoder, pass it to run.py as --encoder."
        )
    found = config.get("model_format")
    if found != MODEL_FORMAT or config.get("inputs") is None:
        raise ValueError(
            f"The model in {folder} was saved by another version of Midway (format {found}; this version reads "
            f"{MODEL_FORMAT}). Load it with that version, or train it again."
        )


def _read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; an empty dictionary if it contains something else.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {path}: {error}.") from None
    return content if isinstance(content, dict) else {}
