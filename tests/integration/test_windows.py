"""Texts that are cut into windows: training, evaluation, predictions, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from research import load_model
from research.export import main as export
from research.export.settings import ExportSettings
from tests.builders.trained_run import train_tiny_run
from tests.conftest import ROOT, Launch, write_tiny_encoder
from tests.launched.runs_in_process import read_by_rank
from tests.launched.windows_by_processes import CASES

MEMORY_SCRIPT = ROOT / "tests" / "launched" / "memory_of_long_texts.py"
SCRIPT = ROOT / "tests" / "launched" / "windows_by_processes.py"
WINDOWS: dict[str, Any] = {"long_texts": "windows", "max_length": 10, "stride": 6, "window_batch_size": 3}


@pytest.fixture(scope="module")
def trained_run(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a short run on windows, with the default head."""
    folder = tmp_path_factory.mktemp("runs") / "windows"
    return train_tiny_run(folder, tiny_encoder, tiny_reviews, cache_dir, **WINDOWS)


@pytest.fixture(scope="module")
def results(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, tuple[Path, list[Any]]]:
    """For one process and two: the prefix of the weights' files, and the results of each process."""
    folder = tmp_path_factory.mktemp("windows")
    for number in (1, 2):
        options = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", folder / str(number)]
        launch(options, num_processes=number, script=str(SCRIPT))
    return {number: (folder / str(number), read_by_rank(folder / str(number), number)) for number in (1, 2)}


@pytest.mark.parametrize("case", CASES)
def test_one_process_and_two_train_the_same_weights(results: dict[int, tuple[Path, list[Any]]], case: str) -> None:
    (prefix, (single,)), (prefix_of_two, (first, second)) = results[1], results[2]
    assert first[case] == second[case]
    assert len(set(single[case]["losses"])) == 7
    np.testing.assert_allclose(first[case]["losses"], single[case]["losses"], atol=1e-5)
    np.testing.assert_allclose(first[case]["logits"], single[case]["logits"], atol=1e-4)
    weights, weights_of_two = (load_file(f"{each}-{case}.safetensors") for each in (prefix, prefix_of_two))
    assert max(float((weights[name] - weights_of_two[name]).abs().max()) for name in weights) < 1e-4


def test_evaluation_counts_each_text_once(results: dict[int, tuple[Path, list[Any]]]) -> None:
    for _, of_processes in results.values():
        assert all(sorted(result[case]["ids"]) == list(range(23)) for result in of_processes for case in CASES)


def test_a_saved_model_predicts_with_windows(trained_run: Path, tiny_reviews: Path) -> None:
    expected = pq.read_table(trained_run / "predictions" / "test.parquet").to_pandas()
    with (tiny_reviews / "test.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    saved = load_model(trained_run)
    assert max(saved.collator.count_windows(len(text.split())) for text in texts) > 3
    scores = [column for column in expected.columns if column.startswith("score_")]
    np.testing.assert_allclose(saved.predict(texts, batch_size=5)[scores], expected[scores], atol=1e-6)
    saved.collator.windows = None
    assert not np.allclose(saved.predict(texts)[scores], expected[scores], atol=1e-6)


def test_an_export_is_refused(trained_run: Path, tmp_path: Path) -> None:
    for name in ("hub", "onnx", "torch", "peft"):
        with pytest.raises(ValueError, match=r"windows.*--long_texts truncate"):
            export.execute(ExportSettings(run=str(trained_run), output=str(tmp_path / name), format=name))
        assert not (tmp_path / name).exists()


@pytest.mark.slow  # a minute
def test_memory_is_bounded_for_any_number_of_windows(launch: Launch, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    write_tiny_encoder(encoder, num_layers=8)

    def measure(num_tokens: int, window_batch_size: int) -> float:
        """Return the memory in MB that a step on one text needs."""
        folder = tmp_path / f"{num_tokens}-{window_batch_size}"
        folder.mkdir()
        for split in ("train", "validation", "test"):
            length = num_tokens if split == "train" else 5
            rows = [f"{'film good plot bad ' * (length // 4)},{label}" for label in ("no", "yes")]
            (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
        output = folder / "memory"
        options = ["--encoder", encoder, "--data", folder, "--output", output]
        launch([*options, "--window_batch_size", str(window_batch_size)], num_processes=1, script=str(MEMORY_SCRIPT))
        return int(output.read_text()) / 1e6

    short, long, unbounded = measure(10_000, 16), measure(100_000, 16), measure(100_000, 10_000)
    # The states that the head reads, their gradient and a few copies grow with the text: 128 bytes per token each.
    assert long - short < 400
    # The activations of all windows at once take far more.
    assert unbounded > 5 * long
