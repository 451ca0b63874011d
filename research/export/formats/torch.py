"""Export as a program of torch.export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from research.export.base import ExportFormat, register_format
from research.system.messages import logger

if TYPE_CHECKING:
    from research.inference.saved_model import SavedModel


@register_format("torch")
class TorchFormat(ExportFormat):
    """A program of torch.export, which needs only PyTorch to run."""

    def write(self, saved: SavedModel, folder: Path) -> None:
        """See `ExportFormat.write`."""
        from research.export.torch_program import write_torch_program

        difference = write_torch_program(saved, folder)
        logger.info(f"Checked with batches of several sizes: the largest difference of a logit is {difference:.1e}.")
