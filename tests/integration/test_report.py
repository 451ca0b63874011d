"""report.html shows a run in a real browser, without any other file."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.browser import needs_chromium, open_page, take_screenshot
from tests.conftest import Launch

HOSTILE_TEXT = '<script>document.body.remove()</script> & <b>bold</b> "quoted"'
HOOK = """
from research import Hook, register_hook

@register_hook("log_squares")
class LogSquares(Hook):
    def after_step(self, run):
        run.log({"steps_squared": run.clock.step ** 2})
"""


@pytest.fixture(scope="module")
def run_directory(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a run whose texts and labels contain HTML."""
    folder = tmp_path_factory.mktemp("report")
    data = shutil.copytree(tiny_reviews, folder / "data")
    for path in data.iterdir():
        # In each text, replace the name of the split by HOSTILE_TEXT, and quote the text as csv requires.
        text = path.read_text().replace("positive", "<i>positive</i>")
        lines = [line.replace(f"{path.stem} ", f"{HOSTILE_TEXT} ".replace('"', '""'), 1) for line in text.splitlines()]
        path.write_text("\n".join([lines[0], *('"{}",{}'.format(*line.rsplit(",", 1)) for line in lines[1:])]) + "\n")
    (folder / "my_hook.py").write_text(HOOK)
    recipe = folder / "recipe.yaml"
    settings = {
        "encoder": str(tiny_encoder),
        "data": str(data),
        "batch_size": 8,
        "epochs": 2,
        "max_length": 64,
        "log_every": 1,
        "evaluate_every": "25%",
        "plugin": [str(folder / "my_hook.py")],
        "hook": ["log_squares"],
        "freeze": ["encoder"],
        "timeline": [{"at": "3st", "unfreeze": "encoder"}, {"at": "50%", "replace_head": "mean", "scale_lr": 0.5}],
    }
    recipe.write_text(yaml.safe_dump(settings))
    launch(["--recipe", recipe, "--output_dir", folder / "run"])
    return folder / "run"


@needs_chromium
@pytest.mark.parametrize("width", [1200, 500])
def test_report_renders_without_errors(run_directory: Path, tmp_path: Path, width: int) -> None:
    report_copy = shutil.copy(run_directory / "report.html", tmp_path / "report.html")
    loaded_page = open_page(Path(report_copy), width=width)
    assert loaded_page.errors == []
    assert loaded_page.external_urls == [], "the page loads other files"
    assert loaded_page.page_width <= loaded_page.window_width, "the page is wider than the window"
    expected_images = {
        "Loss",
        "Validation metrics",
        "Learning rates",
        "Steps squared",
        "Trainable parameters",
        "Confusion matrix, validation",
        "Confusion matrix, test",
    }
    assert expected_images <= loaded_page.image_titles
    assert all(loaded_page.images.values()), loaded_page.images
    result = json.loads((run_directory / "result.json").read_text())
    assert f"{result['metrics']['test']['auroc']:.4f}" in loaded_page.text
    assert result["weights_sha256"] in loaded_page.text
    for text in ("unfreeze(modules='encoder')", "timeline entry 2", "--freeze", "<i>positive</i>", HOSTILE_TEXT):
        assert text in loaded_page.text
    take_screenshot(Path(report_copy), tmp_path / "page.png", width=width)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


@needs_chromium
def test_open_page_finds_broken_parts(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!DOCTYPE html><html><head></head><body><img alt='broken' src='data:image/svg+xml;base64,AAAA'>"
        "<div style='width: 3000px'>wide</div><script src='missing.js'></script><script>nonsense()</script></body>"
    )
    loaded_page = open_page(page)
    assert loaded_page.images == {"broken": 0}
    assert loaded_page.page_width > loaded_page.window_width
    assert any("nonsense is not defined" in error for error in loaded_page.errors)
    assert len(loaded_page.external_urls) == 1


def test_report_shows_the_contents_of_the_files(run_directory: Path) -> None:
    page = (run_directory / "report.html").read_text(encoding="utf-8")
    journal = [json.loads(line) for line in (run_directory / "journal.jsonl").read_text().splitlines()]
    edits = re.search(r'id="edits">(.*?)</table>', page, re.DOTALL)
    assert edits is not None
    rows = re.findall(r"<tr><td.*?</tr>", edits[1], re.DOTALL)
    assert len(rows) == len(journal) == 4
    for row, record in zip(rows, journal, strict=True):
        assert record["name"] in row
        assert all(f"{count:,}" in row for count in record["trainable_parameters"])
    predictions = pq.read_table(run_directory / "predictions" / "validation.parquet").to_pandas()
    wrong = predictions[predictions["label"] != predictions["prediction"]]
    mistakes = re.search(r'id="mistakes">(.*?)</table>', page, re.DOTALL)
    assert mistakes is not None
    assert f"{len(wrong)} of {len(wrong)} mistakes on validation rows" in page
    places = re.findall(r"<tr><td>(.*?), row (\d+)</td>", mistakes[1])
    assert sorted((name, int(row)) for name, row in places) == sorted(zip(wrong["file"], wrong["row"], strict=True))
    assert html.escape(HOSTILE_TEXT, quote=False) in page.replace("&#34;", '"')
    assert page.count("<script") == 1  # sorts tables
    settings = yaml.safe_load((run_directory / "config.yaml").read_text())
    cells = dict(re.findall(r"<tr(?: class=\"changed\")?><th scope=\"row\">(\w+)</th><td><code>(.*?)</code>", page))
    assert cells.keys() == settings.keys()
    changed = re.findall(r'<tr class="changed"><th scope="row">(\w+)</th>', page)
    assert {"timeline", "freeze", "hook", "plugin", "batch_size", "epochs"} <= set(changed)
    assert not {"head", "lr", "objective", "schedule"} & set(changed)
