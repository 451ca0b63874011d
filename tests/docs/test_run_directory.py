"""The page of the run directory lists exactly the files, fields and columns that real runs write."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from research.settings.run_files import MODEL_REMOVED, TRACKER_RUNS
from tests.conftest import Launch
from tests.docs.blocks import DOCS
from tests.docs.tables import compare_names, described_names

PAGE = DOCS / "reference" / "run-directory.md"
LAST_CHECKPOINT = "step-00000012"  # the run takes 12 steps


@pytest.fixture(scope="module")
def finished_run(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a run that wrote every kind of file, except those of external trackers."""
    folder = tmp_path_factory.mktemp("run")
    arguments: list[object] = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output_dir", folder / "run"]
    # "2st" means every 2 steps, and "at: 1st" after step 1.
    arguments += ["--batch_size", 8, "--max_length", 32, "--max_steps", 12, "--evaluate_every", "2st", "--log_every", 1]
    arguments += ["--save_every", "2st", "--best_metric", "accuracy", "--profile", "--num_threads", 1]
    arguments += ["--timeline", "{at: 1st, freeze: encoder.embeddings}"]
    # Any loss above the mean of the two previous losses counts as a spike.
    arguments += ["--hook", "loss_spike_guard", "--hook.loss_spike_guard.threshold", 0.001]
    arguments += ["--hook.loss_spike_guard.window", 2]
    arguments += ["--calibrate", "true"]
    launch(arguments)
    evaluation = [folder / "run", "--data", tiny_reviews, "--split", "test", "--bootstrap", 10]
    launch(evaluation, script="evaluate.py")
    return folder / "run"


@pytest.fixture(scope="module")
def run_study(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """A function that runs a small study with the given flags, and returns its directory."""

    def run(*flags: object) -> Path:
        folder = tmp_path_factory.mktemp("study")
        data = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--freeze", "encoder", "--smoke"]
        launch([*flags, "--name", "s", *data], script="ablate.py", cwd=folder)
        return folder / "runs" / "s"

    return run


@pytest.fixture(scope="module")
def study_directory(run_study: Callable[..., Path]) -> Path:
    """The directory of a study with two trials."""
    return run_study("--heads", "linear,mean", "--seeds", 0)


@pytest.fixture(scope="module")
def search_directory(run_study: Callable[..., Path]) -> Path:
    """The directory of a search with two trials and a confirmation."""
    return run_study("--search", "head=linear,mean", "--trials", 2, "--confirm", "1x1")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def keys_of(objects: Iterable[Mapping[str, Any]]) -> set[str]:
    return {key for mapping in objects for key in mapping}


def names_in(folder: Path) -> set[str]:
    return {f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()}


def check_described(anchor: str, header: str, actual_names: Iterable[str], *, absent: tuple[str, ...] = ()) -> None:
    """Check that a table describes exactly the actual names and the names in `absent`, which this run does not have."""
    missing, undescribed = compare_names(described_names(PAGE, anchor, header), actual_names)
    assert (missing, undescribed) == ([*absent], []), f"{PAGE.name}, section {anchor}"


def test_files_of_a_run_are_described(finished_run: Path) -> None:
    check_described("files", "file", names_in(finished_run), absent=(MODEL_REMOVED,))
    # Only runs with external trackers have this file.
    assert TRACKER_RUNS in PAGE.read_text(encoding="utf-8")


def test_fields_of_metrics_log_are_described(finished_run: Path) -> None:
    check_described("metricsjsonl", "field", keys_of(read_json_lines(finished_run / "metrics.jsonl")))


def test_fields_of_journal_are_described(finished_run: Path) -> None:
    check_described("journaljsonl", "field", keys_of(read_json_lines(finished_run / "journal.jsonl")))


def test_fields_of_result_are_described(finished_run: Path) -> None:
    result = json.loads((finished_run / "result.json").read_text(encoding="utf-8"))
    check_described("resultjson", "field", result, absent=("error",))  # failed runs have it


def test_fields_of_the_calibration_are_described(finished_run: Path) -> None:
    result = json.loads((finished_run / "result.json").read_text(encoding="utf-8"))
    check_described("calibration", "field", result["calibration"])


def test_columns_of_predictions_are_described(finished_run: Path) -> None:
    for split in ("validation", "test"):
        check_described(
            "predictions", "column", pq.read_schema(finished_run / "predictions" / f"{split}.parquet").names
        )


def test_files_of_models_are_described(finished_run: Path) -> None:
    for folder in ("model", "best"):
        check_described("models", "file", names_in(finished_run / folder))


def test_files_of_checkpoints_are_described(finished_run: Path) -> None:
    checkpoint = finished_run / "checkpoints" / LAST_CHECKPOINT
    only_with_shard = {"hooks.safetensors", "model-0.safetensors", "model.parts.json"}
    check_described("checkpoints", "file", names_in(checkpoint) | only_with_shard)
    assert names_in(checkpoint / "kept") == {"metrics.jsonl", "best/"}


def test_files_of_a_study_are_described(study_directory: Path) -> None:
    only_if_submitted = {"submitted/"}
    check_described("study", "file", names_in(study_directory) | only_if_submitted)


def test_columns_of_results_csv_are_described(study_directory: Path) -> None:
    with (study_directory / "results.csv").open(encoding="utf-8", newline="") as file:
        check_described("resultscsv", "column", next(csv.reader(file)))


def test_files_and_columns_of_a_search_are_described(search_directory: Path, study_directory: Path) -> None:
    missing = names_in(study_directory) - names_in(search_directory)
    assert missing == {"report.md", "comparisons.csv", "tensorboard/"}
    assert names_in(search_directory) - names_in(study_directory) == {"confirm/"}
    section = PAGE.read_text(encoding="utf-8").partition("## Files of a search")[2]
    assert all(f"`{name}`" in section for name in (*missing, "confirm/"))
    with (search_directory / "results.csv").open(encoding="utf-8", newline="") as file:
        columns = [name.replace("search/head", "search/<setting>") for name in next(csv.reader(file))]
    check_described("search", "column", [name.replace("/accuracy", "/<metric>") for name in columns])


def test_fields_of_trial_logs_are_described(study_directory: Path) -> None:
    events = [line for path in (study_directory / "logs").glob("*.jsonl") for line in read_json_lines(path)]
    check_described("logs", "field", keys_of(events))


def test_compare_names_returns_missing_and_undescribed_names() -> None:
    actual_names = ["step", "validation/loss", "test/loss"]
    assert compare_names(["step", "validation/<metric>", "epoch"], actual_names) == (["epoch"], ["test/loss"])
