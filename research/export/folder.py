"""The files of an ONNX or torch export, except for the model itself."""

from __future__ import annotations

import copy
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from research.export.hub_folder import write_tokenizer
from research.inference.saved_model import SavedModel
from research.model.saved_models import EXPORT_RECORD
from research.system.paths import without_folders


def write_files(saved: SavedModel, folder: Path, readme: str) -> None:
    """Write config.json, the tokenizer and README.md.

    config.json lacks what would make Transformers look for a model in the folder: then even its tokenizer classes warn.

    Args:
        saved: the model.
        folder: an empty folder.
        readme: content of README.md.
    """
    config = copy.deepcopy(saved.model.config)
    config.adapters = None  # they are merged
    config.encoder.name_or_path = without_folders(config.encoder.name_or_path or "")
    content = json.loads(config.to_json_string())
    for name in ("architectures", "auto_map", "model_type"):
        content.pop(name, None)
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(saved, folder)
    (folder / "README.md").write_text(readme, encoding="utf-8")


def write_facts(folder: Path, libraries: tuple[str, ...], facts: dict[str, Any]) -> None:
    """Write facts about an export, and the versions of the libraries that wrote it, into export.json."""
    versions = {library: version(library) for library in libraries}
    (folder / EXPORT_RECORD).write_text(json.dumps({**facts, "versions": versions}, indent=2) + "\n", encoding="utf-8")
