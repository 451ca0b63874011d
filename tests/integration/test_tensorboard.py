"""Runs log curves, settings, edits and images to TensorBoard."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from research.system.plain_text import for_markdown
from tests.conftest import Launch


def read_events(run: Path) -> EventAccumulator:
    """Return the events that a run logged to TensorBoard."""
    (file,) = (run / "tensorboard").iterdir()
    events = EventAccumulator(str(file))
    events.Reload()
    return events


def test_run_logs_curves_settings_edits_and_images(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    options = ["--max_length", "64", "--batch_size", "8", "--log_every", "2", "--output_dir", tmp_path / "run"]
    options += ["--timeline", "{at: 3st, scale_lr: 0.5}", "--freeze", "encoder.layer[0]"]
    launch(["--encoder", tiny_encoder, "--data", tiny_reviews, *options])
    events = read_events(tmp_path / "run")
    tags = events.Tags()
    assert {"loss", "gradient_norm", "learning_rate/head", "validation/accuracy", "test/accuracy"} <= set(
        tags["scalars"]
    )
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 6]
    assert [event.step for event in events.Scalars("validation/accuracy")] == [3, 6]
    assert {"test/confusion_matrix", "test/precision_recall", "validation/confusion_matrix"} <= set(tags["images"])
    assert "max_length: 64" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert [event.step for event in events.Scalars("edits/applied")] == [0, 3]
    first, second = (event.tensor_proto.string_val[0].decode() for event in events.Tensors("edits/text_summary"))
    for text, request, source in (
        (first, "freeze(modules=['encoder.layer[0]'])", "--freeze"),
        (second, "scale_lr(factor=0.5, modules='all')", "timeline entry 1"),
    ):
        assert for_markdown(request) in text
        assert source in text


def test_run_without_a_report_logs_no_images(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ("--max_steps", "1", "--batch_size", "8", "--max_length", "64", "--report", "false")
    launch(["--encoder", tiny_encoder, "--data", tiny_reviews, *options, "--output_dir", run])
    tags = read_events(run).Tags()
    assert "test/accuracy" in tags["scalars"]
    assert tags["images"] == []
    assert (run / "predictions" / "test.parquet").exists()
    assert not (run / "report.html").exists()
