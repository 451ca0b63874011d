"""Draw boxes, text and arrows as SVG. Text has its own background, so that it is legible on light and dark pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

LINE = "#7f8790"
"""Colour of arrows and frames: a grey that is visible on light and dark pages."""
COLOURS = {
    "plain": ("#e8eaf6", "#1a237e"),
    "main": ("#c5cae9", "#1a237e"),
    "user": ("#ffe0b2", "#5d3200"),
    "file": ("#d7ecd9", "#12401a"),
    "note": ("#eceff1", "#263238"),
}
"""Background colour and text colour of each kind of box."""
CHARACTER_WIDTH = 7.1
"""Average width in pixels of a character at font size 13."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass
class Drawing:
    """A picture to which boxes, text, frames and arrows are added."""

    title: str
    """Description for screen readers."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    parts: list[str] = field(default_factory=list)
    """SVG elements, in drawing order."""

    def box(self, x: float, y: float, width: float, height: float, lines: list[str], kind: str = "plain") -> None:
        """Draw a box with centred lines of text, the first in bold. `x` and `y` are its top left corner."""
        background, colour = COLOURS[kind]
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{background}"/>')
        baseline = y + height / 2 - 9.5 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            style = 'font-weight="600" font-size="15"' if number == 0 else 'font-size="13"'
            self.parts.append(
                f'<text x="{x + width / 2}" y="{baseline + 19 * number}" text-anchor="middle" fill="{colour}" {style}>'
                f"{escape(line)}</text>"
            )

    def text(self, x: float, y: float, text: str, kind: str = "note") -> None:
        """Draw one line of text on a background box that fits it. `x` and `y` are the middle of the box's left side."""
        background, colour = COLOURS[kind]
        width = CHARACTER_WIDTH * len(text) + 16
        self.parts.append(f'<rect x="{x}" y="{y - 12}" width="{width:.0f}" height="24" rx="4" fill="{background}"/>')
        self.parts.append(f'<text x="{x + 8}" y="{y + 4.5}" fill="{colour}" font-size="13">{escape(text)}</text>')

    def frame(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a dashed frame without background."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="none" stroke="{LINE}" '
            'stroke-width="1.5" stroke-dasharray="5 4"/>'
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw a line through points, with an arrowhead at the last one."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="2" marker-end="url(#head)"/>'
        )

    def svg(self) -> str:
        """Return the picture as SVG."""
        arrowhead = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{LINE}"/></marker></defs>'
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img" font-family="{escape(FONT)}">',
                f"<title>{escape(self.title)}</title>",
                arrowhead,
                *self.parts,
                "</svg>\n",
            ]
        )
