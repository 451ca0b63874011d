"""Export for Transformers and the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from research.export.base import ExportFormat, register_format
from research.system.messages import logger
from research.system.waiting import WaitingMessage

if TYPE_CHECKING:
    from research.inference.saved_model import SavedModel


@register_format("hub")
class HubFormat(ExportFormat):
    """A folder that Transformers loads, with the code of the model and its head, or with one of its own classes."""

    own_settings = ("native", "push_to_hub", "private")

    def check_settings(self) -> None:
        """See `ExportFormat.check_settings`."""
        repository = self.settings.push_to_hub
        if repository is None:
            if self.settings.private:
                raise ValueError("--private has no effect without --push_to_hub.")
            return
        from research.export.upload import check_upload

        check_upload(repository, private=self.settings.private, overwrite=self.settings.overwrite)

    def write(self, saved: SavedModel, folder: Path) -> None:
        """See `ExportFormat.write`."""
        from research.export.card_metadata import CardFacts
        from research.export.exported_logits import check_merged, check_pipeline
        from research.export.hub_folder import write_hub_folder
        from research.export.merging import without_adapters
        from research.export.model_card import write_card
        from research.export.native import write_native_folder

        is_native = self.settings.native
        model = without_adapters(saved.model)
        if model is not saved.model:
            logger.info(f"Merged the adapters: a logit changes by at most {check_merged(saved, model):.1e} (rounding).")
        requirements = (write_native_folder if is_native else write_hub_folder)(saved, model, folder)
        write_card(CardFacts(saved, model, self.settings.push_to_hub, is_native, requirements), folder)
        difference = check_pipeline(saved, model, folder, is_native=is_native, requirements=requirements)
        logger.info(f"Checked with Transformers alone: the largest difference of a logit is {difference:.1e}.")

    def publish(self, folder: Path) -> None:
        """See `ExportFormat.publish`."""
        repository = self.settings.push_to_hub
        if repository is None:
            return
        from research.export.upload import upload

        with WaitingMessage(f"Uploading {folder} to {repository}"):
            url = upload(folder, repository, private=self.settings.private, overwrite=self.settings.overwrite)
        logger.info(f"Uploaded {folder} to {url}.")
