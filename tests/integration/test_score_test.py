"""A run with --score_test false leaves no test predictions, and everything that reads a run works without them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Launch


@pytest.fixture(scope="module")
def unscored_run(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a run with a report that has not predicted its test rows."""
    directory = tmp_path_factory.mktemp("unscored") / "run"
    flags = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--max_length", "16", "--batch_size", "8"]
    flags += ["--max_steps", "2", "--log_with", "[]", "--score_test", "false", "--output_dir", directory]
    launch([*flags, "--calibrate", "true", "--save_every", "1st"])
    return directory


def test_run_has_no_test_metrics_and_no_test_predictions(unscored_run: Path) -> None:
    result = json.loads((unscored_run / "result.json").read_text())
    assert set(result["metrics"]) == {"validation"}
    assert result["unlabelled"] == []
    assert "test" not in {path.stem for path in (unscored_run / "predictions").iterdir()}
    assert (unscored_run / "report.html").exists()
    assert "temperature" in result["calibration"]


def test_readers_of_a_run_do_without_test_metrics(
    unscored_run: Path, tiny_reviews: Path, tmp_path: Path, launch: Launch
) -> None:
    run = shutil.copytree(unscored_run, tmp_path / "run")
    launch([run, "--temperature", "true"], script="calibrate.py")
    assert "test" not in json.loads((run / "result.json").read_text())["metrics"]
    launch([run, "--data", tiny_reviews / "test.csv", "--output", tmp_path / "rows.csv"], script="predict.py")
    assert (tmp_path / "rows.csv").read_text().count("\n") == 24  # with the header
    launch([run, "--data", tiny_reviews, "--split", "test", "--bootstrap", "10"], script="evaluate.py")
    launch([run, "--format", "hub", "--output", tmp_path / "exported"], script="export.py")
    assert "accuracy" in (tmp_path / "exported" / "README.md").read_text()
    launch([f"{run}@step-1", f"{run}@step-2", "--output", tmp_path / "soup"], script="soup.py")


def test_interruption_by_a_hook_on_one_process_ends_all_with_a_checkpoint(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    plugin = tmp_path / "interrupting.py"
    plugin.write_text(
        "from research import Hook, register_hook\n\n"
        '@register_hook("interrupting")\n'
        "class Interrupting(Hook):\n"
        '    """Interrupt the run after step 2 on the last process."""\n\n'
        "    def after_step(self, run):\n"
        "        last = run.accelerator.process_index == run.accelerator.num_processes - 1\n"
        "        if run.clock.step == 2 and last:\n"
        '            run.interrupt("The hook")\n'
    )
    flags = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--max_length", "16", "--batch_size", "8"]
    flags += ["--epochs", "1", "--log_with", "[]", "--report", "false", "--evaluate_every", "null"]
    interrupted = ["--plugin", plugin, "--hook", "interrupting"]
    for num_processes, status in ((0, 143), (2, 1)):  # 143: as after SIGTERM; 1: the launcher's
        directory = tmp_path / f"run-{num_processes}"
        done = launch(
            [*flags, *interrupted, "--output_dir", directory], num_processes=num_processes, check=False, cwd=tmp_path
        )
        assert done.returncode == status
        assert "The hook ended the run after step 2 of 6" in done.stderr
        assert "Traceback" not in done.stderr or num_processes
        assert json.loads((directory / "result.json").read_text())["status"] == "interrupted"
        launch(
            [*flags, *interrupted, "--output_dir", directory, "--resume", "auto"],
            num_processes=num_processes,
            cwd=tmp_path,
        )
        assert json.loads((directory / "result.json").read_text())["status"] == "finished"
