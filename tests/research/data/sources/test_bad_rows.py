"""Count and describe bad rows, and skip or refuse them."""

from __future__ import annotations

import re

import pytest

from research.data.sources.bad_rows import BadRows, BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews


def test_bad_rows_error_counts_all_bad_rows_and_describes_the_first_five(load: Loader, write_csv: WriteCsv) -> None:
    lines: list[str | bytes] = [
        '"two\nlines",a',
        ",a",
        "  ,b",
        b"caf\xe9,a",
        "no label,",
        "not a label,NaN",
        "one,field,too many",
        "one field",
        *reviews(30),
        b"\xff,label 1",
    ]
    with pytest.raises(BadRowsError) as caught:
        load(write_csv(*lines))
    descriptions = re.findall(
        r"reviews\.csv, row (\d) \(line (\d)\): (empty text|invalid UTF-8|missing label)", str(caught.value)
    )
    assert descriptions == [
        ("2", "4", "empty text"),
        ("3", "5", "empty text"),
        ("4", "6", "invalid UTF-8"),
        ("5", "7", "missing label"),
        ("6", "8", "missing label"),
    ]
    assert re.search(in_order("8 bad rows of 39: ", "--encoding cp1252", "3 more"), str(caught.value))
    assert "skip" not in str(caught.value)  # skipping would remove exactly the rows with accents


def test_skipped_rows_are_reported(load: Loader, write_csv: WriteCsv) -> None:
    splits = load(write_csv(*reviews(40), ",label 1"), bad_rows="skip")
    assert sum(len(split) for _, split in splits.items()) == 40
    assert load.reported("1 bad row of 41: ", "reviews.csv, row 41 (line 42): empty text")


def test_skipped_rows_are_counted_by_split_and_reason(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), ",label 1", ",label 0", "no label,", name="data/train.csv").parent
    write_csv("known,label 0", "unknown,label 7", ",label 0", name="data/test.csv")
    splits = load(folder, bad_rows="skip")
    expected = {
        ("train", "empty text", 2),
        ("train", "missing label", 1),
        ("test", "empty text", 1),
        ("test", "'label 7'", 1),
    }
    # The full message about an unseen label is shortened to the label.
    counts = {
        (item.split, "'label 7'" if "'label 7'" in item.reason else item.reason, item.rows)
        for item in splits.skipped_rows
    }
    assert counts == expected
    splits_from_cache = load(folder, bad_rows="skip")
    assert splits_from_cache.skipped_rows == splits.skipped_rows


def test_skipped_rows_with_reasons_beyond_the_first_20_are_counted_together(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), name="data/train.csv").parent
    write_csv("known,label 0", *[f"text {row},new {row}" for row in range(30)], name="data/test.csv")
    skipped_rows = load(folder, bad_rows="skip").skipped_rows
    assert len(skipped_rows) == 21
    assert sum(item.rows for item in skipped_rows) == 30
    assert skipped_rows[-1].reason == "other reasons"


def test_bad_rows_describes_the_first_rows_in_reading_order() -> None:
    bad = BadRows("skip")
    for file, row in ((1, 2), (0, 9), (1, 1), (0, 3), (2, 1), (0, 7)):
        bad.add(file, row, f"file {file}, row {row}", "empty")
    first_rows = ["file 0, row 3", "file 0, row 7", "file 0, row 9", "file 1, row 1", "file 1, row 2"]
    report = bad.raise_or_summarize(num_rows=50)
    assert report is not None
    assert re.findall(r"file \d, row \d", report) == first_rows
    assert (bad.count, {file: dict(reasons) for file, reasons in bad.reasons.items()}) == (
        6,
        {0: {"empty": 3}, 1: {"empty": 2}, 2: {"empty": 1}},
    )
    assert BadRows("error").raise_or_summarize(num_rows=50) is None


def test_bad_rows_error_contains_the_setting_that_skips_rows() -> None:
    bad = BadRows("error", "unseen_labels")
    bad.add(0, 1, "a.csv, row 1", "first\nline" + "x" * 1000)
    with pytest.raises(
        BadRowsError, match=in_order("1 bad row of 2: a.csv, row 1: ", "--unseen_labels skip")
    ) as caught:
        bad.raise_or_summarize(num_rows=2)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    with pytest.raises(ValueError, match=in_order("unseen_labels", "'error'", "'skip'", "'ignore'")):
        BadRows("ignore", "unseen_labels")  # type: ignore[arg-type]
