"""Base class of export formats, and their registry. This module does not import torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from heads.registry import Registry
from research.export.settings import COMMON_SETTINGS, ExportSettings

if TYPE_CHECKING:
    from research.inference.saved_model import SavedModel


class ExportFormat:
    """A format, with the settings of one export.

    Each format is a subclass in a file of its own in research/export/formats/, registered with `@register_format`. The
    command line calls its methods in the order in which they are defined here.

    Args:
        settings: settings of the export.
    """

    own_settings: ClassVar[tuple[str, ...]] = ()
    """Names of the settings that only some formats have, and that this format has."""

    def __init__(self, settings: ExportSettings) -> None:
        self.settings = settings

    @property
    def record(self) -> dict[str, Any]:
        """What export.json says of the folder: its format, and whether it holds one of Transformers' own classes."""
        return {"format": FORMATS.name_of(type(self)), "native": self.settings.native}

    def check_settings(self) -> None:
        """Check the settings before torch is imported. By default, any settings are allowed.

        Raises:
            ValueError: if the settings contradict each other, or something that they need is missing.
        """

    def write(self, saved: SavedModel, folder: Path) -> None:
        """Write the model, and check that what was written gives the same logits.

        Args:
            saved: the trained model.
            folder: an empty folder. It is deleted if there is an error, and otherwise gets its final name.
        Raises:
            ValueError: if the model cannot be exported in this format, or the logits differ.
        """
        raise NotImplementedError

    def publish(self, folder: Path) -> None:
        """Publish the folder, which has its final name. By default, do nothing.

        Raises:
            ValueError: if it cannot be published; the folder is kept.
        """


FORMATS: Registry[type[ExportFormat]] = Registry("format", ExportFormat, built_in="research.export.formats")
register_format = FORMATS.register


def create_format(settings: ExportSettings) -> ExportFormat:
    """Return the chosen format, after checking the settings.

    Raises:
        UnknownNameError: if there is no such format.
        ValueError: if a setting has no effect for the format; see also `ExportFormat.check_settings`.
    """
    chosen = FORMATS[settings.format]
    for item in dataclasses.fields(settings):
        is_default = getattr(settings, item.name) == item.default
        if item.name not in (*COMMON_SETTINGS, *chosen.own_settings) and not is_default:
            formats = [name for name in FORMATS if item.name in FORMATS[name].own_settings]
            raise ValueError(
                f"--{item.name} has no effect with --format {settings.format}. It needs --format "
                f"{' or '.join(formats)}."
            )
    exporter = chosen(settings)
    exporter.check_settings()
    return exporter
