"""One self-contained page: text, figures and tables, right in light and dark, nothing fetched from outside.

Whatever comes from data (names, notes, cells of tables) is escaped; the page runs no script and its
content policy forbids any.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise import __version__
from screenwise.run import write_text

ROWS = 40
"""Rows of a table on the page unless it says otherwise."""


MISSING = "-"
"""What stands where there is no value."""


@dataclass(frozen=True)
class Table:
    """A table on the page; numbers are rounded for reading, the files hold all digits."""

    frame: pd.DataFrame
    caption: str = ""
    rows: int = ROWS
    """Rows shown; a note says how many there are in all."""
    file: str = ""
    """Where the whole table is, named in that note."""
    digits: int = 3
    """Decimals of numbers that are not whole."""


@dataclass(frozen=True)
class Picture:
    """A figure with words below it."""

    figure: Any
    """A `matplotlib.figure.Figure` drawn with `screenwise.report.figures`, or the SVG that `to_svg` gave."""
    caption: str = ""
    wide: bool = False
    """Take the page's full width instead of half of it."""


@dataclass(frozen=True)
class Section:
    """A part of the page: text first, then the figures side by side, then the tables."""

    title: str
    text: str = ""
    """Plain text; an empty line begins a paragraph, lines that begin with "- " are a list."""
    figures: Sequence[Any] = ()
    """`Picture`, or a figure without a caption."""
    tables: Sequence[Any] = ()
    """`Table`, or a data frame without a caption."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Name -> number or word: the few results that are seen first."""


def write_report(
    path: Path,
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write one HTML file, whole or not at all, and return its path.

    Parameters
    ----------
    path
        File to write.
    title
        Title of the page.
    sections
        Parts, in order; with more than two the page begins with a list of them.
    lead
        A sentence or two below the title.
    provenance
        Name -> value at the foot: data, seed, settings, versions. No date is added, so that the same
        results give the same bytes.
    """
    write_text(Path(path), render(title, sections, lead=lead, provenance=provenance))
    return Path(path)


def render(
    title: str, sections: Sequence[Section], *, lead: str = "", provenance: Mapping[str, Any] | None = None
) -> str:
    """Return the page as text; see `write_report`.

    Examples
    --------
    >>> page = render("A <b>bold</b> name", [Section("One", "Some text.")])
    >>> "A &lt;b&gt;bold&lt;/b&gt; name" in page, "<script" in page
    (True, False)
    """
    from markupsafe import Markup  # noqa: PLC0415

    names = _anchors([section.title for section in sections])
    parts = [
        {
            "anchor": name,
            "title": section.title,
            "blocks": _blocks(section.text),
            "facts": [(key, format_value(value)) for key, value in section.facts.items()],
            "pictures": [_picture(figure) for figure in section.figures],
            "tables": [_table(table) for table in section.tables],
        }
        for name, section in zip(names, sections, strict=True)
    ]
    return template("report.html.j2").render(
        title=title,
        lead=_blocks(lead),
        sections=parts,
        provenance=[(key, format_value(value)) for key, value in (provenance or {}).items()],
        style=Markup(files("screenwise.report").joinpath("static/report.css").read_text(encoding="utf-8")),
        version=__version__,
    )


@cache
def template(name: str) -> Any:
    """Return a template of this room; what is put into HTML is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("screenwise.report"),
        autoescape=".html" in name,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def format_value(value: Any, digits: int = 3) -> str:
    """Return a value as people read it.

    Examples
    --------
    >>> [format_value(value) for value in (0.61049, 1234567, float("nan"), True, 1.5e-9, 35633.0)]
    ['0.610', '1,234,567', '-', 'yes', '1.5e-09', '35,633']
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return _format_number(float(value), digits)
    if isinstance(value, Mapping):
        value = [f"{key}: {format_value(one, digits)}" for key, one in value.items()]
    return ", ".join(format_value(one, digits) for one in value) if isinstance(value, list | tuple) else str(value)


def _format_number(value: float, digits: int) -> str:
    if np.isnan(value):
        return MISSING
    if np.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if value.is_integer() and abs(value) >= 1000:  # noqa: PLR2004
        return f"{value:,.0f}"
    if value and not 10.0**-digits <= abs(value) < 1e6:  # noqa: PLR2004
        return f"{value:.2g}"
    return f"{value:,.{digits}f}"


def _anchors(titles: Sequence[str]) -> list[str]:
    """Names for links inside the page: short, plain and unique."""
    taken: list[str] = []
    for place, title in enumerate(titles, start=1):
        plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "section"
        taken.append(plain if plain not in taken else f"{plain}-{place}")
    return taken


def _blocks(text: str) -> list[dict[str, Any]]:
    """Paragraphs and lists of plain text."""
    blocks: list[dict[str, Any]] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in part.splitlines() if line.strip()]
        if lines and all(line.startswith("- ") for line in lines):
            blocks.append({"items": [line[2:] for line in lines], "text": ""})
        elif lines:
            blocks.append({"items": [], "text": " ".join(lines)})
    return blocks


def _picture(figure: Any) -> dict[str, Any]:
    from markupsafe import Markup  # noqa: PLC0415

    picture = figure if isinstance(figure, Picture) else Picture(figure)
    if isinstance(picture.figure, str):
        svg = picture.figure
    else:
        from screenwise.report.ink import to_svg  # noqa: PLC0415

        svg = to_svg(picture.figure)
    return {"svg": Markup(svg), "caption": picture.caption, "wide": picture.wide}


def _table(given: Any) -> dict[str, Any]:
    table = given if isinstance(given, Table) else Table(given)
    frame = table.frame.head(table.rows)
    numeric = [
        pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name]) for name in frame
    ]
    columns = [[format_value(value, table.digits) for value in frame.iloc[:, place]] for place in range(frame.shape[1])]
    note = ""
    if len(table.frame) > len(frame):
        where = f" The whole table is in {table.file}." if table.file else ""
        note = f"The first {len(frame):,} of {len(table.frame):,} rows.{where}"
    return {
        "caption": table.caption,
        "header": list(zip(map(str, frame.columns), numeric, strict=True)),
        "body": [list(zip(row, numeric, strict=True)) for row in zip(*columns, strict=True)],
        "note": note,
    }
