"""Figures of what happens step by step: rounds of a replay, epochs of a network."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t as student

from screenwise.report.ink import (
    INK,
    SERIES,
    STROKES,
    add_series,
    drawing,
    legend_above,
    need_columns,
    new_figure,
    short,
)


def replay_curves(curves: pd.DataFrame, *, quantity: str = "hit_fraction", title: str = "") -> Figure:
    """Draw what each policy found by the wells it used: mean and 95 % interval over seeds.

    Parameters
    ----------
    curves
        Columns ``policy, seed, measured`` and `quantity` (``hit_fraction, hits`` or ``best``).
    quantity
        The column to draw.
    """
    need_columns(curves, ("policy", "seed", "measured", quantity))
    words = {"hit_fraction": "share of hits found", "hits": "hits found", "best": "best value found"}
    seeds = curves["seed"].nunique()
    with drawing():
        figure = new_figure(
            3.5, f"{words.get(quantity, quantity)} by wells measured, {curves['policy'].nunique()} policies"
        )
        panel = figure.subplots()
        for place, (name, part) in enumerate(curves.groupby("policy", sort=False)):
            table = _over_seeds(part, quantity)
            add_series(panel, place, table.index, table["mean"], short(name))
            colour = SERIES[place % len(SERIES)]
            panel.fill_between(table.index, table["lower"], table["upper"], color=colour, alpha=0.18, linewidth=0)
        panel.set(xlabel="wells measured", ylabel=words.get(quantity, quantity))
        if quantity != "best":
            panel.set_ylim(bottom=0)
        note = f"mean and 95 % interval over {seeds} seeds" if seeds > 1 else "one seed"
        panel.set_title(f"{short(title, 32)}, {note}" if title else note, loc="left", fontweight="normal")
        legend_above(figure, panel)
    return figure


def _over_seeds(part: pd.DataFrame, quantity: str) -> pd.DataFrame:
    table = part.groupby("measured")[quantity].agg(["mean", "std", "count"])
    half = student.ppf(0.975, np.maximum(table["count"] - 1, 1)) * table["std"] / np.sqrt(table["count"])
    half = np.where(table["count"] > 1, half, 0.0)
    table["lower"], table["upper"] = table["mean"] - half, table["mean"] + half
    if quantity == "hit_fraction":
        table[["lower", "upper"]] = table[["lower", "upper"]].clip(0, 1)
    return table


def learning_curve(metrics: Any, *, x: str = "epoch", chosen: float | None = None) -> Figure:
    """Draw how a network learned: one line per quantity that was logged.

    Parameters
    ----------
    metrics
        Rows of ``metrics.jsonl`` (list of dicts) or a table, with the column `x` and numbers.
    x
        The column that counts.
    chosen
        Where the kept checkpoint was taken; marked with a line.
    """
    frame = pd.DataFrame(metrics)
    need_columns(frame, (x,))
    numbers = [name for name in frame.columns if name != x and pd.api.types.is_numeric_dtype(frame[name])]
    with drawing():
        figure = new_figure(3.2, f"Learning curve: {', '.join(map(str, numbers))}")
        panel = figure.subplots()
        for place, name in enumerate(numbers):
            part = frame[[x, name]].dropna()
            add_series(panel, place, part[x], part[name], short(name), marks=len(part) < 30)  # noqa: PLR2004
        if chosen is not None:
            panel.axvline(chosen, color=INK, linewidth=1, linestyle=STROKES[2], alpha=0.7, label="kept")
        panel.set(xlabel=x, ylabel="value")
        legend_above(figure, panel)
    return figure
