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

from tests.browser import take_screenshot

SETTINGS = [
    *("--data", "rotten_tomatoes", "--head", "mean", "--freeze", "encoder", "--epochs", "2"),
    *("--limit_train", "1920", "--limit_validation", "500", "--limit_test", "500", "--evaluate_every", "5%"),
    *("--timeline", "{at: 35%, unfreeze: 'encoder.layer[-2:]'}", "--timeline", "{at: 65%, unfreeze: encoder}"),
]
"""Settings of a run with two edits that change the loss visibly."""
RECIPE = "experiments/recipes/gradual_unfreezing.yaml"
"""Recipe whose timeline is drawn as timeline.png."""
CURVES = "Loss over steps"
"""Alternative text of the picture in the report that is also saved separately, as edits.png."""
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
    """Save a picture again with a palette of 128 colours.

    Raises:
        ValueError: if the file is still larger than MAX_BYTES.
    """
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)
    if picture.stat().st_size > MAX_BYTES:
        raise ValueError(f"{picture} has {picture.stat().st_size:,} bytes; expected at most {MAX_BYTES:,}.")


def find_picture(report: Path, alternative_text: str) -> str:
    """Return the data URL of a picture in a report.

    Raises:
        ValueError: if the report has no picture with this alternative text.
    """
    images = re.findall(r'<img src="([^"]+)" alt="([^"]+)"', report.read_text(encoding="utf-8"))
    by_text = {text: data for data, text in images}
    if alternative_text not in by_text:
        raise ValueError(f"Expected a picture '{alternative_text}' in {report}; found {', '.join(by_text)}.")
    return by_text[alternative_text]


def height_of(picture: str, *, width: int) -> int:
    """Return the height in pixels of a picture, given as a data URL of SVG, when it is `width` pixels wide."""
    svg = base64.b64decode(picture.partition("base64,")[2]).decode("utf-8")
    view_box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert view_box is not None, "the reports' pictures are SVG"
    return round(width * float(view_box[2]) / float(view_box[1]))


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, help="directory of a finished run with the settings of SETTINGS (default: make a new run)"
    )
    finished_run: Path | None = parser.parse_args().run
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
    save_screenshot(ROOT / "docs" / "heads.html", "study.png", width=1200, height=1000)


if __name__ == "__main__":
    main()
