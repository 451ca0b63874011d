"""Global batches of streamed rows."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from research.data.batches.order import split_batch
from research.data.batches.tokens import tokenize_splits, tokenize_texts
from research.data.prepare.load import Splits
from research.data.sources.bad_rows import BadRowsError, SkippedRows
from research.data.streaming import train_stream
from research.data.streaming.train_stream import TrainStream
from research.settings.template import parse_template
from tests.builders.parquet_shards import NUM_TRAIN, write_review_shards
from tests.builders.tiny_decoder import save_tiny_decoder
from tests.limits import HANG_LIMIT
from tests.messages import collect_messages, in_order
from tests.research.data.conftest import Loader
from tests.research.data.streaming.conftest import LoadStreamed

BATCH_SIZE = 8
BUFFER_SIZE = 20
"""Rounded up to 24 rows, which are 3 batches."""
NUM_BATCHES = -(-NUM_TRAIN // BATCH_SIZE)


@pytest.fixture
def tokenizer(tiny_encoder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of the tiny encoder."""
    return AutoTokenizer.from_pretrained(tiny_encoder)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Check that every test ends without a thread that reads rows."""
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("read_rows")]


def open_stream(splits: Splits, tokenizer: PreTrainedTokenizerBase, **options: Any) -> TrainStream:
    """Return the training rows of one process."""
    assert splits.streamed is not None
    defaults: dict[str, Any] = {
        "template": None,
        "shuffle_buffer": BUFFER_SIZE,
        "process": 0,
        "num_processes": 1,
        "allow_unknown": True,
        "num_embeddings": 1000,
    }
    return TrainStream(splits.streamed, tokenizer, **{**defaults, **options})


def read_batches(
    stream: TrainStream, *, start: int = 0, stop: int = NUM_BATCHES, seed: int = 0, epoch: int = 0
) -> list[list[int]]:
    """Return the ids of the rows of each global batch."""
    batches = stream.global_batches(BATCH_SIZE, seed, epoch, start=start, stop=stop)
    return [stream.ids(batch.tolist()) for batch in batches]


def test_an_epoch_has_each_row_once_in_batches_of_equal_size(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path
) -> None:
    batches = read_batches(open_stream(load_streamed(shards), tokenizer))
    assert sorted(np.concatenate(batches)) == list(range(NUM_TRAIN))
    assert [len(batch) for batch in batches] == [8] * 11 + [6]


def test_batches_depend_on_seed_epoch_and_buffer_size_only(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path
) -> None:
    splits = load_streamed(shards)
    first = read_batches(open_stream(splits, tokenizer), seed=1)
    for options in (
        {},
        {"num_processes": 3, "process": 2},
        {"shuffle_buffer": 24},
        {"template": parse_template("{text}!")},
    ):
        assert read_batches(open_stream(splits, tokenizer, **options), seed=1) == first
    assert read_batches(open_stream(splits, tokenizer, shuffle_buffer=25), seed=1) != first
    assert read_batches(open_stream(splits, tokenizer), seed=2) != first
    assert read_batches(open_stream(splits, tokenizer), seed=1, epoch=1) != first


@pytest.mark.parametrize("start", range(NUM_BATCHES + 1))
def test_batches_from_any_position_are_the_same(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path, start: int
) -> None:
    stream = open_stream(load_streamed(shards), tokenizer)
    assert read_batches(stream, start=start) == read_batches(stream)[start:]


def test_batches_have_rows_of_similar_length(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path
) -> None:
    stream = open_stream(load_streamed(shards), tokenizer, shuffle_buffer=NUM_TRAIN)
    ranges = []
    for batch in stream.global_batches(BATCH_SIZE, 0, 0, start=0, stop=NUM_BATCHES - 1):
        lengths = [len(ids) for ids in stream[batch]["input_ids"]]
        ranges.append(max(lengths) - min(lengths))
    assert len(ranges) == NUM_BATCHES - 1
    assert np.mean(ranges) < 5  # lengths are between 4 and 31 tokens


@pytest.mark.parametrize("template", [None, "Review: {text}\\nSentiment:"])
def test_rows_have_the_tokens_and_labels_of_prepared_rows(
    load: Loader, load_streamed: LoadStreamed, shards: Path, tmp_path: Path, template: str | None
) -> None:
    # A byte-level tokenizer, with which the space before a text in a template makes a difference.
    tokenizer = AutoTokenizer.from_pretrained(save_tiny_decoder(tmp_path / "decoder"))
    parsed = parse_template(template)
    prepared = tokenize_splits(load(shards), tokenizer, template=parsed).train
    expected = {row["id"]: (row["input_ids"], row["label"]) for row in prepared}
    stream = open_stream(load_streamed(shards), tokenizer, template=parsed)
    found = {}
    for batch in stream.global_batches(BATCH_SIZE, 0, 0, start=0, stop=NUM_BATCHES):
        rows = stream[batch]
        for row_id, ids, label in zip(rows["id"], rows["input_ids"], rows["label"], strict=True):
            found[row_id] = (ids.tolist(), label)
    assert found == expected


@pytest.mark.parametrize("num_processes", [2, 3, 5])
def test_processes_share_each_batch_and_tokenize_only_their_own_rows(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path, num_processes: int
) -> None:
    splits = load_streamed(shards)
    whole = read_batches(open_stream(splits, tokenizer))
    shares: list[list[list[int]]] = []
    for process in range(num_processes):
        stream = open_stream(splits, tokenizer, process=process, num_processes=num_processes)
        share = []
        for batch in stream.global_batches(BATCH_SIZE, 0, 0, start=0, stop=NUM_BATCHES):
            micro_batches = split_batch(batch, process, num_processes, 2)
            share.append(
                [
                    row_id
                    for micro_batch in micro_batches
                    for row_id, weight in zip(stream[micro_batch.rows]["id"], micro_batch.weights, strict=True)
                    if weight
                ]
            )
            others = set(batch.tolist()) - {row for micro_batch in micro_batches for row in micro_batch.rows.tolist()}
            with pytest.raises(ValueError, match="current global batch"):
                stream[np.array(sorted(others))]
        shares.append(share)
    for ids, *parts in zip(whole, *shares, strict=True):
        assert sorted(ids) == sorted(row_id for part in parts for row_id in part)


def test_skipped_rows_make_batches_smaller_and_are_counted_once(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    labels = ["negative", "positive"] * 47
    labels[3:5] = labels[50:52] = ["neutral", "neutral"]
    splits = load_streamed(write_review_shards(tmp_path / "data", train=labels), bad_rows="skip")
    stream = open_stream(splits, tokenizer)
    with collect_messages() as lines:
        batches = read_batches(stream)
    assert sorted(np.concatenate(batches)) == [row for row in range(NUM_TRAIN) if row not in (3, 4, 50, 51)]
    assert len(batches) == NUM_BATCHES
    assert min(map(len, batches)) >= 5
    (message,) = [line for line in lines if "Skipped" in line]
    assert "the label 'neutral'" in message
    assert [item.split for item in stream.skipped_rows()] == ["train"]
    assert sum(item.rows for item in stream.skipped_rows()) == 4
    read_batches(stream, epoch=1)  # the same rows again
    assert sum(item.rows for item in stream.skipped_rows()) == 4


@pytest.mark.parametrize("position", range(NUM_BATCHES + 1))
def test_a_resumed_run_counts_the_same_skipped_rows(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, position: int
) -> None:
    labels = ["negative", "positive"] * 47
    labels[::9] = ["neutral"] * 11
    splits = load_streamed(write_review_shards(tmp_path / "data", train=labels), bad_rows="skip")
    before, resumed = open_stream(splits, tokenizer), open_stream(splits, tokenizer)
    batches = before.global_batches(BATCH_SIZE, 0, 0, start=0, stop=NUM_BATCHES)
    for _ in range(position):
        next(batches)
    resumed.load_state_dict(json.loads(json.dumps(before.state_dict())))
    batches.close()  # type: ignore[attr-defined]
    read_batches(resumed, start=position)
    assert resumed.skipped_rows() == [SkippedRows("train", resumed.skipped_rows()[0].reason, 11)]


def test_a_bad_row_is_an_error_when_its_buffer_is_needed(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    labels = ["negative", "positive"] * 47
    splits = load_streamed(write_review_shards(tmp_path / "good"))
    last = read_batches(open_stream(splits, tokenizer))[-1][0]
    labels[last] = ""
    splits = load_streamed(write_review_shards(tmp_path / "bad", train=labels))
    stream = open_stream(splits, tokenizer)
    batches = stream.global_batches(BATCH_SIZE, 0, 0, start=0, stop=NUM_BATCHES)
    for _ in range(9):
        next(batches)
    with pytest.raises(BadRowsError, match=in_order("train-0000", ", row ", "missing label", "--bad_rows skip")):
        next(batches)


def test_too_many_bad_rows_in_a_buffer_are_an_error(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    labels = ["neutral"] * 93 + ["positive"]
    splits = load_streamed(write_review_shards(tmp_path / "data", train=labels), bad_rows="skip")
    with pytest.raises(ValueError, match=r"at least one usable row per batch; only [01] of 24.*the label 'neutral'"):
        read_batches(open_stream(splits, tokenizer))
    splits = load_streamed(tmp_path / "data")
    with pytest.raises(BadRowsError, match=in_order("bad rows of 24", "the label 'neutral'", "--bad_rows skip")):
        read_batches(open_stream(splits, tokenizer))


def test_unknown_tokens_are_refused_unless_they_are_allowed(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path
) -> None:
    splits = load_streamed(shards)
    assert splits.streamed is not None
    splits = dataclasses.replace(splits, train=dataclasses.replace(splits.streamed, clean=str.upper))
    upper_case = AutoTokenizer.from_pretrained(tokenizer.name_or_path, do_lower_case=False)
    with pytest.raises(ValueError, match=in_order("no token that the tokenizer knows", "--allow_unknown_tokens")):
        read_batches(open_stream(splits, upper_case, allow_unknown=False))
    with collect_messages() as lines:
        read_batches(open_stream(splits, upper_case))
    assert len([line for line in lines if "no token that the tokenizer knows" in line]) == 1


def test_tokens_without_an_embedding_are_refused(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path
) -> None:
    with pytest.raises(ValueError, match="at most 9, since the encoder has 10 embeddings"):
        read_batches(open_stream(load_streamed(shards), tokenizer, num_embeddings=10))


def test_an_abandoned_epoch_stops_tokenizing(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = threading.Event()
    tokenized: list[str] = []
    shut_down = ThreadPoolExecutor.shutdown

    def shut_down_when_reported(executor: ThreadPoolExecutor, *arguments: Any, **options: Any) -> None:
        closing.set()
        shut_down(executor, *arguments, **options)

    def tokenize(tokenizer: PreTrainedTokenizerBase, texts: list[str], spaces: str) -> list[list[int]]:
        tokenized.extend(texts)
        if len(tokenized) > 24:  # the second buffer
            closing.wait(HANG_LIMIT)
        return tokenize_texts(tokenizer, texts, spaces)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shut_down_when_reported)
    monkeypatch.setattr(train_stream, "tokenize_texts", tokenize)
    monkeypatch.setattr(train_stream, "_ROWS_PER_CALL", 5)
    batches = open_stream(load_streamed(shards), tokenizer).global_batches(BATCH_SIZE, 0, 0, start=0, stop=NUM_BATCHES)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(tokenized) in (24, 29)


@pytest.mark.parametrize(("num_shards", "row_group_size", "warns"), [(1, 1000, True), (3, 10, True), (3, 5, False)])
def test_few_row_groups_are_reported(
    load_streamed: LoadStreamed,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
    num_shards: int,
    row_group_size: int,
    warns: bool,
) -> None:
    folder = write_review_shards(tmp_path / "data", num_shards=num_shards, row_group_size=row_group_size)
    splits = load_streamed(folder)
    for shuffle_buffer, expected in ((BUFFER_SIZE, warns), (NUM_TRAIN, False)):
        with collect_messages() as lines:
            open_stream(splits, tokenizer, shuffle_buffer=shuffle_buffer).report_order()
        assert bool([line for line in lines if re.search(in_order("row group", "--shuffle_buffer"), line)]) == expected


def test_nothing_is_read_after_the_last_batch_of_an_epoch(
    load_streamed: LoadStreamed, tokenizer: PreTrainedTokenizerBase, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("rows are read")

    monkeypatch.setattr(train_stream, "read_buffers", refuse)
    assert read_batches(open_stream(load_streamed(shards), tokenizer), start=NUM_BATCHES) == []
