"""Tokenize the literal parts of a template."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from research.settings.template import Template

# A part that follows a text is tokenized behind one of these words, the first that keeps its own tokens there.
_WORDS_BEFORE = ("one", "a", "1", "的", ".")


def tokenize_literals(template: Template, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """Return the token ids of each literal part.

    A part that follows a text is tokenized behind a word, because a SentencePiece tokenizer puts a space in front of
    everything that it tokenizes.

    Args:
        template: the template.
        tokenizer: the tokenizer.
    """
    first, *others = template.literals
    return [_tokenize(tokenizer, first), *(_tokenize_behind_text(tokenizer, literal) for literal in others)]


def _tokenize_behind_text(tokenizer: PreTrainedTokenizerBase, literal: str) -> tuple[int, ...]:
    """Return the token ids of a part that follows a text."""
    if not literal:
        return ()
    for word in _WORDS_BEFORE:
        word_ids = _tokenize(tokenizer, word)
        ids = _tokenize(tokenizer, word + literal)
        if word_ids and ids[: len(word_ids)] == word_ids:
            return ids[len(word_ids) :]
    return _tokenize(tokenizer, literal)


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) if text else ()
