"""Failures during a run are reported and leave a consistent run directory."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from safetensors.torch import load_file

from research import Hook, RunConfig, RunResult, run_experiment
from research.data.batches.batch import Batch
from research.training.api import Run
from research.training.checkpoint.find import CheckpointError

Train = Callable[..., RunResult]


@pytest.fixture
def train(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Train:
    """A function that trains for three steps in tmp_path/run, in this process: `train([hook], lr=0.1)`."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    settings: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "output_dir": str(tmp_path / "run"),
        "max_length": 64,
        "batch_size": 8,
        "max_steps": 3,
        "mixed_precision": "no",
        "num_threads": 1,
        "report": False,
    }

    def run(hooks: list[Hook], **changed: Any) -> RunResult:
        return run_experiment(RunConfig(**{**settings, **changed}), hooks=hooks)

    return run


class ScaleGradientsOnCPU(Hook):
    """Wrap the optimizer with a gradient scaler on the CPU, as accelerate does for fp16 on a GPU.

    Args:
        nan_in_step_2: whether to make the loss of step 2 NaN.
    """

    def __init__(self, *, nan_in_step_2: bool) -> None:
        self.nan_in_step_2 = nan_in_step_2

    def on_train_start(self, run: Run) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
        run.accelerator.scaler = scaler
        run.accelerator.native_amp = True
        run.accelerator.state._mixed_precision = "fp16"
        run.optimizer = AcceleratedOptimizer(run.optimizer.optimizer, device_placement=False, scaler=scaler)  # type: ignore[attr-defined]

    def on_batch(self, run: Run, batch: Batch) -> Batch | None:
        if not self.nan_in_step_2 or run.clock.step != 1:  # the clock counts finished steps: 1 during step 2
            return None
        weights = batch.weights.clone()
        weights[0] = float("nan")
        return dataclasses.replace(batch, weights=weights)


@pytest.mark.parametrize("nan_in_step_2", [False, True])
def test_step_with_nonfinite_loss_is_skipped_if_gradients_are_scaled(
    train: Train, tmp_path: Path, nan_in_step_2: bool
) -> None:
    result = train([ScaleGradientsOnCPU(nan_in_step_2=nan_in_step_2)], on_nonfinite="skip", log_every=1)
    assert (result["status"], result["skipped_steps"]) == ("finished", int(nan_in_step_2))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] is None for line in lines] == [False, nan_in_step_2, False]


class HookWithUnreadableState(Hook):
    """A hook whose state contains a NumPy number, which a resume could not read."""

    def state_dict(self) -> dict[str, Any]:
        return {"best": np.float64(0.5)}


def test_checkpoint_with_unreadable_hook_state_is_not_written(train: Train, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state_dict of .*HookWithUnreadableState\b"):
        train([HookWithUnreadableState()], save_every="1st")  # after every step
    assert not list((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "failed"


class FailsAtStart(Hook):
    def on_train_start(self, run: Run) -> None:
        raise RuntimeError("an error of the hook")


def test_error_before_the_first_step_is_raised_unchanged_and_leaves_no_files(train: Train, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()  # like a mount point, which exists before the run
    with pytest.raises(RuntimeError, match="an error of the hook"):
        train([FailsAtStart()], profile=True)
    assert not list((tmp_path / "run").iterdir())
    (tmp_path / "run").rmdir()
    with pytest.raises(RuntimeError, match="an error of the hook"):
        train([FailsAtStart()], resume="auto")
    assert not (tmp_path / "run").exists()


class RecordsErrors(Hook):
    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def on_exception(self, run: Run, error: BaseException) -> None:
        self.errors.append(error)


class FailsInOnException(Hook):
    def on_exception(self, run: Run, error: BaseException) -> None:
        raise KeyError("second error")


def test_all_hooks_are_notified_of_an_error(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = RecordsErrors()
    with pytest.raises(RuntimeError, match="an error of the hook") as error_info:
        train([FailsInOnException(), recorder, FailsAtStart()])
    assert recorder.errors == [error_info.value]
    assert "Warning: hook 'FailsInOnException' (on_exception): KeyError: 'second error'" in capsys.readouterr().out


def test_last_model_is_tested_if_the_best_metric_is_never_defined(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # All validation rows have the same label, so auroc is undefined.
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "validation", "test"):
        lines = [f"film {split} {row},{'good' if split == 'validation' or row % 2 else 'bad'}" for row in range(24)]
        (data / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    result = train([], data=str(data), best_metric="auroc")
    assert (result["status"], result["tested"]) == ("finished", "last")
    assert re.search(r"\bauroc was not defined .*last model", capsys.readouterr().out)


def test_init_from_a_checkpoint_continues_with_its_weights_and_requires_the_same_labels(
    train: Train, tmp_path: Path
) -> None:
    train([], save_every="2st")
    checkpoint = str(tmp_path / "run" / "checkpoints" / "step-00000002")
    tiny_lr = {"lr": 1e-12, "head_lr": 1e-12, "max_steps": 1}
    continued = train([], init_from=checkpoint, output_dir=str(tmp_path / "continued"), seed=5, **tiny_lr)
    assert continued["steps"] == 1
    weights = load_file(Path(checkpoint) / "model.safetensors")
    trained = load_file(tmp_path / "continued" / "model" / "model.safetensors")
    assert all(torch.allclose(trained[name], weights[name], atol=1e-9) for name in weights)

    data = tmp_path / "different_labels"
    data.mkdir()
    rows = "".join(f"film {row},{'yes' if row % 2 else 'no'}\n" for row in range(60))
    (data / "train.csv").write_text(f"text,label\n{rows}")
    with pytest.raises(ValueError, match=r"labels negative, positive; .*no, yes"):
        train([], data=str(data), init_from=checkpoint, output_dir=str(tmp_path / "refused"))


def test_best_model_is_tested_after_a_resume_in_another_directory(train: Train, tmp_path: Path) -> None:
    # Evaluations are made after every step.
    settings = {"save_every": "2st", "best_metric": "accuracy", "evaluate_every": "1st"}
    train([], **settings)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    result = train([], output_dir=str(tmp_path / "moved"), resume=str(checkpoint), **settings)
    assert (result["status"], result["tested"]) == ("finished", "best")
