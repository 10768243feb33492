"""Figures of a report, from tables to `matplotlib.figure.Figure`; `to_svg` makes them part of a page.

No figure touches pyplot or any state outside itself. Columns that a function needs are named in its
docstring; a missing one is a `ColumnError`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from screenwise.evaluate.scoring import ALL_METRICS
from screenwise.prediction import Z90
from screenwise.report.curves import learning_curve, replay_curves
from screenwise.report.ink import (
    INK,
    SERIES,
    STROKES,
    SURFACE,
    WIDTH,
    add_series,
    drawing,
    legend_above,
    need_columns,
    new_figure,
    short,
    to_svg,
    write_figure,
)
from screenwise.report.platemap import plate_map

__all__ = [
    "calibration",
    "comparison",
    "error_by_similarity",
    "higher_is_better",
    "learning_curve",
    "plate_map",
    "predicted_observed",
    "replay_curves",
    "task_heat",
    "to_svg",
    "write_figure",
]

MANY_POINTS = 600
"""Above this, predicted against observed is drawn as counted hexagons: a page of 10,000 circles is slow."""


def comparison(
    summary: pd.DataFrame,
    metric: str,
    *,
    baselines: Sequence[str] = (),
    reference: dict[str, dict[str, float]] | None = None,
    over: str = "tasks",
) -> Figure:
    """Draw models against each other: a dot and an interval each, one panel per split.

    Parameters
    ----------
    summary
        One row per model, split and metric with the columns ``model, split, metric, mean, lower, upper``,
        as `screenwise.evaluate.compare.Comparison.summary` gives it.
    metric
        The metric to draw.
    baselines
        Models to mark as baselines (hollow squares).
    reference
        Split -> name -> value: published or agreed figures, drawn as vertical lines in that split's panel.
    over
        What the means are taken over.
    """
    need_columns(summary, ("model", "split", "metric", "mean", "lower", "upper"))
    rows = summary[summary["metric"] == metric]
    splits = list(dict.fromkeys(rows["split"]))
    better = higher_is_better(metric)
    sizes = [max(1, int((rows["split"] == split).sum())) for split in splits] or [1]
    with drawing():
        height = 0.75 + 0.3 * sum(sizes) + 0.42 * len(sizes)
        figure = new_figure(height, f"{metric} of {rows['model'].nunique()} models on {', '.join(map(str, splits))}")
        panels = figure.subplots(len(sizes), 1, sharex=True, squeeze=False, height_ratios=[n + 0.6 for n in sizes])[
            :, 0
        ]
        for panel, split in zip(panels, splits, strict=False):
            part = rows[rows["split"] == split].sort_values("mean", ascending=bool(better), kind="stable")
            _dots(panel, part, baselines)
            panel.set_title(f"split: {short(split, 40)}", loc="left")
            for place, (name, value) in enumerate((reference or {}).get(split, {}).items()):
                label = f"{short(name, 40)} {value:.3g}"
                panel.axvline(value, color=INK, linewidth=1, linestyle=STROKES[1 + place % 5], alpha=0.7, label=label)
        side = {True: " (higher is better)", False: " (lower is better)", None: ""}[better]
        panels[-1].set_xlabel(f"{metric}, mean over {over}{side}")
        legend_above(figure, *panels)
    return figure


def _dots(panel: Axes, part: pd.DataFrame, baselines: Sequence[str]) -> None:
    places = np.arange(len(part))
    for kind, mark, colour in (("model", "o", SERIES[0]), ("baseline", "s", SERIES[1])):
        mine = part["model"].isin(list(baselines)).to_numpy() == (kind == "baseline")
        if not mine.any():
            continue
        mean, lower, upper = (part[name].to_numpy(float)[mine] for name in ("mean", "lower", "upper"))
        panel.hlines(places[mine], lower, upper, color=colour, linewidth=2)
        fill = colour if kind == "model" else SURFACE
        panel.plot(
            mean,
            places[mine],
            mark,
            color=colour,
            markerfacecolor=fill,
            markersize=6.5,
            markeredgewidth=1.6,
            label=kind,
        )
    for place, value, upper in zip(places, part["mean"], part["upper"], strict=True):
        right = value if np.isnan(upper) else upper
        under = {"facecolor": SURFACE, "linewidth": 0, "pad": 1, "alpha": 0.85}
        panel.annotate(
            f"{value:.3f}", (right, place), (7, 0), textcoords="offset points", va="center", fontsize=9, bbox=under
        )
    panel.set_yticks(places, [short(name, 26) for name in part["model"]])
    panel.set_ylim(-0.6, len(part) - 0.4)
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)
    panel.margins(x=0.14)


def predicted_observed(observed: ArrayLike, predicted: ArrayLike, *, unit: str = "", title: str = "") -> Figure:
    """Draw predictions against measurements, (m,) each; NaN are left out.

    Few cells are points, many are hexagons, darker where more cells are. The straight line is where a
    perfect model stands, the faint ones one unit away from it.
    """
    pairs = np.column_stack([np.asarray(observed, float), np.asarray(predicted, float)])
    x, y = pairs[np.isfinite(pairs).all(axis=1)].T
    with drawing():
        figure = new_figure(WIDTH * 0.86, f"Predicted against observed, {len(x)} cells")
        panel = figure.subplots()
        low, high = _range(np.concatenate([x, y]))
        if len(x) > MANY_POINTS:
            binned = panel.hexbin(x, y, gridsize=34, extent=(low, high, low, high), mincnt=1, linewidths=0.1)
            count = np.asarray(binned.get_array())
            binned.set_array(None)
            opacity = 0.15 + 0.85 * np.log1p(count) / max(np.log1p(count.max()), 1e-9)
            binned.set_facecolor([to_rgba(SERIES[0], float(alpha)) for alpha in opacity])
            binned.set_edgecolor("none")
            panel.set_title(f"{len(x):,} cells; the fullest hexagon holds {int(count.max()):,}", loc="left")
        else:
            panel.plot(x, y, "o", color=SERIES[0], alpha=0.55, markersize=4.5, markeredgewidth=0)
            panel.set_title(f"{len(x):,} cells", loc="left")
        panel.plot([low, high], [low, high], color=INK, linewidth=1)
        for step in (-1, 1):
            panel.plot(
                [low, high], [low + step, high + step], color=INK, linewidth=0.8, alpha=0.4, linestyle=STROKES[2]
            )
        panel.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        ending = f" ({short(unit, 20)})" if unit else ""
        panel.set(xlabel=f"observed{ending}", ylabel=f"predicted{ending}")
        if title:
            panel.set_title(f"{short(title, 40)}: {panel.get_title(loc='left')}", loc="left")
    return figure


def calibration(
    coverage: pd.DataFrame,
    *,
    promised: str = "interval promised",
    observed: str = "share of measurements inside",
    sides: tuple[str, str] = ("too careful", "too sure"),
) -> Figure:
    """Draw promised against observed coverage, one line per model; on the diagonal a model keeps its word.

    Parameters
    ----------
    coverage
        Columns ``nominal, observed`` (shares, 0 to 1) as `screenwise.evaluate.calibration.calibration_curve`
        gives them and, where there, ``model`` and ``lower, upper`` (an interval of observed).
    promised, observed
        Labels of the axes; for a reliability diagram rename ``probability`` to ``nominal`` and say so here.
    sides
        What it means to lie above and below the diagonal.
    """
    need_columns(coverage, ("nominal", "observed"))
    frame = coverage if "model" in coverage.columns else coverage.assign(model="model")
    with drawing():
        figure = new_figure(WIDTH * 0.86, "Coverage promised and observed")
        panel = figure.subplots()
        panel.plot([0, 1], [0, 1], color=INK, linewidth=1, alpha=0.8)
        panel.annotate(sides[1], (0.97, 0.03), ha="right", va="bottom", alpha=0.75, fontstyle="italic")
        panel.annotate(sides[0], (0.03, 0.97), ha="left", va="top", alpha=0.75, fontstyle="italic")
        for place, (name, part) in enumerate(frame.groupby("model", sort=False)):
            add_series(panel, place, part["nominal"], part["observed"], short(name))
            if {"lower", "upper"} <= set(part.columns):
                colour = SERIES[place % len(SERIES)]
                panel.fill_between(part["nominal"], part["lower"], part["upper"], color=colour, alpha=0.18, linewidth=0)
        panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel=promised, ylabel=observed)
        if frame["model"].nunique() > 1:
            legend_above(figure, panel)
    return figure


def error_by_similarity(bins: pd.DataFrame, *, unit: str = "", least: int = 5) -> Figure:
    """Draw how the error grows away from what the model has seen, and what the model said of it.

    Parameters
    ----------
    bins
        Columns ``low, high, cells, rmse`` and, where there, ``expected_rmse``, as
        `screenwise.evaluate.domain.errors_by_similarity` gives them.
    unit
        Of the error.
    least
        A bin with fewer cells is not drawn.

    Notes
    -----
    The interval is 90 %, ``rmse (1 +- 1.645 / sqrt(2 n))``, as if errors were Gaussian.
    """
    need_columns(bins, ("low", "high", "cells", "rmse"))
    table = bins[bins["cells"] >= least]
    with drawing():
        figure = new_figure(3.3, "Error by similarity to the training data")
        panel = figure.subplots()
        places, rmse = np.arange(len(table)), table["rmse"].to_numpy(float)
        half = rmse * Z90 / np.sqrt(2 * table["cells"].to_numpy(float))
        panel.vlines(places, rmse - half, rmse + half, color=SERIES[0], linewidth=2)
        panel.plot(places, rmse, "o", color=SERIES[0], markersize=6.5, label="root mean squared error")
        if "expected_rmse" in table.columns:
            look: dict[str, Any] = {"color": SERIES[1], "markersize": 16, "markeredgewidth": 2.2}
            panel.plot(places, table["expected_rmse"], "_", label="what the model expected", **look)
        rows = zip(table["low"], table["high"], table["cells"], strict=True)
        panel.set_xticks(places, [f"{low:g} to\n{high:g}\nn {count:,}" for low, high, count in rows])
        panel.set(ylim=(0, None), xlim=(-0.6, max(len(table), 1) - 0.4))
        ending = f" ({short(unit, 20)})" if unit else ""
        panel.set(xlabel="similarity to the nearest training condition", ylabel=f"error{ending}")
        panel.grid(visible=False, axis="x")
        legend_above(figure, panel)
    return figure


def task_heat(
    scores: pd.DataFrame, metric: str, *, models: Sequence[str] | None = None, split: str | None = None
) -> Figure:
    """Draw one number per task and model, shaded by rank within each task.

    Parameters
    ----------
    scores
        Columns ``model, task, metric, value``, as `screenwise.evaluate.compare.Comparison.task_scores` gives
        them; several rows of one model and task are averaged.
    metric
        The metric to draw.
    models
        Columns, in order; every model of the table when None.
    split
        Rows of one split only.
    """
    need_columns(scores, ("model", "task", "metric", "value"))
    rows = scores[scores["metric"] == metric]
    rows = rows if split is None else rows[rows["split"] == split]
    models = list(dict.fromkeys(rows["model"])) if models is None else list(models)
    table = rows.pivot_table(index="task", columns="model", values="value", aggfunc="mean", sort=False)
    table = table.reindex(columns=models)
    value = table.to_numpy(float)
    shade = _shade(value, higher=bool(higher_is_better(metric)))
    with drawing():
        figure = new_figure(1.2 + 0.235 * len(table), f"{metric} of {len(models)} models on {len(table)} tasks")
        panel = figure.subplots()
        columns, lines = np.meshgrid(np.arange(len(models)), np.arange(len(table)))
        for column, line, number, dark in zip(columns.flat, lines.flat, value.flat, shade.flat, strict=True):
            if np.isnan(number):
                continue
            box: dict[str, Any] = {"facecolor": SERIES[0], "alpha": 0.04 + 0.4 * float(dark), "linewidth": 0}
            panel.bar(column, 0.94, bottom=line - 0.47, width=0.97, **box)
            weight = "bold" if dark == 1 else "normal"
            panel.annotate(f"{number:.3f}", (column, line), ha="center", va="center", fontsize=9, fontweight=weight)
        panel.set_xticks(np.arange(len(models)), [short(name, 14) for name in models])
        panel.set_yticks(np.arange(len(table)), [short(name, 22) for name in table.index])
        panel.set(xlim=(-0.5, max(len(models), 1) - 0.5), ylim=(max(len(table), 1) - 0.5, -0.5))
        panel.xaxis.tick_top()
        panel.tick_params(length=0)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        longest = max((len(short(name, 22)) for name in table.index), default=0)
        if len(models) * (max(map(len, map(str, models)), default=0) + 1) > 62 - longest:
            panel.tick_params(axis="x", labelrotation=35)
            for label in panel.get_xticklabels():
                label.set(ha="left", rotation_mode="anchor")
        panel.set_xlabel(f"{metric}; the best of each task is bold and shaded most")
    return figure


def _shade(value: NDArray[np.float64], *, higher: bool) -> NDArray[np.float64]:
    """Return 1 for the best model of a task, 0 for the worst, by rank, (tasks, models)."""
    badness = pd.DataFrame(-value if higher else value)
    rank = badness.rank(axis=1, method="min").to_numpy() - 1
    others = np.maximum(badness.notna().sum(axis=1).to_numpy() - 1, 1)
    return np.asarray(1 - rank / others[:, None])


def higher_is_better(metric: str) -> bool | None:
    """Return which side of a metric is better; None where neither is, or nobody knows.

    Examples
    --------
    >>> higher_is_better("rmse_cliff"), higher_is_better("roc_auc"), higher_is_better("coverage")
    (False, True, None)
    """
    fitting = [name for name in ALL_METRICS if metric == name or metric.startswith(f"{name}_")]
    return ALL_METRICS[max(fitting, key=len)].higher_is_better if fitting else None


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    pad = 0.04 * (high - low) or 0.5
    return low - pad, high + pad
