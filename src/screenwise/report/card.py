"""The model card: what was learned, from what, how well, where to trust it, and how to make it again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.report.html import format_value, template
from screenwise.run import write_text


@dataclass(frozen=True)
class Card:
    """What a model card says; an empty part is left out, never made up."""

    name: str
    """Name of the model or of its run."""
    purpose: str = ""
    """What it predicts, of what, in one or two sentences."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Kind, kernels or layers, what was chosen and why."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Source, conditions, tasks, measurements, what was rejected."""
    licence: Mapping[str, str] = field(default_factory=dict)
    """What -> its licence: the data and the model may differ."""
    split: str = ""
    """How the held-out part was chosen; says what kind of newness the scores are about."""
    metrics: pd.DataFrame | None = None
    """One row per score, with its interval (lower, upper) where there is one."""
    domain: str = ""
    """Where the model may be trusted, and how that was decided."""
    limits: Sequence[str] = ()
    """What it must not be used for, and what is known to go wrong."""
    reproduce: Mapping[str, Any] = field(default_factory=dict)
    """Command, settings, seed, data fingerprint."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package -> version."""


def write_card(path: Path, card: Card) -> Path:
    """Write a model card as Markdown, whole or not at all, and return its path."""
    write_text(Path(path), render_card(card))
    return Path(path)


def render_card(card: Card) -> str:
    r"""Return a model card as Markdown; text from data is escaped.

    Examples
    --------
    >>> print(render_card(Card("growth", purpose="Growth of yeast.", limits=["Only *haploid* cells."])))
    # Model card: growth
    <BLANKLINE>
    Growth of yeast.
    <BLANKLINE>
    ## Limits
    <BLANKLINE>
    - Only \*haploid\* cells.
    <BLANKLINE>
    """
    return str(
        template("card.md.j2").render(
            name=_plain(card.name),
            purpose=_plain(card.purpose),
            lists=[
                ("Model", _pairs(card.model)),
                ("Data", _pairs(card.data)),
                ("Licence", _pairs(card.licence)),
            ],
            split=_plain(card.split),
            metrics=[] if card.metrics is None else markdown_table(card.metrics),
            domain=_plain(card.domain),
            limits=[_plain(limit) for limit in card.limits],
            reproduce=[*_pairs(card.reproduce), *_pairs(card.versions)],
        )
    )


def markdown_table(frame: pd.DataFrame, digits: int = 3) -> list[str]:
    r"""Return the lines of a Markdown table, numbers to the right.

    Examples
    --------
    >>> markdown_table(pd.DataFrame({"task": ["a|b"], "rmse": [0.61049]}))
    ['| task | rmse |', '| --- | ---: |', '| a\\|b | 0.610 |']
    """
    marks = ["---:" if pd.api.types.is_numeric_dtype(frame[name]) else "---" for name in frame]
    rows = [[_plain(format_value(value, digits)) for value in row] for row in frame.itertuples(index=False)]
    return [f"| {' | '.join(cells)} |" for cells in ([_plain(name) for name in frame], marks, *rows)]


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(_plain(name), _plain(format_value(value))) for name, value in values.items()]


def _plain(value: Any) -> str:
    """One line in which nothing is Markdown or HTML."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#])", r"\\\1", text)
