"""Divide a text into consecutive spans, each with one colour."""

from __future__ import annotations

from dataclasses import dataclass

from research.demo.explanation import ExplainedText


@dataclass(frozen=True)
class Span:
    """A part of a text."""

    text: str
    """Its characters."""
    score: float | None
    """Sum of the scores of its tokens; None between tokens, and if it is truncated."""
    is_truncated: bool
    """Whether the model does not see it."""


def divide(explained: ExplainedText) -> list[Span]:
    """Return the spans of a text, which together are the whole text.

    Tokens that share characters, such as the bytes of an emoji, form one span. Space between two truncated tokens is
    truncated as well.
    """
    spans: list[Span] = []
    end = 0  # of the last span
    was_truncated = False
    for token in explained.tokens:
        truncated = token.score is None
        start = max(token.start, end)
        if spans and start >= token.stop:  # no characters of its own
            last = spans[-1]
            if not truncated:
                spans[-1] = Span(last.text, (last.score or 0.0) + (token.score or 0.0), is_truncated=False)
            continue
        if start > end:
            spans.append(Span(explained.text[end:start], None, truncated and (was_truncated or not spans)))
        spans.append(Span(explained.text[start : token.stop], token.score, truncated))
        end, was_truncated = token.stop, truncated
    if end < len(explained.text):
        spans.append(Span(explained.text[end:], None, was_truncated))
    return spans
