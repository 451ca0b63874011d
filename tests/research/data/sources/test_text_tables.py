"""Read the separators, headers and rows of csv and tsv files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from research.data.sources.bad_rows import BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews
from tests.research.data.loaded_rows import rows_in, texts_in
from tests.research.data.sources.small_files import write_delimited_text

ROWS = [(f"review {row}; good | bad", f"label {row % 2}") for row in range(40)]


@pytest.mark.parametrize("separator", [";", "|"])
def test_csv_separators_are_detected_and_reported(load: Loader, tmp_path: Path, separator: str) -> None:
    splits = load(write_delimited_text(tmp_path / "reviews.csv", ROWS, delimiter=separator))
    assert texts_in(splits) == {text for text, _ in ROWS}
    assert load.reported("reviews.csv", f"'{separator}'")


def test_columns_setting_gives_names_to_the_columns_of_a_file_without_header(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"review {row},label {row % 2}" for row in range(39)]
    splits = load(write_csv(*lines, header="the first,label 1"), columns=["text", "label"])
    assert "the first" in texts_in(splits)
    assert sum(len(split) for _, split in splits.items()) == 40
    with pytest.raises(ValueError, match=in_order("reviews.csv", "2 columns", "--columns has 1: text")):
        load(write_csv(*lines), columns=["text"])


def test_csv_ignores_unnamed_columns(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"{row},review {row},{row % 2}," for row in range(40)]
    assert len(texts_in(load(write_csv(*lines, header=",text,label,")))) == 40


def test_tsv_reports_the_line_with_too_many_fields(load: Loader, write_csv: WriteCsv) -> None:
    lines = [line.replace(",", "\t") for line in reviews(10)]
    # The row has 3 fields instead of 2.
    with pytest.raises(BadRowsError, match=in_order("reviews.tsv, row 11 (line 12): 3 ", "2")):
        load(write_csv(*lines, "a\tb\tc", name="reviews.tsv", header="text\tlabel"))


def test_csv_refuses_an_unreadable_header(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=r"header of reviews\.csv.*invalid csv"):
        load(write_csv(*reviews(10), header="te\rxt,label"))


@pytest.mark.parametrize("second_header", ['\ufeff"text","label"', "Text,LABEL", "label,text", " text , label "])
def test_second_header_is_recognised_in_any_spelling(load: Loader, write_csv: WriteCsv, second_header: str) -> None:
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 21: ", "row 11 (line 12): ", "header")):
        load(write_csv(*reviews(10), second_header, *reviews(10)))


def test_second_header_can_differ_in_columns_that_are_not_read(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"{number},{review}" for number, review in enumerate(reviews(20))]
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 21: ", "row 11 (line 12): ", "header")):
        load(write_csv(*lines[:10], "idx,text,label", *lines[10:], header="id,text,label"))


def test_header_that_differs_from_the_columns_setting_is_a_bad_row(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 21: ", "row 1: ", "--columns")):
        load(write_csv(*reviews(20), header="review,sentiment"), columns=("text", "label"))


def test_header_equal_to_the_columns_setting_is_a_bad_row(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 21: ", "row 1: ", "--columns")):
        load(write_csv(*reviews(20)), columns=("text", "label"))


@pytest.mark.parametrize("byte_order_mark", ["", "\ufeff"])
@pytest.mark.parametrize(("name", "separator"), [("reviews.csv", ","), ("reviews.tsv", "\t")])
def test_second_header_is_a_bad_row(
    load: Loader, write_csv: WriteCsv, name: str, separator: str, byte_order_mark: str
) -> None:
    lines = [line.replace(",", separator) for line in [*reviews(10), f"{byte_order_mark}text,label", *reviews(10)]]
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 21: ", "row 11 (line 12): ", "header")):
        load(write_csv(*lines, name=name, header=separator.join(["text", "label"])))


def test_csv_reads_quotes_commas_and_line_breaks(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv('"a ""b"", c",x', '"two\nlines",y', *reviews(40))
    rows = dict(rows_in(load(path)))
    assert {'a "b", c', "two\nlines"} <= rows.keys()


def test_csv_reads_a_text_of_five_megabytes(load: Loader, write_csv: WriteCsv) -> None:
    text = "long " * 1_000_000
    splits = load(write_csv(f'"{text}",x', *reviews(40), *reviews(40)))
    assert text in [row[0] for row in rows_in(splits)]


def test_csv_restores_the_global_field_size_limit(load: Loader, write_csv: WriteCsv) -> None:
    original_limit = csv.field_size_limit()
    load(write_csv(*reviews(40)))
    assert csv.field_size_limit() == original_limit


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_csv_reads_a_byte_order_mark_and_any_line_ending(load: Loader, tmp_path: Path, ending: str) -> None:
    path = tmp_path / "reviews.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ending.join(["text,label", *reviews(40)]).encode())
    assert len(rows_in(load(path))) == 40
    assert load(path).task.label_names == ("label 0", "label 1")
