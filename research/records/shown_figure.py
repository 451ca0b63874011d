"""A figure that notebooks show."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from research.records.missing_glyphs import reporting_missing_glyphs


class ShownFigure(Figure):
    """A figure that notebooks show as a picture even if pyplot was not imported."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        with reporting_missing_glyphs("Pictures"):
            self.savefig(picture, format="png", dpi=100)
        return picture.getvalue()
