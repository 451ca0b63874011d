"""Find out which special tokens a tokenizer adds to texts, and where, and add those of a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import BatchEncoding, PreTrainedTokenizerBase

from research.data.batches.template_tokens import tokenize_literals
from research.settings.template import Template

# The first pair of texts that the tokenizer knows is tokenized. A vocabulary may cover only one script, so there are
# pairs for several.
_SAMPLE_PAIRS = (("one", "two"), ("a", "b"), ("1", "2"), ("的", "是"), (".", ","))


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens and the template around one text or a pair, and the token type id of each position."""

    prefix: tuple[int, ...]
    """Token ids before the first text."""
    between: tuple[int, ...]
    """Token ids between the texts of a pair."""
    suffix: tuple[int, ...]
    """Token ids after the last text."""
    prefix_types: tuple[int, ...]
    """Token type ids of the prefix."""
    first_type: int
    """Token type id of the first text."""
    between_types: tuple[int, ...]
    """Token type ids of the tokens between the texts."""
    second_type: int
    """Token type id of the second text; `first_type` if there is only one text."""
    suffix_types: tuple[int, ...]
    """Token type ids of the suffix."""
    has_types: bool
    """Whether the encoder takes token type ids."""

    def __len__(self) -> int:
        return len(self.prefix) + len(self.between) + len(self.suffix)


def find_special_tokens(
    tokenizer: PreTrainedTokenizerBase, *, pair: bool, template: Template | None = None
) -> SpecialTokens:
    """Tokenize a short text or pair of texts, and find the special tokens around it.

    A template's part before a text follows the special tokens there, and its part after the last text precedes them.

    Args:
        tokenizer: the tokenizer.
        pair: whether to tokenize a pair of texts.
        template: the template whose tokens are added; it fits `pair`. None adds none.
    Raises:
        ValueError: if the tokenizer's output does not contain the token ids of the texts.
    """
    special = _find_special_tokens(tokenizer, pair=pair)
    return special if template is None else _add_template(special, tokenize_literals(template, tokenizer))


def _add_template(special: SpecialTokens, literals: Sequence[tuple[int, ...]]) -> SpecialTokens:
    """Add the tokens of a template's literal parts, with the token type ids of the texts next to them."""
    before, *between, after = literals
    between_ids = between[0] if between else ()
    return replace(
        special,
        prefix=special.prefix + before,
        prefix_types=special.prefix_types + (special.first_type,) * len(before),
        between=special.between + between_ids,
        between_types=special.between_types + (special.second_type,) * len(between_ids),
        suffix=after + special.suffix,
        suffix_types=(special.second_type,) * len(after) + special.suffix_types,
    )


def _find_special_tokens(tokenizer: PreTrainedTokenizerBase, *, pair: bool) -> SpecialTokens:
    """Find the special tokens as described in `find_special_tokens`, without a template."""
    for first, second in _SAMPLE_PAIRS:
        texts = [first, second] if pair else [first]
        text_ids = [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]
        if not all(text_ids):
            continue
        encoded = tokenizer(*texts, return_token_type_ids=True, verbose=False)
        starts = (_locate_sequences if tokenizer.is_fast else _locate_texts)(encoded, text_ids)
        if starts is not None:
            has_types = "token_type_ids" in tokenizer.model_input_names
            types = encoded["token_type_ids"] if has_types else [0] * len(encoded["input_ids"])
            return _extract_special_tokens(encoded["input_ids"], types, starts, text_ids, has_types=has_types)
    raise ValueError(
        f"Cannot find the special tokens of {type(tokenizer).__name__}: expected its output to contain the ids of the "
        "text, surrounded by special tokens. Use a different tokenizer."
    )


def _locate_sequences(encoded: BatchEncoding, text_ids: list[list[int]]) -> list[int] | None:
    """Return the position at which each text starts, as a fast tokenizer reports it; None if its ids differ there.

    Searching for the ids would not do: an exported tokenizer adds a template, which may contain the same words.
    """
    sequences, ids = encoded.sequence_ids(0), encoded["input_ids"]
    if not all(number in sequences for number in range(len(text_ids))):
        return None
    starts = [sequences.index(number) for number in range(len(text_ids))]
    are_equal = all(ids[start : start + len(text)] == text for start, text in zip(starts, text_ids, strict=True))
    return starts if are_equal else None


def _locate_texts(encoded: BatchEncoding, text_ids: list[list[int]]) -> list[int] | None:
    """Return the position at which each text starts; None if the output does not contain all texts in order."""
    ids = encoded["input_ids"]
    starts: list[int] = []
    stop = 0
    for text in text_ids:
        start = next((start for start in range(stop, len(ids)) if ids[start : start + len(text)] == text), None)
        if start is None:
            return None
        starts.append(start)
        stop = start + len(text)
    return starts


def _extract_special_tokens(
    ids: list[int], types: list[int], starts: list[int], text_ids: list[list[int]], *, has_types: bool
) -> SpecialTokens:
    """Return the special tokens in a tokenizer's output.

    Args:
        ids: token ids of the output.
        types: token type ids of the output.
        starts: position of each text in the output.
        text_ids: token ids of each text, without special tokens.
        has_types: whether the encoder takes token type ids.
    """
    first_stop = starts[0] + len(text_ids[0])
    between_stop = starts[-1] if len(starts) == 2 else first_stop
    stop = starts[-1] + len(text_ids[-1])
    return SpecialTokens(
        prefix=tuple(ids[: starts[0]]),
        between=tuple(ids[first_stop:between_stop]),
        suffix=tuple(ids[stop:]),
        prefix_types=tuple(types[: starts[0]]),
        first_type=types[starts[0]],
        between_types=tuple(types[first_stop:between_stop]),
        second_type=types[starts[-1]],
        suffix_types=tuple(types[stop:]),
        has_types=has_types,
    )
