"""Divide a text into consecutive spans, each with one colour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from research.demo.explanation import ExplainedText, Token


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

    Tokens that share characters, such as the bytes of an emoji, form one span. So do consecutive truncated tokens, with
    the characters between them.
    """
    spans: list[Span] = []
    end = 0  # of the last span
    for token in _merge_overlapping(explained.tokens):
        is_truncated = token.score is None
        if is_truncated and spans and spans[-1].is_truncated:
            spans[-1] = Span(spans[-1].text + explained.text[end : token.stop], None, is_truncated=True)
        else:
            if token.start > end:
                spans.append(Span(explained.text[end : token.start], None, is_truncated=False))
            spans.append(Span(explained.text[token.start : token.stop], token.score, is_truncated))
        end = token.stop
    if end < len(explained.text):
        spans.append(Span(explained.text[end:], None, is_truncated=False))
    return spans


def _merge_overlapping(tokens: Iterable[Token]) -> list[Token]:
    """Merge each token that shares characters with the previous one into it. Their scores are added."""
    merged: list[Token] = []
    for token in tokens:
        if merged and token.start < merged[-1].stop:
            last = merged.pop()
            scores = [score for score in (last.score, token.score) if score is not None]
            merged.append(Token(last.start, max(last.stop, token.stop), sum(scores) if scores else None))
        else:
            merged.append(token)
    return merged
