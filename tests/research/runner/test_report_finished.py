"""report.py, which draws the reports of finished runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import Launch
from tests.research.runner.conftest import Train


@pytest.fixture(scope="module")
def reported(train: Train, tags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished multi-label run with thresholds and a report, without its models, and a copy of its data."""
    folder = tmp_path_factory.mktemp("reported")
    data = shutil.copy(tags, folder / "data.csv") if tags.is_file() else shutil.copytree(tags, folder / "data.csv")
    train(folder / "run", data=str(data), report=True, calibrate=True, thresholds="f1")
    shutil.rmtree(folder / "run" / "model")
    return folder


def numbers_and_words(page: Path) -> list[str]:
    """Return the text of a page, with numbers of three digits, since logits are recovered from probabilities."""
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>|base64,[^\"]*|<[^>]*>", " ", page.read_text(), flags=re.DOTALL)
    return [f"{float(word):.3g}" if re.fullmatch(r"-?\d+\.\d+", word) else word for word in text.split()]


def test_report_is_the_one_that_the_run_drew(reported: Path, launch: Launch) -> None:
    run = reported / "run"
    drawn_by_run = (run / "report.html").rename(reported / "drawn_by_run.html")
    result = (run / "result.json").read_bytes()
    process = launch([run, run], script="report.py")
    assert process.stdout.count(f"report: {run / 'report.html'}") == 2
    assert numbers_and_words(run / "report.html") == numbers_and_words(drawn_by_run)
    assert (run / "report.html").read_text().count("<img") == drawn_by_run.read_text().count("<img")
    assert (run / "result.json").read_bytes() == result


def test_report_of_a_run_that_cannot_be_reported_is_an_error(reported: Path, tmp_path: Path, launch: Launch) -> None:
    run = shutil.copytree(reported / "run", tmp_path / "run")
    report = (run / "report.html").read_bytes()

    def error(*arguments: object) -> str:
        process = launch([*arguments], script="report.py", check=False)
        assert process.returncode in (1, 2)
        (line,) = process.stderr.splitlines()
        return str(line)

    assert "Usage" in error()
    assert "not a run directory" in error(tmp_path)
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "rows_sha256": "0" * 64}))
    assert re.search(r"Cannot draw the report of .*rows of .* have changed", error(run))
    settings = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(settings.replace("data.csv", "gone.csv"))
    assert "gone.csv" in error(run)
    (run / "config.yaml").write_text(settings)
    (run / "result.json").write_text(json.dumps(result))
    predictions = run / "predictions" / "validation.parquet"
    predictions.write_bytes(predictions.read_bytes()[:100])
    assert "validation.parquet" in error(run)
    (run / "result.json").write_text(json.dumps({"status": "failed", "error": "x"}))
    assert "not finished" in error(run)
    (run / "result.json").unlink()
    assert "not finished" in error(run)
    assert (run / "report.html").read_bytes() == report
