"""Open a page in headless Chromium, and return the rendered page or a screenshot."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.limits import HANG_LIMIT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")

MIN_WINDOW_WIDTH = 500
"""Minimum width of a Chromium window in pixels. A frame inside the window can be narrower."""
PROBE = """<script>
window.addEventListener("load", () => {
  const result = {
    mode: document.compatMode,
    images: [...document.images].map(image => [image.alt, image.complete ? image.naturalWidth : 0]),
    width: document.documentElement.scrollWidth,
    window: window.innerWidth,
    externalUrls: [...document.querySelectorAll("[src], link")]
      .map(element => element.src ?? element.href).filter(address => !address.startsWith("data:")),
    text: document.body.innerText,
  };
  const element = document.createElement("script");
  element.type = "application/json";
  element.id = "probe";
  element.textContent = JSON.stringify(result).replaceAll("<", "\\\\u003c");
  top.document.body.append(element);
});
</script>"""
"""Script that measures the loaded page, and appends the result to the outermost document as JSON."""


@dataclass(frozen=True)
class RenderedPage:
    """A page as a browser rendered it."""

    images: dict[str, int]
    """Width in pixels of each image, by its alternative text; 0 for an image that could not be loaded."""
    page_width: int
    """Width of the page's content in pixels."""
    window_width: int
    """Width in pixels of the window, or of the frame inside it that shows the page."""
    external_urls: list[str]
    """URLs of other files that the page loads."""
    errors: list[str]
    """Errors in the console."""
    text: str
    """Visible text, without collapsed parts."""

    @property
    def image_titles(self) -> set[str]:
        """The titles of the images, with which their alternative texts begin."""
        return {alt.partition(". ")[0] for alt in self.images}


def open_page(page: Path, *, width: int = 1200) -> RenderedPage:
    """Open an HTML file in a window or frame of `width` pixels (a phone has 390), and return the rendered page."""
    content = page.read_text(encoding="utf-8")
    assert "</head>" in content
    with tempfile.TemporaryDirectory() as folder:
        page_with_probe = Path(folder) / page.name
        page_with_probe.write_text(
            _put_in_frame_if_narrow(content.replace("</head>", f"{PROBE}</head>", 1), width, height=900),
            encoding="utf-8",
        )
        size = f"--window-size={max(width, MIN_WINDOW_WIDTH)},900"
        completed = _run_chromium(folder, size, "--virtual-time-budget=5000", "--dump-dom", page_with_probe)
    result = re.search(r'<script type="application/json" id="probe">(.*?)</script>', completed.stdout, re.DOTALL)
    assert result, completed.stderr
    measured = json.loads(result[1])
    assert measured["mode"] == "CSS1Compat", "the page has no doctype"
    errors = [line for line in completed.stderr.splitlines() if "CONSOLE" in line]
    return RenderedPage(
        dict(measured["images"]),
        measured["width"],
        measured["window"],
        measured["externalUrls"],
        errors,
        measured["text"],
    )


def take_screenshot(page: Path, image: Path, *, width: int = 1200, height: int = 900) -> None:
    """Save a screenshot of a page as a PNG image."""
    with tempfile.TemporaryDirectory() as folder:
        framed_page = Path(folder) / page.name
        content = _put_in_frame_if_narrow(page.read_text(encoding="utf-8"), width, height)
        framed_page.write_text(content, encoding="utf-8")
        size = f"--window-size={max(width, MIN_WINDOW_WIDTH)},{height}"
        _run_chromium(folder, size, f"--screenshot={image.resolve()}", framed_page)


def _put_in_frame_if_narrow(content: str, width: int, height: int) -> str:
    """Return the HTML of a page or, if the page must be narrower than any window, of a frame that holds it."""
    if width >= MIN_WINDOW_WIDTH:
        return content
    frame = f'<iframe style="border: 0; width: {width}px; height: {height}px" srcdoc="{html.escape(content)}"></iframe>'
    return f'<!DOCTYPE html><html><head></head><body style="margin: 0">{frame}</body></html>'


def chromium_command(profile: str) -> list[str]:
    """Return the command that starts headless Chromium with a folder for its user data."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses to start as root otherwise
    return command


def _run_chromium(profile: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Chromium with a folder for its user data. The last of the arguments is the path of the page to open."""
    *options, page = arguments
    command = [*chromium_command(profile), "--enable-logging=stderr", *map(str, options), Path(page).resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANG_LIMIT)
