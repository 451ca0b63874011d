"""Columns are guessed where one reading is possible, said, and asked for where not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from research.data.prepare.load import load_splits
from tests.research.data.conftest import Loader, WriteCsv


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
def test_columns_are_guessed_and_said(load: Loader, write_csv: WriteCsv, header: str, columns: list[str]) -> None:
    num_columns = header.count(",") + 1
    lines = [",".join([f"value {row}"] * (num_columns - 1) + [str(row % 2)]) for row in range(40)]
    splits = load(write_csv(*lines, header=header))
    assert splits.train.column_names == columns
    assert splits.has_pairs == ("text_pair" in columns)
    assert load.said[0].startswith("Guessed label_column: '")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("text,label,score", "holds the label is not clear: these could be it: label, score.* Set label_column"),
        ("text,answer", "holds the label is not clear: none has a name that says so. Columns: text, answer"),
        (
            "text,review,label",
            "text is not clear: these could be it: text, review.* Set text_column, and text_pair_column",
        ),
        ("text\tlabel", "separated by tabs: name the file .tsv"),
        ("a,b,label", "holds the text is not clear: these could be it: a, b"),
        ("text,sentence1,sentence2,label", "holds the text is not clear"),
    ],
)
def test_columns_that_are_not_clear_are_asked_for(load: Loader, write_csv: WriteCsv, header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_csv(",".join("x" * (header.count(",") + 1)), header=header))


@pytest.mark.parametrize(
    ("header", "values"),
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
    load: Loader, write_csv: WriteCsv, header: str, values: Callable[[int], str]
) -> None:
    path = write_csv(*[f"{values(row)},{row % 2}" for row in range(40)], header=header)
    name = header.split(",", maxsplit=1)[0]
    with pytest.raises(ValueError, match=rf"'{name}' holds numbers or ids.* Set text_column"):
        load(path)
    assert load(path, text_column=name).task.num_labels == 2


def test_an_id_beside_an_unnamed_text_column_is_no_alternative(load: Loader, write_csv: WriteCsv) -> None:
    splits = load(
        write_csv(
            *[f"{row},great {chr(97 + row)}{chr(97 + row)},{row % 2}" for row in range(26)], header="number,body,label"
        )
    )
    assert {text.split()[0] for text in splits.train["text"]} == {"great"}


@pytest.mark.parametrize(("answer", "is_warned"), [("it does so every day", True), ("yes", True), ("7", False)])
def test_an_unused_column_of_text_is_reported(load: Loader, write_csv: WriteCsv, answer: str, is_warned: bool) -> None:
    path = write_csv(*[f"is it {row},{answer},{row % 2}" for row in range(40)], header="question,answer,label")
    assert not load(path).has_pairs
    assert any("text_pair_column='answer'" in line for line in load.said) == is_warned
    assert load(path, text_pair_column="answer").has_pairs
    assert not any("Warning" in line for line in load.said)


@pytest.mark.parametrize(("second", "is_warned"), [("他们每天都这样做", True), ("好", False)])
def test_text_without_spaces_between_words_is_text(
    load: Loader, write_csv: WriteCsv, second: str, is_warned: bool
) -> None:
    lines = [f"这部电影很好看 {row},{second},{row % 2}" for row in range(40)]
    load(write_csv(*lines, header="text,more,label"))
    assert any("text_pair_column='more'" in line for line in load.said) == is_warned


def test_columns_that_are_named_are_taken(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"first {row},second {row},{row % 2},{row}" for row in range(40)]
    path = write_csv(*lines, header="a,b,label,score")
    splits = load(path, text_column="b", text_pair_column="a", label_column="label")
    assert splits.train[0]["text"].startswith("second")
    assert splits.train[0]["text_pair"].startswith("first")
    assert not any("Guessed" in line for line in load.said)


def test_text_column_alone_means_no_pair(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*[f"a {row},b {row},{row % 2}" for row in range(40)], header="sentence1,sentence2,label")
    assert not load(path, text_column="sentence1").has_pairs


def test_columns_must_differ(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv("a,b", header="text,label")
    with pytest.raises(ValueError, match="must be different columns; got text, text"):
        load(path, text_column="text", label_column="text")


def test_load_prints_by_default(tmp_path: Path, write_csv: WriteCsv, capsys: pytest.CaptureFixture[str]) -> None:
    from research.settings.config import RunConfig

    lines = [f"text {row},{row % 2}" for row in range(40)]
    load_splits(RunConfig(data=str(write_csv(*lines))), tmp_path / "cache")
    assert "Guessed label_column: 'label', text_column: 'text'." in capsys.readouterr().out
