"""BatchBALD: the batch of classes that together say most about the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.design.cover import SAFE
from screenwise.design.information import _mean_and_entropy, _with_draws, bald
from screenwise.design.picking import Allowed, check_size, open_mask
from screenwise.errors import ConfigError

SLACK = 1e-9
"""Share by which a gain may exceed its bound through rounding."""


@dataclass(frozen=True)
class Joint:
    """Outcomes of the picks so far."""

    weight: NDArray[np.float64]
    """(m,) probability of each outcome; a sum of 1."""
    posterior: NDArray[np.float64]
    """(m, s) probability of each member after it."""


def batch_bald(  # noqa: PLR0913 -- the form of all pickers, and two numbers
    draws: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    rng: np.random.Generator,
    *,
    allowed: Allowed = None,
    first: Sequence[int] = (),
    outcomes: int = 1024,
) -> NDArray[np.int64]:
    """Pick greedily by the information that the classes of the whole batch hold about the model.

    ``I(y_1 ... y_b; model)`` of Kirsch, van Amersfoort and Gal, NeurIPS 2019, eq. 5 and algorithm 1: unlike
    the best b by `bald`, near-duplicates count once. The gain of a candidate is
    ``E[H(y | outcome of the picks)] - E[H(y | member)]``. All outcomes of the picks are enumerated while
    there are at most `outcomes` of them (10 picks of two classes, 4 of five), then that many are drawn.
    Gains never grow while outcomes are enumerated, so only candidates are looked at whose last gain could
    still be the largest; afterwards this holds up to the sampling error. O(outcomes s c) a look; memory
    O(n c + outcomes s), never n x outcomes.

    Parameters
    ----------
    draws
        (s, n, c) class probabilities under each of s members; NaN = never picked.
    size
        Candidates to pick. Beyond a few times log(s) / log(c) picks nothing is left to learn about s members.
    keys
        (n,) settle equal gains (`screenwise.design.picking.tie_keys`).
    rng
        Draws outcomes once they are too many.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.
    first
        Candidates that are in.
    outcomes
        Most outcomes of the picks that are kept.

    Examples
    --------
    >>> sure = np.array([[[1.0, 0.0]] * 2 + [[0.9, 0.1]], [[0.0, 1.0]] * 2 + [[0.9, 0.1]],
    ...                  [[0.0, 1.0]] * 2 + [[0.1, 0.9]]])
    >>> batch_bald(sure, 2, np.arange(3, dtype=np.uint64), np.random.default_rng(0)).tolist()
    [0, 2]
    """
    array = _with_draws(draws)
    members, count, classes = array.shape
    check_size(count, keys=len(keys))
    if outcomes < classes:
        message = f"outcomes is {outcomes}; it must be at least the {classes} classes."
        raise ConfigError(message)
    bound = bald(array)
    _, expected = _mean_and_entropy(array)
    joint = Joint(np.ones(1), np.full((1, members), 1.0 / members))
    picks: list[int] = []
    forced = [int(one) for one in first][:size]
    while len(picks) < size:
        mask = open_mask(allowed, picks, count) & (bound > -np.inf)
        pick = forced.pop(0) if forced else _best_gain(array, joint, (bound, expected), keys, mask)
        if pick is None:
            break
        picks.append(pick)
        if len(picks) < size and bound[pick] > -np.inf:
            joint = _extend(joint, array[:, pick].astype(np.float64), outcomes, rng)
    return np.asarray(picks, np.int64)


def _best_gain(
    draws: NDArray[Any],
    joint: Joint,
    bound_and_expected: tuple[NDArray[np.float64], NDArray[np.float64]],
    keys: NDArray[np.uint64],
    mask: NDArray[np.bool_],
) -> int | None:
    bound, expected = bound_and_expected
    rows = np.flatnonzero(mask)
    if not len(rows):
        return None
    # the order of looks is the candidates' own, and so is the place where looking ends
    rows = rows[np.lexsort((keys[rows], -bound[rows]))]
    return int(_look(draws, rows, joint.weight, joint.posterior, bound, expected, keys))


@njit(cache=True, fastmath=SAFE)
def _look(  # noqa: PLR0913, PLR0917 -- flat arrays: what compiled code reads
    draws: Any, rows: Any, weight: Any, posterior: Any, bound: Any, expected: Any, keys: Any
) -> int:
    members, _, classes = draws.shape
    pick, best = -1, -1.0
    own = np.empty((classes, members))
    for row in rows:
        if bound[row] * (1.0 + SLACK) + SLACK < best:
            break
        for member in range(members):
            for one in range(classes):
                own[one, member] = draws[member, row, one]
        gain = -expected[row]
        for outcome in range(weight.shape[0]):
            total = 0.0
            for one in range(classes):
                share = 0.0
                for member in range(members):
                    share += posterior[outcome, member] * own[one, member]
                if share > 0.0:
                    total -= share * np.log(share)
            gain += weight[outcome] * total
        gain = max(gain, 0.0)
        bound[row] = gain
        if gain > best or (gain == best and keys[row] < keys[pick]):
            pick, best = row, gain
    return pick


def _extend(joint: Joint, own: NDArray[np.float64], most: int, rng: np.random.Generator) -> Joint:
    """Add a pick with (s, c) class probabilities to the outcomes."""
    chance = joint.posterior @ own  # (m, c)
    if joint.weight.size * own.shape[1] > most:
        # outcomes are drawn evenly by weight, then one class for each
        spread = (np.arange(most) + rng.random()) / most
        kept = np.minimum(np.searchsorted(np.cumsum(joint.weight), spread), joint.weight.size - 1)
        share = np.cumsum(chance[kept], axis=1)
        told = (rng.random(most)[:, None] * share[:, -1:] > share[:, :-1]).sum(axis=1)
        weight, posterior = np.full(most, 1.0 / most), joint.posterior[kept] * own.T[told]
    else:
        weight = (joint.weight[:, None] * chance).reshape(-1)
        posterior = (joint.posterior[:, None, :] * own.T[None]).reshape(-1, own.shape[0])
    total = posterior.sum(axis=1)
    there = (weight > 0) & (total > 0)
    return Joint(weight[there] / weight[there].sum(), posterior[there] / total[there, None])
