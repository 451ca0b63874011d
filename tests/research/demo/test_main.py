"""The command line of demo.py refuses what it cannot serve."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from research.demo.main import check_address, execute, read_examples
from research.demo.settings import DemoSettings


def test_check_address_refuses_a_port_in_use_and_an_unknown_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port}: .*--port"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)
    with pytest.raises(ValueError, match="--host"):
        check_address("203.0.113.1", port)  # an address for documentation


def test_missing_gradio_is_reported_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gradio" else find_spec(name))
    with pytest.raises(ValueError, match=r"pip install 'midway\[demo_page\]'"):
        execute(DemoSettings(run="runs/a"))


def test_read_examples_returns_the_lines_or_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "examples.txt"
    path.write_text("good\tbad\n\n", encoding="utf-8")
    assert read_examples(str(path), has_pairs=True) == [("good", "bad")]
    path.write_text("\ufeffgood", encoding="utf-8")
    assert read_examples(str(path), has_pairs=False) == [("good",)]
    path.write_bytes(b"\xff")
    for wrong in (path, tmp_path / "missing.txt", tmp_path):
        with pytest.raises(ValueError, match=wrong.name):
            read_examples(str(wrong), has_pairs=False)
