"""Where the model of --init_from is."""

from __future__ import annotations

from pathlib import Path

from research.settings.run_files import BEST, MODEL
from research.system.manifest import MANIFEST


def find_saved_model(source: Path) -> Path:
    """Return the folder of the model in a run directory (of its best one if it kept one), or the folder itself.

    Raises:
        ValueError: if there is no model.
    """
    folders = [folder for folder in (source / BEST, source / MODEL, source) if (folder / "config.json").exists()]
    if (source / MANIFEST).exists():
        folders.append(source)
    if not folders:
        raise ValueError(
            f"No saved model in {source} for --init_from: expected a run directory, its best/ or model/, or one of its "
            "checkpoints."
        )
    return folders[0]
