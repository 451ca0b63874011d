"""Renamed labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heads.registry import UnknownNameError
from research.inference.label_map import read_label_map

NAMES = ("joy", "anger, strong")


def test_label_map_is_read_from_the_command_line_or_from_a_file(tmp_path: Path) -> None:
    assert read_label_map(None, NAMES) == {}
    assert read_label_map("joyy=joy, glad = joy", NAMES) == {"joyy": "joy", "glad": "joy"}
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"1": "joy", "rage": "anger, strong"}))
    assert read_label_map(str(path), NAMES) == {"1": "joy", "rage": "anger, strong"}
    path = tmp_path / "names.yaml"
    path.write_text("1: joy\n")
    assert read_label_map(str(path), NAMES) == {"1": "joy"}


def test_label_map_takes_names_in_a_file_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("no: off\n010: joy\n1.0: joy\n~: joy\n")
    assert read_label_map(str(tmp_path / "names.yaml"), ("joy", "off")) == {
        "no": "off",
        "010": "joy",
        "1.0": "joy",
        "~": "joy",
    }
    (tmp_path / "names.json").write_text("\ufeff" + json.dumps({"\U0001f600": "joy"}), encoding="utf-8")
    assert read_label_map(str(tmp_path / "names.json"), NAMES) == {"\U0001f600": "joy"}


def test_label_map_refuses_wrong_forms_and_unknown_labels(tmp_path: Path) -> None:
    for text in ("joy", "joyy=", "=joy", "a=joy,,"):
        with pytest.raises(ValueError, match="old=new"):
            read_label_map(text, NAMES)
    with pytest.raises(ValueError, match="two new names"):
        read_label_map("glad=joy,glad=joy", NAMES)
    for name, content in (("names.yaml", "glad: joy\nglad: joy\n"), ("names.json", '{"glad": "joy", "glad": "joy"}')):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=r"names\.\w+ gives two new names"):
            read_label_map(str(tmp_path / name), NAMES)
    (tmp_path / "names.json").write_text('{"glad": ["joy"]}')
    with pytest.raises(ValueError, match="something else"):
        read_label_map(str(tmp_path / "names.json"), NAMES)
    with pytest.raises(UnknownNameError, match="'joy'"):
        read_label_map("glad=joyy", NAMES)
    (tmp_path / "names.yaml").write_text("- joy\n")
    with pytest.raises(ValueError, match="something else"):
        read_label_map(str(tmp_path / "names.yaml"), NAMES)
    with pytest.raises(ValueError, match="Cannot read --label_map"):
        read_label_map(str(tmp_path / "missing.yaml"), NAMES)
