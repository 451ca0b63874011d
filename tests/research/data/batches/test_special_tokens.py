"""Special tokens of tokenizers of several families."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from research.data.batches.special_tokens import SpecialTokens, find_special_tokens
from tests.research.data.batches.tokenizers_by_family import FAMILIES

EXPECTED = {
    ("bert", False): SpecialTokens((2,), (), (3,), (0,), 0, (), 0, (0,), has_types=True),
    ("bert", True): SpecialTokens((2,), (3,), (3,), (0,), 0, (0,), 1, (1,), has_types=True),
    ("roberta", True): SpecialTokens((0,), (2, 2), (2,), (0,), 0, (0, 0), 0, (0,), has_types=False),
    ("t5", True): SpecialTokens((), (1,), (1,), (), 0, (0,), 0, (0,), has_types=False),
    ("xlnet", True): SpecialTokens((), (4,), (4, 3), (), 0, (0,), 0, (0, 0), has_types=False),
}


@pytest.mark.parametrize(("family", "pair"), EXPECTED, ids=str)
def test_find_special_tokens_returns_ids_and_types(family: str, pair: bool) -> None:
    found = find_special_tokens(FAMILIES[family](), pair=pair)
    assert found == EXPECTED[family, pair]
    assert len(found) == len(found.prefix) + len(found.between) + len(found.suffix)


def test_find_special_tokens_with_a_vocabulary_of_one_script() -> None:
    backend = Tokenizer(models.BPE(vocab={"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "的": 3, "是": 4}, merges=[]))
    special_tokens = [("[CLS]", 1), ("[SEP]", 2)]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=special_tokens
    )
    chinese = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert chinese("one", add_special_tokens=False)["input_ids"] == []
    found = find_special_tokens(chinese, pair=True)
    assert (found.prefix, found.between, found.suffix) == ((1,), (2,), (2,))


def test_find_special_tokens_refuses_a_tokenizer_without_known_text() -> None:
    empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab={"[PAD]": 0}, merges=[])))
    with pytest.raises(ValueError, match=type(empty).__name__):
        find_special_tokens(empty, pair=False)
