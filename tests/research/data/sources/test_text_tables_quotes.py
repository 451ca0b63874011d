"""Quotes in csv and tsv files may enclose fields, be ordinary characters, or enclose several rows by mistake."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from research.data.sources.bad_rows import BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews
from tests.research.data.loaded_rows import rows_in, texts_in
from tests.research.data.sources.small_files import write_delimited_text


@pytest.mark.parametrize("bad_rows", ["error", "skip"])
@pytest.mark.parametrize(("lines_with_next_quote", "last_line"), [([], 1002), (['he said "hi" to her,label 1'], 1003)])
def test_error_about_an_unclosed_quote_contains_the_numbers_of_the_enclosed_lines(
    load: Loader, write_csv: WriteCsv, bad_rows: str, lines_with_next_quote: list[str], last_line: int
) -> None:
    lines = [
        *reviews(10),
        '"tis the season,label 0',
        *reviews(990),
        *lines_with_next_quote,
        *reviews(5 if lines_with_next_quote else 0),
    ]
    # Line 1 is the header, so the open quote is in line 12. It encloses all lines up to the next quote or the end.
    with pytest.raises(BadRowsError, match=in_order(f"lines 12 to {last_line:,}: ", "line 12 ", "--quoting none")):
        load(write_csv(*lines), bad_rows=bad_rows)


@pytest.mark.parametrize("bad_rows", ["error", "skip"])
def test_error_about_a_quote_closed_in_a_later_row_contains_the_numbers_of_the_enclosed_lines(
    load: Loader, write_csv: WriteCsv, bad_rows: str
) -> None:
    five_lines = ['"tis the season,label 0', *reviews(3), 'that was the season",label 1']
    with pytest.raises(BadRowsError, match=in_order("reviews.csv, lines 12 to 16: ", "other rows", ".jsonl")):
        load(write_csv(*reviews(10), *five_lines, *reviews(20)), bad_rows=bad_rows)
    two_lines = ['"tis the season,label 0', 'and gone",label 1']
    with pytest.raises(BadRowsError, match="lines 12 to 13"):
        load(write_csv(*reviews(10), *two_lines, *reviews(20)), bad_rows=bad_rows)


def test_csv_reads_texts_of_several_lines(load: Loader, write_csv: WriteCsv) -> None:
    text = '"Dear all,\nthis, too, is a text\n\nwith commas, and\nlabels, label 5",label 1'
    splits = load(write_csv(*reviews(10), text, *reviews(20)))
    assert sum(len(split) for _, split in splits.items()) == 31


@pytest.mark.parametrize(
    ("header", "row_template"),
    [
        ("text,label", "review {number},0.0{number}"),  # all scores differ
        ("label,text", "label {label},review {number}"),
        ("id,text,label", "{number},review {number},label {label}"),
        ("label,text,id", "label {label},review {number},{number}"),
    ],
)
@pytest.mark.parametrize("num_enclosed", [1, 2])
def test_quote_closed_in_a_later_row_is_detected_in_any_column_order(
    load: Loader, write_csv: WriteCsv, header: str, row_template: str, num_enclosed: int
) -> None:
    lines = [row_template.format(number=number, label=number % 2) for number in range(50)]
    lines[10] = lines[10].replace("review", '"tis review')
    last = 10 + num_enclosed
    before, after = lines[last].split(f"review {last}")
    lines[last] = f'{before}review {last}"{after}'
    with pytest.raises(BadRowsError, match=in_order(f"lines 12 to {12 + num_enclosed}: ", "other rows", ".jsonl")):
        load(write_csv(*lines, header=header))


@pytest.mark.parametrize(
    ("header", "row_template"),
    [
        ("text,label", "review {number},label {label}"),
        ("text,label,note", "{number} is good,label {label},review {number}"),  # the quote is in an unread column
        ("note,text,label", "review {number},{number} is good,label {label}"),
        ("text,score", "review {number},{score}.5"),  # few different scores
        ("text,label", "review {number},label {label}|label 2"),  # several labels in one field
    ],
)
def test_quote_closed_in_a_later_row_is_detected_in_a_sorted_file(
    load: Loader, write_csv: WriteCsv, header: str, row_template: str
) -> None:
    # The rows are sorted: first all rows with label 0, then label 1; the scores rise from 0.5 to 8.5.
    lines = [
        row_template.format(number=number, label=number // 1500, score=9 * number // 3000) for number in range(3000)
    ]
    lines[2000] = lines[2000].replace("review", '"tis review')
    # If rows have several labels, the row that closes the quote has a combination of labels that no other row has.
    lines[2003] = lines[2003].replace("review 2003", 'review 2003"').replace("label 1|label 2", "label 2|label 0")
    with pytest.raises(BadRowsError, match=in_order("lines 2,002 to 2,005: ", "other rows", ".jsonl")):
        load(write_csv(*lines, header=header), text_column="text")


def test_quote_closed_in_a_later_row_is_detected_in_unlabelled_rows(load: Loader, write_csv: WriteCsv) -> None:
    write_csv(*reviews(40), name="train.csv")
    write_csv(*reviews(10), name="validation.csv")
    lines = [f"{number},unknown {number}" for number in range(50)]
    lines[10] = '10,"tis unknown 10'
    lines[12] = '12,unknown 12"'
    with pytest.raises(BadRowsError, match=in_order("test.csv, lines 12 to 14: ", "other rows", ".jsonl")):
        load(write_csv(*lines, name="test.csv", header="id,text").parent)


def test_quote_after_a_space_is_a_bad_row_unless_it_is_doubled(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match=in_order("row 11 ", "'label'", "space")):
        load(write_csv(*reviews(10), 'foo, "label 1"'))
    splits = load(write_csv(*reviews(30), '" ""Great film"" ",label 1', '" ""and\nof two lines"" ",label 0'))
    assert sum(len(split) for _, split in splits.items()) == 32


ROWS = [(f"review {row}; good | bad", f"label {row % 2}") for row in range(40)]
ROWS_WITH_QUOTES = [('he said "hi" to me', "a"), ("a tab\there", "b"), ("plain", "a"), ('"Hello."', "b")] * 10


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_tsv_with_quoted_fields_is_read_without_the_quotes(load: Loader, tmp_path: Path, quoting: int) -> None:
    rows = [(f"{row} {text}", label) for row, (text, label) in enumerate(ROWS_WITH_QUOTES)]
    path = write_delimited_text(tmp_path / "reviews.tsv", rows, delimiter="\t", quoting=quoting)
    splits = load(path)
    assert texts_in(splits) == {text for text, _ in rows}
    assert splits.task.label_names == ("a", "b")
    assert load.reported("reviews.tsv", "enclosing fields", "--quoting")


def test_tsv_with_all_fields_quoted_is_read_without_the_quotes(load: Loader, tmp_path: Path) -> None:
    splits = load(write_delimited_text(tmp_path / "reviews.tsv", ROWS, delimiter="\t", quoting=csv.QUOTE_ALL))
    assert texts_in(splits) == {text for text, _ in ROWS}


@pytest.mark.parametrize("text", ['he said "hi"', '"Hello," he said', '"Hello, whole"', '5" screen', '"open'])
def test_tsv_keeps_quotes_that_are_ordinary_characters(load: Loader, write_csv: WriteCsv, text: str) -> None:
    lines = [f"review {row}\tlabel {row % 2}" for row in range(40)]
    splits = load(write_csv(*lines, f"{text}\tlabel 1", name="reviews.tsv", header="text\tlabel"))
    assert text in texts_in(splits)
    assert load.reported("reviews.tsv", "ordinary characters", "--quoting")


@pytest.mark.parametrize("unusual_line", ['"tis the season\ta', '5" screen\tb', '"Hello," he said\ta'])
def test_quoted_tsv_with_one_ambiguous_quote_is_refused(load: Loader, tmp_path: Path, unusual_line: str) -> None:
    rows = [(f"{row} {text}", label) for row, (text, label) in enumerate(ROWS_WITH_QUOTES)]
    path = write_delimited_text(tmp_path / "reviews.tsv", rows, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:11], f"{unusual_line}\n", *lines[11:]]))
    # In 20 of the lines, quotes are doubled inside a quoted field.
    with pytest.raises(
        ValueError, match=in_order("reviews.tsv", "20 lines", "line 12 ", "--quoting csv", "--quoting none")
    ):
        load(path)


@pytest.mark.parametrize(("name", "separator"), [("reviews.tsv", "\t"), ("reviews.csv", ",")])
def test_backslash_escaped_quotes_are_refused_with_advice_for_users_of_r(
    load: Loader, tmp_path: Path, name: str, separator: str
) -> None:
    lines = [f'"he said \\"hi\\" {row}"{separator}"label {row % 2}"' for row in range(20)]
    (tmp_path / name).write_text("\n".join([f'"text"{separator}"label"', *lines]) + "\n")
    with pytest.raises(ValueError, match=r'qmethod = "double"'):
        load(tmp_path / name)


def test_quoting_setting_overrides_the_detection(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"review {row}\tlabel {row % 2}" for row in range(40)]
    path = write_csv(*lines, '"Hello."\tlabel 1', name="reviews.tsv", header="text\tlabel")
    assert "Hello." in texts_in(load(path, quoting="csv"))
    assert '"Hello."' in texts_in(load(path, quoting="none"))
    path = write_csv(*[line.replace("\t", ",") for line in lines], '"open,label 1')
    assert '"open' in texts_in(load(path, quoting="none"))


def test_tsv_keeps_unbalanced_quotes(load: Loader, write_csv: WriteCsv) -> None:
    lines = ['"half a quote\tx', 'say "yes" ""\ty', *[line.replace(",", "\t") for line in reviews(40)]]
    rows = dict(rows_in(load(write_csv(*lines, name="reviews.tsv", header="text\tlabel"))))
    assert {'"half a quote', 'say "yes" ""'} <= rows.keys()
