"""Figures of perturbed gene pairs: what was predicted, what departs from addition, and where errors grow.

Each takes a table or arrays and returns a `matplotlib.figure.Figure`; see `screenwise.report.figures`.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from screenwise.prediction import Z90
from screenwise.report.ink import (
    INK,
    MARKS,
    SERIES,
    STROKES,
    SURFACE,
    drawing,
    legend_above,
    need_columns,
    new_figure,
    short,
)

NAMED = 6
"""Points of a scatter that carry their name."""

GENES_NAMED = 80
"""Genes of an interaction map that still have readable names."""

GENES_SHOWN = 80
"""Genes of an interaction map; of more, those with the strongest pairs are drawn."""


def profile_scatter(cells: pd.DataFrame, *, name: str = "model") -> Figure:
    """Draw predicted against observed effects, plain addition beside the model.

    Parameters
    ----------
    cells
        One row per condition and feature: ``observed, predicted, additive``, effects against the control.
    name
        What the model is called.
    """
    need_columns(cells, ("observed", "predicted", "additive"))
    with drawing():
        figure = new_figure(3.6, f"Predicted against observed effects: addition and {name}", width=7.2)
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        observed = cells["observed"].to_numpy(float)
        for place, (panel, column, title) in enumerate(
            zip(panels, ("additive", "predicted"), ("plain addition", name), strict=True)
        ):
            predicted = cells[column].to_numpy(float)
            good = np.isfinite(observed) & np.isfinite(predicted)
            colour = SERIES[1 - place]
            panel.hexbin(
                observed[good], predicted[good], gridsize=45, bins="log", mincnt=1, linewidths=0, cmap=_fade(colour)
            )
            low, high = _limits(np.concatenate([observed[good], predicted[good]]))
            panel.plot([low, high], [low, high], color=INK, linewidth=1, linestyle=STROKES[1])
            error = float(np.sqrt(np.mean((predicted[good] - observed[good]) ** 2))) if good.any() else np.nan
            panel.set_title(f"{short(title)}: RMSE {error:.3f}", loc="left")
            panel.set_xlabel("observed effect")
        panels[0].set_ylabel("predicted effect")
    return figure


def interaction_map(pairs: pd.DataFrame, value: str = "departure") -> Figure:
    """Draw one number per gene pair as a map, genes in the order of a clustering; blank = not measured.

    Parameters
    ----------
    pairs
        One row per pair: ``gene_a, gene_b`` and the column named by `value`.
    value
        Column to colour by. Numbers of both signs get two colours, others one.
    """
    need_columns(pairs, ("gene_a", "gene_b", value))
    shown, genes = _strongest(pairs, value)
    place = {gene: number for number, gene in enumerate(genes)}
    table = np.full((len(genes), len(genes)), np.nan)
    a, b = shown["gene_a"].map(place).to_numpy(int), shown["gene_b"].map(place).to_numpy(int)
    table[a, b] = table[b, a] = shown[value].to_numpy(float)
    order = _clustered(table)
    table = table[np.ix_(order, order)]
    rows, columns = np.nonzero(np.isfinite(table))
    numbers = table[rows, columns]
    top = float(np.quantile(np.abs(numbers), 0.98)) if len(numbers) else 1.0
    signed = bool((numbers < 0).any())
    with drawing():
        side = min(9.0, max(4.2, 0.13 * len(genes) + 1.6))
        figure = new_figure(side, f"{value} of {len(shown)} pairs of {len(genes)} genes", width=side)
        panel = figure.subplots()
        # Only measured pairs are drawn: a mesh would write every empty square into the page.
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
        squares = PolyCollection(
            np.stack([columns, rows], 1)[:, None, :] + corners, cmap=_two_sided() if signed else _fade(SERIES[0])
        )
        squares.set(array=numbers, clim=(-top if signed else 0, top or 1), linewidth=0)
        panel.add_collection(squares)
        figure.colorbar(squares, ax=panel, shrink=0.6, label=value.replace("_", " "))
        panel.set(aspect="equal", xlim=(0, max(len(genes), 1)), ylim=(max(len(genes), 1), 0))
        panel.grid(visible=False)
        if len(genes) <= GENES_NAMED:
            names = [short(genes[number], 12) for number in order]
            size = max(5.0, min(8.5, 300 / max(len(genes), 1)))
            panel.set_xticks(np.arange(len(genes)) + 0.5, names, rotation=90, fontsize=size)
            panel.set_yticks(np.arange(len(genes)) + 0.5, names, fontsize=size)
            panel.tick_params(length=0)
        else:
            panel.set(xticks=[], yticks=[], xlabel=f"{len(genes)} genes, similar ones side by side")
    return figure


def departure_volcano(pairs: pd.DataFrame, *, level: float = 0.05) -> Figure:
    """Draw how far pairs depart from addition against how sure that is.

    Parameters
    ----------
    pairs
        One row per pair: ``condition, departure`` (norm), ``q_value``.
    level
        False discovery rate below which a pair is called.
    """
    need_columns(pairs, ("condition", "departure", "q_value"))
    known = pairs[np.isfinite(pairs["departure"]) & np.isfinite(pairs["q_value"])]
    departure, q_value = known["departure"].to_numpy(float), known["q_value"].to_numpy(float)
    smallest = q_value[q_value > 0].min(initial=1.0)
    height = -np.log10(np.maximum(q_value, smallest / 10))
    called = q_value <= level
    with drawing():
        figure = new_figure(3.4, f"Departure from addition of {len(known)} pairs and their false discovery rate")
        panel = figure.subplots()
        for mine, colour, mark, label in (
            (~called, INK, "o", f"not called ({int((~called).sum())})"),
            (called, SERIES[1], "s", f"false discovery rate below {level:g} ({int(called.sum())})"),
        ):
            panel.plot(departure[mine], height[mine], mark, color=colour, markersize=4, alpha=0.75, label=label)
        panel.axhline(-np.log10(level), color=INK, linewidth=1, linestyle=STROKES[1])
        _name_points(panel, departure, height, known["condition"].to_numpy(), departure * called)
        panel.set(xlabel="departure from addition, length of the profile", ylabel="-log10 false discovery rate")
        legend_above(figure, panel)
    return figure


def coefficient_scatter(pairs: pd.DataFrame) -> Figure:
    """Draw how much of each single a pair shows, one mark per type of interaction.

    Parameters
    ----------
    pairs
        One row per pair: ``condition, c_a, c_b, type``; where both coefficients are 1 the pair is additive.
    """
    need_columns(pairs, ("condition", "c_a", "c_b", "type"))
    with drawing():
        figure = new_figure(4.2, f"Coefficients of the two singles in {len(pairs)} pairs")
        panel = figure.subplots()
        counts = pairs["type"].value_counts()
        for place, (kind, count) in enumerate(counts.items()):
            part = pairs[pairs["type"] == kind]
            look: dict[str, Any] = {"color": SERIES[place % len(SERIES)], "markersize": 5, "alpha": 0.85}
            if place >= len(SERIES):
                look["markerfacecolor"] = SURFACE
            panel.plot(
                part["c_a"], part["c_b"], MARKS[place % len(MARKS)], label=f"{short(kind, 20)} ({count})", **look
            )
        values = pairs[["c_a", "c_b"]].to_numpy(float)
        low, high = _limits(values[np.isfinite(values)])
        panel.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=STROKES[1])
        panel.plot([1], [1], "+", color=INK, markersize=14, markeredgewidth=1.6)
        panel.annotate("additive", (1, 1), (6, 6), textcoords="offset points", fontsize=9)
        panel.set(xlabel="share of gene a's effect", ylabel="share of gene b's effect")
        legend_above(figure, panel)
    return figure


def error_by_novelty(errors: pd.DataFrame) -> Figure:
    """Draw the error of each model by how many genes of the condition were never seen alone.

    Parameters
    ----------
    errors
        One row per model and held-out condition: ``model, novelty`` (unseen genes), ``error``.
    """
    need_columns(errors, ("model", "novelty", "error"))
    models = list(dict.fromkeys(errors["model"]))
    levels = sorted(errors["novelty"].unique())
    with drawing():
        figure = new_figure(3.3, "Error by number of unseen genes")
        panel = figure.subplots()
        width = 0.8 / max(len(models), 1)
        for place, model in enumerate(models):
            groups = [
                errors.loc[(errors["model"] == model) & (errors["novelty"] == level), "error"].to_numpy(float)
                for level in levels
            ]
            x = np.arange(len(levels)) + (place - (len(models) - 1) / 2) * width
            mean = np.array([group.mean() if len(group) else np.nan for group in groups])
            low, high = (
                np.array([np.quantile(group, share) if len(group) else np.nan for group in groups])
                for share in (0.1, 0.9)
            )
            colour = SERIES[place % len(SERIES)]
            panel.vlines(x, low, high, color=colour, linewidth=1.6)
            panel.plot(x, mean, MARKS[place % len(MARKS)], color=colour, markersize=6, label=short(model, 20))
        counts = [errors.loc[errors["novelty"] == level].groupby("model").size().max() for level in levels]
        panel.set_xticks(
            np.arange(len(levels)), [f"{level} unseen\nn {count}" for level, count in zip(levels, counts, strict=True)]
        )
        panel.set(ylabel="error of a profile: mean, 10 to 90 %", ylim=(0, None))
        panel.grid(visible=False, axis="x")
        legend_above(figure, panel)
    return figure


def error_by_spread(distances: pd.DataFrame) -> Figure:
    """Draw the distance between prediction and measurement against what the model expected.

    Parameters
    ----------
    distances
        One row per held-out condition: ``error, profile_std``; below the line is inside the 90 % interval.
    """
    need_columns(distances, ("error", "profile_std"))
    expected, error = distances["profile_std"].to_numpy(float), distances["error"].to_numpy(float)
    inside = error <= Z90 * expected
    with drawing():
        figure = new_figure(3.4, f"Distances of {len(distances)} held-out profiles against the expected ones")
        panel = figure.subplots()
        for mine, mark, colour, label in (
            (inside, "o", SERIES[0], f"inside the 90 % interval ({int(inside.sum())})"),
            (~inside, "s", SERIES[1], f"outside ({int((~inside).sum())})"),
        ):
            panel.plot(expected[mine], error[mine], mark, color=colour, markersize=4, alpha=0.7, label=label)
        end = float(expected.max(initial=0)) or 1.0
        panel.plot([0, end], [0, Z90 * end], color=INK, linewidth=1, linestyle=STROKES[1])
        panel.set(xlabel="expected distance (profile_std)", ylabel="distance", xlim=(0, None), ylim=(0, None))
        legend_above(figure, panel)
    return figure


def top_features(features: pd.DataFrame, condition: str, *, most: int = 20) -> Figure:
    """Draw the features that a condition moves most: observed, predicted with its interval, and added up.

    Parameters
    ----------
    features
        One row per feature of one condition: ``feature, predicted, additive`` and, where there,
        ``observed, lower, upper``; effects against the control.
    condition
        Its name.
    most
        Features drawn, the largest observed (else predicted) effects first.
    """
    need_columns(features, ("feature", "predicted", "additive"))
    key = "observed" if "observed" in features.columns else "predicted"
    table = features.reindex(features[key].abs().sort_values(ascending=False, kind="stable").index).head(most)
    places = np.arange(len(table))[::-1]
    with drawing():
        figure = new_figure(0.9 + 0.21 * max(len(table), 1), f"Effects of {condition} on {len(table)} features")
        panel = figure.subplots()
        panel.axvline(0, color=INK, linewidth=0.8)
        if {"lower", "upper"} <= set(table.columns):
            panel.hlines(places, table["lower"], table["upper"], color=SERIES[0], linewidth=2, alpha=0.7)
        panel.plot(table["predicted"], places, "o", color=SERIES[0], markersize=5.5, label="predicted, 90 % interval")
        panel.plot(
            table["additive"], places, "s", color=SERIES[1], markerfacecolor=SURFACE, markersize=5.5, label="added up"
        )
        if key == "observed":
            panel.plot(table["observed"], places, "|", color=INK, markersize=11, markeredgewidth=2.2, label="observed")
        panel.set_yticks(places, [short(name, 18) for name in table["feature"]])
        panel.set(xlabel=f"effect of {short(condition, 40)} against the control", ylim=(-0.7, len(table) - 0.3))
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        legend_above(figure, panel)
    return figure


def _strongest(pairs: pd.DataFrame, value: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the pairs of the genes to draw, and these genes by name."""
    ends = pd.concat([pairs["gene_a"], pairs["gene_b"]], ignore_index=True)
    strength = pd.concat([pairs[value].abs()] * 2, ignore_index=True).groupby(ends).mean()
    genes = sorted(strength.sort_values(ascending=False, kind="stable").index[:GENES_SHOWN])
    return pairs[pairs["gene_a"].isin(genes) & pairs["gene_b"].isin(genes)], genes


def _clustered(table: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order genes so that similar rows stand together; what was not measured counts as the mean."""
    if len(table) <= 2:  # noqa: PLR2004
        return np.arange(len(table))
    middle = float(np.nanmean(table)) if np.isfinite(table).any() else 0.0
    filled = np.where(np.isfinite(table), table, middle)
    squares = (filled**2).sum(1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * filled @ filled.T, 0))
    np.fill_diagonal(distance, 0)
    return np.asarray(leaves_list(linkage(squareform(distance, checks=False), "average")))


def _name_points(
    panel: Axes, x: NDArray[np.float64], y: NDArray[np.float64], names: NDArray[Any], weight: NDArray[np.float64]
) -> None:
    chosen = np.argsort(-weight, kind="stable")[: 4 * NAMED]
    middle = (x.min(initial=0) + x.max(initial=1)) / 2
    apart = 0.07 * (y.max(initial=0) - y.min(initial=0))
    named: list[int] = []
    for number in chosen[weight[chosen] > 0]:
        if len(named) == NAMED or any(abs(y[number] - y[other]) < apart for other in named):
            continue
        named.append(int(number))
        left = x[number] > middle
        panel.annotate(
            short(names[number], 20),
            (x[number], y[number]),
            (-6 if left else 6, 4),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=8,
        )


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    pad = 0.04 * (high - low) or 0.5
    return low - pad, high + pad


def _fade(colour: str) -> LinearSegmentedColormap:
    # not the very colour: a page in the dark replaces that one alone
    return LinearSegmentedColormap.from_list("fade", [(0, _mixed(colour, 0.25)), (1, _mixed(colour, 0.97))])


def _two_sided() -> LinearSegmentedColormap:
    middle = _mixed(INK, 0.12)
    return LinearSegmentedColormap.from_list(
        "two", [(0, _mixed(SERIES[0], 0.97)), (0.5, middle), (1, _mixed(SERIES[1], 0.97))]
    )


def _mixed(colour: str, share: float) -> tuple[float, ...]:
    """Blend a colour with mid grey, which shows on light and dark pages alike."""
    return tuple(share * part + (1 - share) * 0.62 for part in to_rgb(colour))
