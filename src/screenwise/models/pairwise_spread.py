"""How wide intervals must be: held-out errors decide where there are enough, else what published screens say.

Two widths of one prediction: of a feature, and of the whole profile (the distance between the predicted
and the measured profile). Both are meant so that 1.645 of them hold 90 % of new measurements.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from screenwise.evaluate.calibration import conformal_quantile
from screenwise.prediction import Z90

ENOUGH = 20
"""Held-out errors from which their own 90 % quantile is taken."""
PRIOR_COUNT = 4.0
"""Held-out errors that the published screens count as."""
RATIO_SD = 0.38
"""Standard deviation of the logarithm of error over size: 0.36 to 0.39 for the scaled sum, with all singles or some
imputed (Norman et al. 2019, 131 doubles, 50 components)."""
SUM_RATIO = 0.42
"""Median distance of a double from its scaled sum, in units of the root of both squared single effects: 0.41 there,
0.15 to 0.93 on five doubles of 500 genes."""
NEW_RATIO = (SUM_RATIO, 0.5, 0.68)
"""The same with no, one or two singles that were not measured: 18 genes withheld there, seeds 0-4,
245 and 32 doubles, descriptors from GO."""
WIDE_FACTOR = 1.25
"""How much wider intervals of three genes and more are than those of two; no published screen here has them."""
SHAPE_POWER = 0.66
"""Errors of a feature grow with its spread over the singles to this power (same screen, r = 0.96)."""
SHAPE_COUNT = 10.0
"""Held-out profiles that this counts as."""


@dataclass(frozen=True)
class Width:
    """What turns the size of a prediction into widths."""

    profile: float
    """profile_std = profile x size."""
    feature: float
    """std of a feature = feature x size x shape / root(p)."""


@dataclass(frozen=True)
class Spread:
    """Widths by kind of condition, and how errors are shared by features."""

    shape: NDArray[np.float64]
    """(p,) relative size of errors, mean square 1."""
    widths: dict[str, Width]
    """"pair" (sizes: the model's own), "sum", "new1", "new2", "wide" (sizes: of the single effects), "single"."""

    def std(self, kind: str, size: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the features' (n, p) and the profiles' (n,) standard deviations."""
        width = self.widths[kind]
        features = width.feature * size[:, None] * self.shape / np.sqrt(len(self.shape))
        return features, width.profile * size


def prior_shape(single: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (p,) relative error sizes that singles (g, p) suggest.

    Examples
    --------
    >>> prior_shape(np.array([[1.0, 1.0], [-1.0, 1.0]])).tolist()
    [1.0, 1.0]
    """
    spread = np.sqrt(np.square(single).mean(axis=0))
    if not spread.any():
        return np.ones_like(spread)
    return _unit_square(np.maximum(spread, 1e-3 * float(spread.max())) ** SHAPE_POWER)


def learn_shape(
    prior: NDArray[np.float64], error: NDArray[np.float64], size: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (p,) relative error sizes from held-out errors (m, p) of profiles of these sizes (m,)."""
    if len(error) == 0:
        return prior
    scaled = np.square(error / np.maximum(size, 1e-12)[:, None])
    whole = scaled.mean()
    if not whole > 0:
        return prior
    return _unit_square(np.sqrt((scaled.sum(axis=0) / whole + SHAPE_COUNT * prior**2) / (len(error) + SHAPE_COUNT)))


def _unit_square(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    return shape / np.sqrt(np.mean(shape**2))


def learn_width(
    error: NDArray[np.float64], size: NDArray[np.float64], shape: NDArray[np.float64], ratio: float
) -> Width:
    """Return the widths that hold 90 % of held-out errors.

    Parameters
    ----------
    error
        (m, p) held-out errors.
    size
        (m,) sizes that the widths multiply.
    shape
        (p,) from `learn_shape`.
    ratio
        Median of error over size where nothing was measured.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> width = learn_width(rng.normal(size=(400, 25)), np.full(400, 5.0), np.ones(25), 1.0)
    >>> round(width.feature, 1)
    1.0
    """
    length = np.linalg.norm(error, axis=1)
    score = length / np.maximum(size, 1e-12)
    p = error.shape[1]
    if len(score) >= ENOUGH:
        cell = np.abs(error) * np.sqrt(p) / (np.maximum(size, 1e-12)[:, None] * shape)
        return Width(conformal_quantile(score, 0.1) / Z90, float(np.quantile(cell, 0.9)) / Z90)
    logs = np.log(np.maximum(score, 1e-9))
    count = len(logs) + PRIOR_COUNT
    centre = (logs.sum() + PRIOR_COUNT * np.log(ratio)) / count
    squares = np.square(logs - centre).sum() + PRIOR_COUNT * RATIO_SD**2
    sd = float(np.sqrt(squares / count))
    reach = float(student.ppf(0.9, count)) * sd * np.sqrt(1 + 1 / count)
    profile = float(np.exp(centre + reach)) / Z90
    # a feature's errors are about Gaussian about a length of exp(centre); few profiles leave that uncertain too
    feature = float(np.exp(centre + 0.5 * reach))
    return Width(profile, feature)
