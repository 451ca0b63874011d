"""The spans of a text, each with one colour."""

from __future__ import annotations

import pytest

from research.demo.explanation import ExplainedText, Token
from research.demo.spans import Span, divide


def test_divide_returns_tokens_and_the_text_between_them() -> None:
    spans = divide(ExplainedText(" a bc. ", (Token(1, 2, 0.5), Token(3, 5, -0.25), Token(5, 6, 0.0))))
    assert spans == [
        Span(" ", None, is_truncated=False),
        Span("a", 0.5, is_truncated=False),
        Span(" ", None, is_truncated=False),
        Span("bc", -0.25, is_truncated=False),
        Span(".", 0.0, is_truncated=False),
        Span(" ", None, is_truncated=False),
    ]


def test_divide_joins_truncated_tokens_with_the_text_between_them() -> None:
    spans = divide(
        ExplainedText("a b c d ", (Token(0, 1, 0.5), Token(2, 3, None), Token(4, 5, None), Token(6, 7, 1.0)))
    )
    assert [(span.text, span.is_truncated) for span in spans] == [
        ("a", False),
        (" ", False),
        ("b c", True),
        (" ", False),
        ("d", False),
        (" ", False),
    ]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.5, 0.25), (0.75, False)),
        ((0.5, None), (0.5, False)),
        ((None, 0.25), (0.25, False)),
        ((None, None), (None, True)),
    ],
)
def test_divide_joins_tokens_that_share_characters(
    scores: tuple[float | None, float | None], expected: tuple[float | None, bool]
) -> None:
    text = ExplainedText("xé", (Token(0, 1, 0.0), Token(1, 2, scores[0]), Token(1, 2, scores[1])))
    assert divide(text) == [Span("x", 0.0, is_truncated=False), Span("é", expected[0], is_truncated=expected[1])]


def test_divide_keeps_a_character_whose_first_byte_is_truncated_after_truncated_text() -> None:
    spans = divide(ExplainedText("xyé", (Token(0, 1, None), Token(1, 2, None), Token(2, 3, None), Token(2, 3, 0.5))))
    assert spans == [Span("xy", None, is_truncated=True), Span("é", 0.5, is_truncated=False)]


def test_divide_returns_the_whole_text_without_tokens() -> None:
    assert divide(ExplainedText(" \n", ())) == [Span(" \n", None, is_truncated=False)]
    assert divide(ExplainedText("", ())) == []


def test_divide_splits_no_long_truncated_text_into_tokens() -> None:
    tokens = (Token(0, 1, 1.0), *(Token(index, index + 1, None) for index in range(1, 10_000)))
    assert len(divide(ExplainedText("x" * 10_000, tokens))) == 2
