"""A conditional edit that conflicts with planned ones at some boundaries."""

from __future__ import annotations

from typing import Any

PLANNED: list[dict[str, Any]] = [{"at": "2st", "add_lora": {"r": 2}}, {"at": "5st", "merge_lora": True}]
WAITING: dict[str, Any] = {"when": "below(validation/loss, 9)", "add_lora": {"r": 4}, "set_dropout": 0.2}
"""Can be applied only after step 5: before, it conflicts with the adapters that the timeline adds at step 2."""
