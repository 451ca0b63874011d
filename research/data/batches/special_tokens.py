"""Where a tokenizer puts its special tokens, learned by looking once."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

# The first pair that the tokenizer can read is used; vocabularies of one script know only some.
_MARKERS = (("one", "two"), ("a", "b"), ("1", "2"), ("的", "是"), (".", ","))


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens around one text or a pair, and the type id of every position."""

    prefix: tuple[int, ...]
    """Ids before the first text."""
    between: tuple[int, ...]
    """Ids between the texts of a pair."""
    suffix: tuple[int, ...]
    """Ids after the last text."""
    prefix_types: tuple[int, ...]
    """Type ids of the prefix."""
    first_type: int
    """Type id of the first text."""
    between_types: tuple[int, ...]
    """Type ids between the texts."""
    second_type: int
    """Type id of the second text."""
    suffix_types: tuple[int, ...]
    """Type ids of the suffix."""
    has_types: bool
    """Whether the encoder takes type ids."""

    def __len__(self) -> int:
        return len(self.prefix) + len(self.between) + len(self.suffix)


def find_special_tokens(tokenizer: PreTrainedTokenizerBase, *, pair: bool) -> SpecialTokens:
    """Encode a short text or pair and see what the tokenizer adds to it.

    Raises:
        ValueError: if the texts' own ids are not found in what the tokenizer makes of them.
    """
    for first, second in _MARKERS:
        texts = [first, second] if pair else [first]
        plain = [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]
        if not all(plain):
            continue
        encoded = tokenizer(*texts, return_token_type_ids=True, verbose=False)
        found = _locate(encoded["input_ids"], plain)
        if found is not None:
            has_types = "token_type_ids" in tokenizer.model_input_names
            types = encoded["token_type_ids"] if has_types else [0] * len(encoded["input_ids"])
            return _split(encoded["input_ids"], types, found, plain, has_types=has_types)
    raise ValueError(
        f"Cannot tell where {type(tokenizer).__name__} puts its special tokens: what it makes of a text is not "
        "special tokens around the text's own."
    )


def _locate(ids: list[int], plain: list[list[int]]) -> list[int] | None:
    """Return where each text starts, None if one of them is not there."""
    starts: list[int] = []
    stop = 0
    for text in plain:
        start = next((start for start in range(stop, len(ids)) if ids[start : start + len(text)] == text), None)
        if start is None:
            return None
        starts.append(start)
        stop = start + len(text)
    return starts


def _split(
    ids: list[int], types: list[int], starts: list[int], plain: list[list[int]], *, has_types: bool
) -> SpecialTokens:
    first_stop = starts[0] + len(plain[0])
    between_stop = starts[-1] if len(starts) == 2 else first_stop
    stop = starts[-1] + len(plain[-1])
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
