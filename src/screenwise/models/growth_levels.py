"""From addition to a process over pairs: levels of a growth model, chosen and calibrated on held-out pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from screenwise.models.growth_fit import (
    CURVE_TERMS,
    Floats,
    PairProcess,
    Pairs,
    complete,
    curve_terms,
    fill_singles,
    fit_curve,
    gene_effects,
    gene_kernel,
)
from screenwise.models.measured import held_out_std
from screenwise.rng import stream

LEVELS = ("additive", "quadratic", "gene", "low_rank", "process")
"""Each holds the one before: sum of singles; curve of the singles; + a number per gene; + a low-rank table;
or, in its place, a Gaussian process whose genes are similar where their rows of that table are."""
FEWEST_PAIRS = 6
"""Pairs below which nothing but addition is fitted."""
ONE_PART = 500
"""Pairs from which one tenth, held out once, is enough to choose and to calibrate; below, five parts in turn."""
MARGIN = 0.01
"""A higher level must lower the held-out error by this share to be taken."""
FEWEST_PARTNERS = 3
"""Measured pairs of a gene from which its own numbers are believed."""
PRIOR_SPREAD = 1.0
"""Without pairs: standard deviation of a pair's departure from addition, in standard deviations of the singles."""


@dataclass(frozen=True)
class GrowthInteractionConfig:
    """Settings of the growth of gene pairs."""

    level: str = "auto"
    """auto (chosen on held-out pairs), additive, quadratic, gene, low_rank, or process."""
    rank: int = 16
    """Most axes of the low-rank table."""
    shrinkage: float = 0.6
    """What its eigenvalues lose, in standard deviations of the residuals times the root of the number of genes."""
    rounds: int = 25
    """Rounds of its completion."""
    length: float = 1.0
    """Squared length scale of the process, in medians of the squared distances of rows."""
    noises: tuple[float, ...] = (0.12, 0.5, 2.0)
    """Noise variances of the process that are tried, in units of the prior variance of a pair."""


@dataclass(frozen=True)
class GrowthTables:
    """What is known of one task's pairs after the fit; effects, that is, differences from the control."""

    level: str
    """The level that was taken."""
    noise: float
    """Of the process; NaN otherwise."""
    mean: Floats
    """(k, k) of pairs of known genes."""
    std: Floats
    """(k, k), measurement noise included."""
    curve: Floats
    """(7,) for genes that no pair holds."""
    single: Floats
    """(k,) effects of singles, estimated where not measured."""
    far_std: float
    """Of pairs with a gene that no pair holds."""
    partners: NDArray[np.int64]
    """(k,) measured pairs of each gene."""
    errors: dict[str, float]
    """Level -> root mean squared error of held-out pairs."""


def fit_growth(pairs: Pairs, single: Floats, config: GrowthInteractionConfig, seed: int) -> GrowthTables:
    """Return the fitted tables of one task.

    Parameters
    ----------
    pairs
        (m,) measured pairs of k genes.
    single
        (k,) effects of the singles; NaN where not measured.
    config
        Settings; ``level="auto"`` takes the level and the noise with the least error of held-out pairs.
    seed
        Decides which pairs are held out.
    """
    partners = np.bincount(np.concatenate([pairs.a, pairs.b]), minlength=pairs.size)
    if len(pairs) < FEWEST_PAIRS:
        return _prior_only(pairs, single, partners)
    held, predicted = _held_out(pairs, single, config, seed)
    error = {name: float(np.sqrt(np.mean((guess - held.y) ** 2))) for name, guess in predicted.items()}
    name = _choose(error, config.level)
    level, noise = _parse(name)
    filled = fill_singles(single, pairs)
    curve, base = _level_tables(pairs, filled, config)
    if level == "process":
        rest = pairs.less(base["gene"])
        kernel = gene_kernel(base["low_rank"] - base["gene"], filled, pairs, config.length)
        process = PairProcess(kernel, noise)
        table = base["gene"] + process.mean(rest)
        shape = np.sqrt(process.variance(rest) + noise)
    else:
        table, shape = base[level], np.ones_like(base[level])
    if level == "additive":
        curve = _addition()
    scale = held_out_std((predicted[name] - held.y) / shape[held.a, held.b], float(pairs.y.std()) or 1.0)
    far = held_out_std(
        predicted["additive" if level == "additive" else "quadratic"] - held.y, float(pairs.y.std()) or 1.0
    )
    return GrowthTables(level, noise, table, scale * shape, curve, filled, max(far, scale), partners, error)


def _prior_only(pairs: Pairs, single: Floats, partners: NDArray[np.int64]) -> GrowthTables:
    filled = fill_singles(single, pairs)
    spread = PRIOR_SPREAD * float(filled.std()) or 1.0
    total = filled[:, None] + filled
    return GrowthTables(
        "additive",
        np.nan,
        total,
        np.full_like(total, spread),
        _addition(),
        filled,
        spread,
        partners,
        dict[str, float](),
    )


def _addition() -> Floats:
    curve = np.zeros(CURVE_TERMS)
    curve[1] = 1.0
    return curve


def _level_tables(pairs: Pairs, single: Floats, config: GrowthInteractionConfig) -> tuple[Floats, dict[str, Floats]]:
    """Return the curve's coefficients and the (k, k) tables of all levels but the process."""
    curve = fit_curve(single, pairs)
    tables = {"additive": single[:, None] + single, "quadratic": curve_terms(single[:, None], single[None]) @ curve}
    own = gene_effects(pairs.less(tables["quadratic"]))
    tables["gene"] = tables["quadratic"] + own[:, None] + own
    rest = pairs.less(tables["gene"])
    tables["low_rank"] = tables["gene"] + complete(rest, config.rank, config.shrinkage, config.rounds)
    return curve, tables


def _held_out(
    pairs: Pairs, single: Floats, config: GrowthInteractionConfig, seed: int
) -> tuple[Pairs, dict[str, Floats]]:
    """Return held-out pairs and what each level, fitted without them, says of them."""
    parts, used = (10, 1) if len(pairs) >= ONE_PART else (5, 5)
    part = np.empty(len(pairs), np.int64)
    part[stream(seed, "growth", "held out").permutation(len(pairs))] = np.arange(len(pairs)) % parts
    guesses: dict[str, list[Floats]] = {}
    for one in range(used):
        train, test = pairs.take(part != one), pairs.take(part == one)
        filled = fill_singles(single, train)
        tables = _level_tables(train, filled, config)[1]
        if config.level in ("auto", "process"):
            rest = train.less(tables["gene"])
            kernel = gene_kernel(tables["low_rank"] - tables["gene"], filled, train, config.length)
            for noise in config.noises:
                tables[f"process {noise}"] = tables["gene"] + PairProcess(kernel, noise).mean(rest)
        for name, table in tables.items():
            guesses.setdefault(name, []).append(table[test.a, test.b])
    order = np.concatenate([np.flatnonzero(part == one) for one in range(used)])
    return pairs.take(order), {name: np.concatenate(some) for name, some in guesses.items()}


def _choose(error: dict[str, float], level: str) -> str:
    """Return the name of the level; a simpler one unless the next lowers the error by `MARGIN`."""
    if level in LEVELS[:-1]:
        return level
    processes = [name for name in error if name.startswith("process")]
    best = min(processes, key=lambda name: error[name])
    if level == "process":
        return best
    chosen = LEVELS[0]
    for name in (*LEVELS[1:-1], best):
        if error[name] < (1 - MARGIN) * error[chosen]:
            chosen = name
    return chosen


def _parse(name: str) -> tuple[str, float]:
    level, _, noise = name.partition(" ")
    return level, float(noise) if noise else float("nan")
