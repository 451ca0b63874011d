"""Predict files of all kinds in this process."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heads.registry import UnknownNameError
from research import PredictSettings, load_model, predict
from research.inference import predict as predict_module
from research.inference.scorer import Scorer
from tests.builders.trained_run import train_tiny_run
from tests.messages import collect_messages

Predict = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def predict_rows(trained_run: Path, tmp_path: Path) -> Predict:
    """A function that predicts data with the tiny model, and returns the rows of the output as read from a file."""

    def run(data: str | Path, suffix: str = ".jsonl", **settings: Any) -> list[dict[str, Any]]:
        output = tmp_path / f"predictions{suffix}"
        settings = {"run": str(trained_run), "num_threads": 1, "mixed_precision": "no", **settings}
        assert predict(PredictSettings(data=str(data), output=str(output), overwrite=True, **settings)) == output
        assert not list(tmp_path.glob(".*.parts")), "the folder of the chunks is left"
        return read_rows(output)

    return run


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of seven rows, so that small files have several."""
    monkeypatch.setattr(predict_module, "CHUNK_ROWS", 7)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_predict_equals_load_model_and_keeps_the_order(
    predict_rows: Predict, trained_run: Path, tiny_reviews: Path, suffix: str
) -> None:
    rows = predict_rows(tiny_reviews / "test.csv", suffix, keep_columns=["label", "text"], batch_size=3)
    source = read_rows(tiny_reviews / "test.csv")
    expected = load_model(trained_run).predict([row["text"] for row in source])
    assert list(rows[0]) == ["label", "text", "prediction", "score_negative", "score_positive", "error"]
    assert [(row["label"], row["text"]) for row in rows] == [(row["label"], row["text"]) for row in source]
    assert [row["prediction"] for row in rows] == expected["prediction"].tolist()
    for name in ("score_negative", "score_positive"):
        np.testing.assert_allclose([float(row[name]) for row in rows], expected[name], atol=1e-6)
    assert {row["error"] for row in rows} <= {None, ""}


@pytest.mark.usefixtures("small_chunks")
def test_bad_rows_get_a_reason_and_no_prediction(predict_rows: Predict, tmp_path: Path) -> None:
    lines = ['{"text": "good film", "id": 0}', "{", '{"id": 2}', '{"text": 3, "id": [3]}', '{"text": " ", "id": "4"}']
    lines += ['{"text": "a \\ud800", "id": 5}', "3", '{"text": "fine", "id": 7.5}', '{"text": "bad", "id": "\\udc00"}']
    (tmp_path / "rows.jsonl").write_bytes("\n".join(lines).encode() + b'\n{"text": "\xff", "id": 9}\n')
    with collect_messages() as messages:
        rows = predict_rows(tmp_path / "rows.jsonl", keep_columns=["all"])
    problems = [None, "invalid JSON", "missing text", "type int", "empty text", "surrogate", "not a JSON", None]
    problems += ["surrogate", "invalid UTF-8"]
    assert len(rows) == len(problems)
    for row, problem in zip(rows, problems, strict=True):
        assert (row["prediction"] is None) == (row["score_positive"] is None) == (problem is not None)
        assert (row["error"] is None) if problem is None else (problem in row["error"]), row
    kept = [row["id"] for row in rows]
    assert kept == [0, None, 2, [3], "4", None, None, 7.5, None, None]
    (summary,) = [message for message in messages if "have no prediction" in message]
    assert summary.startswith("Warning: 8 of 10 rows")
    assert "surrogate pair): 2" in summary


@pytest.mark.usefixtures("small_chunks")
def test_file_with_only_bad_rows_and_file_without_rows_have_all_columns(predict_rows: Predict, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("text,id\n" + ",1\n" * 9)
    rows = predict_rows(tmp_path / "bad.csv", ".parquet", keep_columns=["id"])
    assert [row["prediction"] for row in rows] == [None] * 9
    schema = pq.read_schema(tmp_path / "predictions.parquet")
    assert (schema.field("prediction").type, schema.field("score_positive").type) == (pa.string(), pa.float64())
    (tmp_path / "none.csv").write_text("text,id\n")
    assert predict_rows(tmp_path / "none.csv", ".parquet", keep_columns=["id"]) == []
    assert "score_positive" in pq.read_schema(tmp_path / "predictions.parquet").names


def test_predict_reads_text_lines_and_standard_input(
    predict_rows: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.txt").write_text("good film\n\nbad\n")
    from_file = predict_rows(tmp_path / "texts.txt", keep_columns=["text"])
    assert [row["text"] for row in from_file] == ["good film", "", "bad"]
    assert [row["error"] for row in from_file] == [None, "empty text", None]
    for file_type, content in (("txt", b"good film\n\nbad\n"), ("csv", b'text\ngood film\n""\nbad\n')):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert predict_rows("-", stdin_format=file_type, keep_columns=["text"]) == from_file
    with pytest.raises(UnknownNameError, match="'jsonl'"):
        predict_rows("-", stdin_format="jsnl")


def test_predict_reads_one_split_of_a_data_set(predict_rows: Predict, tiny_reviews: Path) -> None:
    assert len(predict_rows(tiny_reviews, split="validation")) == 19
    with pytest.raises(ValueError, match=r"splits train, validation, test.*with split"):
        predict_rows(tiny_reviews)
    with pytest.raises(ValueError, match="Did you mean 'validation'"):
        predict_rows(tiny_reviews, split="validatoin")


def test_text_columns_are_those_of_the_model_or_named_or_guessed(predict_rows: Predict, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,body,text,label\n1,bad bad bad,good film the,x\n")
    (tmp_path / "b.csv").write_text("id,body,label\n1,good film the,some words here\n")
    expected = predict_rows(tmp_path / "a.csv")
    assert predict_rows(tmp_path / "a.csv", text_column="body") != expected
    with collect_messages() as messages:
        assert predict_rows(tmp_path / "b.csv") == expected
    assert messages[0].startswith("Guessed text_column: 'body'.")
    (tmp_path / "c.csv").write_text("name,place\na b c,d e f\n")
    with pytest.raises(
        ValueError,
        match=r"which column of c\.csv holds the text.*Columns: name, place\. Set text_column, and text_pair",
    ):
        predict_rows(tmp_path / "c.csv")
    with pytest.raises(ValueError, match=r"Unknown column 'txt'.*Columns: body, id, label, text"):
        predict_rows(tmp_path / "a.csv", text_column="txt")
    (tmp_path / "tabs.csv").write_text("text\tid\ngood film the\t1\n")
    with pytest.raises(ValueError, match=r"tabs\.csv .*separated by tabs; rename the file to \.tsv"):
        predict_rows(tmp_path / "tabs.csv")
    with pytest.raises(ValueError, match='from one column, text_column; got text_column="text" and text_pair'):
        predict_rows(tmp_path / "a.csv", text_column="text", text_pair_column="body")
    with pytest.raises(ValueError, match="from one column"):
        predict_rows(tmp_path / "a.csv", text_pair_column="body")


def test_kept_columns_must_exist_and_must_not_clash(predict_rows: Predict, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,score_positive,error\ngood,1,2\n")
    for keep_columns, message in (
        (["score_positive"], "two columns named 'score_positive'"),
        (["all"], "two columns named 'error', 'score_positive'"),
        (["text", "text"], "two columns named 'text'"),
        (["txet"], "Did you mean 'text'"),
    ):
        with pytest.raises(ValueError, match=message):
            predict_rows(tmp_path / "a.csv", keep_columns=keep_columns)
    assert not list(tmp_path.glob(".predictions*"))


def test_settings_are_checked_first(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\ngood\n")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "old.csv").touch()
    for changed, message in (
        ({"output": "a.xlsx"}, r"end in \.parquet, \.csv or \.jsonl"),
        ({"output": str(tmp_path / "folder.csv")}, "is a folder"),
        ({"output": str(tmp_path / "old.csv")}, "exists already"),
        ({"output": str(tmp_path / "a.csv" / "o.csv"), "run": "not reached"}, r"a\.csv is not a folder"),
        ({"output": str(tmp_path / "a.csv"), "overwrite": True}, "the same file as data"),
        ({"run": str(tmp_path)}, "No trained model"),
        ({"encoding": "utf8x"}, "Unknown encoding"),
        ({"mixed_precision": "fp16"}, "fp16 requires a GPU"),
        ({"data": str(tmp_path / "b.csv")}, "There is no file"),
    ):
        settings: dict[str, Any] = {
            "run": str(trained_run),
            "data": str(tmp_path / "a.csv"),
            "output": str(tmp_path / "o.csv"),
        }
        with pytest.raises(ValueError, match=message):
            predict(PredictSettings(**{**settings, **changed}))
    wrong: dict[str, Any]
    for wrong in ({"batch_size": 0}, {"keep_columns": "all"}, {"quoting": "none of them"}, {"data": tmp_path}):
        with pytest.raises(ValueError, match=f"Expected {next(iter(wrong))} to be"):
            PredictSettings(**wrong)


@pytest.mark.usefixtures("small_chunks")
def test_predict_continues_after_an_error_and_reuses_finished_chunks(
    trained_run: Path, tiny_reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str, **changed: Any) -> bytes:
        settings = {"data": str(tiny_reviews / "test.csv"), "num_threads": 1, "mixed_precision": "no", **changed}
        return predict(PredictSettings(run=str(trained_run), output=str(tmp_path / name), **settings)).read_bytes()

    expected = run("whole.csv")
    collate = Scorer.collate
    calls = []

    def fail_in_third_chunk(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise ValueError("as if interrupted")
        return collate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "collate", fail_in_third_chunk)
        with pytest.raises(ValueError, match="as if interrupted"):
            run("broken.csv")
    assert not (tmp_path / "broken.csv").exists()
    with pytest.raises(ValueError, match="differs in: batch_size"):
        run("broken.csv", batch_size=5)
    with collect_messages() as messages:
        assert run("broken.csv") == expected
    assert "Reusing 2 of 4 chunks, which are finished." in messages
    with pytest.raises(ValueError, match="exists already"):
        run("broken.csv")


def test_model_of_pairs_predicts_pairs(
    tiny_encoder: Path, cache_dir: Path, tmp_path: Path, predict_rows: Predict
) -> None:
    lines = [f"{'good film' if row % 2 else 'bad plot'} {row},the film was fine,{row % 2}" for row in range(40)]
    (tmp_path / "pairs.csv").write_text("\n".join(["premise,hypothesis,label", *lines]))
    run = train_tiny_run(tmp_path / "run", tiny_encoder, tmp_path / "pairs.csv", cache_dir, max_length=16)
    (tmp_path / "new.csv").write_text("sentence1,sentence2\ngood film,the plot was good\nbad,\n")
    rows = predict_rows(tmp_path / "new.csv", run=str(run))
    assert [row["error"] for row in rows] == [None, "empty text"]
    expected = load_model(run).predict([("good film", "the plot was good")])
    assert rows[0]["prediction"] == expected["prediction"][0]
    (tmp_path / "texts.txt").write_text("good film\n")
    with pytest.raises(ValueError, match="pairs of texts"):
        predict_rows(tmp_path / "texts.txt", run=str(run))


def test_multi_label_and_regression_models_write_lists_and_numbers(
    tiny_encoder: Path, cache_dir: Path, tmp_path: Path, predict_rows: Predict
) -> None:
    words = ("good", "bad", "dull")
    labels = [[word for bit, word in enumerate(words) if row >> bit & 1] for row in range(40)]
    rows = [{"text": f"film {row}", "label": label} for row, label in enumerate(labels)]
    (tmp_path / "many.jsonl").write_text("\n".join(map(json.dumps, rows)))
    scores = [{"text": f"film {row}", "label": row / 7} for row in range(40)]
    (tmp_path / "scores.jsonl").write_text("\n".join(map(json.dumps, scores)))
    (tmp_path / "new.csv").write_text("text\ngood film\n \n")
    options = {"max_length": 16}
    many = train_tiny_run(tmp_path / "many", tiny_encoder, tmp_path / "many.jsonl", cache_dir, **options)
    first, second = predict_rows(tmp_path / "new.csv", run=str(many))
    assert set(first["prediction"]) == {word for word in words if first[f"score_{word}"] > 0.5}
    assert second["prediction"] is None
    score = train_tiny_run(tmp_path / "score", tiny_encoder, tmp_path / "scores.jsonl", cache_dir, **options)
    first, second = predict_rows(tmp_path / "new.csv", ".csv", run=str(score))
    assert list(first) == ["prediction", "error"]
    assert re.fullmatch(r"-?[\d.]+", first["prediction"])
    assert second["prediction"] == ""


@pytest.mark.usefixtures("small_chunks")
def test_output_that_is_not_finite_is_an_error_that_names_the_row(
    predict_rows: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Scorer.__call__

    def with_infinity(self: Scorer, rows: list[tuple[str]], **options: Any) -> Any:
        logits = call(self, rows, **options)
        logits[[text == "overflow" for (text,) in rows]] = np.inf
        return logits

    monkeypatch.setattr(Scorer, "__call__", with_infinity)
    data = tmp_path / "data.csv"
    data.write_text("text\n" + "good film\n" * 8 + ",\noverflow\nbad film\n")
    with pytest.raises(ValueError, match=r"row 10 of .*data\.csv is not finite"):
        predict_rows(data)


def test_errors_of_predictions_in_python_name_arguments(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").touch()
    with pytest.raises(ValueError, match=r"Choose another output, or replace it with overwrite=True\.$"):
        predict(PredictSettings(run=str(trained_run), data="data.csv", output=str(tmp_path / "out.csv")))
    with pytest.raises(UnknownNameError, match=r"Unknown setting 'out_put'.*Did you mean 'output'"):
        PredictSettings(run=str(trained_run), data="data.csv", out_put="out.csv")  # type: ignore[call-arg]
