"""The collator pads and truncates like the tokenizer. It can also keep the end of a text, or its beginning and end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from research.data.batches.collate import Collator
from research.data.batches.tokens import tokenize_splits
from research.tasks.base import TASKS
from research.tasks.single_label import SingleLabel
from tests.research.data.batches.tokenizers_by_family import FAMILIES
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl

TASK = SingleLabel(("no", "yes"))
TEXTS = ["good film", "one", "bad film one two good film, bad film. 123 " * 3, "two bad film"]
SECOND_TEXTS = [
    "bad film one two good film, bad film. 123 " * 2,
    "good",
    "bad film one two good film, bad film. 123 " * 3,
    "1 2",
]


def tokenized_rows(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], second_texts: list[str] | None = None
) -> dict[str, Any]:
    """Return tokenized rows of single texts, or of pairs if second texts are given."""

    def token_ids(values: list[str]) -> list[list[int]]:
        return [tokenizer(value, add_special_tokens=False, verbose=False)["input_ids"] for value in values]

    rows = {"id": list(range(len(texts))), "input_ids": token_ids(texts), "label": [0] * len(texts)}
    return rows | ({"pair_ids": token_ids(second_texts)} if second_texts is not None else {})


def assert_equal_inputs(inputs: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert inputs.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(inputs[name], tensor), name
        assert inputs[name].dtype == torch.int64


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_collator_pads_like_the_tokenizer(family: str, pair: bool) -> None:
    tokenizer = FAMILIES[family]()
    texts = [TEXTS, SECOND_TEXTS] if pair else [TEXTS]
    collate = Collator(tokenizer, TASK, max_length=10_000, truncation="head", pair=pair)
    batch = collate(tokenized_rows(tokenizer, *texts))
    assert_equal_inputs(batch.inputs, dict(tokenizer(*texts, padding=True, pad_to_multiple_of=32, return_tensors="pt")))


# The tokenizers of byt5 and canine are left out. They are written in Python, and if an odd number of tokens remains for
# two equally long texts, they keep one more token of the first text. All other tokenizers keep one more of the second.
@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in ("byt5", "canine")])
def test_collator_truncates_like_the_tokenizer(family: str, pair: bool) -> None:
    tokenizer = FAMILIES[family]()
    texts = [TEXTS, SECOND_TEXTS] if pair else [TEXTS]
    collate = Collator(tokenizer, TASK, max_length=512, truncation="head", pair=pair)
    rows = tokenized_rows(tokenizer, *texts)
    for max_length in range(6, 40):
        collate.max_length = max_length
        expected = tokenizer(*texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        assert_equal_inputs(collate(rows).inputs, dict(expected))


def test_collator_truncates_real_reviews_like_the_tokenizer(
    load: Loader, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    splits = load("imdb", limit_train=64, limit_validation=1, limit_test=1)
    tokens = tokenize_splits(splits, minilm_tokenizer)
    for max_length in (16, 128, 512):
        collate = Collator(minilm_tokenizer, splits.task, max_length=max_length, truncation="head", pair=False)
        expected = minilm_tokenizer(
            list(splits.train["text"]), padding=True, truncation=True, max_length=max_length, return_tensors="pt"
        )
        assert_equal_inputs(collate(tokens.train[:]).inputs, dict(expected))


def test_collator_truncates_real_pairs_like_the_tokenizer(
    load: Loader, write_jsonl: WriteJsonl, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    texts = load("imdb", limit_train=80, limit_validation=1, limit_test=1).train["text"]
    # The second texts become longer from row to row, so that either text of a pair can be the longer one.
    rows = [
        {"sentence1": first, "sentence2": second[: 40 * index], "label": index % 2}
        for index, (first, second) in enumerate(zip(texts[:40], texts[40:], strict=True), 1)
    ]
    splits = load(write_jsonl(rows))
    tokens = tokenize_splits(splits, minilm_tokenizer)
    pairs = [list(splits.train[name]) for name in ("text", "text_pair")]
    for max_length in (16, 33, 128, 512):
        collate = Collator(minilm_tokenizer, splits.task, max_length=max_length, truncation="head", pair=True)
        expected = minilm_tokenizer(*pairs, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        assert_equal_inputs(collate(tokens.train[:]).inputs, dict(expected))


@pytest.mark.parametrize(
    ("truncation", "max_length", "kept_ids"),
    [
        ("head", 8, [10, 11, 12, 13, 14, 15]),
        ("tail", 8, [14, 15, 16, 17, 18, 19]),
        ("head_tail", 8, [10, 11, 12, 17, 18, 19]),
        ("head_tail", 7, [10, 11, 12, 18, 19]),
        ("head_tail", 3, [10]),
        ("tail", 12, list(range(10, 20))),
    ],
)
def test_truncation_keeps_the_selected_part(
    minilm_tokenizer: PreTrainedTokenizerBase, truncation: Any, max_length: int, kept_ids: list[int]
) -> None:
    collate = Collator(minilm_tokenizer, TASK, max_length=max_length, truncation=truncation, pair=False)
    batch = collate({"id": [0], "input_ids": [list(range(10, 20))], "label": [1]})
    assert batch.inputs["input_ids"].tolist() == [[101, *kept_ids, 102]]  # 101 is [CLS], 102 is [SEP]


@pytest.mark.parametrize(
    ("lengths", "max_length", "kept_lengths"),  # three of the max_length tokens are special tokens
    [((10, 4), 13, (6, 4)), ((4, 10), 13, (4, 6)), ((10, 10), 14, (5, 6)), ((10, 9), 14, (6, 5)), ((3, 3), 9, (3, 3))],
)
def test_truncation_of_pairs_shortens_the_longer_text_first(
    minilm_tokenizer: PreTrainedTokenizerBase, lengths: tuple[int, int], max_length: int, kept_lengths: tuple[int, int]
) -> None:
    collate = Collator(minilm_tokenizer, TASK, max_length=max_length, truncation="tail", pair=True)
    first, second = [7] * lengths[0], [8] * lengths[1]
    batch = collate({"id": [0], "input_ids": [first], "pair_ids": [second], "label": [1]})
    assert batch.inputs["input_ids"].tolist() == [[101, *[7] * kept_lengths[0], 102, *[8] * kept_lengths[1], 102]]
    assert batch.inputs["token_type_ids"].tolist() == [[0] * (kept_lengths[0] + 2) + [1] * (kept_lengths[1] + 1)]


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_locate_tokens_returns_the_places_of_kept_tokens(
    minilm_tokenizer: PreTrainedTokenizerBase, truncation: Any, pair: bool
) -> None:
    texts = [TEXTS, SECOND_TEXTS] if pair else [TEXTS]
    collate = Collator(minilm_tokenizer, TASK, max_length=13, truncation=truncation, pair=pair)
    rows = tokenized_rows(minilm_tokenizer, *texts)
    inputs = collate(rows).inputs["input_ids"]
    columns = [rows[name] for name in ("input_ids", "pair_ids") if name in rows]
    for row, ids in enumerate(zip(*columns, strict=True)):
        places = collate.locate_tokens([len(text_ids) for text_ids in ids])
        for text_ids, (kept, part) in zip(ids, places, strict=True):
            assert inputs[row, part].tolist() == [text_ids[index] for index in kept]
        num_special = 3 if pair else 2
        assert sum(len(kept) for kept, _ in places) == min(sum(map(len, ids)), 13 - num_special)


def test_collator_settings_can_change_between_batches(minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    collate = Collator(minilm_tokenizer, TASK, max_length=8, truncation="head", pair=False)
    rows: dict[str, list[Any]] = {"id": [0], "input_ids": [list(range(10, 20))], "label": [1]}
    assert collate(rows).inputs["input_ids"].shape == (1, 8)
    collate.max_length, collate.truncation = 4, "tail"
    assert collate(rows).inputs["input_ids"].tolist() == [[101, 18, 19, 102]]
    collate.max_length = 2
    with pytest.raises(ValueError, match=r"max_length .*3.*got 2"):
        collate(rows)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 2, "pair": False}, "max_length .* 3: .*2 special tokens .*1 text; got 2"),
        ({"max_length": 4, "pair": True}, "max_length .* 5: .*3 special tokens .*2 texts; got 4"),
        ({"truncation": "middle"}, "truncation .*head, tail, head_tail; got 'middle'"),
    ],
)
def test_collator_refuses_invalid_settings(
    minilm_tokenizer: PreTrainedTokenizerBase, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Collator(minilm_tokenizer, TASK, **{"max_length": 16, "truncation": "head", "pair": False, **settings})


def test_collator_refuses_a_tokenizer_without_padding_token() -> None:
    from transformers import GPT2Tokenizer

    tokenizer = GPT2Tokenizer(vocab={"<|endoftext|>": 0, "a": 1}, merges=[])
    with pytest.raises(ValueError, match=r"GPT2Tokenizer .*pad_token"):
        Collator(tokenizer, TASK, max_length=16, truncation="head", pair=False)


def test_collator_accepts_rows_without_tokens(minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    collate = Collator(minilm_tokenizer, TASK, max_length=8, truncation="head", pair=False)
    batch = collate({"id": [5, 6], "input_ids": [[], [9, 9]], "label": [0, 1]})
    assert batch.inputs["input_ids"].tolist() == [[101, 102, *[0] * 6], [101, 9, 9, 102, *[0] * 4]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, *[0] * 6], [1, 1, 1, 1, *[0] * 4]]
    assert batch.ids.tolist() == [5, 6]


@pytest.mark.parametrize(
    ("num_tokens", "max_length", "width"),
    [(1, 512, 32), (30, 512, 32), (31, 512, 64), (500, 512, 512), (31, 40, 40), (9, 20, 20)],
)
def test_batch_width_is_a_multiple_of_32_or_max_length(
    minilm_tokenizer: PreTrainedTokenizerBase, num_tokens: int, max_length: int, width: int
) -> None:
    collate = Collator(minilm_tokenizer, TASK, max_length=max_length, truncation="head", pair=False)
    batch = collate({"id": [0], "input_ids": [[9] * num_tokens], "label": [0]})
    assert {name: tuple(values.shape) for name, values in batch.inputs.items()} == dict.fromkeys(
        batch.inputs, (1, width)
    )
    assert batch.inputs["attention_mask"].sum() == num_tokens + 2


@pytest.mark.parametrize(
    ("task_name", "labels", "expected"),
    [
        ("single_label", [1, 0], torch.tensor([1, 0])),
        ("multi_label", [[0, 2], []], torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])),
        ("regression", [2.5, -1.0], torch.tensor([2.5, -1.0])),
    ],
)
def test_collator_returns_labels_in_the_form_that_the_task_needs(
    minilm_tokenizer: PreTrainedTokenizerBase, task_name: str, labels: Any, expected: torch.Tensor
) -> None:
    collate = Collator(minilm_tokenizer, TASKS[task_name](("a", "b", "c")), max_length=8, truncation="head", pair=False)
    batch = collate({"id": [0, 1], "input_ids": [[1], [2]], "label": labels})
    assert torch.equal(batch.labels, expected)
    assert batch.labels.dtype == expected.dtype


def test_collator_accepts_a_dict_of_columns_or_a_list_of_rows(
    load: Loader, write_csv: WriteCsv, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    splits = tokenize_splits(load(write_csv(*[f"text {'a ' * row},{row % 2}" for row in range(40)])), minilm_tokenizer)
    collate = Collator(minilm_tokenizer, splits.task, max_length=16, truncation="head_tail", pair=False)
    rows = np.array([3, 1, 1])
    batch = collate(splits.train[rows], np.array([1, 1, 0], dtype=np.float32))
    assert batch.ids.tolist() == [3, 1, 1]
    assert batch.weights.tolist() == [1, 1, 0]
    for same_rows in (splits.train.__getitems__([3, 1, 1]), splits.train.with_format("numpy")[rows]):
        same_batch = collate(same_rows)
        assert_equal_inputs(same_batch.inputs, batch.inputs)
        assert torch.equal(same_batch.labels, batch.labels)
        assert same_batch.weights.tolist() == [1, 1, 1]
