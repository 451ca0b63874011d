"""Entry point of demo.py: serve the page until it is interrupted."""

from __future__ import annotations

import importlib.util
import socket
import threading

from research.demo.rows import parse_rows
from research.demo.settings import DEMO, DemoSettings
from research.model.saved_models import find_trained_model
from research.settings.model_scripts import run_model_script
from research.system.loading import loading_libraries
from research.system.paths import expand_path
from research.system.waiting import WaitingMessage


def execute(settings: DemoSettings) -> int:
    """Serve the page, and return the exit status once Ctrl-C is pressed."""
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("The page requires the package gradio; install it with: pip install 'midway[demo_page]'")
    source = expand_path(settings.run)
    find_trained_model(source)  # before torch is imported, which takes seconds
    check_address(settings.host, settings.port)
    with WaitingMessage("Loading libraries"), loading_libraries():
        from research.demo.page import build_page, launch_page
        from research.inference.saved_model import load_model
    saved = load_model(source, plugin=settings.plugin)
    examples = []
    if settings.examples is not None:
        examples = read_examples(settings.examples, has_pairs=saved.inputs.has_pairs)
    page = build_page(saved, examples)
    address = launch_page(page, settings.host, settings.port)
    print(f"The page is at {address} (press Ctrl-C to stop)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        page.close(verbose=False)
    return 0


def check_address(host: str, port: int) -> None:
    """Check that a page can be served at an address.

    Raises:
        ValueError: if the port is in use, or the host is not an address of this machine.
    """
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ValueError(
            f"Cannot serve the page at {host}, port {port}: {error.strerror}. Choose another port with --port, or "
            "another address of this machine with --host."
        ) from None


def read_examples(path: str, *, has_pairs: bool) -> list[tuple[str, ...]]:
    """Return the inputs in a file of examples.

    Raises:
        ValueError: if the file cannot be read, or its lines are not such inputs.
    """
    try:
        return parse_rows(expand_path(path).read_text(encoding="utf-8-sig"), has_pairs=has_pairs)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"Cannot read the examples in {path}: {reason}") from None


def main() -> int:
    """Run the command line and return the exit status."""
    return run_model_script(DEMO, DemoSettings, execute)
