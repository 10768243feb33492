"""A picture of plates: what stands in each well, and how it was scored."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from screenwise.design.plate import SHAPES, row_letters
from screenwise.errors import ColumnError, DataError
from screenwise.report.ink import INK, SERIES, WIDTH, drawing, new_figure, short

ROLE_COLOURS = {"positive": SERIES[2], "negative": SERIES[1]}
"""Roles with a colour of their own; samples and replicates show their score."""
ROLE_MARKS = {"positive": "+", "negative": "\N{MINUS SIGN}", "replicate": "R"}
"""Letters in the wells, so that roles differ without colour too."""
SCORES = LinearSegmentedColormap.from_list("screenwise", ["#dfe8f2", "#7fb2d9", "#2f7fb8", "#0a4a80", "#082d52"])
"""Light to dark blue: in order for every eye, and visible on both grounds beside an inked rim."""

_WELL = re.compile(r"^([A-Z]{1,2})0*([1-9][0-9]?)$")


def well_position(well: str) -> tuple[int, int]:
    """Return row and column (from 0) of a well's name.

    Examples
    --------
    >>> well_position("A01"), well_position("H12"), well_position("AF48")
    ((0, 0), (7, 11), (31, 47))
    """
    match = _WELL.match(str(well).strip().upper())
    if match is None:
        message = f"{well!r} names no well; wells are named like A01, H12 or AF48."
        raise DataError(message)
    row = 0
    for letter in match[1]:
        row = row * 26 + ord(letter) - ord("A") + 1
    return row - 1, int(match[2]) - 1


def plate_map(plates: pd.DataFrame, *, size: int | None = None, score: str = "score", score_label: str = "") -> Figure:
    """Draw plate maps, one below the other: role by mark and rim, score by shade.

    Parameters
    ----------
    plates
        One row per used well: ``well, role`` (sample, positive, negative, replicate) and, where there,
        ``plate`` and the column `score`.
    size
        96, 384 or 1536 wells; the smallest that holds every well when None.
    score
        Column with the number that shades samples and replicates.
    score_label
        Words below the shades; the column's name when empty.
    """
    for name in ("well", "role"):
        if name not in plates.columns:
            message = f"A plate map needs the column {name}; the table has {', '.join(map(str, plates.columns))}."
            raise ColumnError(message)
    frame = plates.reset_index(drop=True)
    places = np.array([well_position(well) for well in frame["well"]], int).reshape(-1, 2)
    rows, columns = _shape(places, size)
    names = frame["plate"] if "plate" in frame.columns else pd.Series("", index=frame.index)
    value = frame[score].to_numpy(float) if score in frame.columns else np.full(len(frame), np.nan)
    finite = value[np.isfinite(value)]
    scale = Normalize(finite.min(), finite.max()) if len(finite) else None
    groups = list(dict.fromkeys(names)) or [""]
    with drawing():
        above = 0.62 if any(str(name) for name in groups) else 0.38
        sheet = _Sheet(
            rows, columns, plates=len(groups), roles=frame["role"].nunique(), shaded=scale is not None, above=above
        )
        figure = new_figure(sheet.height, f"Plate map: {len(frame)} wells on {len(groups)} plates of {rows * columns}")
        figure.set_layout_engine("none")
        colours = _colours(frame["role"], value, scale)
        for place, name in enumerate(groups):
            mine = (names == name).to_numpy()
            panel = figure.add_axes(sheet.plate(place))
            _plate(panel, (rows, columns), places[mine], frame["role"][mine], colours[mine])
            if str(name):
                panel.set_title(f"plate {short(name, 40)}", loc="left", pad=19)
        _explain(figure, sheet, frame["role"], scale, score_label or score)
    return figure


@dataclass(frozen=True)
class _Sheet:
    """Where things stand on the figure, in inches from the top: legend, plates, shades."""

    rows: int
    columns: int
    plates: int
    roles: int
    shaded: bool
    above: float
    left: float = 0.42
    right: float = 0.12

    @property
    def legend(self) -> float:
        return 0.12 + 0.22 * ((self.roles + 1) // 2)

    @property
    def plate_height(self) -> float:
        return (WIDTH - self.left - self.right) * self.rows / self.columns

    @property
    def height(self) -> float:
        return self.legend + self.plates * (self.above + self.plate_height) + (0.72 if self.shaded else 0.12)

    def plate(self, place: int) -> tuple[float, float, float, float]:
        top = self.legend + place * (self.above + self.plate_height) + self.above
        return self._box(top, self.plate_height)

    def shades(self) -> tuple[float, float, float, float]:
        return self._box(self.height - 0.58, 0.12)

    def _box(self, top: float, height: float) -> tuple[float, float, float, float]:
        width = (WIDTH - self.left - self.right) / WIDTH
        return self.left / WIDTH, 1 - (top + height) / self.height, width, height / self.height


def _shape(places: NDArray[Any], size: int | None) -> tuple[int, int]:
    fitting = [shape for shape in SHAPES.values() if not len(places) or (places.max(axis=0) < shape).all()]
    if (size is not None and SHAPES.get(size) not in fitting) or not fitting:
        message = (
            f"The wells do not fit a plate of {size or max(SHAPES)}; plates have {', '.join(map(str, SHAPES))} wells."
        )
        raise DataError(message)
    return SHAPES[size] if size is not None else fitting[0]


def _colours(roles: pd.Series, value: NDArray[Any], scale: Normalize | None) -> NDArray[Any]:
    """(wells, 4) red, green, blue, opacity; a well without a score is hollow."""
    colours = np.zeros((len(roles), 4))
    if scale is not None:
        scored = np.isfinite(value)
        colours[scored] = SCORES(scale(value[scored]))
    for role, colour in ROLE_COLOURS.items():
        colours[(roles == role).to_numpy()] = to_rgba(colour)
    return colours


def _plate(panel: Axes, shape: tuple[int, int], places: NDArray[Any], roles: pd.Series, colours: NDArray[Any]) -> None:
    rows, columns = shape
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    panel.add_collection(_wells(panel, grid, 0.5, facecolors="none", edgecolors=INK, linewidths=0.4, alpha=0.25))
    width = 0.8 if rows < 16 else 0.4  # noqa: PLR2004
    wells = _wells(panel, places[:, ::-1], 0.86, facecolors=colours, edgecolors=INK, linewidths=width)
    panel.add_collection(wells)
    letters = 9.0 if rows == 8 else 5.5  # noqa: PLR2004
    for (row, column), role, colour in zip(places, roles, colours, strict=True):
        mark = ROLE_MARKS.get(str(role), "")
        if mark and rows <= 16:  # noqa: PLR2004
            ink = _letter_ink(str(role), colour)
            panel.text(
                column, row, mark, ha="center", va="center_baseline", fontsize=letters, color=ink, fontweight="bold"
            )
    step = 1 if rows == 8 else 2 if rows == 16 else 4  # noqa: PLR2004
    panel.set_xticks(np.arange(0, columns, step), [str(number + 1) for number in range(0, columns, step)])
    panel.set_yticks(np.arange(0, rows, step), [row_letters(number) for number in range(0, rows, step)])
    panel.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)


def _letter_ink(role: str, colour: NDArray[Any]) -> str:
    """White on a dark well, black on a light or coloured one, the page's ink on a hollow one."""
    if colour[3] == 0:
        return INK
    light = colour[:3] @ (0.299, 0.587, 0.114) > 0.55 or role in ROLE_COLOURS  # noqa: PLR2004
    return "#101214" if light else "#ffffff"


def _wells(panel: Axes, centres: NDArray[Any], size: float, **look: Any) -> EllipseCollection:
    return EllipseCollection([size], [size], [0], units="x", offsets=centres, offset_transform=panel.transData, **look)


def _explain(figure: Figure, sheet: _Sheet, roles: pd.Series, scale: Normalize | None, label: str) -> None:
    handles = []
    for role in dict.fromkeys(roles):
        colour = ROLE_COLOURS.get(str(role), SCORES(0.45) if scale else "none")
        mark = ROLE_MARKS.get(str(role), "")
        words = f"{short(role, 20)} ({int((roles == role).sum())}){f', marked {mark}' if mark else ''}"
        look: dict[str, Any] = {
            "marker": "o",
            "linestyle": "",
            "markersize": 9,
            "color": INK,
            "markerfacecolor": colour,
        }
        handles.append(Line2D([], [], label=words, **look))
    corner = {"loc": "upper left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
    figure.legend(handles=handles, ncols=2, handletextpad=0.3, columnspacing=1.2, **corner)
    if scale is not None:
        bar = figure.colorbar(ScalarMappable(scale, SCORES), cax=figure.add_axes(sheet.shades()), location="bottom")
        bar.set_label(short(label, 60))
        bar.outline.set_visible(False)
