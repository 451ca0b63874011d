"""Usual names of text and label columns."""

from __future__ import annotations

import itertools

TEXT_NAMES = ("text", "sentence", "review", "content", "document", "comment", "tweet", "utterance", "question")
"""Names of text columns."""

PAIR_NAMES = (
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "passage"),
    ("query", "document"),
    ("text", "text_pair"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
)
"""Names of the two text columns of a pair."""

LABEL_NAMES = ("label", "labels", "score", "target", "class", "category", "sentiment", "stars", "rating")
"""Names of label columns."""

COMMON_NAMES = frozenset(TEXT_NAMES) | frozenset(itertools.chain.from_iterable(PAIR_NAMES)) | frozenset(LABEL_NAMES)
"""All usual names of text and label columns."""
