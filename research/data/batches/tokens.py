"""Tokenize the texts of all splits once, in parallel and without truncation, into memory-mapped Arrow files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers
import transformers
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from research.data.batches.special_tokens import find_special_tokens
from research.data.prepare import cache
from research.data.prepare.arrow import RowWriter, read_dataset
from research.data.prepare.load import Splits, open_dataset
from research.data.sources.split_names import SPLIT_NAMES
from research.settings.template import Template
from research.system.messages import logger
from research.system.waiting import WaitingMessage

TOKENS_FORMAT = 2
"""Version of the tokenized rows. Increase it by one whenever the same rows and tokenizer result in different columns,
ids or lengths. Cached rows of other versions are not used."""
IDS_TYPE = pa.list_(pa.int32())
"""Type of a column of token ids."""
TOKEN_COLUMNS = ("input_ids", "pair_ids")
"""Columns with the token ids of the text, and of the second text of a pair."""
_MIN_ROWS_PER_PROCESS = 1000
"""Minimum number of rows per process for a slow tokenizer, which is written in Python and runs in several processes."""
_MAX_UNKNOWN_SHARE = 1 / 3
"""Maximum share of rows that consist of unknown tokens, unless `allow_unknown` is set."""


def tokenize_splits(
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    *,
    template: Template | None = None,
    allow_unknown: bool = False,
    num_embeddings: int | None = None,
) -> Splits:
    """Return the splits with token ids instead of texts, from the cache if they were tokenized before.

    Args:
        splits: the splits that load_splits returned.
        tokenizer: tokenizer of the encoder.
        template: template around the texts; None for none.
        allow_unknown: whether more than a third of the rows in a split may consist of unknown tokens.
        num_embeddings: number of the encoder's embeddings; None does not check that all tokens have one.
    Returns:
        Splits with the columns id, input_ids (untruncated, without special tokens and template), pair_ids (if rows are
        pairs), length (untruncated, including special tokens and template) and label.
    Raises:
        ValueError: if more than a third of the rows in a split consist of unknown tokens and this is not allowed, or
            if a token of a text has no embedding.
    """
    directory = cache.find_cache_dir(splits.cache_dir)
    fingerprints = [data._fingerprint for _, data in splits.items()]
    parts = () if template is None else (template.literals, template.spaces)
    key = cache.fingerprint(TOKENS_FORMAT, fingerprints, fingerprint_tokenizer(tokenizer), *parts)
    num_rows = sum(len(data) for _, data in splits.items())
    with WaitingMessage(f"Tokenizing {num_rows:,} rows"):
        entry, facts, lease = cache.fetch(
            directory,
            "tokens",
            key,
            lambda target: _write_tokens(splits, tokenizer, template, target),
            lambda _: {"data": splits.source, "encoder": str(tokenizer.name_or_path), "rows": num_rows},
        )
    for name, data in splits.items():
        warning = describe_unknown_rows(facts["num_unknown"][name], len(data), name, allowed=allow_unknown)
        if warning is not None:
            logger.warning(warning)
    if num_embeddings is not None:
        check_token_ids([facts["largest_id"]], tokenizer, num_embeddings)
    tokenized = {name: open_dataset(entry / f"{name}.arrow", f"{key}-{name}") for name, _ in splits.items()}
    leases = splits.leases if lease is None else (*splits.leases, lease)
    return dataclasses.replace(splits, **tokenized, leases=leases)


def check_token_ids(ids: Iterable[int], tokenizer: PreTrainedTokenizerBase, num_embeddings: int) -> None:
    """Check that the encoder has an embedding for each token.

    Raises:
        ValueError: if it has none for one of them.
    """
    largest = max(ids, default=-1)
    if largest >= num_embeddings:
        raise ValueError(
            f"Expected token ids of at most {num_embeddings - 1}, since the encoder has {num_embeddings:,} embeddings; "
            f"its tokenizer gave {largest} ('{tokenizer.convert_ids_to_tokens(largest)}'). They do not belong "
            "together, or the encoder was not resized for this token."
        )


def fingerprint_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of everything that determines the token ids of a text."""
    if tokenizer.is_fast:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        # The options of the tokenizer's last call; they do not affect the token ids, because each call sets both.
        state["truncation"] = state["padding"] = None
    else:
        state = [sorted(tokenizer.get_vocab().items()), repr(sorted(tokenizer.init_kwargs.items()))]
    content = [type(tokenizer).__qualname__, tokenizers.__version__, transformers.__version__, state]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write_tokens(
    splits: Splits, tokenizer: PreTrainedTokenizerBase, template: Template | None, target: Path
) -> dict[str, Any]:
    """Write the tokenized rows of each split to a file.

    Returns:
        How many rows of each split have no known token (`num_unknown`), and the largest token id (`largest_id`).
    """
    pair = splits.has_pairs
    num_special = len(find_special_tokens(tokenizer, pair=pair, template=template))
    spaces = spaces_before_texts(template)
    columns = dict(zip(["text", "text_pair"] if pair else ["text"], spaces, strict=False))
    num_unknown_rows = dict.fromkeys(SPLIT_NAMES, 0)
    largest_id = -1
    for name, data in splits.items():
        schema = pa.schema(
            [
                ("id", pa.int64()),
                ("input_ids", IDS_TYPE),
                *([("pair_ids", IDS_TYPE)] if pair else []),
                ("length", pa.int32()),
                ("label", data.features.arrow_schema.field("label").type),
            ]
        )
        scratch = target.with_name(f"scratch-{name}")
        with RowWriter(target / f"{name}.arrow", schema) as writer:
            for rows, ids in _tokenize_batches(data, tokenizer, columns, scratch):
                lengths = num_special + sum(np.diff(column.offsets.to_numpy()) for column in ids)
                arrays = [rows.column("id"), *ids, pa.array(lengths, pa.int32()), rows.column("label")]
                writer.append_batch(pa.record_batch(arrays, schema=schema))
                largest_id = max(largest_id, find_largest_id(ids))
                num_unknown_rows[name] += count_unknown_rows(ids, tokenizer)
    return {"num_unknown": num_unknown_rows, "largest_id": largest_id}


def find_largest_id(columns: Iterable[pa.ListArray]) -> int:
    """Return the largest token id of rows; -1 if they have no tokens."""
    return max(int(column.flatten().to_numpy().max(initial=-1)) for column in columns)


def count_unknown_rows(columns: Sequence[pa.ListArray], tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the number of rows without a token that the tokenizer knows.

    Args:
        columns: token ids of the rows, for each text column.
        tokenizer: the tokenizer.
    """
    return int(np.logical_and.reduce([_all_unknown(column, tokenizer) for column in columns]).sum())


def describe_unknown_rows(num_unknown_rows: int, num_rows: int, split: str, *, allowed: bool) -> str | None:
    """Return a warning about rows without a known token; None if there are none.

    Raises:
        ValueError: if there are too many of these rows and they are not allowed.
    """
    if not num_unknown_rows:
        return None
    message = f"{num_unknown_rows:,} of {num_rows:,} {split} rows have no token that the tokenizer knows"
    if num_unknown_rows > num_rows * _MAX_UNKNOWN_SHARE and not allowed:
        raise ValueError(
            f"{message}. Check that --text_column is the right column and that the encoder supports the language of "
            "the texts, or set --allow_unknown_tokens true to train anyway."
        )
    return f"{message}."


def _tokenize_batches(
    data: Dataset, tokenizer: PreTrainedTokenizerBase, columns: Mapping[str, str], scratch: Path
) -> Iterator[tuple[pa.RecordBatch, list[pa.ListArray]]]:
    """Yield batches of rows and, for each text column, the token ids of the rows.

    The token ids of a slow tokenizer are first written to the new directory `scratch`.

    Args:
        data: the rows.
        tokenizer: the tokenizer.
        columns: the text columns, each with the spaces in front of its texts.
        scratch: a directory that does not exist yet.
    """

    def tokenize(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {f"{column}_ids": tokenize_texts(tokenizer, batch[column], spaces) for column, spaces in columns.items()}

    if tokenizer.is_fast:  # a fast tokenizer uses all cores by itself
        for rows in read_dataset(data):
            ids = tokenize({column: rows.column(column).to_pylist() for column in columns})
            yield rows, [pa.array(ids[f"{column}_ids"], IDS_TYPE) for column in columns]
        return
    scratch.mkdir()
    num_processes = max(min(os.cpu_count() or 1, len(data) // _MIN_ROWS_PER_PROCESS), 1)
    mapped = data.map(
        tokenize,
        batched=True,
        batch_size=100,
        num_proc=num_processes if num_processes > 1 else None,
        cache_file_name=str(scratch / "ids.arrow"),
        new_fingerprint="tokens",  # not used; without it, the library would hash the tokenizer
        desc="Tokenizing",
    )
    for rows in read_dataset(mapped):
        yield rows, [rows.column(f"{column}_ids").cast(IDS_TYPE) for column in columns]


def tokenize_texts(tokenizer: PreTrainedTokenizerBase, texts: list[str], spaces: str) -> list[list[int]]:
    """Return the token ids of each text, without special tokens.

    Args:
        tokenizer: the tokenizer.
        texts: the texts, without a template.
        spaces: see `spaces_before_texts`.
    """
    encoded = tokenizer(
        [put_spaces_before(text, spaces) for text in texts] if spaces else texts,
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,  # no warning about texts that are too long for the model: the collator truncates them
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def spaces_before_texts(template: Template | None) -> tuple[str, ...]:
    """Return the spaces that a template puts in front of the first text and of the second text of a row."""
    return ((() if template is None else template.spaces) + ("", ""))[:2]


def put_spaces_before(text: str, spaces: str) -> str:
    """Return a text with a template's spaces in front of it. An empty text stays empty, so that it has no tokens."""
    return spaces + text if text else text


def _all_unknown(ids: pa.ListArray, tokenizer: PreTrainedTokenizerBase) -> NDArray[np.bool_]:
    """Return for each row whether it has no id except that of the unknown token, [num_rows]."""
    unknown_id = -1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id
    offsets = ids.offsets.to_numpy()
    # Number of known tokens before each position; a row's number is the difference between its end and its start.
    known_before = np.concatenate([[0], np.cumsum(ids.values.to_numpy() != unknown_id)])
    unknown: NDArray[np.bool_] = np.diff(known_before[offsets]) == 0
    return unknown
