"""Figures over many tasks: cumulative shares of scores, and of the gains of one model over another."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from screenwise.report.ink import (
    INK,
    SERIES,
    STROKES,
    SURFACE,
    drawing,
    legend_above,
    need_columns,
    new_figure,
    short,
)

HEIGHT = 3.2
TAIL = 0.01
"""Share of tasks at either end that may run out of the picture, so that one task does not flatten all others."""
MANY = 50
"""With fewer tasks than this nothing runs out of the picture."""


def ecdf(values: Mapping[str, ArrayLike], *, label: str, what: str = "share of tasks") -> Figure:
    """Draw cumulative shares, one line per name: at x, the share of values that are at most x.

    Parameters
    ----------
    values
        Name -> (t,) numbers; NaN are left out.
    label
        Of the axis of the numbers.
    what
        Of the axis of shares.
    """
    with drawing():
        figure = new_figure(HEIGHT, f"Cumulative shares of {label}: {', '.join(map(str, values))}")
        panel = figure.subplots()
        for place, (name, numbers) in enumerate(values.items()):
            _steps(panel, place, numbers, short(name, 30))
        _finish(panel, [np.asarray(one, float) for one in values.values()], label, what)
        legend_above(figure, panel)
    return figure


def score_ecdf(deltas: pd.DataFrame, metric: str, names: tuple[str, str]) -> Figure:
    """Draw how the tasks' scores of two models are spread.

    Parameters
    ----------
    deltas
        Columns ``metric, a, b``, as `screenwise.evaluate.deltas.gain_tables` gives them.
    metric
        The score to draw.
    names
        Of the first and the second model.
    """
    need_columns(deltas, ("metric", "a", "b"))
    rows = deltas[deltas["metric"] == metric]
    first, second = names if names[0] != names[1] else (f"a: {names[0]}", f"b: {names[1]}")
    return ecdf({first: rows["a"], second: rows["b"]}, label=f"{metric} of a task")


def delta_ecdf(deltas: pd.DataFrame, metric: str, *, higher_is_better: bool, by: str | None = None) -> Figure:
    """Draw how the tasks' gains are spread; the sides where each is better are written on it.

    Parameters
    ----------
    deltas
        Columns ``metric, delta`` and the one that `by` names.
    metric
        The score to draw.
    higher_is_better
        Of the score.
    by
        Draw a line per value of this column, such as ``assay_type``.
    """
    need_columns(deltas, ("metric", "delta", *([by] if by else [])))
    rows = deltas[deltas["metric"] == metric]
    parts = {"all tasks": rows["delta"]}
    if by is not None:
        parts = {f"{name or 'not said'} ({len(part)})": part["delta"] for name, part in rows.groupby(by)}
    with drawing():
        figure = new_figure(HEIGHT, f"Cumulative shares of the difference of {metric}, {len(rows)} tasks")
        panel = figure.subplots()
        panel.axvline(0, color=INK, linewidth=1)
        for place, (name, numbers) in enumerate(parts.items()):
            _steps(panel, place, numbers, short(name, 30))
        _finish(panel, [rows["delta"].to_numpy(float)], f"{metric} of b - {metric} of a, on a task", "share of tasks")
        low, high = panel.get_xlim()
        panel.set_xlim(min(low, -0.02 * (high - low)), max(high, 0.02 * (high - low)))
        under = {"facecolor": SURFACE, "linewidth": 0, "pad": 1, "alpha": 0.85}
        for words, right in (("b better", higher_is_better), ("a better", not higher_is_better)):
            edge, side = (0.985, "right") if right else (0.015, "left")
            height = 0.06 if right else 0.94
            panel.annotate(
                words,
                (edge, height),
                xycoords="axes fraction",
                ha=side,
                va="center",
                fontstyle="italic",
                alpha=0.8,
                bbox=under,
            )
        if by is not None:
            legend_above(figure, panel)
    return figure


def _steps(panel: Axes, place: int, numbers: ArrayLike, label: str) -> None:
    values = np.sort(np.asarray(numbers, float))
    values = values[np.isfinite(values)]
    if not len(values):
        return
    share = np.arange(1, len(values) + 1) / len(values)
    look = {"color": SERIES[place % len(SERIES)], "linestyle": STROKES[place % len(STROKES)], "linewidth": 1.8}
    panel.step(np.append(values[0], values), np.append(0, share), where="post", label=label, **look)


def _finish(panel: Axes, values: list[np.ndarray], label: str, what: str) -> None:
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    if len(every):
        tail = TAIL if len(every) > MANY else 0.0
        low, high = np.quantile(every, [tail, 1 - tail])
        pad = 0.04 * (high - low) or 0.05
        panel.set_xlim(low - pad, high + pad)
    panel.set(ylim=(0, 1.02), xlabel=label, ylabel=what)
