"""Every bad input ends in one line that says what is wrong and where."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heads.registry import UnknownNameError
from research.data.sources.bad_rows import BadRowsError
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews


@pytest.mark.parametrize("spec", ["", " "])
def test_load_refuses_an_empty_name(load: Loader, spec: str) -> None:
    with pytest.raises(ValueError, match="--data is empty"):
        load(spec)


def test_load_refuses_a_path_that_is_not_there(load: Loader, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file or folder '.*nothing.csv'. Expected imdb, rotten_tomatoes"):
        load(tmp_path / "nothing.csv")


def test_load_refuses_an_empty_file(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"empty.csv is empty"):
        load(tmp_path / "empty.csv")


@pytest.mark.parametrize(("name", "header"), [("a.csv", "text,label"), ("a.tsv", "text\tlabel")])
def test_load_refuses_a_header_without_rows(load: Loader, write_csv: WriteCsv, name: str, header: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} has no usable rows for train"):
        load(write_csv(name=name, header=header))


def test_load_refuses_an_unknown_extension(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "reviews.docx").write_text("x")
    with pytest.raises(ValueError, match=r"unsupported extension '.docx'. Expected .*\.csv, .*\.parquet"):
        load(tmp_path / "reviews.docx")


def test_load_names_the_nearest_column(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(
        ValueError, match=r"reviews.csv: Unknown column 'txt'. Did you mean 'text'\? Columns: label, text"
    ):
        load(write_csv(*reviews(10)), text_column="txt")


def test_load_names_the_file_that_lacks_a_column(load: Loader, write_csv: WriteCsv) -> None:
    write_csv(*reviews(10), name="data/train.csv")
    path = write_csv("a,b", name="data/test.csv", header="text,labels")
    with pytest.raises(ValueError, match=r"test.csv has no column 'label', but 'labels'"):
        load(path.parent)


def test_load_refuses_two_columns_of_one_name(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=r"reviews.csv has more than one column named 'text'"):
        load(write_csv("a,b,c", header="text,text,label"))


def test_parquet_refuses_two_columns_of_one_name(load: Loader, tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match=r"more than one column named 'text'"):
        load(tmp_path / "twice.parquet")


def test_load_refuses_a_parquet_file_that_is_none(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "reviews.parquet").write_text("text,label")
    with pytest.raises(ValueError, match=r"reviews.parquet is not a parquet file"):
        load(tmp_path / "reviews.parquet")


def test_jsonl_refuses_an_array(load: Loader, write_jsonl: WriteJsonl) -> None:
    with pytest.raises(ValueError, match=r"has no JSON objects .*; expected one per line"):
        load(write_jsonl(['[{"text": "a", "label": 1}]']))


def test_load_names_a_label_that_only_test_has(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), name="data/train.csv").parent
    write_csv("known,label 0", "unknown,label 7", name="data/test.csv")
    with pytest.raises(
        BadRowsError,
        match=r"1 bad row of 12: test.csv, row 2 \(line 3\): the label 'label 7' does not occur in the training rows",
    ):
        load(folder)
    assert len(load(folder, bad_rows="skip").test) == 1


def test_load_refuses_one_label_only(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=r"'label' has only one label in the training rows, 'label 0'"):
        load(write_csv(*reviews(10, num_labels=1)))


def test_bad_rows_are_counted_and_the_first_five_named(load: Loader, write_csv: WriteCsv) -> None:
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
    assert str(caught.value) == (
        "8 bad rows of 39: reviews.csv, row 2 (line 4): empty text; reviews.csv, row 3 (line 5): empty text; "
        "reviews.csv, row 4 (line 6): invalid UTF-8; if the file has another encoding, name it (--encoding cp1252); "
        "reviews.csv, row 5 (line 7): missing label; reviews.csv, row 6 (line 8): missing label; and 3 more."
    )


def test_bad_rows_can_be_left_out_and_are_said(load: Loader, write_csv: WriteCsv) -> None:
    splits = load(write_csv(*reviews(40), ",label 1"), bad_rows="skip")
    assert sum(len(split) for _, split in splits.items()) == 40
    assert "Left out 1 bad row of 41: reviews.csv, row 41 (line 42): empty text." in load.said


def test_rows_left_out_are_counted_by_split_and_reason(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), ",label 1", ",label 0", "no label,", name="data/train.csv").parent
    write_csv("known,label 0", "unknown,label 7", ",label 0", name="data/test.csv")
    splits = load(folder, bad_rows="skip")
    expected = {
        ("train", "empty text", 2),
        ("train", "missing label", 1),
        ("test", "empty text", 1),
        ("test", "the label 'label 7' does not occur in the training rows (--unseen_labels)", 1),
    }
    assert {(item.split, item.reason, item.rows) for item in splits.left_out} == expected
    again = load(folder, bad_rows="skip")  # from the cache
    assert again.left_out == splits.left_out


def test_many_reasons_are_counted_together(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), name="data/train.csv").parent
    write_csv("known,label 0", *[f"text {row},new {row}" for row in range(30)], name="data/test.csv")
    left_out = load(folder, bad_rows="skip").left_out
    assert len(left_out) == 21
    assert sum(item.rows for item in left_out) == 30
    assert left_out[-1].reason == "other reasons"


def test_unseen_labels_follow_their_own_setting(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), name="data/train.csv").parent
    write_csv("known,label 0", "unknown,label 7", name="data/test.csv")
    assert len(load(folder, unseen_labels="skip").test) == 1
    with pytest.raises(BadRowsError, match=r"label 7.*unseen_labels=skip"):
        load(folder, bad_rows="skip", unseen_labels="error")
    write_csv("known,label 0", "unknown,label 7", ",label 0", name="data/test.csv")
    with pytest.raises(BadRowsError, match=r"1 bad row of 13: .*empty text.*bad_rows=skip"):
        load(folder, unseen_labels="skip")


def test_unseen_labels_can_be_kept(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(10), name="data/train.csv").parent
    write_csv("known,label 1", "unknown,label 7", "other,label 00", "unknown too,label 7", name="data/test.csv")
    splits = load(folder, unseen_labels="count_as_wrong")
    assert splits.task.label_names == ("label 0", "label 1")
    assert splits.task.unseen_labels == ("label 00", "label 7")
    assert list(splits.test["label"]) == [1, 3, 2, 3]
    assert splits.num_unseen["test"] == 3
    assert len(splits.task.label_counts) == 2
    (warning,) = [line for line in load.said if line.startswith("Warning: 3 of 4 test rows")]
    assert "'label 00', 'label 7'" in warning
    write_csv("unknown,label 7", name="data/test.csv")
    with pytest.raises(ValueError, match="All 1 test rows"):
        load(folder, unseen_labels="count_as_wrong")


def test_unseen_labels_cannot_be_kept_among_several(load: Loader, write_jsonl: WriteJsonl) -> None:
    rows = [{"text": f"review {row}", "label": ["a", "b"][: row % 3]} for row in range(40)]
    folder = write_jsonl(rows, "data/train.jsonl").parent
    write_jsonl([{"text": "new", "label": ["c"]}, {"text": "known", "label": ["a"]}], "data/test.jsonl")
    with pytest.raises(ValueError, match=r"needs one label per row.*'c'.*unseen_labels=skip"):
        load(folder, unseen_labels="count_as_wrong")
    assert len(load(folder, unseen_labels="skip").test) == 1


def test_bad_rows_come_before_what_they_cause(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match="10 bad rows of 10"):
        load(write_csv(*[f"text {row},nan" for row in range(10)]))


def test_tsv_says_which_line_has_too_many_fields(load: Loader, write_csv: WriteCsv) -> None:
    lines = [line.replace(",", "\t") for line in reviews(10)]
    with pytest.raises(BadRowsError, match=r"reviews.tsv, row 11 \(line 12\): 3 fields, expected 2"):
        load(write_csv(*lines, "a\tb\tc", name="reviews.tsv", header="text\tlabel"))


@pytest.mark.parametrize("bad_rows", ["error", "skip"])
@pytest.mark.parametrize(("closing", "last"), [([], 1002), (['he said "hi" to her,label 1'], 1003)])
def test_quote_that_swallows_rows_is_refused_with_all_of_its_lines(
    load: Loader, write_csv: WriteCsv, bad_rows: str, closing: list[str], last: int
) -> None:
    lines = [*reviews(10), '"tis the season,label 0', *reviews(990), *closing, *reviews(5 if closing else 0)]
    with pytest.raises(BadRowsError, match=rf"lines 12 to {last:,}: a quote in line 12 "):
        load(write_csv(*lines), bad_rows=bad_rows)


@pytest.mark.parametrize("bad_rows", ["error", "skip"])
def test_quote_that_closes_later_by_chance_is_refused_with_its_lines(
    load: Loader, write_csv: WriteCsv, bad_rows: str
) -> None:
    swallowed = ['"tis the season,label 0', *reviews(3), 'that was the season",label 1']
    with pytest.raises(BadRowsError, match=r"reviews.csv, lines 12 to 16: .*looks like other rows"):
        load(write_csv(*reviews(10), *swallowed, *reviews(20)), bad_rows=bad_rows)
    of_two = ['"tis the season,label 0', 'and gone",label 1']
    with pytest.raises(BadRowsError, match="lines 12 to 13"):
        load(write_csv(*reviews(10), *of_two, *reviews(20)), bad_rows=bad_rows)


def test_texts_of_several_lines_are_texts(load: Loader, write_csv: WriteCsv) -> None:
    text = '"Dear all,\nthis, too, is a text\n\nwith commas, and\nlabels, label 5",label 1'
    splits = load(write_csv(*reviews(10), text, *reviews(20)))
    assert sum(len(split) for _, split in splits.items()) == 31


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("text,label", "review {0},0.0{0}"),  # scores, none of which need occur in another row
        ("label,text", "label {1},review {0}"),
        ("id,text,label", "{0},review {0},label {1}"),
        ("label,text,id", "label {1},review {0},{0}"),
    ],
)
@pytest.mark.parametrize("num_swallowed", [1, 2])
def test_quote_that_closes_later_is_found_in_every_order_of_columns(
    load: Loader, write_csv: WriteCsv, header: str, row: str, num_swallowed: int
) -> None:
    lines = [row.format(number, number % 2) for number in range(50)]
    lines[10] = lines[10].replace("review", '"tis review')
    last = 10 + num_swallowed
    before, after = lines[last].split(f"review {last}")
    lines[last] = f'{before}review {last}"{after}'
    with pytest.raises(BadRowsError, match=rf"lines 12 to {12 + num_swallowed}: .*looks like other rows"):
        load(write_csv(*lines, header=header))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("text,label", "review {0},label {1}"),
        ("text,label,note", "{0} is good,label {1},review {0}"),  # the quote is in a column that is not read
        ("note,text,label", "review {0},{0} is good,label {1}"),
        ("text,score", "review {0},{2}.5"),  # few numbers
        ("text,label", "review {0},label {1}|label 2"),  # several labels in a field
    ],
)
def test_quote_that_closes_later_is_found_in_a_sorted_file(
    load: Loader, write_csv: WriteCsv, header: str, row: str
) -> None:
    lines = [row.format(number, number // 1500, 9 * number // 3000) for number in range(3000)]
    lines[2000] = lines[2000].replace("review", '"tis review')
    lines[2003] = lines[2003].replace("review 2003", 'review 2003"').replace("label 1|label 2", "label 2|label 0")
    with pytest.raises(BadRowsError, match=r"lines 2,002 to 2,005: a quoted field makes one row"):
        load(write_csv(*lines, header=header), text_column="text")


def test_quote_that_closes_later_is_found_in_rows_without_labels(load: Loader, write_csv: WriteCsv) -> None:
    write_csv(*reviews(40), name="train.csv")
    write_csv(*reviews(10), name="validation.csv")
    lines = [f"{number},unknown {number}" for number in range(50)]
    lines[10] = '10,"tis unknown 10'
    lines[12] = '12,unknown 12"'
    with pytest.raises(BadRowsError, match=r"test\.csv, lines 12 to 14: .*looks like other rows"):
        load(write_csv(*lines, name="test.csv", header="id,text").parent)


@pytest.mark.parametrize("second", ['\ufeff"text","label"', "Text,LABEL", "label,text", " text , label "])
def test_second_header_is_found_however_it_is_written(load: Loader, write_csv: WriteCsv, second: str) -> None:
    with pytest.raises(BadRowsError, match=r"1 bad row of 21: .*row 11 \(line 12\): repeats the header"):
        load(write_csv(*reviews(10), second, *reviews(10)))


def test_second_header_may_name_columns_that_are_not_read_otherwise(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"{number},{review}" for number, review in enumerate(reviews(20))]
    with pytest.raises(BadRowsError, match=r"1 bad row of 21: .*row 11 \(line 12\): repeats the header"):
        load(write_csv(*lines[:10], "idx,text,label", *lines[10:], header="id,text,label"))


def test_header_is_no_row_of_a_file_whose_columns_are_named_otherwise(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match=r"1 bad row of 21: .*row 1: .*leave out --columns"):
        load(write_csv(*reviews(20), header="review,sentiment"), columns=("text", "label"))


def test_header_is_no_row_of_a_file_with_columns(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match=r"1 bad row of 21: .*row 1: .*leave out --columns"):
        load(write_csv(*reviews(20)), columns=("text", "label"))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("name", "separator"), [("reviews.csv", ","), ("reviews.tsv", "\t")])
def test_second_header_is_a_bad_row(load: Loader, write_csv: WriteCsv, name: str, separator: str, mark: str) -> None:
    lines = [line.replace(",", separator) for line in [*reviews(10), f"{mark}text,label", *reviews(10)]]
    with pytest.raises(BadRowsError, match=r"1 bad row of 21: .*row 11 \(line 12\): repeats the header"):
        load(write_csv(*lines, name=name, header=separator.join(["text", "label"])))


def test_header_that_no_separator_makes_readable_is_refused(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=r"header of reviews\.csv cannot be read: broken csv"):
        load(write_csv(*reviews(10), header="te\rxt,label"))


def test_names_from_files_are_shown_on_one_line(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*reviews(10), header='"a\nlong\x1b[2J text",category')
    with pytest.raises(ValueError, match=r"Columns: a\\nlong\\x1b\[2J text, category\.") as caught:
        load(path, label_column="label")
    assert str(caught.value).isprintable()
    lines = [line.replace("label 1", '"line\u2028and\nline"') for line in reviews(10)]
    load(write_csv(*lines))
    assert any(r"labels: label 0, line\u2028and\nline." in line for line in load.said)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_reviews_that_are_no_files_are_refused(load: Loader, tmp_path: Path, make: Callable[[Path], None]) -> None:
    for sentiment in ("neg", "pos"):
        (tmp_path / "train" / sentiment).mkdir(parents=True)
        (tmp_path / "train" / sentiment / "0_1.txt").write_text("good film")
    make(tmp_path / "train" / "pos" / "1_7.txt")
    with pytest.raises(ValueError, match=r"1_7\.txt is not a file"):
        load(tmp_path)


def test_scores_that_are_too_large_for_the_model_are_bad_rows(
    load: Loader, write_csv: WriteCsv, recwarn: pytest.WarningsRecorder
) -> None:
    lines = [f"review {row},{row / 7}" for row in range(20)]
    splits = load(write_csv(*lines, "large,1e39", "larger,-1e308"), bad_rows="skip")
    assert sum(item.rows for item in splits.left_out) == 2
    with pytest.raises(ValueError, match="no usable rows for train"):
        load(write_csv("large,1e39", "larger,-1e308"), bad_rows="skip", task="regression")
    assert not list(recwarn)


def test_quote_after_a_space_is_a_bad_row(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match=r"row 11 .*a space before the quote of column 'label'"):
        load(write_csv(*reviews(10), 'foo, "label 1"'))
    splits = load(write_csv(*reviews(30), '" ""Great film"" ",label 1', '" ""and\nof two lines"" ",label 0'))
    assert sum(len(split) for _, split in splits.items()) == 32


@pytest.mark.parametrize("header", ["text,Text,label", "text,label,LABEL"])
def test_load_refuses_columns_that_differ_in_case_only(load: Loader, write_csv: WriteCsv, header: str) -> None:
    with pytest.raises(ValueError, match=r"names differ in case only: '.*', '.*'. Rename"):
        load(write_csv("a,b,c", header=header))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"text": "a", "label"', "invalid JSON"),
        ('["a", "b"]', "not a JSON object"),
        ('{"text": "a", "text": "b", "label": 1}', "more than one value for 'text'"),
        ('{"label": 1}', "missing text"),
        ('{"text": 5, "label": 1}', "the text is a int, expected a string"),
        ('{"text": "a"}', "missing label"),
        ('{"text": "a", "label": NaN}', "missing label"),
        ('{"text": "a", "label": null}', "missing label"),
        ('{"text": "a", "label": {"b": 1}}', "the label is a dict"),
        ('{"text": "half \\ud83d", "label": 1}', "invalid Unicode"),
        ('{"text": "a", "label": "half \\ud83d"}', "the label is invalid Unicode"),
        ('{"text": "a", "label": ["half \\ud83d"]}', "the label is invalid Unicode"),
        ("[" * 100_000, "invalid JSON"),
    ],
)
def test_jsonl_says_what_is_wrong_with_a_line(load: Loader, write_jsonl: WriteJsonl, row: str, reason: str) -> None:
    rows = [{"text": f"review {row}", "label": row % 2} for row in range(9)]
    with pytest.raises(BadRowsError, match=r"1 bad row of 10: reviews.jsonl, row 6: .*" + re.escape(reason)):
        load(write_jsonl([*rows[:5], row, *rows[5:]]))


def test_parquet_says_which_row_is_not_utf8(load: Loader, tmp_path: Path) -> None:
    texts = pa.array([b"good", b"caf\xe9", b"fine"] * 10)
    # Nothing checks the bytes on the way from binary to string here, as with files of other writers.
    texts = pa.StringArray.from_buffers(len(texts), texts.buffers()[1], texts.buffers()[2])
    pq.write_table(pa.table({"text": texts, "label": ["a", "b", "a"] * 10}), tmp_path / "reviews.parquet")
    with pytest.raises(BadRowsError, match=r"10 bad rows of 30: reviews.parquet, row 2: invalid UTF-8"):
        load(tmp_path / "reviews.parquet")


def test_texts_that_cleaning_empties_are_bad_rows(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(BadRowsError, match="empty text after cleaning"):
        load(write_csv(*reviews(10), "<p></p>,label 1"), cleaning=["strip_html"])


def test_folder_without_data_is_refused(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"has no data files with the names of splits. Expected"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train.csv", "more.csv"], r"not clear which split '.*more.csv' is"),
        (["train.csv", "dev.csv", "validation.csv"], r"more than one validation file: dev.csv, validation.csv"),
        (["train.csv", "train.tsv"], r"more than one train file: train.csv, train.tsv"),
        (["test.csv"], r"has no train file; it has test.csv"),
    ],
)
def test_folder_with_unclear_files_is_refused(
    load: Loader, write_csv: WriteCsv, names: list[str], message: str
) -> None:
    for name in names:
        folder = write_csv(*reviews(10), name=f"data/{name}").parent
    with pytest.raises(ValueError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bad_rows": "ignore"}, "bad_rows must be 'error' or 'skip'; got 'ignore'"),
        ({"limit_train": 0}, "limit_train must be at least 1; got 0"),
        ({"validation_share": 0.6, "test_share": 0.4}, "must leave something to train on"),
        ({"task": "regresion"}, r"Unknown task 'regresion'\. Did you mean 'regression'\?"),
    ],
)
def test_load_refuses_settings_out_of_range(
    load: Loader, write_csv: WriteCsv, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_csv(*reviews(10)), **settings)


def test_load_names_the_nearest_cleaning_step(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown cleaning step 'strip_htm'. Did you mean 'strip_html'\?"):
        load(write_csv(*reviews(10)), cleaning=["strip_htm"])


def test_nothing_is_left_in_the_cache_after_an_error(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match="only one label"):
        load(write_csv(*reviews(10, num_labels=1)))
    assert list(load.cache_dir.iterdir()) == []
