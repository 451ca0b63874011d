"""Make the pictures of README and docs from real runs: `make pictures`, which takes minutes and needs Chromium."""

from __future__ import annotations

import argparse
import base64
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from diagrams import PICTURES, ROOT
from diagrams import main as draw_diagrams
from PIL import Image

from research.demo.page import build_page, launch_page
from research.inference.saved_model import load_model
from tests.browser import take_screenshot
from tests.devtools import open_browser

SETTINGS = [
    *("--data", "rotten_tomatoes", "--head", "mean", "--freeze", "encoder", "--epochs", "2"),
    *("--limit_train", "1920", "--limit_validation", "500", "--limit_test", "500", "--evaluate_every", "5%"),
    *("--timeline", "{at: 35%, unfreeze: 'encoder.layer[-2:]'}", "--timeline", "{at: 65%, unfreeze: encoder}"),
]
"""Settings of a run with two edits that change the loss visibly."""
RECIPE = "experiments/recipes/gradual_unfreezing.yaml"
"""Recipe whose timeline is drawn as timeline.png."""
DEMO_SETTINGS = [
    *("--data", "imdb", "--head", "attention", "--freeze", "encoder", "--epochs", "6", "--head_lr", "0.002"),
    *("--limit_train", "3000", "--limit_validation", "400", "--limit_test", "500", "--max_length", "200"),
]
"""Settings of the run whose page is drawn as demo.png."""
DEMO_EXAMPLES = [
    ("A warm and funny film, with a script that never loses its way.",),
    ("The plot is dull, and the jokes are older than the actors.",),
]
"""Examples on the page."""
DEMO_TEXT = (
    "I went in with low expectations, because the trailer gives away half of the story and the poster promises yet "
    "another film about a detective with a drinking problem. The first half hour seems to prove the trailer right. The "
    "dialogue is wooden, the music tells you what to feel, and the only person who seems to be awake is the dog. Then, "
    "somewhere on the ferry, it turns into something else. The two sisters stop explaining themselves and start to "
    "lie to each other, and suddenly every scene has a second one underneath. The camera stays close to their hands "
    "and lets us guess. There is a long dinner, almost without words, in which a glass of milk is more frightening "
    "than any of the murders. The director takes her time, and for once I did not mind. Some threads lead nowhere: "
    "the neighbour with the telescope appears twice and is forgotten, and the flashbacks are cut so fast that I lost "
    "track of the years. But the ending is wonderful. It is quiet, it is funny in a bitter way, and it trusts the "
    "audience. I left the cinema moved, and I have already bought a ticket to see it again with my mother."
)
"""The text on the page; it is longer than the model's maximum length."""
CURVES = "Loss"
"""Title of the picture in the report that is also saved separately, as edits.png."""
DEMO_PORT = 7861
"""Port of the page that is drawn as demo.png."""
RESULT_IS_VISIBLE = """(() => {
    let element = document.querySelector('.tokens');
    const exists = element !== null;
    while (element !== null && getComputedStyle(element).opacity === '1') element = element.parentElement;
    return exists && element === null;
})()"""
"""Whether the page shows a result, which fades in."""
MAX_BYTES = 150_000
"""Maximum size of a picture file."""


def run_script(folder: Path, *arguments: str) -> None:
    """Run experiments/run.py in a folder."""
    subprocess.run([sys.executable, ROOT / "experiments" / "run.py", *arguments], cwd=folder, check=True)


def save_screenshot(page: Path, name: str, *, width: int, height: int) -> None:
    """Save a compressed screenshot of a page in docs/pictures/."""
    picture = PICTURES / name
    take_screenshot(page, picture, width=width, height=height)
    compress(picture)


def compress(picture: Path) -> None:
    """Save a picture again with a palette of 128 colours, chosen so that small coloured marks keep theirs.

    Raises:
        ValueError: if the file is still larger than MAX_BYTES.
    """
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)
    if picture.stat().st_size > MAX_BYTES:
        raise ValueError(f"{picture} has {picture.stat().st_size:,} bytes; expected at most {MAX_BYTES:,}.")


def find_picture(report: Path, title: str) -> str:
    """Return the data URL of a picture in a report.

    Raises:
        ValueError: if the report has no picture with this title.
    """
    images = re.findall(r'<img src="([^"]+)" alt="([^"]+)"', report.read_text(encoding="utf-8"))
    by_title = {text.partition(". ")[0]: data for data, text in images}
    if title not in by_title:
        raise ValueError(f"Expected a picture '{title}' in {report}; found {', '.join(by_title)}.")
    return by_title[title]


def height_of(picture: str, *, width: int) -> int:
    """Return the height in pixels of a picture, given as a data URL of SVG, when it is `width` pixels wide."""
    svg = base64.b64decode(picture.partition("base64,")[2]).decode("utf-8")
    view_box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert view_box is not None, "the reports' pictures are SVG"
    return round(width * float(view_box[2]) / float(view_box[1]))


def save_demo_picture(run: Path) -> None:
    """Save a screenshot of demo.py's page of a run as demo.png."""
    page = build_page(load_model(run), DEMO_EXAMPLES)
    address = launch_page(page, "127.0.0.1", DEMO_PORT)
    with open_browser() as browser:
        browser.open(address, width=1280, height=730)
        browser.wait_for("document.querySelector('#predict') && !document.body.innerText.includes('Loading...')")
        browser.type("textarea", DEMO_TEXT)
        browser.click("#predict")
        browser.wait_for(RESULT_IS_VISIBLE)
        browser.evaluate("document.activeElement.blur(); document.querySelector('textarea').scrollTop = 0")
        browser.save_screenshot(PICTURES / "demo.png")
    page.close(verbose=False)
    compress(PICTURES / "demo.png")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, help="directory of a finished run with the settings of SETTINGS (default: make a new run)"
    )
    parser.add_argument(
        "--demo_run",
        type=Path,
        help="directory of a finished run with the settings of DEMO_SETTINGS (default: make a new run)",
    )
    arguments = parser.parse_args()
    finished_run: Path | None = arguments.run
    demo_run: Path | None = arguments.demo_run
    draw_diagrams()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if finished_run is None:
            run_script(folder, *SETTINGS, "--output_dir", "run")
        report = (folder / "run" if finished_run is None else finished_run) / "report.html"
        save_screenshot(report, "report.png", width=1200, height=3000)
        curves = find_picture(report, CURVES)
        page_with_curves = folder / "alone.html"
        page_with_curves.write_text(
            "<!DOCTYPE html><html><head></head><body style='margin: 0; background: white'>"
            f"<img src='{curves}' style='width: 100%'></body></html>",
            encoding="utf-8",
        )
        save_screenshot(page_with_curves, "edits.png", width=1000, height=height_of(curves, width=1000))
        run_script(folder, "--recipe", str(ROOT / RECIPE), "--dry_run")
        (PICTURES / "timeline.png").write_bytes((folder / "timeline.png").read_bytes())
        compress(PICTURES / "timeline.png")
        if demo_run is None:
            run_script(folder, *DEMO_SETTINGS, "--output_dir", "reviews-with-attention")
        save_demo_picture(folder / "reviews-with-attention" if demo_run is None else demo_run)
    save_screenshot(ROOT / "docs" / "heads.html", "study.png", width=1200, height=1000)


if __name__ == "__main__":
    main()
