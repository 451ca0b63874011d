"""Command line of an export."""

from __future__ import annotations

from research.export.base import create_format
from research.export.output_folder import check_output, writing_folder
from research.export.settings import EXPORT, ExportSettings
from research.model.saved_models import find_trained_model
from research.settings.model_scripts import run_model_script
from research.system.loading import loading_libraries
from research.system.messages import logger
from research.system.paths import expand_path
from research.system.waiting import WaitingMessage


def execute(settings: ExportSettings) -> int:
    """Export a trained model."""
    exporter = create_format(settings)
    source, target = expand_path(settings.run), expand_path(settings.output)
    find_trained_model(source)  # before torch is imported, which takes seconds
    check_output(target, overwrite=settings.overwrite)
    with WaitingMessage("Loading libraries"), loading_libraries():
        from research.inference.saved_model import load_model

    saved = load_model(source, plugin=settings.plugin)
    if saved.model.config.windows is not None:
        raise ValueError(
            f"The model in {saved.folder} cuts long texts into windows, which no other program can do. Use it with "
            "predict.py, or export a model that was trained with --long_texts truncate."
        )
    needed = sum(value.nbytes for value in saved.model.state_dict().values())
    with WaitingMessage(f"Exporting into {target}"), writing_folder(target, exporter.record, needed=needed) as folder:
        exporter.write(saved, folder)
    logger.info(f"Exported {saved.folder} into {target}.")
    exporter.publish(target)
    return 0


def main() -> int:
    """Execute the command line and return the exit status."""
    return run_model_script(EXPORT, ExportSettings, execute)
