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
    return _unique([(old.strip(), new.strip()) for old, _, new in pairs], f"'{text}'")


def _read_file(path: str) -> dict[str, str]:
    try:
        text = expand_path(path).read_text(encoding="utf-8-sig")
        pairs = _read_json(text) if path.endswith(".json") else _read_yaml(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"Cannot read --label_map {path}: {one_line(error)}") from None
    if pairs is None:
        raise ValueError(f"{_EXPECTED}; {path} contains something else.")
    return _unique([(old.strip(), new) for old, new in pairs], path)


def _read_json(text: str) -> list[tuple[str, str]] | None:
    """Return the keys and values of a JSON object, which may repeat keys; None if the text contains something else."""
    content: Any = json.loads(text, object_pairs_hook=list, parse_int=str, parse_float=str)
    is_map = text.lstrip().startswith("{") and all(isinstance(new, str) for _, new in content)
    return content if is_map else None


def _read_yaml(text: str) -> list[tuple[str, str]] | None:
    """Return the keys and values of a YAML mapping as they are written; None if the text contains something else.

    YAML's loaders would read the label names `no` and `010` as false and 8, and keep only the last of equal keys.
    """
    node = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return None
    if not all(isinstance(part, yaml.ScalarNode) for pair in node.value for part in pair):
        return None
    return [(old.value, new.value) for old, new in node.value]


def _unique(pairs: Sequence[tuple[str, str]], source: str) -> dict[str, str]:
    """Return old and new names as a dictionary.

    Raises:
        ValueError: if an old name has two new names.
    """
    renames = dict(pairs)
    if len(renames) < len(pairs):
        raise ValueError(f"{_EXPECTED}; {source} gives two new names to the same label.")
    return renames
