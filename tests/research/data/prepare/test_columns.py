"""Columns are guessed and reported if they are unambiguous; otherwise they must be set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase

import pytest

from research.data.prepare.columns import choose_text_columns
from research.data.sources.text_tables import CsvTable, TsvTable
from tests.research.data.conftest import Loader, WriteCsv, reviews


def open_table(path: Path) -> CsvTable | TsvTable:
    """Open a csv or tsv file."""
    return (CsvTable if path.suffix == ".csv" else TsvTable)(path, path.name)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("text,label", ["id", "text", "label"]),
        ("id,Sentence,Label", ["id", "text", "label"]),
        ("note,sentiment", ["id", "text", "label"]),
        ("idx,sentence1,sentence2,label", ["id", "text", "text_pair", "label"]),
        ("premise,hypothesis,label", ["id", "text", "text_pair", "label"]),
        ("question,sentence,label", ["id", "text", "text_pair", "label"]),
    ],
)
def test_columns_are_guessed_and_reported(load: Loader, write_csv: WriteCsv, header: str, columns: list[str]) -> None:
    num_columns = header.count(",") + 1
    lines = [",".join([f"value {row}"] * (num_columns - 1) + [str(row % 2)]) for row in range(40)]
    splits = load(write_csv(*lines, header=header))
    assert splits.train.column_names == columns
    assert splits.has_pairs == ("text_pair" in columns)
    assert load.messages[0].startswith("Guessed label_column: '")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("text,label,score", "reviews.csv .* label.*: label, score\\. .*--label_column"),
        ("text,answer", "reviews.csv .* label.*Columns: text, answer.*--label_column"),
        ("text,review,label", "reviews.csv .* text.*: text, review\\. .*--text_column.*--text_pair_column"),
        ("text\tlabel", "tabs.*\\.tsv"),
        ("text\tid,label", "which column .* text; .*tabs.*\\.tsv"),
        ("a,b,label", "reviews.csv .* text.*: a, b\\."),
        ("text,sentence1,sentence2,label", "reviews.csv .* text.*: text, sentence1, sentence2\\."),
    ],
)
def test_ambiguous_or_missing_columns_are_refused(load: Loader, write_csv: WriteCsv, header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_csv(",".join("x" * (header.count(",") + 1)), header=header))


@pytest.mark.parametrize(
    ("name", "header", "line", "advice"),
    [
        ("a.csv", "text\tid", "good film\t7", "separated by tabs; rename the file to .tsv."),
        ("a.tsv", "text,id", "good film,7", "separated by commas; rename the file to .csv."),
        ("a.tsv", "text;id", "good film;7", "separated by semicolons; rename the file to .csv."),
        ("a.tsv", "text|id", "good film|7", "separated by bars; rename the file to .csv."),
    ],
)
def test_files_with_the_wrong_separator_are_refused(
    load: Loader, write_csv: WriteCsv, name: str, header: str, line: str, advice: str
) -> None:
    path = write_csv(line, name=name, header=header)
    table = open_table(path)
    choices: list[Callable[[], object]] = [
        lambda: choose_text_columns(table, ["review"]),
        lambda: choose_text_columns(table, ["premise", "hypothesis"]),
        lambda: choose_text_columns(table, ["review"], text_column="text"),
        lambda: load(path),
        lambda: load(path, text_column="text"),
    ]
    for choose in choices:
        with pytest.raises(ValueError, match=re.escape(advice)):
            choose()
    assert choose_text_columns(table, ["review"], text_column=header) == ((header,), [])


@pytest.mark.parametrize(
    ("name", "header", "line", "column"),
    [
        ("a.csv", "body", "a good\tfilm", "body"),
        ("a.csv", "body;id", "a good film;7", "body"),
        ("a.csv", "body|id", "a good film|7", "body"),
        ("a.csv", 'text,"a\tb"', "a good film,7", "text"),
        ("a.tsv", "body", "a good, long film", "body"),
        ("a.tsv", "body, cut\tid", "a good film\t7", "body, cut"),
    ],
)
def test_separators_in_texts_and_other_names_do_not_matter(
    write_csv: WriteCsv, name: str, header: str, line: str, column: str
) -> None:
    table = open_table(write_csv(line, name=name, header=header))
    assert choose_text_columns(table, ["review"])[0] == (column,)


@pytest.mark.parametrize(
    ("header", "make_value"),
    [
        ("id,label", str),
        ("number,label", lambda row: f"{row}.5"),
        ("when,label", lambda row: f"2024-01-{row % 28 + 1:02} 10:00"),
        ("user,label", lambda row: f"user_{row}"),
        ("uuid,label", lambda row: f"word {row}"),
        ("text,label", str),
    ],
)
def test_numbers_and_ids_are_never_guessed_as_text(
    load: Loader, write_csv: WriteCsv, header: str, make_value: Callable[[int], str]
) -> None:
    path = write_csv(*[f"{make_value(row)},{row % 2}" for row in range(40)], header=header)
    name = header.split(",", maxsplit=1)[0]
    with pytest.raises(ValueError, match=rf"reviews\.csv.*'{name}'.*Columns: {name}, label.*--text_column"):
        load(path)
    assert load(path, text_column=name).task.num_labels == 2


def test_id_column_does_not_make_the_text_column_ambiguous(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"{row},great {letter}{letter},{row % 2}" for row, letter in enumerate(ascii_lowercase)]
    splits = load(write_csv(*lines, header="number,body,label"))
    assert {text.split()[0] for text in splits.train["text"]} == {"great"}


@pytest.mark.parametrize(("answer", "expects_warning"), [("it does so every day", True), ("yes", True), ("7", False)])
def test_possible_second_text_column_is_reported_unless_it_holds_numbers(
    load: Loader, write_csv: WriteCsv, answer: str, expects_warning: bool
) -> None:
    path = write_csv(*[f"is it {row},{answer},{row % 2}" for row in range(40)], header="question,answer,label")
    assert not load(path).has_pairs
    assert any("--text_pair_column 'answer'" in line for line in load.messages) == expects_warning
    assert load(path, text_pair_column="answer").has_pairs
    assert not any("Warning" in line for line in load.messages)


def test_columns_named_in_settings_are_used(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"first {row},second {row},{row % 2},{row}" for row in range(40)]
    path = write_csv(*lines, header="a,b,label,score")
    splits = load(path, text_column="b", text_pair_column="a", label_column="label")
    assert splits.train[0]["text"].startswith("second")
    assert splits.train[0]["text_pair"].startswith("first")
    assert not any("Guessed" in line for line in load.messages)


def test_pairs_are_not_read_if_only_text_column_is_set(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*[f"a {row},b {row},{row % 2}" for row in range(40)], header="sentence1,sentence2,label")
    assert not load(path, text_column="sentence1").has_pairs


def test_text_and_label_column_must_differ(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv("a,b", header="text,label")
    with pytest.raises(ValueError, match=r"different columns.*text, text"):
        load(path, text_column="text", label_column="text")


def test_load_suggests_the_nearest_column(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=r"reviews\.csv: .*'txt'.*'text'.*label, text"):
        load(write_csv(*reviews(10)), text_column="txt")
