"""Draws the maps and the attention of a backbone over the photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..efficientvit.windows import WINDOW
from .capture import FeatureMap, Window
from .letterbox import GREY, Letterbox

QUERY_COLOUR = "#00b8d4"  # in neither colour map
STAGE_COLOURS = ("#0f9d7a", "#1f6feb", "#8250df")
FONT_SIZE = 9  # points
MAPS_LEGEND = "Maps: the norm over the channels of each cell."
ATTENTION_LEGEND = (
    " Attention: the share of each cell in what a head gives the cell that asks; 100% in all.\n"
    "Blue square: the cell that asks. Frame: its window, 7x7 cells, to which its attention goes. "
    "Outside: cells that are not in the photograph."
)


class Page(NamedTuple):
    """The layout of a figure, in inches: a grid of equal panels, with space for text and colour bars."""

    rows: int
    columns: int
    width: float  # of a panel, like height
    height: float
    left: float = 1.1
    top: float = 0.4
    right: float = 0.65  # of each panel, for its colour bar
    above: float = 0.5  # each panel, for its title and the ticks of the panel above
    bottom: float = 0.95

    def size(self) -> tuple[float, float]:
        """Return width and height of the figure."""
        across, down = self.width + self.right, self.height + self.above
        return self.left + self.columns * across, self.top + self.rows * down + self.bottom

    def panel(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a panel, as fractions of the figure."""
        whole_width, whole_height = self.size()
        left = self.left + column * (self.width + self.right)
        below = whole_height - self.top - (row + 1) * (self.height + self.above)
        return left / whole_width, below / whole_height, self.width / whole_width, self.height / whole_height

    def colorbar(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of the colour bar beside a panel, as fractions of the figure."""
        left, below, width, height = self.panel(row, column)
        inch = 1 / self.size()[0]
        return left + width + 0.08 * inch, below, 0.09 * inch, height


def draw(
    fitted: Letterbox, maps: Sequence[FeatureMap], windows: Sequence[Window], cell: tuple[int, int], title: str
) -> Any:
    """Return a Matplotlib figure: the photograph and the maps in the first row, and a row of heads for each window.

    Args:
        fitted: the photograph.
        maps: one panel each.
        windows: one row each, with a panel for each head.
        cell: the pixel of the photograph, x and y, in the query cell.
        title: of the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no display
    from matplotlib.figure import Figure

    photo_height, photo_width = fitted.photo.shape[:2]
    shape = min(max(photo_height / photo_width, 0.5), 1.5)
    width = min(3.2, 3.2 / shape)
    columns = max([1 + len(maps), *(len(window.heads) for window in windows)])
    page = Page(1 + len(windows), columns, width, width * shape)
    figure: Any = Figure(figsize=page.size())
    FigureCanvasAgg(figure)
    figure.text(0.5, 1 - 0.3 / page.size()[1], title, ha="center", va="center", fontsize=FONT_SIZE + 3)
    legend = MAPS_LEGEND + (ATTENTION_LEGEND if windows else "")
    figure.text(0.5, 0.32 / page.size()[1], legend, ha="center", va="center", fontsize=FONT_SIZE)
    draw_photo(figure.add_axes(page.panel(0, 0)), fitted, windows, cell)
    for column, feature_map in enumerate(maps, 1):
        image = draw_map(figure.add_axes(page.panel(0, column)), fitted, feature_map)
        draw_colorbar(figure, image, page.colorbar(0, column))
    for row, window in enumerate(windows, 1):
        panels = [figure.add_axes(page.panel(row, column)) for column in range(len(window.heads))]
        image = draw_window(panels, fitted, window, shape)
        draw_colorbar(figure, image, page.colorbar(row, len(panels) - 1), in_percent=True)
        panels[0].set_ylabel(f"stage {window.stage}, block {window.block}\nstride {window.stride}", fontsize=FONT_SIZE)
    return figure


def draw_photo(panel: Any, fitted: Letterbox, windows: Sequence[Window], cell: tuple[int, int]) -> None:
    """Draw the photograph with the outline of each window and the query pixel."""
    height, width = fitted.photo.shape[:2]
    panel.imshow(fitted.photo, extent=(0, width, height, 0))
    for window in windows:
        draw_outline(panel, cells_in_photo(fitted, window.stride, window.corner, WINDOW), stage_colour(window))
    title = f"{width}x{height} pixels"
    if windows:
        panel.plot(cell[0] + 0.5, cell[1] + 0.5, "+", color=QUERY_COLOUR, markersize=11, markeredgewidth=2)
        title += f"; + is at {cell[0]}, {cell[1]}"
    show_section(panel, (0, 0, width, height), title)


def draw_map(panel: Any, fitted: Letterbox, feature_map: FeatureMap) -> Any:
    """Draw a map over the photograph, coloured by its norms there; return the drawn image, for a colour bar."""
    height, width = fitted.photo.shape[:2]
    size = fitted.image.shape[2:]
    whole = F.interpolate(feature_map.norm[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    seen = whole[fitted.top : fitted.top + fitted.height, fitted.left : fitted.left + fitted.width]
    draw_greyscale(panel, fitted)
    image = panel.imshow(seen.numpy(), extent=(0, width, height, 0), cmap="viridis", alpha=0.65)
    show_section(panel, (0, 0, width, height), f"map of stride {feature_map.stride}, {feature_map.channels} channels")
    panel.set_yticklabels([])
    return image


def draw_window(panels: Sequence[Any], fitted: Letterbox, window: Window, shape: float) -> Any:
    """Draw the attention of each head over the photograph; return the last drawn image, for a common colour bar."""
    from matplotlib.colors import PowerNorm

    borders = cells_in_photo(fitted, window.stride, window.corner, WINDOW)
    left, top, right, bottom = borders
    outside = cells_outside(fitted, window)
    # a square root shows small values beside large ones; the least maximum keeps uniform attention, of 2%, pale
    shades = PowerNorm(0.5, 0, max(float(window.heads.max()), 0.1))
    for number, (panel, probabilities) in enumerate(zip(panels, window.heads), 1):
        panel.set_facecolor((GREY / 255,) * 3)
        draw_greyscale(panel, fitted)
        image = panel.imshow(
            probabilities.numpy(),
            extent=(left, right, bottom, top),
            cmap=transparent_colormap(),
            norm=shades,
            interpolation="nearest",
        )
        draw_outline(panel, borders, stage_colour(window))
        draw_outline(panel, cells_in_photo(fitted, window.stride, window.query, 1), QUERY_COLOUR)
        beyond = float(probabilities[outside].sum())
        title = f"head {number}: at most {float(probabilities.max()):.0%}"
        title += f", {beyond:.0%} outside" if beyond else ""
        show_section(panel, zoomed_borders(borders, fitted, shape), title)
        if number > 1:
            panel.set_yticklabels([])
    return image


def transparent_colormap() -> Any:
    """Return a colour map from transparent over yellow to dark red, so that the photograph shows under low values."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    steps = np.linspace(0, 1, 256)
    colours = ScalarMappable(cmap="YlOrRd").to_rgba(steps, norm=False)
    colours[:, 3] = 0.9 * np.minimum(1, 1.6 * steps)
    return ListedColormap(colours)


def cells_outside(fitted: Letterbox, window: Window) -> torch.Tensor:
    """Return which cells of a window have their centre outside of the photograph, `(7, 7)`."""
    centres = torch.arange(WINDOW) + 0.5
    columns, rows = ((first + centres) * window.stride for first in window.corner)
    across = (columns < fitted.left) | (columns >= fitted.left + fitted.width)
    down = (rows < fitted.top) | (rows >= fitted.top + fitted.height)
    return down[:, None] | across


def draw_greyscale(panel: Any, fitted: Letterbox) -> None:
    """Draw the photograph in pale grey, as a background."""
    height, width = fitted.photo.shape[:2]
    pale = 255 - 0.7 * (255 - fitted.photo.mean(2))
    panel.imshow(pale, extent=(0, width, height, 0), cmap="gray", vmin=0, vmax=255)


def cells_in_photo(
    fitted: Letterbox, stride: int, first: tuple[int, int], count: int
) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a square of cells, in pixels of the photograph.

    Args:
        fitted: the photograph.
        stride: pixels of the image per cell.
        first: column and row of the first cell.
        count: cells per side.
    """
    column, row = first
    left, top = fitted.to_photo(column * stride, row * stride)
    right, bottom = fitted.to_photo((column + count) * stride, (row + count) * stride)
    return left, top, right, bottom


def zoomed_borders(
    borders: tuple[float, float, float, float], fitted: Letterbox, shape: float
) -> tuple[float, float, float, float]:
    """Return the borders of a section of the photograph that contains a window and has the panel's shape."""
    left, top, right, bottom = borders
    photo_height, photo_width = fitted.photo.shape[:2]
    smallest = max(bottom - top, (right - left) * shape)
    height = max(smallest, min(1.5 * smallest, max(photo_height, photo_width * shape)))
    first_x, last_x = interval_around(left, right, height / shape, photo_width)
    first_y, last_y = interval_around(top, bottom, height, photo_height)
    return first_x, first_y, last_x, last_y


def interval_around(first: float, last: float, length: float, whole: float) -> tuple[float, float]:
    """Return an interval of a length that contains `first` to `last`, as far inside 0 to `whole` as possible."""
    start = (first + last - length) / 2
    start = min(max(start, 0.0), whole - length) if length < whole else (whole - length) / 2
    start = max(min(start, first), last - length)
    return start, start + length


def stage_colour(window: Window) -> str:
    """Return the colour of a window's outline."""
    return STAGE_COLOURS[(window.stage - 1) % len(STAGE_COLOURS)]


def draw_outline(panel: Any, borders: tuple[float, float, float, float], colour: str) -> None:
    """Draw a rectangle."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = borders
    panel.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=2))


def show_section(panel: Any, borders: tuple[float, float, float, float], title: str) -> None:
    """Limit a panel to a section of the photograph, and set its title."""
    left, top, right, bottom = borders
    panel.set_xlim(left, right)
    panel.set_ylim(bottom, top)
    panel.tick_params(labelsize=FONT_SIZE - 2)
    panel.set_title(title, fontsize=FONT_SIZE)


def draw_colorbar(figure: Any, image: Any, place: tuple[float, float, float, float], in_percent: bool = False) -> None:
    """Draw the colour bar of an image."""
    from matplotlib.ticker import FuncFormatter

    bar = figure.colorbar(image, cax=figure.add_axes(place))
    bar.ax.tick_params(labelsize=FONT_SIZE - 2)
    if in_percent:
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))


def require_format(path: Path) -> str:
    """Return the format of a picture by its suffix.

    Raises:
        ValueError: Matplotlib is missing, or does not write this format.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise ValueError(f"Matplotlib cannot be imported ({error}); pip install matplotlib, as YOLOv5 wants") from error
    known = FigureCanvasAgg.get_supported_filetypes()
    suffix = path.suffix[1:].lower()
    if suffix not in known:
        raise ValueError(f"{path} has no suffix of a picture; name it .png, or one of {', '.join(sorted(known))}")
    return suffix
