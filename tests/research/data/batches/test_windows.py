"""Texts are cut into overlapping windows, and some windows are chosen at random."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from research.data.batches.collate import Collator
from research.data.batches.windows import Windows, WindowSample, close_gaps, pad_spans
from research.tasks.single_label import SingleLabel
from tests.research.data.batches.test_collate import tokenized_rows
from tests.research.data.batches.tokenizers_by_family import FAMILIES

TASK = SingleLabel(("no", "yes"))
WINDOWS = Windows(stride=3, max_windows=3, batch_size=8)


def collator(**settings: Any) -> Collator:
    """Return a collator of windows of 6 tokens, 2 of them special. A text of more than 10 tokens is truncated."""
    arguments = {"max_length": 6, "truncation": "head", "pair": False, "windows": WINDOWS, **settings}
    return Collator(FAMILIES["bert"](), TASK, **arguments)


def rows_of(*lengths: int) -> dict[str, Any]:
    """Return rows of the token ids 100, 101, ..."""
    ids = [list(range(100, 100 + length)) for length in lengths]
    return {"id": list(range(len(lengths))), "input_ids": ids, "label": [0] * len(lengths)}


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [
        (0, [(0, 0)]),
        (4, [(0, 4)]),
        (5, [(0, 4), (3, 5)]),
        (7, [(0, 4), (3, 7)]),
        (8, [(0, 4), (3, 7), (6, 8)]),
    ],
)
def test_cut_covers_the_text_with_overlapping_windows(num_tokens: int, expected: list[tuple[int, int]]) -> None:
    assert WINDOWS.cut(num_tokens, room=4) == expected


def test_close_gaps_moves_windows_together() -> None:
    # Tokens 2 to 4 and 9 are in no window; token 7 is in two.
    parts, spans = close_gaps([(0, 2), (5, 8), (7, 9), (10, 12)])
    assert parts == [(0, 2), (5, 8), (8, 9), (10, 12)]
    assert spans == [(0, 2), (2, 5), (4, 6), (6, 8)]


def test_sample_depends_only_on_the_seeds_and_the_row() -> None:
    spans = [(start, start + 4) for start in range(0, 60, 3)]
    sample = WindowSample(3, (5, 0))
    chosen = [sample.choose(spans, row) for row in range(20)]
    assert chosen == [WindowSample(3, (5, 0)).choose(spans, row) for row in range(20)]
    assert all(each == sorted(set(each)) and len(each) == 3 for each in chosen)
    assert len(set(map(tuple, chosen))) > 10
    assert chosen != [WindowSample(3, (5, 1)).choose(spans, row) for row in range(20)]
    assert chosen != [WindowSample(3, (6, 0)).choose(spans, row) for row in range(20)]
    assert {span for each in (sample.choose(spans, row) for row in range(200)) for span in each} == set(spans)
    assert sample.choose(spans[:3], 0) == spans[:3]


def test_pad_spans_marks_missing_windows() -> None:
    padded = pad_spans([[(0, 4), (3, 5)], [(0, 0)]], offset=1)
    assert padded.tolist() == [[[1, 5], [4, 6]], [[1, 1], [-1, -1]]]


def test_collator_joins_the_windows_of_a_text_in_one_row() -> None:
    batch = collator()(rows_of(8, 2))
    long, short = batch.inputs["input_ids"].tolist()
    start, end = long[0], long[9]
    assert long[:10] == [start, *range(100, 108), end]
    assert short[:4] == [start, 100, 101, end]
    assert batch.inputs["attention_mask"].sum(1).tolist() == [10, 4]
    assert batch.inputs["windows"].tolist() == [[[1, 5], [4, 8], [7, 9]], [[1, 3], [-1, -1], [-1, -1]]]
    assert batch.ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("truncation", "expected"),
    [
        ("head", [*range(100, 110)]),
        ("tail", [*range(120, 130)]),
        ("head_tail", [*range(100, 105), *range(125, 130)]),
    ],
)
def test_a_text_of_too_many_windows_is_truncated_to_their_tokens(truncation: str, expected: list[int]) -> None:
    collate = collator(truncation=truncation)
    inputs = collate(rows_of(30)).inputs
    assert inputs["input_ids"][0, 1:11].tolist() == expected
    assert inputs["windows"].tolist() == [[[1, 5], [4, 8], [7, 11]]]
    assert inputs["input_ids"].shape == (1, collate.max_row_length) == (1, 12)
    assert [collate.count_windows(length) for length in (0, 4, 5, 8, 30)] == [1, 1, 2, 3, 3]


def test_texts_of_one_window_are_ordinary_inputs() -> None:
    tokenizer = FAMILIES["bert"]()
    rows = tokenized_rows(tokenizer, ["good film", "one", "two bad film 1"])
    windows, without = (
        Collator(tokenizer, TASK, max_length=6, truncation="head", pair=False, windows=value)(rows).inputs
        for value in (WINDOWS, None)
    )
    assert windows.keys() == without.keys()
    assert all(torch.equal(windows[name], without[name]) for name in without)


def test_a_sample_keeps_only_the_tokens_of_its_windows() -> None:
    collate = collator(windows=Windows(stride=4, max_windows=10, batch_size=8))
    rows = {**rows_of(40), "id": [7]}
    sample = WindowSample(2, (0, 0))
    chosen = sample.choose([(start, start + 4) for start in range(0, 40, 4)], 7)
    inputs = collate(rows, sample=sample).inputs
    expected = [token for start, end in chosen for token in range(100 + start, 100 + end)]
    assert inputs["input_ids"][0, 1:9].tolist() == expected
    assert inputs["windows"].tolist() == [[[1, 5], [5, 9]]]
    assert "windows" not in collate(rows, sample=WindowSample(1, (0, 0))).inputs


def test_strides_that_skip_tokens_and_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stride of at most 4.*2 special.*got 5"):
        collator(windows=Windows(stride=5, max_windows=3, batch_size=8))
    with pytest.raises(ValueError, match=r"single texts.*--long_texts truncate"):
        collator(pair=True)


def test_settings_and_padding_side_follow_the_windows() -> None:
    assert collator().settings() != collator(windows=None).settings()
    assert not collator(pads_left=True).pads_left
    assert collator(pads_left=True, windows=None).pads_left
