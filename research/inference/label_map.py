"""Read --label_map, which renames labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from heads.registry import UnknownNameError, describe_unknown
from research.system.errors import one_line
from research.system.paths import expand_path

_EXPECTED = "Expected --label_map old=new,old2=new2, or a YAML or JSON file that maps old names to new names"


def read_label_map(setting: str | None, label_names: Sequence[str]) -> dict[str, str]:
    """Return the label name of the model for each renamed label.

    Args:
        setting: value of --label_map; None for no renamed labels.
        label_names: labels of the model.
    Raises:
        ValueError: if the setting or the file cannot be read.
        UnknownNameError: if a new name is not a label of the model.
    """
    if setting is None:
        return {}
    renames = _read_file(setting) if setting.endswith((".yaml", ".yml", ".json")) else _parse(setting)
    for new in renames.values():
        if new not in label_names:
            raise UnknownNameError("--label_map: " + describe_unknown("label", new, label_names, listed_as="Labels"))
    return renames


def _parse(text: str) -> dict[str, str]:
    pairs = [item.partition("=") for item in text.split(",")]
    if not all(old.strip() and new.strip() for old, _, new in pairs):
        raise ValueError(f"{_EXPECTED}; got '{text}'.")
    renames = {old.strip(): new.strip() for old, _, new in pairs}
    if len(renames) < len(pairs):
        raise ValueError(f"{_EXPECTED}; '{text}' gives two new names to the same label.")
    return renames


def _read_file(path: str) -> dict[str, str]:
    try:
        text = expand_path(path).read_text(encoding="utf-8-sig")
        # YAML's safe loader would read the label names `no` and `010` as false and 8; this one creates only strings.
        content: Any = json.loads(text) if path.endswith(".json") else yaml.load(text, yaml.BaseLoader)  # noqa: S506
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"Cannot read --label_map {path}: {one_line(error)}") from None
    if not isinstance(content, dict) or any(isinstance(value, dict | list) for value in content.values()):
        raise ValueError(f"{_EXPECTED}; {path} contains something else.")
    return {str(old).strip(): str(new) for old, new in content.items()}
