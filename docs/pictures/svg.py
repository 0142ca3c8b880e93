"""A drawing surface that writes SVG, and the two palettes."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

SANS = "-apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class Tone:
    """The colours of one kind of thing: its area, its outline and lines, and its lettering."""

    fill: str
    line: str
    text: str


@dataclass(frozen=True)
class Palette:
    """Colours for a light or a dark page; the page itself is not painted.

    Attributes:
        strides: the tone of the map of each stride.
    """

    name: str
    ink: str
    faint: str
    plain: Tone
    detect: Tone
    pink: Tone
    strides: dict[int, Tone]


LIGHT = Palette(
    "light",
    ink="#1f2328",
    faint="#656d76",
    plain=Tone("#f6f8fa", "#afb8c1", "#1f2328"),
    detect=Tone("#fff1e5", "#e16f24", "#8a3a00"),
    pink=Tone("#ffeff7", "#bf3989", "#772057"),
    strides={
        8: Tone("#d8f5ee", "#0f9d7a", "#075e49"),
        16: Tone("#ddeeff", "#1f6feb", "#0a3d91"),
        32: Tone("#efe5ff", "#8250df", "#512a97"),
    },
)
DARK = Palette(
    "dark",
    ink="#e6edf3",
    faint="#8d96a0",
    plain=Tone("#161b22", "#484f58", "#e6edf3"),
    detect=Tone("#3a2110", "#f0883e", "#ffc99e"),
    pink=Tone("#42132e", "#f778ba", "#ffbedd"),
    strides={
        8: Tone("#0b2f28", "#2fc9a1", "#a5f0dc"),
        16: Tone("#10264a", "#58a6ff", "#b6d7ff"),
        32: Tone("#271a45", "#a371f7", "#d9c5ff"),
    },
)


class Canvas:
    """Collects shapes; coordinates are pixels from the top left corner."""

    def __init__(self, width: float, height: float, palette: Palette, title: str) -> None:
        self.width, self.height, self.palette, self.title = width, height, palette, title
        self.shapes: list[str] = []
        self.markers: dict[str, str] = {}

    def box(
        self, x: float, y: float, width: float, height: float, tone: Tone, radius: float = 6, dashed: bool = False
    ) -> None:
        """Draw a rounded box."""
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        fill = "none" if dashed else tone.fill
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}" '
            f'stroke="{tone.line}" stroke-width="1.3"{dash}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        content: str,
        colour: str = "",
        size: float = 13,
        anchor: str = "start",
        mono: bool = False,
        bold: bool = False,
    ) -> None:
        """Write a line, whose middle is at the height `y`."""
        weight = ' font-weight="600"' if bold else ""
        self.shapes.append(
            f'<text x="{x:g}" y="{y + size * 0.35:g}" font-family="{MONO if mono else SANS}" font-size="{size:g}" '
            f'fill="{colour or self.palette.ink}" text-anchor="{anchor}"{weight} xml:space="preserve">'
            f"{escape(content)}</text>"
        )

    def path(
        self, d: str, colour: str, arrow: bool = True, width: float = 1.5, dashed: bool = False, opacity: float = 1.0
    ) -> None:
        """Draw a line along the SVG path `d`, with an arrow at its end."""
        end = ""
        if arrow:
            marker = f"arrow{colour.lstrip('#')}"
            self.markers[marker] = (
                f'<marker id="{marker}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6.5" markerHeight="6.5" '
                f'orient="auto"><path d="M0 0.6 L7.6 4 L0 7.4 z" fill="{colour}"/></marker>'
            )
            end = f' marker-end="url(#{marker})"'
        dash = ' stroke-dasharray="3 3"' if dashed else ""
        pale = f' stroke-opacity="{opacity:g}"' if opacity < 1 else ""
        self.shapes.append(
            f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linejoin="round"'
            f"{dash}{pale}{end}/>"
        )

    def svg(self) -> str:
        """Return the picture."""
        inside = "\n".join(self.shapes)
        markers = "".join(self.markers.values())
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img">\n<title>{escape(self.title)}</title>\n'
            f"<defs>{markers}</defs>\n{inside}\n</svg>\n"
        )
