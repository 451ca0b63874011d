"""Choose an export format, and refuse settings of other formats."""

from __future__ import annotations

import pytest

from heads.registry import UnknownNameError
from research.export.base import FORMATS, ExportFormat, create_format, register_format
from research.export.settings import ExportSettings


def test_create_format_returns_the_chosen_format_with_its_settings() -> None:
    settings = ExportSettings(run="a", format="hub", output="b", native=True)
    exporter = create_format(settings)
    assert type(exporter) is FORMATS["hub"]
    assert exporter.settings is settings


def test_create_format_suggests_a_near_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'hub'"):
        create_format(ExportSettings(run="a", format="hup", output="b"))


def test_create_format_refuses_settings_that_have_no_effect() -> None:
    class OtherFormat(ExportFormat):
        own_settings = ("merge",)

    with FORMATS.isolated():
        register_format("other")(OtherFormat)
        create_format(ExportSettings(run="a", format="other", output="b", merge=True))
        with pytest.raises(ValueError, match="--native has no effect with --format other"):
            create_format(ExportSettings(run="a", format="other", output="b", native=True))
        with pytest.raises(ValueError, match="--merge has no effect with --format hub"):
            create_format(ExportSettings(run="a", format="hub", output="b", merge=True))
