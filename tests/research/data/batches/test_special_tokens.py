"""Where tokenizers of several families put their special tokens."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from research.data.batches.special_tokens import SpecialTokens, find_special_tokens
from tests.research.data.batches.tokenizers_by_family import FAMILIES

PLACES = {
    ("bert", False): SpecialTokens((2,), (), (3,), (0,), 0, (), 0, (0,), has_types=True),
    ("bert", True): SpecialTokens((2,), (3,), (3,), (0,), 0, (0,), 1, (1,), has_types=True),
    ("roberta", True): SpecialTokens((0,), (2, 2), (2,), (0,), 0, (0, 0), 0, (0,), has_types=False),
    ("t5", True): SpecialTokens((), (1,), (1,), (), 0, (0,), 0, (0,), has_types=False),
    ("xlnet", True): SpecialTokens((), (4,), (4, 3), (), 0, (0,), 0, (0, 0), has_types=False),
}


@pytest.mark.parametrize(("family", "pair"), PLACES, ids=str)
def test_special_tokens_are_found_with_their_types(family: str, pair: bool) -> None:
    found = find_special_tokens(FAMILIES[family](), pair=pair)
    assert found == PLACES[family, pair]
    assert len(found) == len(found.prefix) + len(found.between) + len(found.suffix)


def test_vocabulary_of_one_script_is_enough() -> None:
    backend = Tokenizer(models.BPE(vocab={"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "的": 3, "是": 4}, merges=[]))
    special_tokens = [("[CLS]", 1), ("[SEP]", 2)]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=special_tokens
    )
    chinese = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert chinese("one", add_special_tokens=False)["input_ids"] == []
    found = find_special_tokens(chinese, pair=True)
    assert (found.prefix, found.between, found.suffix) == ((1,), (2,), (2,))


def test_tokenizer_without_any_known_text_is_refused() -> None:
    empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab={"[PAD]": 0}, merges=[])))
    with pytest.raises(ValueError, match=type(empty).__name__):
        find_special_tokens(empty, pair=False)
