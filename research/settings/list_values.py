"""Split the value of a flag that takes a list."""

from __future__ import annotations

import json
import re

import yaml


def split_items(flag: str, value: str) -> list[str]:
    """Split the value of a list flag, which is a single mapping, items separated by commas, or a YAML list.

    Raises:
        ValueError: if the value starts like a list or a mapping but cannot be read as one.
    """
    if value.startswith("{"):
        _check_mapping(flag, value)
    if value.startswith("["):
        try:
            items = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(
                f"Cannot read the list of --{flag}: '{value}'. Repeat the flag once for each item instead."
            ) from None
        return [item if isinstance(item, str) else json.dumps(item) for item in items]
    return [value] if value.startswith("{") else [item.strip() for item in value.split(",") if item.strip()]


def _check_mapping(flag: str, value: str) -> None:
    """Check that YAML can read a mapping; if not, name the parts that need quotes.

    Raises:
        ValueError: with the correction to make.
    """
    try:
        yaml.safe_load(value)
    except yaml.YAMLError:
        # YAML takes the brackets of an unquoted selector, such as encoder.layer[7], for a list.
        unquoted = re.findall(r"(?<![\"'\w.])[\w.]+\[[^\]]*\]", value)
        advice = f"put quotes around {' and '.join(unquoted)}" if unquoted else "write it as {name: value, ...}"
        raise ValueError(f"Cannot read --{flag} {value}: {advice}.") from None
