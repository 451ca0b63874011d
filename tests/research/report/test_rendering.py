"""Escaping, embedded figures and number formats of report pages."""

from __future__ import annotations

import base64
import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
import yaml
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from research.records.palette import COLOURS, ON_DARK
from research.report.rendering import (
    as_yaml,
    embed_figure,
    figure_as_svg,
    find_sections,
    format_number,
    page_environment,
    with_dark_colours,
)


def render(template: str, **values: Any) -> str:
    return page_environment().from_string(template).render(**values)


def test_text_is_escaped_and_control_characters_are_made_visible() -> None:
    assert render("<b>{{ name }}</b>", name='<script> & "a"') == "<b>&lt;script&gt; &amp; &#34;a&#34;</b>"
    assert "\u202e" not in render("{{ name }}", name="a\u202eb")


def test_undefined_name_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="missing"):
        render("{{ missing }}")


def test_filters_format_numbers_and_settings() -> None:
    assert render("{{ 1234567 | number }} {{ 0.5 | number }} {{ None | number }}") == "1,234,567 0.5000 not defined"
    assert render("{{ value | value }}", value={"name": "lstm"}) == "{name: lstm}"


@pytest.mark.parametrize(
    ("value", "text"), [(1234, "1,234"), (0.00004, "0.0000"), ("a", "a"), (None, "not defined"), (math.nan, "nan")]
)
def test_format_number_formats_numbers_and_none_and_keeps_strings(value: Any, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    "value", [None, True, 3, 1e-5, "no", "é" * 200, ["a", {"b": [1, 2]}], {}, "", "a\nb", "a\n", ["a\u2028b\n"]]
)
def test_as_yaml_returns_one_line_that_round_trips(value: Any) -> None:
    text = as_yaml(value)
    assert "\n" not in text
    assert yaml.safe_load(text) == value


def make_figure() -> Figure:
    figure = Figure(figsize=(3, 2), layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 2], [3, 4], label="loss 表")
    axes.legend()
    return figure


def test_picture_has_other_colours_on_dark_pages() -> None:
    figure = make_figure()
    figure.axes[0].plot([0, 1], color=COLOURS[0])
    figure.axes[0].plot([0, 1], color="#123456")  # has no other colour on dark pages
    svg = figure_as_svg(figure)
    adapted = with_dark_colours(svg)
    assert f"stroke: {COLOURS[0]}" in svg
    assert f"stroke: {COLOURS[0]}" not in adapted
    assert "stroke: #123456" in adapted
    variable = f"--c{COLOURS[0].removeprefix('#')}"
    assert f"stroke: var({variable})" in adapted
    light, dark = re.findall(rf"{variable}:([^;]+);", adapted)
    assert (light, dark) == (COLOURS[0], ON_DARK[COLOURS[0]])
    ET.fromstring(adapted)


def test_alternative_text_begins_with_the_title() -> None:
    assert embed_figure("Loss", make_figure(), "a: 1").alt == "Loss. a: 1"


def test_find_sections_returns_headings_with_ids() -> None:
    body = '<h2 id="a">A &amp; B</h2><h3 id="b">b</h3><h2>c</h2>'
    assert find_sections(body) == [("a", "A &amp; B")]


def test_picture_is_deterministic_and_keeps_text() -> None:
    first = embed_figure("Loss", make_figure())
    assert first == embed_figure("Loss", make_figure())
    assert first.title == "Loss"
    kind, _, content = first.source.partition(",")
    assert kind == "data:image/svg+xml;base64"
    svg = ET.fromstring(base64.b64decode(content))
    assert svg.tag.endswith("svg")
    assert "loss 表" in [text.strip() for text in svg.itertext()]
