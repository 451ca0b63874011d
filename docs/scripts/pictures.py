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
"""A run with two edits whose effects can be seen."""
RECIPE = "experiments/recipes/gradual_unfreezing.yaml"
"""The recipe whose timeline is drawn."""
CURVES = "Loss over steps"
"""The picture of the report that is shown alone, by its alternative text."""
MAX_BYTES = 150_000
"""Size of a picture, at most."""


def run(folder: Path, *arguments: str) -> None:
    """Run experiments/run.py in a folder."""
    subprocess.run([sys.executable, ROOT / "experiments" / "run.py", *arguments], cwd=folder, check=True)


def shoot(page: Path, name: str, *, width: int, height: int) -> None:
    """Save a screenshot of a page in few colours."""
    picture = PICTURES / name
    take_screenshot(page, picture, width=width, height=height)
    compress(picture)


def compress(picture: Path) -> None:
    """Save a picture again with a palette of 128 colours.

    Raises:
        ValueError: if it is too large even so.
    """
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)
    if picture.stat().st_size > MAX_BYTES:
        raise ValueError(f"{picture} has {picture.stat().st_size:,} bytes, more than {MAX_BYTES:,}.")


def picture_in(report: Path, alternative_text: str) -> str:
    """Return the address (its data) of a picture in a report.

    Raises:
        ValueError: naming the pictures that there are.
    """
    found = re.findall(r'<img src="([^"]+)" alt="([^"]+)"', report.read_text(encoding="utf-8"))
    by_text = {text: data for data, text in found}
    if alternative_text not in by_text:
        raise ValueError(f"Expected a picture '{alternative_text}' in {report}, found {', '.join(by_text)}.")
    return by_text[alternative_text]


def height_of(picture: str, *, width: int) -> int:
    """Return the height in pixels at which a picture's address (its data, as SVG) has a width."""
    svg = base64.b64decode(picture.partition("base64,")[2]).decode("utf-8")
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None, "the reports' pictures are SVG"
    return round(width * float(found[2]) / float(found[1]))


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, help="directory of a finished run with these settings, instead of a new one"
    )
    given: Path | None = parser.parse_args().run
    draw_diagrams()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given is None:
            run(folder, *SETTINGS, "--output_dir", "run")
        report = (folder / "run" if given is None else given) / "report.html"
        shoot(report, "report.png", width=1200, height=1100)
        curves = picture_in(report, CURVES)
        alone = folder / "alone.html"
        alone.write_text(
            "<!DOCTYPE html><html><head></head><body style='margin: 0; background: white'>"
            f"<img src='{curves}' style='width: 100%'></body></html>",
            encoding="utf-8",
        )
        shoot(alone, "edits.png", width=1000, height=height_of(curves, width=1000))
        run(folder, "--recipe", str(ROOT / RECIPE), "--dry_run")
        (PICTURES / "timeline.png").write_bytes((folder / "timeline.png").read_bytes())
        compress(PICTURES / "timeline.png")
    shoot(ROOT / "docs" / "heads.html", "study.png", width=1200, height=1000)


if __name__ == "__main__":
    main()
