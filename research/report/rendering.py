"""What pages are made with: templates, pictures that need no file of their own, and numbers as a person reads them."""

from __future__ import annotations

import base64
import functools
import io
import math
import warnings
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import yaml
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from research.system.plain_text import for_html, name_in_html


@dataclass(frozen=True)
class Picture:
    """A figure in the page."""

    title: str
    """What stands above it."""
    source: str
    """The picture itself, as a data URI."""


def page_environment(package: str = "research.report") -> Environment:
    """Return what renders the templates: all text is made safe, and a name that is not there is an error.

    Args:
        package: where the page's own template is; those that pages share are in research.report.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in (package, "research.report")]),
        autoescape=True,
        finalize=for_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = as_number
    environment.filters["value"] = as_yaml
    environment.filters["name"] = name_in_html
    environment.filters["block"] = functools.partial(for_html, is_block=True)
    return environment


def picture(title: str, figure: Figure) -> Picture:
    """Return a figure as SVG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "midway", "font.family": "sans-serif"}),
        warnings.catch_warnings(),
    ):
        # The browser draws the texts, in fonts of its own.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        _lay_out(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Picture(title, f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def _lay_out(figure: Figure) -> None:
    """Give axes and legend their places, so that `savefig` does not draw everything twice to find them."""
    engine = figure.get_layout_engine()
    assert engine is not None
    FigureCanvasSVG(figure)  # in which texts are as wide as they will be
    figure.set_dpi(FigureCanvasSVG.fixed_dpi)
    engine.execute(figure)
    figure.set_layout_engine(None)


def as_number(value: Any) -> str:
    """Return a number as a person reads it."""
    if value is None:
        return "not defined"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def as_yaml(value: Any) -> str:
    """Return a setting's value in one line."""
    text: str = yaml.dump(
        value, Dumper=_OneLine, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("\n...\n").strip()


class _OneLine(yaml.SafeDumper):
    """Writes texts with line breaks in double quotes, where YAML escapes them."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if len(f"{text}.".splitlines()) > 1 else None
    )


_OneLine.add_representer(str, _represent_text)
