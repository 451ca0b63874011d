"""List the registry entries that Midway ships, without entries that tests register in the same process."""

from __future__ import annotations

from typing import Any

from heads.registry import Registry


def shipped_names(registry: Registry[Any]) -> list[str]:
    """Return the sorted names of the entries that `heads/` and `research/` define."""
    return [name for name in registry if registry[name].__module__.partition(".")[0] in ("heads", "research")]
