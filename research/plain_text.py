"""Names in pictures are shown as they are: matplotlib takes what stands between two dollar signs for a formula."""

from __future__ import annotations

import matplotlib as mpl

plain_text = mpl.rc_context({"text.parse_math": False})
"""Decorates functions that draw names of a user's own; a name that is no formula would be an error otherwise."""
