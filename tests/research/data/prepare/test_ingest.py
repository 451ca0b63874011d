"""Ingest the files of a split. Usable rows are written to disk, and bad rows are reported with their places."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from research.data.prepare.columns import Columns
from research.data.prepare.ingest import ingest
from research.data.sources.bad_rows import BadRows, BadRowsError
from research.data.sources.json_tables import JsonLinesTable
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews
from tests.research.data.prepare.conftest import WriteLabels
from tests.research.data.prepare.labelled_rows import labels_by_row_number


@pytest.mark.parametrize(
    ("bad_row", "reason"),
    [
        ('{"label": 1}', "missing text"),
        ('{"text": 5, "label": 1}', "the text has the type int, expected a string"),
        ('{"text": "a"}', "missing label"),
        ('{"text": "a", "label": NaN}', "missing label"),
        ('{"text": "a", "label": null}', "missing label"),
        ('{"text": "a", "label": {"b": 1}}', "the label has the type dict"),
        ('{"text": "half \\ud83d", "label": 1}', "invalid Unicode"),
        ('{"text": "a", "label": "half \\ud83d"}', "the label is invalid Unicode"),
        ('{"text": "a", "label": ["half \\ud83d"]}', "the label is invalid Unicode"),
    ],
)
def test_unusable_row_is_reported_with_the_reason(
    load: Loader, write_jsonl: WriteJsonl, bad_row: str, reason: str
) -> None:
    rows = [{"text": f"review {row}", "label": row % 2} for row in range(9)]
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 10: ", "reviews.jsonl, row 6: ", reason)):
        load(write_jsonl([*rows[:5], bad_row, *rows[5:]]))


def test_texts_that_are_empty_after_cleaning_are_bad_rows(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match="empty text after cleaning"):
        load(write_csv(*reviews(10), "<p></p>,label 1"), cleaning=["strip_html"])


def test_label_separator_splits_a_string_into_several_labels(load: Loader, write_labels: WriteLabels) -> None:
    path = write_labels("joy;anger", "joy", "anger")
    assert load(path).task.label_names == ("anger", "joy", "joy;anger")
    assert load.reported("Warning:", "--label_separator ';'")
    splits = load(path, label_separator=";")
    assert (splits.task.name, splits.task.label_names) == ("multi_label", ("anger", "joy"))
    assert [labels_by_row_number(splits)[row] for row in range(3)] == [[1, 0], [1], [0]]


def test_ingest_numbers_rows_across_files(write_jsonl: WriteJsonl, tmp_path: Path) -> None:
    first = write_jsonl(
        [
            {"first_text": "One", "second_text": "x", "answer": 1},
            {"first_text": "two", "second_text": "x", "answer": 0.5},
            "broken",
        ],
        "first.jsonl",
    )
    second = write_jsonl(
        [
            "",  # a blank line is not a row
            {"first_text": "one", "second_text": "x", "answer": [2]},
            {"first_text": "one", "second_text": "X", "answer": None},
        ],
        "second.jsonl",
    )
    bad = BadRows("skip")
    num_earlier_tables = 3
    rows = ingest(
        [JsonLinesTable(path, path.name) for path in (first, second)],
        num_earlier_tables,
        Columns(text="first_text", text_pair="second_text", label=("answer",)),
        str.lower,
        label_separator=None,
        keep_unlabelled=True,
        bad=bad,
        path=tmp_path / "rows.arrow",
    )
    (batch,) = rows.batches()
    assert batch.select(["text", "text_pair", "label", "id", "table", "row", "line"]).to_pylist() == [
        {"text": "one", "text_pair": "x", "label": ["1"], "id": 0, "table": 3, "row": 1, "line": 1},
        {"text": "two", "text_pair": "x", "label": ["0.5"], "id": 1, "table": 3, "row": 2, "line": 2},
        {"text": "one", "text_pair": "x", "label": ["2"], "id": 3, "table": 4, "row": 1, "line": 2},
        {"text": "one", "text_pair": "x", "label": None, "id": 4, "table": 4, "row": 2, "line": 3},
    ]
    assert (len(rows), rows.num_read, rows.first_ids) == (4, 5, [0, 3])
    # Only the second row has a different hash; which of the two hashes is smaller does not matter.
    assert np.unique(rows.hashes, return_inverse=True)[1].tolist() in ([0, 1, 0, 0], [1, 0, 1, 1])
    assert rows.forms.is_mixed
    assert rows.forms.has_fractions
    num_bad_rows = {table: sum(reasons.values()) for table, reasons in bad.reasons.items()}
    assert num_bad_rows == {3: 1}  # the row "broken" of first.jsonl, which has the number 3
    rows.report(bad, batch, index=2, reason="odd")  # the first usable row of second.jsonl
    assert bad.reasons[4] == {"odd": 1}
    assert re.search(
        in_order("first.jsonl, row 3: ", "second.jsonl, row 1 (line 2): odd"),
        str(bad.raise_or_summarize(rows.num_read)),
    )
