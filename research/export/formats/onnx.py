"""Export to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from research.export.base import ExportFormat, register_format
from research.system.messages import logger

if TYPE_CHECKING:
    from research.inference.saved_model import SavedModel


@register_format("onnx")
class OnnxFormat(ExportFormat):
    """An ONNX model, for runtimes without PyTorch; with `--int8`, also one with 8-bit weights."""

    own_settings = ("int8",)

    def check_settings(self) -> None:
        """See `ExportFormat.check_settings`."""
        from research.export.onnx_libraries import check_onnx_libraries

        check_onnx_libraries()

    def write(self, saved: SavedModel, folder: Path) -> None:
        """See `ExportFormat.write`."""
        from research.export.labelled_texts import read_test_texts
        from research.export.onnx import write_onnx

        texts = read_test_texts(saved) if self.settings.int8 else None
        export = write_onnx(saved, folder, int8=texts)
        difference = export.largest_difference
        logger.info(f"Checked with batches of several sizes: the largest difference of a logit is {difference:.1e}.")
        if export.int8 is not None:
            logger.info(f"Metrics on {export.int8.num_rows:,} rows before and after the conversion to 8 bits:")
            for name, value in export.int8.before.items():
                logger.info(f"  {name}: {value:.4f} -> {export.int8.after[name]:.4f}")
