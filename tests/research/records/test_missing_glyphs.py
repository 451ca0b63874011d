"""Characters that matplotlib's font does not have are reported in one message."""

from __future__ import annotations

import io
import warnings

import pytest
from matplotlib.figure import Figure

from research.records.missing_glyphs import reporting_missing_glyphs
from tests.messages import collect_messages


def draw(title: str) -> list[str]:
    """Draw a figure with a title, and return the messages."""
    figure = Figure()
    figure.add_subplot().set_title(title)
    with collect_messages() as messages, reporting_missing_glyphs("Pictures"):
        figure.savefig(io.BytesIO(), format="png")
    return messages


def test_missing_characters_are_reported_once() -> None:
    (message,) = draw("\u65e5\u672c \u65e5 tr\u00e8s")
    assert message.endswith("does not have: \u65e5 \u672c")
    (message,) = draw("".join(map(chr, range(0x65E5, 0x65F5))))
    assert message.endswith("\u65e9 ...")
    assert draw("tr\u00e8s") == []


def test_other_warnings_remain() -> None:
    with pytest.warns(UserWarning, match="something else"), reporting_missing_glyphs("Pictures"):
        warnings.warn("something else", stacklevel=1)
