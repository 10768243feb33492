"""What a model expects of the candidates that are still open: hits, and improvements over the best so far."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from screenwise.campaign.proposal import Outlook

SMALL = 1e-12
"""Standard deviations below this count as this."""


def look_out(
    score: NDArray[np.float64],
    moments: tuple[NDArray[np.float64], NDArray[np.float64], float],
    edges: tuple[float, float],
    units: tuple[NDArray[np.float64], NDArray[np.float64], float],
    allowed: NDArray[np.bool_],
) -> Outlook:
    """Return what normal predictions say of hits and improvements.

    A probability of a hit is ``Phi((mean - threshold) / sqrt(var + noise))``, that of a measurement; improvements
    are those of the true value, ``E max(f - best, 0) = (m - b) Phi(z) + s phi(z)`` (Jones, Schonlau and Welch
    (1998), eq. 15).

    Parameters
    ----------
    score
        (n,) acquisition scores.
    moments
        (n,) mean, (n,) standard deviation of the latent value, and the variance of one measurement, on the
        model's scale.
    edges
        What is a hit, and the best so far, on the same scale.
    units
        (n,) mean, (n,) standard deviation, and the best so far, as utilities in the task's units.
    allowed
        (n,) candidates that are open; all else becomes NaN.

    Examples
    --------
    >>> mean, std = np.array([0.0, 1.0]), np.array([1.0, 1.0])
    >>> found = look_out(mean, (mean, std, 0.0), (1.0, 1.0), (mean, std, 1.0), np.ones(2, bool))
    >>> found.hit.round(3).tolist(), round(found.improvement, 4), found.better
    ([0.159, 0.5], 0.3989, 0.5)
    """
    mean, std, noise = moments
    threshold, best = edges
    wide = np.maximum(np.sqrt(std**2 + noise), SMALL)
    known = allowed & np.isfinite(mean) & np.isfinite(wide)
    hit = np.where(known, ndtr((mean - threshold) / wide), np.nan)
    better = ndtr((mean - best) / np.maximum(std, SMALL))[known]
    gap, spread = units[0][known] - units[2], np.maximum(units[1][known], SMALL)
    z = gap / spread
    improvement = gap * ndtr(z) + spread * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return Outlook(
        np.where(known, score, np.nan),
        hit,
        float(improvement.max(initial=0.0)),
        float(better.max(initial=0.0)),
    )
