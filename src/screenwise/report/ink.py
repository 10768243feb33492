"""One look for every figure: SVG that follows the page's light or dark, the same bytes each time.

Figures are drawn in fixed colours that `to_svg` replaces: ink becomes ``currentColor``, the surface and
the series become CSS variables with the drawn colour as fallback. So one file is right on both grounds,
and a figure that is saved alone, or as PNG, still shows what was drawn.
"""

import hashlib
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from screenwise.errors import ColumnError, DataError
from screenwise.run import atomic_path

INK = "#1a1c1f"
"""Text, axes and everything that must stand out from the page."""
SURFACE = "#fefefd"
"""The page behind, for the inside of hollow marks."""
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b6569a", "#c08a00", "#3a93cc")
"""Colours of series, from the palette of Okabe and Ito (2008), distinct to colour-blind eyes."""
MARKS = ("o", "s", "^", "D", "v", "P")
"""Marks of series, so that colour is never the only difference."""
STROKES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (1, 1)), (0, (9, 2)))
"""Line styles of series, likewise."""
WIDTH = 5.4
"""Inches: at 390 pixels the text is still 9 pixels high; two figures stand side by side on a desk."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.labelcolor": INK,
    "grid.color": INK,
    "grid.alpha": 0.14,
    "grid.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.unicode_minus": True,
    # Names from data may hold dollar signs; they are names, not formulas.
    "text.parse_math": False,
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "screenwise",
    "svg.image_inline": True,
    "path.simplify": True,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the house style; settings outside the block stay as they were."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        # The reader's fonts draw the text; that ours has no Chinese does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(height: float, label: str, *, width: float = WIDTH) -> Figure:
    """Return an empty figure; `label` is what a screen reader says of it. Use inside `drawing`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(label)
    return figure


def short(name: Any, length: int = 28) -> str:
    r"""Return a name fit for a label: one line, no control characters, not too long.

    Examples
    --------
    >>> short("a name\nthat goes on and on", 12)
    'a name that…'
    """
    text = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in str(name))
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def add_series(panel: Axes, place: int, x: Any, y: Any, label: str, *, marks: bool = True) -> None:
    """Draw one line in the colour, stroke and mark of its place."""
    colour, stroke = SERIES[place % len(SERIES)], STROKES[place % len(STROKES)]
    mark = MARKS[place % len(MARKS)] if marks else ""
    panel.plot(x, y, color=colour, linestyle=stroke, marker=mark, markersize=5, linewidth=1.8, label=label)


def legend_above(figure: Figure, *panels: Axes) -> None:
    """Put one legend for all panels above them, in as many columns as fit."""
    named: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    handles, labels = list(named.values()), list(named)
    if not handles:
        return
    columns = max(1, min(len(labels), int(64 / (max(map(len, labels)) + 8))))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=2.6, columnspacing=1.4)


def need_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise `ColumnError` where a table lacks a column that a figure needs."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        message = (
            f"The figure needs the columns {', '.join(missing)}; the table has {', '.join(map(str, frame.columns))}."
        )
        raise ColumnError(message)


def to_svg(figure: Figure, *, standalone: bool = False) -> str:
    """Return a figure as SVG for the inside of an HTML page, the same bytes for the same figure.

    Parameters
    ----------
    figure
        Drawn with the functions of `screenwise.report.figures`.
    standalone
        Add what a file of its own needs: the name space and ink that follows the viewer's scheme.

    Examples
    --------
    >>> with drawing():
    ...     figure = new_figure(1.0, "nothing yet")
    >>> svg = to_svg(figure)
    >>> svg.startswith("<svg"), "<title>nothing yet</title>" in svg, svg == to_svg(figure)
    (True, True, True)
    """
    stream = io.StringIO()
    with drawing():
        FigureCanvasSVG(figure).print_svg(stream, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for place, colour in enumerate(SERIES, start=1):
        svg = svg.replace(colour, f"var(--series-{place}, {colour})")
    svg = svg.replace(SURFACE, f"var(--surface, {SURFACE})").replace(INK, "currentColor")
    svg = _own_ids(_rounded(svg))
    return _opened(svg, figure, standalone=standalone)


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a file, SVG or PNG by the name's ending.

    Raises
    ------
    DataError
        Another ending, or a place that cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".svg", ".png"):
        message = f"{path} ends in {ending or 'nothing'}; a figure is written as .svg or .png."
        raise DataError(message)
    with atomic_path(Path(path)) as draft, drawing():
        if ending == ".svg":
            draft.write_text(to_svg(figure, standalone=True) + "\n", encoding="utf-8")
        else:
            figure.savefig(draft, format="png", dpi=160, facecolor="white", metadata={"Software": None})


def _rounded(svg: str) -> str:
    """Cut digits: a hundredth of a point is finer than any screen."""

    def attribute(match: re.Match[str]) -> str:
        return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", match[0])

    return re.sub(r'\b(?:d|x|y|transform|style)="[^"]*"', attribute, svg)


def _own_ids(svg: str) -> str:
    """Ids are unique in a page, not in a figure only: prefix them with what the figure looks like."""
    prefix = "f" + hashlib.blake2b(svg.encode(), digest_size=4).hexdigest()
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)


def _opened(svg: str, figure: Figure, *, standalone: bool) -> str:
    """Give the root element a size that shrinks with the page, and words for those who cannot see it."""
    width, height = (72 * float(size) for size in figure.get_size_inches())
    space = ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"' if standalone else ""
    head = (
        f'<svg{space} class="figure" role="img" viewBox="0 0 {width:g} {height:g}" '
        f'style="width: 100%; max-width: {width * 4 / 3:.0f}px; height: auto">'
        f"<title>{escape(short(figure.get_label(), 200))}</title>"
    )
    if standalone:
        head += "<style>svg{color:#1a1c1f} @media (prefers-color-scheme: dark){svg{color:#e8e6e3}}</style>"
    else:
        # HTML knows the old name space of links only where it is declared.
        svg = svg.replace("xlink:href=", "href=")
    return head + svg[svg.index(">") + 1 :]
