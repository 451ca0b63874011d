"""Find out which special tokens a tokenizer adds to texts, and where."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

# The first pair of texts that the tokenizer knows is tokenized. A vocabulary may cover only one script, so there are
# pairs for several.
_SAMPLE_PAIRS = (("one", "two"), ("a", "b"), ("1", "2"), ("的", "是"), (".", ","))


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens around one text or a pair of texts, and the token type id of each position."""

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
    """Token type ids of the special tokens between the texts."""
    second_type: int
    """Token type id of the second text; `first_type` if there is only one text."""
    suffix_types: tuple[int, ...]
    """Token type ids of the suffix."""
    has_types: bool
    """Whether the encoder takes token type ids."""

    def __len__(self) -> int:
        return len(self.prefix) + len(self.between) + len(self.suffix)


def find_special_tokens(tokenizer: PreTrainedTokenizerBase, *, pair: bool) -> SpecialTokens:
    """Tokenize a short text or pair of texts, and find the special tokens around it.

    Args:
        tokenizer: the tokenizer.
        pair: whether to tokenize a pair of texts.
    Raises:
        ValueError: if the tokenizer's output does not contain the token ids of the texts.
    """
    for first, second in _SAMPLE_PAIRS:
        texts = [first, second] if pair else [first]
        text_ids = [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]
        if not all(text_ids):
            continue
        encoded = tokenizer(*texts, return_token_type_ids=True, verbose=False)
        starts = _locate_texts(encoded["input_ids"], text_ids)
        if starts is not None:
            has_types = "token_type_ids" in tokenizer.model_input_names
            types = encoded["token_type_ids"] if has_types else [0] * len(encoded["input_ids"])
            return _extract_special_tokens(encoded["input_ids"], types, starts, text_ids, has_types=has_types)
    raise ValueError(
        f"Cannot find the special tokens of {type(tokenizer).__name__}: expected its output to contain the ids of the "
        "text, surrounded by special tokens. Use a different tokenizer."
    )


def _locate_texts(ids: list[int], text_ids: list[list[int]]) -> list[int] | None:
    """Return the position in `ids` at which each text starts; None if `ids` does not contain all texts in order."""
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
