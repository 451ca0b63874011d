"""A conditional timeline entry that conflicts with planned edits at some steps."""

from __future__ import annotations

from typing import Any

PLANNED: list[dict[str, Any]] = [{"at": "2st", "add_lora": {"r": 2}}, {"at": "5st", "merge_lora": True}]
"""Entries that add adapters after step 2 and merge them after step 5."""
CONDITIONAL: dict[str, Any] = {"when": "below(validation/loss, 9)", "add_lora": {"r": 4}, "set_dropout": 0.2}
"""An entry that can be applied only after step 5: earlier, its adapters would conflict with those of PLANNED."""
