"""Report characters that a picture cannot show."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from research.system.messages import logger

MISSING_GLYPH = r"Glyph (\d+) .* missing from (?:current )?font"
"""Regular expression for matplotlib's warning, with the code of the character."""
_MAX_SHOWN = 5


@contextmanager
def reporting_missing_glyphs(pictures: str) -> Iterator[None]:
    """Warn once of all characters that matplotlib's font does not have; matplotlib itself warns of each of them.

    Args:
        pictures: the pictures that are drawn in the context, for the message.
    """
    missing: dict[str, None] = {}  # in the order of their first use
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if (match := re.match(MISSING_GLYPH, str(warning.message))) is None:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        else:
            missing[chr(int(match[1]))] = None
    if missing:
        shown = " ".join(list(missing)[:_MAX_SHOWN]) + (" ..." if len(missing) > _MAX_SHOWN else "")
        logger.warning(f"{pictures} show boxes instead of characters that matplotlib's font does not have: {shown}")
