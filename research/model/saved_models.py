"""Find the saved model for --init_from."""

from __future__ import annotations

from pathlib import Path

from research.settings.run_files import BEST, MODEL
from research.system.manifest import MANIFEST


def find_saved_model(source: Path) -> Path:
    """Return the folder of a saved model: in a run directory, best/ if there is one, otherwise model/.

    Args:
        source: a run directory, or the folder of a model or a checkpoint, which is returned unchanged.
    Raises:
        ValueError: if it contains no model.
    """
    folders = [folder for folder in (source / BEST, source / MODEL, source) if (folder / "config.json").exists()]
    if (source / MANIFEST).exists():  # a checkpoint
        folders.append(source)
    if not folders:
        raise ValueError(
            f"No saved model in {source} for --init_from: expected a run directory, its best/ or model/, or one of its "
            "checkpoints."
        )
    return folders[0]
