"""soup.py with real runs: the averaged model, its results, and the folder that it writes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from research import load_model
from research.inference import evaluate
from research.soups.main import execute, main
from research.soups.settings import SoupSettings
from tests.builders.studies import FAST_SETTINGS
from tests.conftest import Launch
from tests.research.soups.conftest import TrainRun


@pytest.fixture(autouse=True)
def session_cache(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the cache of the test session."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))


def make(*names: Path | str, output: Path, **settings: Any) -> dict[str, Any]:
    """Make a soup in this process, and return the content of soup.json."""
    names_as_text = [str(name) for name in names]
    assert execute(SoupSettings(run=names_as_text, output=str(output), mixed_precision="no", **settings)) == 0
    result: dict[str, Any] = json.loads((output / "soup.json").read_text())
    return result


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_uniform_soup_is_the_mean_of_the_saved_weights(runs: list[Path], tmp_path: Path) -> None:
    result = make(*runs, output=tmp_path / "soup", uniform=True)
    ingredients, soup = [weights_in(run / "model") for run in runs], weights_in(tmp_path / "soup" / "model")
    assert soup.keys() == ingredients[0].keys()
    for name, value in soup.items():
        torch.testing.assert_close(value, torch.stack([each[name] for each in ingredients]).mean(dim=0))
    assert result["kind"] == "uniform"
    assert [item["kept"] for item in result["ingredients"]] == [True] * 3


def test_single_values_are_the_validation_metrics_of_the_runs(runs: list[Path], tmp_path: Path) -> None:
    result = make(*runs, output=tmp_path / "soup", metric="log_loss")
    values = {item["name"]: item["value"] for item in result["ingredients"]}
    for run in runs:
        metrics = json.loads((run / "result.json").read_text())["metrics"]["validation"]
        assert values[str(run)] == pytest.approx(metrics["log_loss"], abs=1e-6)
    assert list(values.values()) == sorted(values.values()), "expected the best model first"


def test_greedy_soup_rejects_a_bad_model(runs: list[Path], tmp_path: Path) -> None:
    bad = shutil.copytree(runs[1], tmp_path / "bad")
    weights = weights_in(bad / "model")
    weights["head.out.bias"] = torch.tensor([40.0, -40.0])  # predicts one label with certainty
    save_file(weights, bad / "model" / "model.safetensors", {"format": "pt"})
    result = make(bad, runs[0], f"{runs[0]}@step-2", output=tmp_path / "soup", metric="log_loss")
    kept = {item["name"]: item["kept"] for item in result["ingredients"]}
    assert not kept[str(bad)]
    assert kept[result["ingredients"][0]["name"]]
    names = [name for name, is_kept in kept.items() if is_kept]
    folders = {
        str(runs[0]): runs[0] / "model",
        f"{runs[0]}@step-2": runs[0] / "checkpoints" / "step-00000002",
    }
    for name, value in weights_in(tmp_path / "soup" / "model").items():
        expected = torch.stack([weights_in(folders[each])[name] for each in names]).mean(dim=0)
        torch.testing.assert_close(value, expected)


def test_soup_of_equal_models_is_that_model(runs: list[Path], tmp_path: Path) -> None:
    result = make(runs[1], shutil.copytree(runs[1], tmp_path / "copy"), output=tmp_path / "soup")
    run_result = json.loads((runs[1] / "result.json").read_text())
    assert result["weights_sha256"] == run_result["weights_sha256"]
    for split, metrics in result["metrics"].items():
        expected = {name: run_result["metrics"][split][name] for name in metrics}
        assert metrics == pytest.approx(expected, abs=1e-6)
    ours, theirs = (
        pq.read_table(folder / "predictions" / "test.parquet").to_pandas() for folder in (tmp_path / "soup", runs[1])
    )
    assert list(ours.columns) == list(theirs.columns)
    assert ours["prediction"].tolist() == theirs["prediction"].tolist()


def test_temperatures_of_the_models_are_not_averaged(runs: list[Path], train_run: TrainRun, tmp_path: Path) -> None:
    calibrated = train_run("calibrated", seed=1, calibrate=True)
    assert load_model(calibrated).model.config.calibration_temperature != 1
    result = make(runs[1], calibrated, output=tmp_path / "soup")
    # Without the temperature, both models are the same.
    soup = load_model(tmp_path / "soup").model
    assert soup.config.calibration_temperature == 1
    torch.testing.assert_close(soup.logit_scale, torch.ones(2))
    assert [item["kept"] for item in result["ingredients"]] == [True, True]
    for name, value in weights_in(tmp_path / "soup" / "model").items():
        torch.testing.assert_close(value, weights_in(runs[1] / "model")[name])


def test_soup_predicts_and_is_evaluated_like_any_model(runs: list[Path], tiny_reviews: Path, tmp_path: Path) -> None:
    result = make(*runs, output=tmp_path / "soup")
    assert load_model(tmp_path / "soup").predict(["a good film"])["prediction"].isin(["positive", "negative"]).all()
    settings: dict[str, Any] = {
        "split": "test",
        "output": str(tmp_path / "evaluation"),
        "mixed_precision": "no",
        "bootstrap": 0,
    }
    evaluate.execute(evaluate.EvaluateSettings(run=str(tmp_path / "soup"), data=str(tiny_reviews), **settings))
    metrics = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())["metrics"]
    assert metrics == pytest.approx(result["metrics"]["test"], abs=1e-6)


def test_changed_rows_are_refused(train_run: TrainRun, tiny_reviews: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tiny_reviews, tmp_path / "data")
    first, second = (train_run("run", data=data, seed=seed) for seed in (0, 1))
    with (data / "validation.csv").open("a") as file:
        file.write("one more film,positive\n")
    with pytest.raises(ValueError, match=r"rows of .*data have changed"):
        make(first, second, output=tmp_path / "soup")
    assert not (tmp_path / "soup").exists()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"metric": "acuracy"}, r"Unknown metric 'acuracy'\. Did you mean 'accuracy'"),
        ({"study": "runs/study"}, r"--study and --arm together"),
    ],
)
def test_wrong_settings_are_refused(runs: list[Path], tmp_path: Path, settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make(*runs[:2], output=tmp_path / "soup", **settings)


def test_fewer_than_two_models_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"two models .*got 1"):
        make(runs[0], output=tmp_path / "soup")
    with pytest.raises(ValueError, match=r"given twice"):
        make(runs[0], runs[0] / "model", output=tmp_path / "soup")


def test_existing_folder_is_only_replaced_if_it_is_a_soup(runs: list[Path], tmp_path: Path) -> None:
    make(*runs[:2], output=tmp_path / "soup")
    with pytest.raises(ValueError, match=r"exists.*--overwrite"):
        make(*runs[:2], output=tmp_path / "soup")
    result = make(*runs[1:], output=tmp_path / "soup", overwrite=True)
    assert {item["name"] for item in result["ingredients"]} == {str(run) for run in runs[1:]}
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"not an earlier soup"):
        make(*runs[:2], output=other, overwrite=True)


def test_models_of_an_arm_are_averaged(tiny_encoder: Path, tiny_reviews: Path, launch: Launch, tmp_path: Path) -> None:
    spec = {name: value for name, value in FAST_SETTINGS.items() if name != "freeze"}
    flags = [f"--{name}={value}" for name, value in spec.items() if name != "log_with"]
    settings = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--heads", "linear,mean", "--seeds", "0,1"]
    launch([*settings, *flags, "--name", "study", "--keep_models", "all"], script="ablate.py", cwd=tmp_path)
    study = tmp_path / "runs" / "study"
    result = make(output=tmp_path / "soup", study=str(study), arm="mean")
    configs = [json.loads((Path(item["name"]) / "model" / "config.json").read_text()) for item in result["ingredients"]]
    assert [config["head"] for config in configs] == ["mean", "mean"]
    with pytest.raises(ValueError, match=r"Unknown arm 'men'\. Did you mean 'mean'"):
        make(output=tmp_path / "other", study=str(study), arm="men")
    with pytest.raises(ValueError, match=r"no .*results\.csv.* finished study"):
        make(output=tmp_path / "other", study=str(tmp_path), arm="mean")
    launch([*settings, *flags, "--name", "study", "--keep_models", "best"], script="ablate.py", cwd=tmp_path)
    with pytest.raises(ValueError, match="--keep_models all"):
        make(output=tmp_path / "other", study=str(study), arm="mean")


def test_command_line_takes_several_models_and_prints_a_table(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(runs[0]), f"{runs[0]}@step-1", "--output", str(tmp_path / "soup"), "--uniform", "true"]
    monkeypatch.setattr(sys, "argv", ["soup.py", *arguments])
    assert main() == 0
    printed = capsys.readouterr().out
    for text in ("uniform soup", "average with it", "accuracy", "test (23 rows)"):
        assert text in printed
    monkeypatch.setattr(sys, "argv", ["soup.py", str(runs[0]), "--output", str(tmp_path / "new")])
    assert main() == 1
    assert "Expected at least two models" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"hook": ["swa"]}, "the hook swa"),
        ({"optimizer": "schedule_free_adamw", "schedule": "constant"}, "the optimizer schedule_free_adamw"),
        (
            {"timeline": [{"at": "1st", "set_optimizer": "schedule_free_adamw"}], "schedule": "constant"},
            "the optimizer schedule_free_adamw",
        ),
    ],
    ids=["hook", "optimizer", "edit"],
)
def test_checkpoint_whose_weights_are_not_evaluated_is_refused(
    train_run: TrainRun, tmp_path: Path, settings: dict[str, Any], cause: str
) -> None:
    run = train_run("averaged", save_every="1st", keep=9, **settings)
    with pytest.raises(ValueError, match=rf"@step-3 .*{cause}"):
        make(f"{run}@step-3", run, output=tmp_path / "soup")


def test_checkpoint_before_a_change_of_the_optimizer_is_averaged(train_run: TrainRun, tmp_path: Path) -> None:
    run = train_run("changed", save_every="1st", keep=9, timeline=[{"at": "2st", "set_optimizer": "sgd"}])
    make(f"{run}@step-1", run, output=tmp_path / "soup", uniform=True)
