"""Find the special tokens that tokenizers of several families add to texts."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from research.data.batches.special_tokens import SpecialTokens, find_special_tokens
from tests.research.data.batches.tokenizers_by_family import FAMILIES

EXPECTED = {
    ("bert", False): SpecialTokens(  # 2 is [CLS], 3 is [SEP]
        prefix=(2,),
        between=(),
        suffix=(3,),
        prefix_types=(0,),
        first_type=0,
        between_types=(),
        second_type=0,
        suffix_types=(0,),
        has_types=True,
    ),
    ("bert", True): SpecialTokens(
        prefix=(2,),
        between=(3,),
        suffix=(3,),
        prefix_types=(0,),
        first_type=0,
        between_types=(0,),
        second_type=1,
        suffix_types=(1,),
        has_types=True,
    ),
    ("roberta", True): SpecialTokens(  # 0 is <s>, 2 is </s>
        prefix=(0,),
        between=(2, 2),
        suffix=(2,),
        prefix_types=(0,),
        first_type=0,
        between_types=(0, 0),
        second_type=0,
        suffix_types=(0,),
        has_types=False,
    ),
    ("t5", True): SpecialTokens(  # 1 is </s>
        prefix=(),
        between=(1,),
        suffix=(1,),
        prefix_types=(),
        first_type=0,
        between_types=(0,),
        second_type=0,
        suffix_types=(0,),
        has_types=False,
    ),
    ("xlnet", True): SpecialTokens(  # 3 is <cls>, 4 is <sep>
        prefix=(),
        between=(4,),
        suffix=(4, 3),
        prefix_types=(),
        first_type=0,
        between_types=(0,),
        second_type=0,
        suffix_types=(0, 0),
        has_types=False,
    ),
}
"""Expected special tokens, by tokenizer family and by whether two texts are tokenized as a pair."""


@pytest.mark.parametrize(("family", "pair"), EXPECTED, ids=str)
def test_find_special_tokens_returns_token_ids_and_type_ids(family: str, pair: bool) -> None:
    special_tokens = find_special_tokens(FAMILIES[family](), pair=pair)
    assert special_tokens == EXPECTED[family, pair]
    num_tokens = len(special_tokens.prefix) + len(special_tokens.between) + len(special_tokens.suffix)
    assert len(special_tokens) == num_tokens


def test_find_special_tokens_supports_a_vocabulary_without_latin_letters() -> None:
    backend = Tokenizer(models.BPE(vocab={"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "的": 3, "是": 4}, merges=[]))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert tokenizer("one", add_special_tokens=False)["input_ids"] == []  # Latin letters are dropped
    special_tokens = find_special_tokens(tokenizer, pair=True)
    assert (special_tokens.prefix, special_tokens.between, special_tokens.suffix) == ((1,), (2,), (2,))


def test_find_special_tokens_refuses_a_tokenizer_without_words() -> None:
    tokenizer_without_words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab={"[PAD]": 0}, merges=[]))
    )
    with pytest.raises(ValueError, match=type(tokenizer_without_words).__name__):
        find_special_tokens(tokenizer_without_words, pair=False)
