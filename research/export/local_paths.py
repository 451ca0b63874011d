"""Names of encoders, data and plugins without the folders of this machine, which mean nothing elsewhere."""

from __future__ import annotations

from pathlib import Path


def without_folders(name: str) -> str:
    """Return the last part of a path on this machine; other names, such as those on the Hub, are returned unchanged."""
    return Path(name).name if name.startswith(("/", "~", ".")) or Path(name).exists() else name
