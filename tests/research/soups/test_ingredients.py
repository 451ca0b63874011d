"""Models that do not fit are refused before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from research.soups.ingredients import check_fit, find_ingredient, seeds_of_heads
from tests.conftest import write_tiny_encoder
from tests.research.soups.conftest import TrainRun


def check(*names: Path | str) -> None:
    check_fit([find_ingredient(str(name)) for name in names])


def test_runs_that_differ_in_seed_and_dropout_fit(runs: list[Path]) -> None:
    check(*runs, f"{runs[0]}@step-2", f"{runs[0]}@1", runs[1] / "model")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"head": "mean"}, r"head differs: 'mean' instead of 'linear'"),
        ({"max_length": 12}, r"maximum length differs: 12 instead of 16"),
        ({"truncation": "tail"}, r"truncation differs: 'tail' instead of"),
        ({"limit_train": 20}, r"rows differ"),
        ({"cleaning": ["lowercase"]}, r"inputs differ"),
        ({"timeline": [{"at": "1st", "drop_layers": "encoder.layer[0]"}]}, r"shapes of the weights differ"),
        ({"peft": "lora"}, r"adapters differ"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_models_that_differ_are_refused(
    runs: list[Path], train_run: TrainRun, settings: dict[str, Any], expected: str
) -> None:
    other = train_run("other", **settings)
    with pytest.raises(ValueError, match=expected) as error:
        check(runs[0], runs[1], other)
    assert str(other) in str(error.value)
    assert "\n" not in str(error.value)


def test_another_encoder_is_refused(runs: list[Path], train_run: TrainRun, tmp_path: Path) -> None:
    write_tiny_encoder(tmp_path / "encoder")
    with pytest.raises(ValueError, match=r"encoder differs"):
        check(runs[0], train_run("other", encoder=tmp_path / "encoder"))


def test_models_that_started_from_different_saved_models_are_refused(runs: list[Path], train_run: TrainRun) -> None:
    other = train_run("other", init_from=str(runs[1]))
    with pytest.raises(ValueError, match=r"initial model \(--init_from\) differs"):
        check(runs[0], other)


def test_models_with_adapters_are_refused(train_run: TrainRun) -> None:
    first, second = (train_run("lora", peft="lora", seed=seed) for seed in (0, 1))
    with pytest.raises(ValueError, match=r"adapters.*merge_adapters"):
        check(first, second)


def test_checkpoint_from_before_an_edit_of_the_model_is_refused(train_run: TrainRun) -> None:
    timeline = [{"at": "1st", "freeze": "encoder"}, {"at": "2st", "replace_head": "mean"}]
    run = train_run("edited", timeline=timeline, save_every="1st", keep=9)
    with pytest.raises(ValueError, match=r"step-1 .*replace_head .*step 2"):
        find_ingredient(f"{run}@step-1")
    assert find_ingredient(f"{run}@step-3").is_checkpoint


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{run}@step-7", r"no checkpoint of step 7.* 1, 2, 3"),
        ("{run}/predictions@step-2", r"not a run directory"),
        ("{run}/none", r"There is no folder"),
    ],
)
def test_names_without_a_model_are_refused(runs: list[Path], name: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        find_ingredient(name.format(run=runs[0]))


def test_model_outside_a_run_directory_is_refused(runs: list[Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0] / "model", tmp_path / "alone")
    with pytest.raises(ValueError, match="not in a run directory"):
        find_ingredient(str(tmp_path / "alone"))


def test_run_that_failed_is_refused(runs: list[Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs[1], tmp_path / "run")
    (run / "result.json").write_text(json.dumps({"status": "failed", "error": "no space"}))
    with pytest.raises(ValueError, match="not finished"):
        find_ingredient(str(run))


def test_damaged_checkpoint_is_refused(runs: list[Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    with (run / "checkpoints" / "step-00000002" / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"step-2 cannot be used"):
        find_ingredient(f"{run}@step-2")


def test_seeds_of_heads_are_those_of_the_random_weights(runs: list[Path], train_run: TrainRun) -> None:
    assert seeds_of_heads([find_ingredient(str(run)) for run in runs]) == [0, 1, 2]
    assert seeds_of_heads([find_ingredient(f"{runs[0]}@{step}") for step in (1, 2)]) == [0]
    started = train_run("started", init_from=str(runs[0]))
    assert seeds_of_heads([find_ingredient(str(started))]) == []
