"""Export for Transformers and the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from research.export.base import ExportFormat, register_format

if TYPE_CHECKING:
    from research.inference.saved_model import SavedModel


@register_format("hub")
class HubFormat(ExportFormat):
    """A folder that Transformers loads, with the code of the model and its head."""

    own_settings = ("native", "push_to_hub", "private")

    def write(self, saved: SavedModel, folder: Path) -> None:
        """See `ExportFormat.write`."""
        raise NotImplementedError
