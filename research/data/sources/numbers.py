"""Numbers as files hold them, and when whole ones are classes."""

from __future__ import annotations

import re

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


MAX_WHOLE_CLASSES = 20
"""Up to this many different whole numbers stored as floats (1.0, 2.0) are taken for classes."""
