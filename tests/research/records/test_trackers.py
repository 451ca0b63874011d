"""Runs log to TensorBoard; unknown trackers are refused."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from heads.registry import UnknownNameError
from research.learning.predictions import Predictions
from research.records.trackers import (
    TensorBoardErrorFilter,
    check_trackers,
    start_trackers,
    track_edits,
    track_final_metrics,
    track_values,
)
from research.settings.config import RunConfig
from research.training.accelerator import close_trackers, create_accelerator


def test_check_trackers_refuses_unknown_trackers() -> None:
    check_trackers(["tensorboard"])
    with pytest.raises(UnknownNameError, match=r"'tensorbord'.*'tensorboard'"):
        check_trackers(["tensorbord"])


def predictions_with(metrics: dict[str, float]) -> Predictions:
    logits = np.zeros((1, 2), np.float32)
    return Predictions(ids=np.arange(1), logits=logits, labels=None, loss=math.nan, metrics=metrics)


def test_resumed_run_continues_its_curves_in_tensorboard(tmp_path: Path) -> None:
    config = RunConfig(log_with=["tensorboard"], mixed_precision="no", num_threads=1)
    for steps_before, last_step in ((0, 4), (2, 3)):  # interrupted after step 4, and resumed from step 2
        accelerator = create_accelerator(config, str(tmp_path))
        start_trackers(accelerator, tmp_path, config, steps_before)
        for step in range(steps_before + 1, last_step + 1):
            track_values(accelerator, {"loss": step + steps_before / 10}, step)  # after the resume, 0.2 more
        track_edits(accelerator, "**freeze**", last_step)
        track_final_metrics(accelerator, "test", predictions_with({"accuracy": 0.5, "auroc": math.nan}), last_step)
        # Ignored, since validation metrics are logged during training.
        track_final_metrics(accelerator, "validation", predictions_with({"accuracy": 0.5}), last_step)
        close_trackers(accelerator)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (1, 1.0),
        (2, 2.0),
        (3, pytest.approx(3.2)),
    ]
    assert set(events.Tags()["scalars"]) == {"loss", "edits/applied", "test/accuracy"}
    assert [event.step for event in events.Scalars("edits/applied")] == [3]
    text = events.Tensors("edits/text_summary")[-1]
    assert text.tensor_proto.string_val[0] == b"**freeze**"
    assert b"num_threads: 1" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_tensorboard_error_filter_hides_only_os_errors_of_tensorboard_threads() -> None:
    reported: list[threading.ExceptHookArgs] = []
    error_filter = TensorBoardErrorFilter(reported.append)
    writer_thread = type("Writer", (threading.Thread,), {"__module__": "tensorboard.summary"})()
    other_thread = threading.Thread()
    for thread, error in ((writer_thread, OSError()), (writer_thread, ValueError()), (other_thread, OSError())):
        error_filter(threading.ExceptHookArgs((type(error), error, None, thread)))
    assert [(args.thread, type(args.exc_value)) for args in reported] == [
        (writer_thread, ValueError),
        (other_thread, OSError),
    ]
