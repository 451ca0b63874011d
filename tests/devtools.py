"""Drive a page in headless Chromium over the DevTools protocol: evaluate JavaScript, type, and take screenshots."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser import chromium_command
from tests.limits import HANG_LIMIT, wait_until


class Page:
    """An open page.

    Protocol: https://chromedevtools.github.io/devtools-protocol/

    Args:
        connection: connection to the page's DevTools.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._last_id = 0
        self.requested_urls: list[str] = []
        """Addresses that the page has requested so far."""
        self.errors: list[str] = []
        """Uncaught errors, and errors in the console."""
        for domain in ("Page", "Runtime", "Network"):
            self._send(f"{domain}.enable")

    def open(self, url: str, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Open an address in a window of a size in pixels."""
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])
        self._send("Page.navigate", url=url)

    def resize(self, width: int, height: int = 900) -> None:
        """Change the size of the window."""
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        wait_until(lambda: bool(self.evaluate(f"Boolean({expression})")), expression)

    def click(self, selector: str) -> None:
        """Click the element that a CSS selector finds."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        """Replace the text of the input element that a CSS selector finds, as a user does who pastes a text."""
        self.evaluate(f"(element => {{ element.focus(); element.select() }})(document.querySelector('{selector}'))")
        self._send("Input.insertText", text=text)

    def text(self, selector: str) -> str:
        """Return the visible text of the element that a CSS selector finds."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def save_screenshot(self, image: Path) -> None:
        """Save a screenshot of the whole page as a PNG image."""
        result = self._send("Page.captureScreenshot", captureBeyondViewport=True)
        image.write_bytes(base64.b64decode(result["data"]))

    def count_printed_pages(self) -> int:
        """Print the page as a PDF, and return its number of pages."""
        printed = base64.b64decode(self._send("Page.printToPDF")["data"])
        return len(re.findall(rb"/Type /Page\b", printed))

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result. Events that arrive before it are recorded."""
        self._last_id += 1
        self._connection.send(json.dumps({"id": self._last_id, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=HANG_LIMIT))
            if message.get("id") == self._last_id:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._record(message)

    def _record(self, event: dict[str, Any]) -> None:
        match event["method"]:
            case "Network.requestWillBeSent":
                self.requested_urls.append(event["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(event["params"]["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if event["params"]["type"] == "error":
                self.errors.append(json.dumps(event["params"]["args"]))


@contextmanager
def open_browser() -> Iterator[Page]:
    """Start headless Chromium, and yield its only page."""
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [*chromium_command(profile), "--remote-debugging-port=0", "about:blank"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                port_file = Path(profile) / "DevToolsActivePort"
                wait_until(lambda: port_file.exists() and "\n" in port_file.read_text(), "the DevTools of Chromium")
                port = port_file.read_text().splitlines()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as response:
                    (target,) = (target for target in json.load(response) if target["type"] == "page")
                with connect(target["webSocketDebuggerUrl"], max_size=None) as connection:
                    yield Page(connection)
            finally:
                browser.kill()
