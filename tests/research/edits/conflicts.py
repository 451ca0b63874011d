"""A timeline entry with a condition that conflicts with planned edits in some steps."""

from __future__ import annotations

from typing import Any

PLANNED: list[dict[str, Any]] = [{"at": "2st", "add_lora": {"r": 2}}, {"at": "5st", "merge_lora": True}]
WAITING: dict[str, Any] = {"when": "below(validation/loss, 9)", "add_lora": {"r": 4}, "set_dropout": 0.2}
"""Can be applied only after step 5. Earlier, it conflicts with the adapters that PLANNED adds after step 2."""
