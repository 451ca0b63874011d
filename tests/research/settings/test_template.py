"""Parse prompt templates."""

from __future__ import annotations

import re

import pytest

from heads.registry import UnknownNameError
from research import RunConfig
from research.settings.template import Template, parse_template


@pytest.mark.parametrize(
    ("template", "literals", "spaces"),
    [
        ("{text}", ("", ""), ("",)),
        ("Review: {text}", ("Review:", ""), (" ",)),
        ("Review:   {text} is ", ("Review:", " is "), ("   ",)),
        (r"Review: {text}\nSentiment:", ("Review:", "\nSentiment:"), (" ",)),
        ("Review: {text}\nSentiment:", ("Review:", "\nSentiment:"), (" ",)),
        (r"a\tb\\n{text}", ("a\tb\\n", ""), ("",)),
        ("Review:\n{text}", ("Review:\n", ""), ("",)),  # only spaces are moved
        ("{{x}} {text}{{", ("{x}", "{"), (" ",)),
        ("P: {text}\nH:{text_pair}", ("P:", "\nH:", ""), (" ", "")),
        ("{text} {text_pair}", ("", "", ""), ("", " ")),
    ],
)
def test_template_has_literal_parts_and_spaces(
    template: str, literals: tuple[str, ...], spaces: tuple[str, ...]
) -> None:
    assert parse_template(template) == Template(literals, spaces)


def test_no_template_is_none() -> None:
    assert parse_template(None) is None


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Review:", r"'Review:' has no \{text\}"),
        ("", r"has no \{text\}"),
        ("{text_pair}", r"has no \{text\}"),
        ("{{text}}", r"has no \{text\}"),
        ("Review: {txt}", r"'txt'. Did you mean 'text'\?"),
        ("{text} {textpair}", r"'textpair'. Did you mean 'text_pair'\?"),
        ("{text} {}", "Unknown field ''"),
        ("{text.upper}", "Unknown field 'text.upper'"),
        ("{text", "braces.*not balanced"),
        ("{text}}", "braces.*not balanced"),
        ("{text} {", "braces.*not balanced"),
        ("{text!r}", r"\{text\} without '!' or ':'"),
        ("{text:>4}", r"\{text\} without '!' or ':'"),
        ("{text} {text}", r"once.*got \{text\}, \{text\}"),
        ("{text_pair} {text}", r"once after it; got \{text_pair\}, \{text\}"),
        (r"{text}\d", r"unknown escape '\\d'"),
        ("{text}\\", r"unknown escape '\\'"),
        ("{text}\n{txt}", r"'{text}\\n{txt}'"),  # shown on one line
    ],
)
def test_invalid_template_is_refused_in_one_line(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_template(template)
    assert "\n" not in str(error.value)


def test_near_name_is_an_unknown_name_error() -> None:
    with pytest.raises(UnknownNameError):
        parse_template("{txt}")


@pytest.mark.parametrize(
    ("template", "pair", "message"),
    [("{text} {text_pair}", False, r"without \{text_pair\}.*--text_pair_column"), ("{text}", True, "pairs of texts")],
)
def test_fields_must_fit_the_rows(template: str, pair: bool, message: str) -> None:
    parsed = parse_template(template)
    assert parsed is not None
    parsed.check_fields(pair=not pair)
    with pytest.raises(ValueError, match=message):
        parsed.check_fields(pair=pair)


def test_config_refuses_an_invalid_template() -> None:
    assert RunConfig(template="Review: {text}").template == "Review: {text}"
    with pytest.raises(ValueError, match=re.escape("has no {text}")):
        RunConfig(template="Review")
