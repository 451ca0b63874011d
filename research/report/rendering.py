"""Building blocks of report pages: templates, figures embedded in the page, and formatted numbers."""

from __future__ import annotations

import base64
import functools
import io
import math
import re
import warnings
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import yaml
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from research.records.missing_glyphs import MISSING_GLYPH
from research.records.palette import INK, ON_DARK
from research.system.plain_text import for_html, name_in_html


@dataclass(frozen=True)
class Picture:
    """A figure embedded in a page."""

    title: str
    """Heading of the figure."""
    source: str
    """The image as a data URI."""
    alt: str
    """Alternative text: the heading, and what the figure shows."""


def page_environment(package: str = "research.report") -> Environment:
    """Return the Jinja environment for a page: text is escaped, and an undefined name is an error.

    Args:
        package: package that contains the page's own templates; the shared templates are in research.report.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in (package, "research.report")]),
        autoescape=True,
        finalize=for_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sections"] = find_sections
    environment.globals["on_dark"] = ON_DARK
    environment.filters["number"] = format_number
    environment.filters["value"] = as_yaml
    environment.filters["name"] = name_in_html
    environment.filters["block"] = functools.partial(for_html, is_block=True)
    return environment


def find_sections(body: str) -> list[tuple[str, str]]:
    """Return the id and the title, in HTML, of each section: a heading of the second level with an id."""
    return re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', body)


def embed_figure(title: str, figure: Figure, alt: str = "") -> Picture:
    """Embed a figure as SVG with colours for light and dark pages; the same figure always gives the same bytes.

    Args:
        title: heading of the figure.
        figure: the figure.
        alt: what the figure shows, in words and numbers, for readers who do not see it.
    """
    return embed_svg(title, figure_as_svg(figure), alt)


def embed_svg(title: str, svg: str, alt: str = "") -> Picture:
    """Embed a figure that `figure_as_svg` returned; the arguments are those of `embed_figure`."""
    source = base64.b64encode(with_dark_colours(svg).encode("utf-8")).decode()
    return Picture(title, f"data:image/svg+xml;base64,{source}", f"{title}. {alt}".rstrip())


def figure_as_svg(figure: Figure) -> str:
    """Return a figure as SVG, in which text remains text; the same figure always gives the same characters."""
    buffer = io.StringIO()
    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "midway", "font.family": "sans-serif"}),
        warnings.catch_warnings(),
    ):
        # The browser renders the text with its own fonts, so glyphs missing from matplotlib's font do not matter.
        warnings.filterwarnings("ignore", MISSING_GLYPH)
        _lay_out(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def with_dark_colours(svg: str) -> str:
    """Return an SVG image of matplotlib that takes the colours in `ON_DARK` if the reader prefers dark pages."""
    names = {colour: f"--c{colour.removeprefix('#')}" for colour in ON_DARK}
    light, dark = (
        "".join(f"{names[colour]}:{shown[colour]};" for colour in ON_DARK)
        for shown in ({colour: colour for colour in ON_DARK}, ON_DARK)
    )
    style = (
        f"<style>:root{{{light}}}@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"
        f"text{{fill:var({names[INK]})}}</style>"
    )
    coloured = re.sub(
        r"((?:fill|stroke): ?)(#[0-9a-f]{6})",
        lambda match: match[1] + (f"var({names[match[2]]})" if match[2] in names else match[2]),
        svg,
    )
    return re.sub(r"(<svg\b[^>]*>)", lambda match: match[1] + style, coloured, count=1)


def _lay_out(figure: Figure) -> None:
    """Compute the layout once, so that `savefig` does not draw everything twice to compute it."""
    engine = figure.get_layout_engine()
    assert engine is not None
    FigureCanvasSVG(figure)  # attaches the canvas of the output, so that text is measured as it will be drawn
    figure.set_dpi(FigureCanvasSVG.fixed_dpi)
    engine.execute(figure)
    figure.set_layout_engine(None)


def format_number(value: Any) -> str:
    """Format a number for a reader. None becomes "not defined", and strings are returned unchanged."""
    if value is None:
        return "not defined"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def as_yaml(value: Any) -> str:
    """Format a setting's value as YAML on one line."""
    text: str = yaml.dump(
        value, Dumper=_OneLineDumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("\n...\n").strip()


class _OneLineDumper(yaml.SafeDumper):
    """YAML dumper that puts text with line breaks into double quotes, in which YAML escapes them."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # The "." makes `splitlines` also count a line break at the end of the text.
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if len(f"{text}.".splitlines()) > 1 else None
    )


_OneLineDumper.add_representer(str, _represent_text)
