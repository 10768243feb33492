"""What departures from addition look like where there is none: known errors, replicates, resampled cells, the bulk."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import ndtr

from screenwise.errors import DataError
from screenwise.evaluate.bootstrap import resample
from screenwise.evaluate.significance import benjamini_hochberg

Floats = NDArray[np.float64]

QUARTILES = 2 * 0.6744897501960817
"""Distance of the quartiles of a normal distribution, in standard deviations."""
FREEDOM = 3
"""Replicates that the pooled variance of a feature counts as, in `replicate_error`."""


def two_sided(z: Floats) -> Floats:
    """Return two-sided p-values of standard normal scores.

    Examples
    --------
    >>> two_sided(np.array([-1.959964, 0.0])).round(6).tolist()
    [0.05, 1.0]
    """
    return np.asarray(2 * ndtr(-np.abs(z)))


def norm_p_value(departure: Floats, variance: Floats) -> Floats:
    """Return (m,) p-values of |d|^2 when d is normal around 0 with known variances, (m, p) each.

    A weighted sum of chi-squares, by the scaled chi-square with its mean and variance (Satterthwaite,
    Biometrics 1946, 2, 110). Features are taken as independent: where their errors are correlated (cell
    cycle, depth) the p-values are too small, and `bootstrap_norms` is the test to use.

    Examples
    --------
    >>> norm_p_value(np.array([[1.0, 1.0]]), np.ones((1, 2))).round(4).tolist()
    [0.3679]
    """
    from scipy.stats import chi2  # noqa: PLC0415

    total, squares = variance.sum(axis=1), np.square(variance).sum(axis=1)
    known = (total > 0) & np.isfinite(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale, freedom = squares / total, total**2 / squares
        p = chi2.sf(np.square(departure).sum(axis=1) / scale, freedom)
    return np.where(known, p, np.nan)


def outlier_p_value(size: Floats) -> Floats:
    """Return (m,) p-values that a positive size stands out above the bulk of all sizes.

    log(size) is taken as normal with the median of all and the spread of those below it, which interactions
    do not reach (Efron's empirical null, J. Am. Stat. Assoc. 2004, 99, 96, one-sided). It says which pairs depart
    more than most do, not whether most depart.

    Examples
    --------
    >>> p = outlier_p_value(np.r_[np.linspace(0.9, 1.1, 21), 5.0])
    >>> bool(p[-1] < 1e-6), round(float(p[10]), 1)
    (True, 0.5)
    """
    logs = np.log(np.maximum(size, np.finfo(np.float64).tiny))
    median, low = np.median(logs), np.quantile(logs, ndtr(-1.0))
    spread = median - low
    return np.asarray(ndtr(-(logs - median) / spread)) if spread > 0 else np.full(len(size), np.nan)


def empirical_scores(departure: Floats) -> Floats:
    """Return z scores (d - d0) / s0 of all entries together, (m, p).

    d0 is the median, s0 the distance of the quartiles over that of a standard normal: the middle of the
    distribution is taken as the null (Efron 2004; Ahlmann-Eltze, Huber and Anders, Nature Methods 2025, call
    interactions so).

    Examples
    --------
    >>> z = empirical_scores(np.random.default_rng(0).normal(1, 2, (100, 50)))
    >>> bool(abs(z.mean()) < 0.05), bool(abs(z.std() - 1) < 0.05)
    (True, True)
    """
    low, centre, high = np.nanquantile(departure, [0.25, 0.5, 0.75])
    if not high > low:
        message = "Half of the departures are the same number; an empirical null needs spread. Give standard errors."
        raise DataError(message)
    return np.asarray((departure - centre) * QUARTILES / (high - low))


def replicate_error(effect: ArrayLike, condition: ArrayLike, size: int) -> Floats:
    """Return (n, p) standard errors of conditions' mean effects from replicates (batches, guides).

    A feature's variance between replicates is pooled over all conditions and counts as `FREEDOM` replicates
    beside a condition's own, which are few (moderated, as in Smyth, Stat. Appl. Genet. Mol. Biol. 2004, 3, 3, with the
    weight given, not estimated).

    Parameters
    ----------
    effect
        (g, p) effect of each replicate of a condition, against the control of its own batch.
    condition
        (g,) its condition, 0 to n - 1.
    size
        n

    Examples
    --------
    >>> replicate_error([[0.0], [2.0], [5.0], [7.0]], [0, 0, 1, 1], 2).ravel().tolist()
    [1.0, 1.0]
    """
    values, codes = np.asarray(effect, np.float64), np.asarray(condition, np.int64)
    number = np.bincount(codes, minlength=size).astype(np.float64)
    groups = csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(size, len(codes)))
    mean = (groups @ values) / np.maximum(number, 1)[:, None]
    squares = groups @ np.square(values - mean[codes])
    freedom = np.maximum(number - 1, 0)
    if not freedom.sum():
        message = "No condition has two replicates; their spread is not known. Use known errors or resampled cells."
        raise DataError(message)
    pooled = squares.sum(axis=0) / freedom.sum()
    variance = (squares + FREEDOM * pooled) / (freedom + FREEDOM)[:, None]
    error = np.sqrt(variance / np.maximum(number, 1)[:, None])
    error[number == 0] = np.nan
    return np.asarray(error)


def bootstrap_norms(
    cells: Any, condition: ArrayLike, rows: NDArray[np.int64], rng: np.random.Generator, replicates: int = 200
) -> Floats:
    """Return (m, b) lengths of the departures' sampling errors, by resampling the cells of each condition.

    Cells of a condition are drawn with replacement, all features of a cell together, so that correlated
    features are counted right. The null of |d| is the length of d* - d.

    Parameters
    ----------
    cells
        (N, p) cells, dense or CSR, on the scale of the profiles.
    condition
        (N,) condition of each cell, 0 to n - 1.
    rows
        (m, 4) conditions of double, first single, second single, control.
    rng
        Generator.
    replicates
        b

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cells, code = rng.normal(size=(400, 5)), np.arange(400) % 4
    >>> null = bootstrap_norms(cells, code, np.array([[0, 1, 2, 3]]), rng, 100)
    >>> bool(abs(np.mean(null**2) / (5 * 4 / 100) - 1) < 0.3)
    True
    """
    codes = np.asarray(condition, np.int64)
    used, places = np.unique(rows, return_inverse=True)
    places = places.reshape(rows.shape)
    values = csr_array(cells) if hasattr(cells, "tocsr") else np.asarray(cells, np.float64)
    mean, parts = [], []
    for one in used:
        own = np.flatnonzero(codes == one)
        if len(own) < 2:  # noqa: PLR2004
            message = f"Condition {one} has {len(own)} cells; resampling needs at least 2. Leave its pairs out."
            raise DataError(message)
        part = values[own]
        mean.append(np.asarray(part.sum(axis=0)).ravel() / len(own))
        parts.append(part)
    sign = np.array([1.0, -1.0, -1.0, 1.0])
    out = np.empty((len(rows), replicates))
    done = 0
    # few replicates at a time: means of all conditions are (conditions, features) each
    while done < replicates:
        step = min(10, replicates - done)
        drawn = np.stack(
            [
                (part.T @ next(iter(resample(part.shape[0], step, rng)))).T / part.shape[0] - centre
                for part, centre in zip(parts, mean, strict=True)
            ]
        )
        for replicate in range(step):
            error = np.tensordot(sign, drawn[places, replicate], axes=(0, 1))
            out[:, done + replicate] = np.sqrt(np.square(error).sum(axis=1))
        done += step
    return out


def critical_departure(z: Floats, departure: Floats, level: float) -> float:
    """Return the smallest |departure| that is called at a false discovery rate; infinite where none is.

    Examples
    --------
    >>> critical_departure(np.array([[6.0, 0.5]]), np.array([[3.0, 0.1]]), 0.05)
    3.0
    """
    called = benjamini_hochberg(two_sided(z)) <= level
    return float(np.abs(departure[called]).min()) if called.any() else float("inf")
