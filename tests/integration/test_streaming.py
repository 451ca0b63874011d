"""Runs on streamed training rows: bits after a resume, several processes, labels and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research import Hook, RunConfig, RunResult, run_experiment
from research.system.errors import is_user_facing
from research.training.api import Run
from tests.builders.digests import DigestRecorder
from tests.builders.hub_repository import write_repository
from tests.builders.parquet_shards import NUM_TRAIN, write_review_shards
from tests.builders.run_files import metrics_lines_of, without_speed
from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank
from tests.launched.streaming_by_processes import NUM_STEPS
from tests.messages import collect_messages, in_order

SCRIPT = ROOT / "tests" / "launched" / "streaming_by_processes.py"
Train = Callable[..., RunResult]
"""Function that trains for 20 steps: `train(data, directory, max_steps=3)`. An epoch has 12 steps, a buffer 3."""


@pytest.fixture
def train(tiny_encoder: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Return a function that trains on streamed rows."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))

    def train_streamed(data: Path | str, directory: Path, *hooks: Hook, **settings: Any) -> RunResult:
        defaults: dict[str, Any] = {
            "encoder": str(tiny_encoder),
            "data": str(data),
            "streaming": True,
            "shuffle_buffer": 20,
            "dropout": 0.1,
            "max_length": 32,
            "batch_size": 8,
            "max_steps": 20,
            "evaluate_every": None,
            "save_every": "1st",  # after every step
            "keep": 99,
            "log_every": 1,
            "log_with": [],
            "mixed_precision": "no",
            "num_threads": 1,
            "report": False,
            "output_dir": str(directory),
        }
        return run_experiment(RunConfig(**{**defaults, **settings}), hooks=hooks)

    return train_streamed


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three shards of training rows, and files for validation and test rows; five rows are bad."""
    labels = ["negative", "positive"] * (NUM_TRAIN // 2)
    labels[::20] = ["neutral"] * 5
    return write_review_shards(tmp_path_factory.mktemp("data") / "shards", train=labels)


def checkpoint(directory: Path, step: int) -> str:
    """Return the path of a checkpoint."""
    return str(directory / "checkpoints" / f"step-{step:08d}")


def test_resumed_run_has_the_bits_of_an_uninterrupted_run(train: Train, shards: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"bad_rows": "skip", "evaluate_every": "5st", "hook": ["ema"]}
    settings["timeline"] = [{"at": "7st", "add_lora": {"r": 2, "dropout": 0.1}}]
    expected = DigestRecorder()
    result = train(shards, tmp_path / "whole", expected, **settings)
    assert result["skipped_rows"] == [
        {"split": "train", "reason": result["skipped_rows"][0]["reason"], "rows": 5},
    ]
    assert result["rows"] == {"train": NUM_TRAIN, "validation": 19, "test": 23}
    # In the middle and at the end of a buffer, at the end of the epoch, and in the second epoch.
    for step in (1, 4, 6, 12, 13, 17):
        digests, directory = DigestRecorder(), tmp_path / f"from-{step}"
        resumed = train(shards, directory, digests, resume=checkpoint(tmp_path / "whole", step), **settings)
        assert list(digests.hashes_by_step) == [*range(step + 1, 21)]
        for later_step, hashes in digests.hashes_by_step.items():
            assert hashes == expected.hashes_by_step[later_step], (step, later_step)
        for key in ("weights_sha256", "metrics", "skipped_rows", "rows_sha256"):
            assert json.dumps(resumed[key]) == json.dumps(result[key])
        assert without_speed(metrics_lines_of(directory)) == without_speed(metrics_lines_of(tmp_path / "whole"))


def test_two_processes_train_on_the_batches_of_one(
    launch: Launch, tiny_encoder: Path, shards: Path, tmp_path: Path
) -> None:
    for number in (1, 2):
        options = ["--encoder", tiny_encoder, "--data", shards, "--output", tmp_path / str(number)]
        launch(options, num_processes=number, script=str(SCRIPT))
    (single,), (first, second) = (read_by_rank(tmp_path / str(number), number) for number in (1, 2))
    assert len(single["ids"]) == NUM_STEPS
    for ids, *parts in zip(single["ids"], first["ids"], second["ids"], strict=True):
        assert sorted(ids) == sorted(parts[0] + parts[1])
        assert all(parts)
    assert first["losses"] == second["losses"]
    assert single["skipped"] == first["skipped"] == second["skipped"] == [5]
    np.testing.assert_allclose(first["losses"], single["losses"], atol=1e-5)
    np.testing.assert_allclose(first["logits"], single["logits"], atol=1e-4)


def test_a_run_that_stopped_at_a_bad_row_can_skip_it(train: Train, tmp_path: Path) -> None:
    labels = ["negative", "positive"] * (NUM_TRAIN // 2)
    labels[29] = ""  # the last row of a row group, which is not in the first buffer
    data = write_review_shards(tmp_path / "data", train=labels)
    with pytest.raises(ValueError, match=in_order("1 bad row of", "train-00000-of-00003.parquet, row 30", "bad_rows")):
        train(data, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "failed"
    with collect_messages() as lines:
        resumed = train(data, tmp_path / "run", resume="auto", bad_rows="skip")
    assert [line for line in lines if "bad_rows was 'error', now 'skip'" in line]
    assert (resumed["status"], [item["rows"] for item in resumed["skipped_rows"]]) == ("finished", [1])
    assert resumed["resumed_from"] is not None


def rewrite_row(data: Path) -> None:
    """Change one training text by one character."""
    path = data / "train-00002-of-00003.parquet"
    table = pq.read_table(path)
    texts = table.column("text").to_pylist()
    texts[3] = texts[3][:-1] + "x"
    pq.write_table(table.set_column(0, "text", pa.array(texts)), path, row_group_size=5)


def divide_differently(data: Path) -> None:
    """Write the same rows with other row groups."""
    path = data / "train-00002-of-00003.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=6)


def rename_shards(data: Path) -> None:
    """Exchange the names of two shards."""
    first, second = (data / f"train-{number:05d}-of-00003.parquet" for number in (0, 1))
    first.rename(data / "old")
    second.rename(first)
    (data / "old").rename(second)


def rename_in_order(data: Path) -> None:
    """Give all shards new names, which are in the same order."""
    for path in data.glob("train-*"):
        path.rename(path.with_name(path.name.replace("train", "training")))


@pytest.mark.parametrize("change", [rewrite_row, divide_differently, rename_shards, rename_in_order])
def test_a_resume_refuses_changed_files(train: Train, tmp_path: Path, change: Callable[[Path], None]) -> None:
    data = write_review_shards(tmp_path / "data")
    train(data, tmp_path / "run", max_steps=4)
    change(data)
    with pytest.raises(ValueError, match="the data differ from the checkpoint's"):
        train(data, tmp_path / "resumed", max_steps=4, resume=checkpoint(tmp_path / "run", 2))


def test_a_resume_accepts_the_same_files_in_another_folder(train: Train, tmp_path: Path) -> None:
    whole = train(write_review_shards(tmp_path / "data"), tmp_path / "run", max_steps=4)
    moved = write_review_shards(tmp_path / "elsewhere")
    resumed = train(moved, tmp_path / "resumed", max_steps=4, resume=checkpoint(tmp_path / "run", 2))
    assert resumed["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.parametrize(
    "changed", [{"streaming": False, "shuffle_buffer": 20_000}, {"shuffle_buffer": 32}, {"cleaning": ["lowercase"]}]
)
def test_a_resume_refuses_another_order_or_other_texts(train: Train, tmp_path: Path, changed: dict[str, Any]) -> None:
    data = write_review_shards(tmp_path / "data")
    train(data, tmp_path / "run", max_steps=2)
    with pytest.raises(ValueError, match=next(iter(changed))):
        train(data, tmp_path / "resumed", max_steps=2, resume=checkpoint(tmp_path / "run", 1), **changed)


def test_hooks_cannot_evaluate_streamed_rows(train: Train, shards: Path, tmp_path: Path) -> None:
    class EvaluatesTraining(Hook):
        def after_step(self, run: Run) -> None:
            run.evaluate("train")

    with pytest.raises(ValueError, match=in_order("streaming", "validation split")) as caught:
        train(shards, tmp_path / "run", EvaluatesTraining(), bad_rows="skip")
    assert is_user_facing(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": {"name": "cross_entropy", "class_weights": "balanced"}},
        {"objective": {"name": "cross_entropy", "class_weights": [1.0, 2.0]}},
        {"timeline": [{"at": "2st", "set_objective": {"name": "cross_entropy", "class_weights": "balanced"}}]},
    ],
)
def test_class_weights_are_refused(train: Train, shards: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=in_order("class_weights", "streaming")):
        train(shards, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_missing_splits_are_refused(train: Train, tmp_path: Path) -> None:
    data = write_review_shards(tmp_path / "data")
    (data / "test.parquet").unlink()
    with pytest.raises(ValueError, match=in_order("train, validation and test splits", "no test split")):
        train(data, tmp_path / "run")


def test_files_that_are_not_parquet_are_refused(train: Train, tiny_reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=in_order("streaming", "expects", "parquet files", "found train.csv")):
        train(tiny_reviews, tmp_path / "run")


@pytest.mark.parametrize("flags", [["--dry_run"], ["--smoke"]])
def test_scripts_accept_streaming(
    launch: Launch, tiny_encoder: Path, shards: Path, tmp_path: Path, flags: list[str]
) -> None:
    options = ["--encoder", tiny_encoder, "--data", shards, "--streaming", "true", "--bad_rows", "skip"]
    options += [
        "--max_length",
        40,
        "--template",
        "Review: {text}",
        "--allow_unknown_tokens",
        "true",
        "--output_dir",
        tmp_path / "run",
    ]
    completed = launch([*options, *flags])
    assert re.search(r"the first validation row as the model sees it", completed.stdout)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The value of --data for a data set of the Hub, in a local folder, whose number of rows is not known."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "library")
    return f"hub:{write_repository(tmp_path / 'data', 'jsonl')}"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_steps": None}, ("max_steps", "not known", "epochs")),
        ({"warmup": "0.1ep"}, ("steps, percent or examples", "not known", "0.1ep")),
        ({"evaluate_every": "1ep"}, ("steps, percent or examples", "not known", "1ep")),
        ({"schedule_interval": "epoch"}, ("schedule_interval", "not known", "epoch")),
    ],
)
def test_epochs_are_refused_if_the_number_of_rows_is_not_known(
    train: Train, repository: str, tmp_path: Path, settings: dict[str, Any], expected: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=in_order(*expected)) as caught:
        train(repository, tmp_path / "run", **settings)
    assert is_user_facing(caught.value)


def test_rows_of_unknown_number_are_read_until_the_last_step(train: Train, repository: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"report": True, "allow_unknown_tokens": True}
    with collect_messages() as lines:
        result = train(repository, tmp_path / "whole", **settings)
    assert [line for line in lines if re.search(in_order("not known", "one epoch"), line)]
    assert (result["steps"], result["epochs"]) == (20, 1.0)
    assert result["rows"] == {"validation": 20, "test": 10}
    assert (tmp_path / "whole" / "report.html").exists()
    for step in (4, 9, 20):
        directory = tmp_path / f"from-{step}"
        resumed = train(repository, directory, resume=checkpoint(tmp_path / "whole", step), **settings)
        assert resumed["weights_sha256"] == result["weights_sha256"]
        assert without_speed(metrics_lines_of(directory)) == without_speed(metrics_lines_of(tmp_path / "whole"))
