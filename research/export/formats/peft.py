"""Export of adapters for the PEFT library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from research.export.base import ExportFormat, register_format
from research.export.formats.hub import HubFormat
from research.system.messages import logger

if TYPE_CHECKING:
    from research.inference.saved_model import SavedModel


@register_format("peft")
class PeftFormat(ExportFormat):
    """A folder with the adapters and the head, which PEFT loads onto the plain encoder; with --merge, a plain model."""

    own_settings = ("merge",)

    @property
    def record(self) -> dict[str, Any]:
        """See `ExportFormat.record`."""
        return HubFormat(self.settings).record if self.settings.merge else super().record

    def write(self, saved: SavedModel, folder: Path) -> None:
        """See `ExportFormat.write`."""
        from research.export.merging import NOT_EXPORTED
        from research.model.prompt_tuning import count_virtual_tokens

        if saved.model.config.adapters is None:
            raise ValueError(
                f"The model in {saved.folder} has no adapters: it was trained without them, or they were merged. "
                "Export it with --format hub."
            )
        if count_virtual_tokens(saved.model.encoder):
            raise ValueError(NOT_EXPORTED)
        if self.settings.merge:
            HubFormat(self.settings).write(saved, folder)
            return
        from research.export.card_metadata import CardFacts
        from research.export.model_card import write_card
        from research.export.peft_card import describe_use
        from research.export.peft_folder import check_peft_folder, write_peft_folder
        from research.export.plain_encoder import find_plain_encoder

        encoder = find_plain_encoder(saved.model)
        requirements = write_peft_folder(saved, folder, encoder)
        facts = CardFacts(saved, saved.model, None, False, requirements, is_adapter=True)
        write_card(facts, folder, use=describe_use(facts, encoder))
        difference = check_peft_folder(saved, folder, encoder, requirements)
        logger.info(f"Checked with PEFT and Transformers alone: the largest difference of a logit is {difference:.1e}.")
