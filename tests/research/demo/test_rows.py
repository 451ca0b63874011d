"""Rows that are pasted into the page."""

from __future__ import annotations

import base64
import csv
import io
import json
import re

import pytest

from research.demo.rendering import render_table
from research.demo.rows import parse_rows, predict_rows
from tests.research.demo.conftest import BuildModel


def test_parse_rows_returns_one_row_per_line_without_blank_lines() -> None:
    assert parse_rows("a\tb\n\n  \r\nc", has_pairs=False) == [("a\tb",), ("c",)]
    assert parse_rows("a\u2028b\x0bc\r\nd\re", has_pairs=False) == [("a\u2028b\x0bc",), ("d",), ("e",)]
    assert parse_rows("a\tb\n\nc\td\n", has_pairs=True) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("pasted", "has_pairs", "message"),
    [("", False, "at least one row"), (" \n", True, "at least one row"), ("a\tb\nc\n", True, "line 2; found 1")],
)
def test_parse_rows_refuses_what_is_not_a_row(pasted: str, has_pairs: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_rows(pasted, has_pairs=has_pairs)


def test_labels_of_a_multi_label_model_are_joined_on_the_page_and_a_list_in_the_file(
    build_saved_model: BuildModel,
) -> None:
    saved = build_saved_model(task="multi_label", labels=("a, é", "b", "c"), pair=True)
    saved.model.logit_shift.copy_(saved.model.logit_shift.new_tensor([9.0, -9.0, 9.0]))
    table = predict_rows(saved, [("the film", "the plot"), ("bad", "good")])
    assert table[["text", "text_pair"]].to_numpy().tolist() == [["the film", "the plot"], ["bad", "good"]]
    page = render_table(table)
    assert page.count('<td class="prediction text">a, é, c</td>') == 2
    (data,) = re.findall(r"base64,(.*?)\"", page)
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(data).decode("utf-8"))))
    assert [json.loads(row["prediction"]) for row in rows] == [["a, é", "c"], ["a, é", "c"]]
    assert rows[0]["text"] == "the film"
