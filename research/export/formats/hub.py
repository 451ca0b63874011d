"""Export for Transformers and the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from research.export.base import ExportFormat, register_format
from research.system.messages import logger

if TYPE_CHECKING:
    from research.inference.saved_model import SavedModel


@register_format("hub")
class HubFormat(ExportFormat):
    """A folder that Transformers loads, with the code of the model and its head."""

    own_settings = ("native", "push_to_hub", "private")

    def write(self, saved: SavedModel, folder: Path) -> None:
        """See `ExportFormat.write`."""
        from research.export.exported_logits import check_merged, check_pipeline
        from research.export.hub_folder import write_hub_folder
        from research.export.merging import without_adapters

        model = without_adapters(saved.model)
        if model is not saved.model:
            logger.info(f"Merged the adapters: a logit changes by at most {check_merged(saved, model):.1e} (rounding).")
        requirements = write_hub_folder(saved, model, folder)
        difference = check_pipeline(saved, model, folder, requirements=requirements)
        logger.info(f"Checked with Transformers alone: the largest difference of a logit is {difference:.1e}.")
