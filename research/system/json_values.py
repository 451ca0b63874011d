"""Values in a form that JSON can represent."""

from __future__ import annotations

import math
from typing import Any


def as_json(value: Any) -> Any:
    """Return a value that JSON can represent: NaN becomes None, and infinite numbers become "inf" or "-inf"."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
