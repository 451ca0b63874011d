"""Load a trained model, and predict texts with it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from heads.registry import UnknownNameError
from research.inference.saved_model import load_model
from research.inference.scorer import Scorer
from tests.messages import collect_messages


def test_predict_returns_the_runs_own_test_predictions(trained_run: Path, tiny_reviews: Path) -> None:
    expected = pq.read_table(trained_run / "predictions" / "test.parquet").to_pandas()
    with (tiny_reviews / "test.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert max(len(text.split()) for text in texts) > 8, "no text is truncated"

    predicted = load_model(trained_run).predict(texts, batch_size=5)

    assert predicted["text"].tolist() == texts
    assert predicted["prediction"].tolist() == expected["prediction_name"].tolist()
    scores = [column for column in expected.columns if column.startswith("score_")]
    np.testing.assert_allclose(predicted[scores], expected[scores], atol=1e-6)


def test_scorer_returns_the_same_logits_in_any_order_and_batch_size(trained_run: Path) -> None:
    saved = load_model(trained_run / "model")
    rows = [["the film was good"], ["bad"], [""], ["warm and very good plot and the film was very fine and warm"]]
    logits = Scorer(saved, batch_size=2, device=torch.device("cpu"))(rows)
    backwards = Scorer(saved, batch_size=3, device=torch.device("cpu"))(rows[::-1])
    np.testing.assert_allclose(backwards[::-1], logits, atol=1e-6)
    assert Scorer(saved)([]).shape == (0, 2)


def test_scorer_on_a_cpu_sends_fewer_long_texts_at_once(trained_run: Path) -> None:
    saved = load_model(trained_run)
    saved.collator.max_length = 1000
    rows = [["film " * length] for length in (2, 900, 3, 5000, 900, 900)]
    scorer = Scorer(saved, device=torch.device("cpu"), batch_size=3)
    batches = [list(each) for each in scorer.split(scorer.tokenize(rows))]
    assert batches == [[3, 1], [4, 5], [2, 0]]
    scorer.device = torch.device("meta")  # any other device
    assert [list(each) for each in scorer.split(scorer.tokenize(rows))] == [[3, 1, 4], [5, 2, 0]]


def test_scorer_computes_in_bf16_and_reports_each_batch(trained_run: Path) -> None:
    saved = load_model(trained_run)
    rows = [["the film was good"], ["bad"], ["dull plot"]]
    counts: list[int] = []
    cpu = torch.device("cpu")
    rounded = Scorer(saved, device=cpu, batch_size=2, precision="bf16")(rows, after_batch=counts.append)
    exact = Scorer(saved, device=cpu)(rows)
    assert counts == [2, 1]
    assert not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, atol=0.05)


def test_predict_refuses_inputs_of_another_form(trained_run: Path) -> None:
    saved = load_model(trained_run)
    for wrong in (3, ("one", "two"), ["a", 1], None):
        with pytest.raises(ValueError, match="predicts strings"):
            saved.predict([wrong])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="list of texts, got the string 'good'"):
        saved.predict("good")


def test_predict_without_texts_returns_no_rows_and_all_columns(trained_run: Path) -> None:
    saved = load_model(trained_run)
    assert saved.predict([]).columns.equals(saved.predict(["good"]).columns)


def test_load_model_refuses_what_is_not_a_trained_model(trained_run: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.yaml").write_text("{}")
    other_version = tmp_path / "other"
    shutil.copytree(trained_run / "model", other_version)
    config = json.loads((other_version / "config.json").read_text())
    (other_version / "config.json").write_text(json.dumps(config | {"model_format": 0}))
    damaged = shutil.copytree(trained_run, tmp_path / "damaged")
    (damaged / "config.yaml").write_text("plugin: [")
    for path, message in (
        (damaged, "config.yaml, cannot be read"),
        (tmp_path / "nothing", "no folder"),
        (tmp_path, "No trained model"),
        (tmp_path / "unfinished", "has not finished"),
        (tiny_encoder, "plain model of type 'bert'"),
        (other_version, "another version"),
    ):
        with pytest.raises(ValueError, match=message):
            load_model(path)


def test_load_model_warns_of_a_run_that_has_not_finished(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    with collect_messages() as messages:
        load_model(run)
    assert not [message for message in messages if "finished" in message]
    (run / "result.json").unlink()
    with collect_messages() as messages:
        load_model(run)
    assert f"Warning: The run in {run} has not finished, so model/ may not be its final model." in messages


def test_load_model_asks_for_the_plugin_of_an_unknown_head(trained_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained_run / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"head": "unregistered"}))
    with pytest.raises(UnknownNameError, match="--plugin"):
        load_model(folder)


def test_load_model_says_that_a_missing_plugin_is_one_of_the_run(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    with (run / "config.yaml").open("a") as file:
        file.write("plugin: [plug/my_head.py]\n")
    with pytest.raises(ValueError, match=r"was started with --plugin plug/my_head.py.*Pass its present path"):
        load_model(run)


def test_set_temperature_divides_the_logits_and_replaces_an_earlier_temperature(trained_run: Path) -> None:
    saved = load_model(trained_run)
    rows = [["the film was good"], ["bad plot"]]
    before = Scorer(saved)(rows)
    saved.model.set_temperature(4.0)
    saved.model.set_temperature(2.0)
    np.testing.assert_allclose(Scorer(saved)(rows), before / 2, rtol=1e-6)
    assert saved.model.config.calibration_temperature == 2.0
