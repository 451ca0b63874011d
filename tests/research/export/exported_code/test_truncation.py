"""The truncation of exported models equals that of the collator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from research.data.batches.collate import Collator, Truncation
from research.data.batches.special_tokens import find_special_tokens
from research.export.exported_code.truncation import truncate
from research.tasks.single_label import SingleLabel
from tests.research.data.batches.tokenizers_by_family import FAMILIES

MAX_LENGTH = 11


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_truncate_keeps_the_tokens_that_the_collator_keeps(
    truncation: Truncation, pair: bool, padding_side: str, family: str
) -> None:
    tokenizer = FAMILIES[family]()
    tokenizer.padding_side = padding_side
    generator = np.random.default_rng(0)
    lengths = [
        (first, second) for first in (0, 1, 3, 4, 5, 9, 30) for second in ((0, 1, 4, 5, 12, 40) if pair else (0,))
    ]
    rows = [[[int(each) for each in generator.integers(5, 18, size=length)] for length in row] for row in lengths]
    columns = {"input_ids": [row[0] for row in rows], "pair_ids": [row[1] for row in rows], "id": range(len(rows))}
    columns["label"] = [None] * len(rows)
    task = SingleLabel(label_names=("a", "b"))
    special = find_special_tokens(tokenizer, pair=pair)
    layout = {"prefix": len(special.prefix), "between": list(special.between), "suffix": len(special.suffix)}

    def collate(max_length: int) -> dict[str, torch.Tensor]:
        return Collator(tokenizer, task, max_length=max_length, truncation=truncation, pair=pair)(columns).inputs

    truncated = truncate(collate(1000), max_length=MAX_LENGTH, truncation=truncation, special_tokens=layout)
    expected = collate(MAX_LENGTH)
    assert truncated.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(truncated[name], values), name


def test_truncate_returns_short_rows_unchanged() -> None:
    inputs = {"input_ids": torch.tensor([[2, 5, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    layout = {"prefix": 1, "between": [], "suffix": 1}
    truncated = truncate(inputs, max_length=3, truncation="head", special_tokens=layout)
    assert torch.equal(truncated["input_ids"], inputs["input_ids"])


def test_truncate_treats_a_single_text_as_the_first_one_if_texts_are_expected_in_pairs() -> None:
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 7, 8, 3]]), "attention_mask": torch.ones(1, 6, dtype=torch.long)}
    layout = {"prefix": 1, "between": [4, 4], "suffix": 1}
    truncated = truncate(inputs, max_length=5, truncation="tail", special_tokens=layout)
    assert truncated["input_ids"].shape == (1, 5)
