"""A tokenizer that adds a template by itself, so that exported models need no code for it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import Tokenizer, normalizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from research.data.batches.special_tokens import SpecialTokens
from research.data.batches.tokens import tokenize_texts
from research.inference.saved_model import SavedModel

_PROBES = ("one", "Two", "1", ".", "#", "的", "é", "\n", "one two  three")
"""Texts that show whether a space in front of a text changes its tokens."""
_KEPT_ATTRIBUTES = (
    "model_input_names",
    "model_max_length",
    "padding_side",
    "truncation_side",
    "pad_token_type_id",
    "clean_up_tokenization_spaces",
)


def build_template_tokenizer(saved: SavedModel) -> PreTrainedTokenizerBase:
    """Return a copy of a model's tokenizer that puts texts into the model's template.

    Its post-processor adds the template's tokens, as it adds special tokens. Spaces in front of the texts are part of
    its normalizer.

    Args:
        saved: a model with a template.
    Raises:
        ValueError: if a tokenizer without code of its own cannot add this template.
    """
    tokenizer, template = saved.tokenizer, saved.inputs.parsed_template
    assert template is not None
    if not tokenizer.is_fast:
        raise ValueError(
            f"Cannot export a model with a template and the tokenizer {type(tokenizer).__name__}: expected a tokenizer "
            "of the tokenizers library, which can add the template by itself. Train without --template."
        )
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    if any(_changes_tokens(tokenizer, spaces) for spaces in template.spaces):
        if len(set(template.spaces)) > 1:
            raise ValueError(
                f"Cannot export a model with the template '{saved.inputs.template}': {type(tokenizer).__name__} can "
                "only put the same number of spaces in front of {text} and {text_pair}. Train with a template in which "
                "they are equal."
            )
        steps = [normalizers.Prepend(template.spaces[0])]
        backend.normalizer = normalizers.Sequence([*steps, *([backend.normalizer] if backend.normalizer else [])])
    backend.post_processor = _post_processor(backend, saved.collator.special_tokens, pair=saved.inputs.has_pairs)
    kept: dict[str, Any] = {name: getattr(tokenizer, name) for name in _KEPT_ATTRIBUTES}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokenizer.special_tokens_map, **kept)


def has_spaces_in_normalizer(saved: SavedModel) -> bool:
    """Return whether the tokenizer of an exported model puts spaces in front of texts."""
    template = saved.inputs.parsed_template
    return template is not None and any(_changes_tokens(saved.tokenizer, spaces) for spaces in template.spaces)


def _changes_tokens(tokenizer: PreTrainedTokenizerBase, spaces: str) -> bool:
    """Return whether spaces in front of a text change its tokens. They do not in WordPiece, for example."""
    return tokenize_texts(tokenizer, list(_PROBES), spaces) != tokenize_texts(tokenizer, list(_PROBES), "")


def _post_processor(backend: Tokenizer, special: SpecialTokens, *, pair: bool) -> processors.PostProcessor:
    """Return a post-processor that adds the special tokens and the template around texts."""
    prefix = [*_runs("prefix", special.prefix, special.prefix_types)]
    between = [*_runs("between", special.between, special.between_types)]
    suffix = [*_runs("suffix", special.suffix, special.suffix_types)]
    first, second = f"$A:{special.first_type}", f"$B:{special.second_type}"
    texts = [first, *(piece for piece, _ in between), second] if pair else [first]
    around_one = [*(piece for piece, _ in prefix), first, *(piece for piece, _ in suffix)]
    around_all = [*(piece for piece, _ in prefix), *texts, *(piece for piece, _ in suffix)]
    return processors.TemplateProcessing(
        single=around_one,
        pair=around_all if pair else [*around_one, "$B:0"],
        special_tokens=[
            {"id": piece.partition(":")[0], "ids": ids, "tokens": [backend.id_to_token(number) for number in ids]}
            for piece, ids in (*prefix, *between, *suffix)
        ],
    )


def _runs(name: str, ids: Sequence[int], types: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Yield the pieces of a post-processor's template: tokens with the same type form one piece."""
    pairs = zip(ids, types, strict=True)
    for number, (token_type, run) in enumerate(itertools.groupby(pairs, key=lambda pair: pair[1])):
        yield f"{name}_{number}:{token_type}", [token for token, _ in run]
