"""A run that is killed while it saves in the background continues from the previous checkpoint."""

from __future__ import annotations

from pathlib import Path

from tests.builders.faulty_runs import RunResults, Train, checkpoint_names, read_run_results
from tests.builders.run_files import metrics_lines_of
from tests.conftest import Start

HOLDING_PLUGIN = """
import sys, threading, time

def hold(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".step-00000004.writing/optimizer.safetensors"):
        assert threading.current_thread() is not threading.main_thread()
        time.sleep(1800)  # until the process is killed

sys.addaudithook(hold)
"""
"""A plugin that stops the save of step 4 before it writes the state of the optimizer."""


def test_run_that_is_killed_during_a_save_in_the_background_can_be_resumed(
    start: Start, train: Train, flags: list[str], uninterrupted_results: RunResults, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (tmp_path / "holding.py").write_text(HOLDING_PLUGIN)
    command = start([*flags, f"--plugin={tmp_path / 'holding.py'}", "--save_in_background=true", f"--output_dir={run}"])
    lines = run / "metrics.jsonl"
    command.wait_for("step 5", lambda: lines.exists() and len(lines.read_text().splitlines()) >= 5)
    command.kill()
    assert metrics_lines_of(run)[4]["step"] == 5, "training did not go on"
    assert checkpoint_names(run) == [".step-00000004.writing", "step-00000002"]
    assert (run / "checkpoints" / ".step-00000004.writing" / "model.safetensors").exists()
    train(run, resume="auto", save_in_background=True)
    assert checkpoint_names(run) == ["step-00000004", "step-00000006"]
    assert read_run_results(run) == uninterrupted_results
