"""verify_resume.py detects runs that do not resume exactly, and reports the differences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch

SHORT_RUN_FLAGS = ("--max_length=32", "--batch_size=8", "--mixed_precision=no", "--num_threads=1", "--report=false")


@pytest.fixture
def flags(tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> list[str]:
    """Flags for an uninterrupted run and a run that is killed and resumed once (a cut), both in one folder."""
    data_flags = [f"--encoder={tiny_encoder}", f"--data={tiny_reviews}"]
    return [*data_flags, *SHORT_RUN_FLAGS, "--cuts=1", f"--folder={tmp_path / 'both'}"]


def test_exact_resume_is_reported(launch: Launch, flags: list[str]) -> None:
    config = ["--accelerate_config", str(ROOT / "accelerate_configs" / "cpu_2_processes.yaml")]
    timeline = ["--hook", "ema", "--timeline", "{at: 2st, replace_head: gru}"]
    done = launch([*flags, *config, *timeline, "--cut_seed", "1"], script="verify_resume.py")
    assert "none" in done.stdout  # in the column "first difference"
    assert re.search(r"same weights, metrics\.jsonl, journal\.jsonl and predictions", done.stdout)


@pytest.mark.parametrize(
    ("changes_weights", "expected_text"), [("true", "weight head."), ("false", "hook Forgetful: count")]
)
def test_first_difference_is_reported(
    launch: Launch, flags: list[str], changes_weights: str, expected_text: str
) -> None:
    plugin = ["--plugin", str(ROOT / "tests" / "plugins" / "forgetful.py"), "--hook", "forgetful"]
    # The hook counts steps, but does not restore its count on resume. Checkpoints are written after every step. With
    # this seed, the run is killed in step 5.
    options = ["--hook.forgetful.changes_weights", changes_weights, "--save_every", "1st", "--cut_seed", "4"]
    done = launch([*flags, *plugin, *options], script="verify_resume.py", check=False)
    assert done.returncode == 1
    printed = " ".join(done.stdout.replace("│", " ").split())
    assert "after step 5, process-0" in printed
    assert expected_text in printed
    assert ("weights_sha256 of result.json differs" in done.stdout) is (changes_weights == "true")


def test_refused_run_has_exit_status_2(launch: Launch, flags: list[str]) -> None:
    done = launch([*flags, "--lr", "-1"], script="verify_resume.py", check=False)
    assert done.returncode == 2
    assert "Expected lr to be above 0" in done.stderr
