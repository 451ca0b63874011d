"""Tokenize splits. The token ids are those of the tokenizer, without truncation or special tokens."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import transformers
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from research.data.batches.tokens import TOKENS_FORMAT, tokenize_splits
from research.settings.template import parse_template
from tests.conftest import WORDS
from tests.messages import collect_messages, in_order
from tests.research.data.batches.trained_tokenizers import byte_level
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews
from tests.research.data.entry_hash import hash_entry


def test_tokens_are_not_truncated_and_have_no_special_tokens(
    load: Loader, write_csv: WriteCsv, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    long_text = "one two three " * 2000
    splits = load(write_csv(f"{long_text},label 0", *reviews(60)))
    tokens = tokenize_splits(splits, minilm_tokenizer)
    assert tokens.train.column_names == ["id", "input_ids", "length", "label"]
    assert tokens.train.features.arrow_schema.field("input_ids").type == pa.list_(pa.int32())
    assert tokens.train.features.arrow_schema.field("length").type == pa.int32()
    for name, split in tokens.items():
        rows = getattr(splits, name)
        assert split["label"][:] == rows["label"][:]
        for ids, length, text in zip(split["input_ids"], split["length"], rows["text"], strict=True):
            assert ids == minilm_tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            assert length == len(ids) + 2  # [CLS] and [SEP]
    assert max(max(split["length"]) for _, split in tokens.items()) == 6002  # the long text has 6000 tokens


def test_tokenizing_long_texts_causes_no_warning(
    load: Loader, write_csv: WriteCsv, minilm_tokenizer: PreTrainedTokenizerBase, caplog: pytest.LogCaptureFixture
) -> None:
    splits = load(write_csv(*[f"{'word ' * 600}{row},{row % 2}" for row in range(40)]))
    transformers.logging.enable_propagation()
    try:
        tokenize_splits(splits, copy.deepcopy(minilm_tokenizer))  # a copy, because each tokenizer warns only once
        assert caplog.text == ""
        copy.deepcopy(minilm_tokenizer)(splits.train[0]["text"])
        assert "longer than" in caplog.text
    finally:
        transformers.logging.disable_propagation()


def test_pairs_have_two_lists_of_tokens(
    load: Loader, write_csv: WriteCsv, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    lines = [f"first {row},the second {row},{row % 2}" for row in range(40)]
    splits = load(write_csv(*lines, header="premise,hypothesis,label"))
    tokens = tokenize_splits(splits, minilm_tokenizer)
    assert tokens.has_pairs
    row = tokens.train[0]
    assert minilm_tokenizer.decode(row["input_ids"]) == splits.train[0]["text"]
    assert minilm_tokenizer.decode(row["pair_ids"]) == splits.train[0]["text_pair"]
    assert row["length"] == len(row["input_ids"]) + len(row["pair_ids"]) + 3  # [CLS] and two [SEP]


def test_cached_tokens_of_another_template_are_not_used(load: Loader, write_csv: WriteCsv) -> None:
    tokenizer = byte_level()
    splits = load(write_csv(*reviews(40)))
    text = splits.train[0]["text"]
    for template, before, num_template in (
        (None, "", 0),
        ("film {text}", " ", len(tokenizer.tokenize("film"))),
        ("film{text}", "", len(tokenizer.tokenize("film"))),  # the same literal parts without the space
        ("film film {text}", " ", len(tokenizer.tokenize("film film"))),
        (None, "", 0),
    ):
        row = tokenize_splits(splits, tokenizer, template=parse_template(template)).train[0]
        assert row["input_ids"] == tokenizer(before + text, add_special_tokens=False)["input_ids"]
        assert row["length"] == len(row["input_ids"]) + 2 + num_template


def test_lengths_are_read_as_one_array(
    load: Loader, write_csv: WriteCsv, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    tokens = tokenize_splits(load(write_csv(*reviews(40))), minilm_tokenizer)
    lengths = tokens.train.with_format("numpy")["length"][:]
    assert lengths.shape == (30,)  # 10 of the 40 rows became validation and test rows
    assert np.issubdtype(lengths.dtype, np.integer)


def test_texts_without_known_tokens_are_reported(
    load: Loader, write_jsonl: WriteJsonl, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    # The tokenizer drops control characters, and has no Gothic letters in its vocabulary.
    texts = ["\U00010330\U00010331", "\x07", "\U00010332 known"] + [f"review {row}" for row in range(37)]
    folder = write_jsonl(
        [{"text": text, "label": row % 2} for row, text in enumerate(texts)], "data/train.jsonl"
    ).parent
    write_jsonl([{"text": text, "label": 1} for text in ("\U00010330", "good", "bad")], "data/test.jsonl")
    write_jsonl([{"text": "fine", "label": 1}], "data/validation.jsonl")
    messages: list[str] = []
    with collect_messages(messages):
        tokens = tokenize_splits(load(folder), minilm_tokenizer)
    assert tokens.train[0]["input_ids"] == [minilm_tokenizer.unk_token_id]
    assert tokens.train[1]["input_ids"] == []
    assert tokens.train[1]["length"] == 2
    train_warning, test_warning = messages
    assert re.search(in_order("Warning:", "2 of 40 train rows"), train_warning)
    assert re.search(in_order("Warning:", "1 of 3 test rows"), test_warning)


def test_too_many_texts_without_known_tokens_are_refused(
    load: Loader, write_csv: WriteCsv, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    # Gothic letters are not in the vocabulary. Three of eight rows consist of them; a third of the rows is the limit.
    # Of the 80 rows, 62 are training rows.
    splits = load(write_csv(*[f"{chr(0x10330 + row % 20)} {'known' * (row % 8 > 2)},{row % 2}" for row in range(80)]))
    with pytest.raises(
        ValueError, match=in_order("22 of 62 train rows", "--text_column", "--allow_unknown_tokens true")
    ):
        tokenize_splits(splits, minilm_tokenizer)
    with pytest.raises(ValueError, match="22 of 62 train rows"):
        tokenize_splits(splits, minilm_tokenizer)  # this call reads the cache
    assert len(tokenize_splits(splits, minilm_tokenizer, allow_unknown=True).train) == len(splits.train)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_python_tokenizers_run_in_several_processes(load: Loader, write_csv: WriteCsv) -> None:
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer()
    # Of these rows, 2250 are training rows. With at least 1000 rows per process, two processes can tokenize them.
    splits = load(write_csv(*[f"row {row},label {row % 2}" for row in range(3000)]))
    tokens = tokenize_splits(splits, tokenizer)
    assert len(tokens.train) == 2250
    for index in (0, 1200, 2249):
        text = splits.train[index]["text"]
        assert tokens.train[index]["input_ids"] == tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokens.train[index]["id"] == splits.train[index]["id"]
    assert sorted(path.name for entry in load.cache_dir.glob("tokens-*") for path in entry.iterdir()) == [
        "manifest.json",
        "test.arrow",
        "train.arrow",
        "validation.arrow",
    ]


@pytest.mark.parametrize(
    ("has_pairs", "expected_hash"), [(False, "8cb57d8254c1b05f"), (True, "57c4291c5bc77207")], ids=["texts", "pairs"]
)
def test_tokens_change_only_if_tokens_format_changes(
    load: Loader, write_csv: WriteCsv, tiny_encoder: Path, has_pairs: bool, expected_hash: str
) -> None:
    def rows(numbers: range) -> Dataset:
        texts = [" ".join(WORDS[row % 5 : row % 9]) + f" {'x' * (row % 4)}" for row in numbers]
        pairs = {"text_pair": ["the film"] * len(texts)} if has_pairs else {}
        return Dataset.from_dict({"id": list(numbers), "text": texts, **pairs, "label": [row % 2 for row in numbers]})

    parts = {"train": rows(range(30)), "validation": rows(range(5)), "test": rows(range(30, 40))}
    splits = dataclasses.replace(load(write_csv(*reviews(40))), **parts)
    tokenize_splits(splits, transformers.AutoTokenizer.from_pretrained(tiny_encoder), allow_unknown=True)
    entry_hash = hash_entry(load.cache_dir, "tokens")
    assert (TOKENS_FORMAT, entry_hash) == (2, expected_hash), (
        "The tokenized rows or facts have changed. Increase TOKENS_FORMAT in research/data/batches/tokens.py, so that "
        "old entries in users' caches are not used, and update the format number and the hashes in this test."
    )
