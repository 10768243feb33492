"""Choosing candidates that differ: k-center, relative distance, BADGE, LCMD, without ever forming pool x pool.

Distances are Euclidean unless they are given. Every choice is the same for any order of the
candidates; what is random follows their keys (`screenwise.design.picking.tie_keys`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.design.cover import SAFE, Frontier, check_features, make_space, nearest_of, squared
from screenwise.design.information import check_probability
from screenwise.design.picking import Allowed, check_size, open_mask

__all__ = ["Cover", "badge", "k_center", "k_center_similarity", "largest_cluster", "relative_distance"]


@dataclass(frozen=True)
class Cover:
    """Picks that cover a pool."""

    rows: NDArray[np.int64]
    """(k,) picks in the order they were made."""
    radius: NDArray[np.float64]
    """(k,) distance of each pick to what was covered before it (infinite for the first of an empty cover)."""
    left: float
    """Largest distance of a pool row to its nearest pick or measured row."""


def relative_distance(features: NDArray[Any], measured: NDArray[Any]) -> NDArray[np.float64]:
    """Score by the distance to the nearest measured row, (n,): ``min_l |x - x_l|``.

    It scores candidates one by one: the best b may be near-duplicates of one another, which `k_center`
    avoids. Source: greedy sampling on the inputs, Wu, Lin and Huang, Information Sciences 474 (2019),
    algorithm 1. O(n l d).

    Parameters
    ----------
    features
        (n, d) finite.
    measured
        (l, d) with l > 0.

    Examples
    --------
    >>> relative_distance(np.array([[0.0], [3.0]]), np.array([[1.0], [7.0]])).tolist()
    [1.0, 2.0]
    """
    known = check_features(measured, "measured features")
    check_size(max(len(known), 1), measured=len(known))
    _, distance = nearest_of(check_features(features), known)
    return np.sqrt(distance.astype(np.float64))


def k_center(
    features: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    *,
    measured: NDArray[Any] | None = None,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> Cover:
    """Pick the row farthest from all picks and measured rows, again and again.

    The largest distance left is at most twice the best possible (Gonzalez, Theor. Comput. Sci. 38,
    1985; core-set of Sener and Savarese, ICLR 2018, algorithm 1). O(n k d) at worst; a row is read again
    only while its last known distance could be the largest, so that most rows are read a few times.
    Memory: three n-vectors beside the features.

    Parameters
    ----------
    features
        (n, d) finite numbers; Euclidean distance. Single precision is used as it is, without a copy.
    size
        Rows to pick; fewer when no more are allowed.
    keys
        (n,) settle equal distances, and choose the first pick when nothing is measured
        (`screenwise.design.picking.tie_keys`).
    measured
        (l, d) rows that are covered already.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.
    first
        Rows that are in, however near.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [5.0], [6.0]])
    >>> k_center(line, 2, np.arange(4, dtype=np.uint64), measured=line[:1]).rows.tolist()
    [3, 1]
    """
    features = check_features(features)
    check_size(len(features), keys=len(keys))
    space = make_space(features)
    covered = None if measured is None else make_space(check_features(measured, "measured features"))
    frontier = Frontier(space, keys, size, covered)
    picks: list[int] = []
    radius: list[float] = []
    forced = [int(one) for one in first][:size]
    mask = open_mask(allowed, picks, len(features)) if not callable(allowed) else np.ones(len(features), bool)
    while len(picks) < size:
        if callable(allowed):
            mask = open_mask(allowed, picks, len(features))
        if forced:
            alone = np.zeros(len(features), bool)
            alone[forced.pop(0)] = True
            pick, far = frontier.farthest(alone)
        else:
            pick, far = frontier.farthest(mask)
        if pick < 0:
            break
        picks.append(pick)
        radius.append(far)
        mask[pick] = False
        frontier.cover(pick)
    _, left = frontier.farthest(np.ones(len(features), bool))
    return Cover(np.asarray(picks, np.int64), np.sqrt(np.asarray(radius, np.float64)), float(np.sqrt(max(left, 0.0))))


def k_center_similarity(
    similarity: Callable[[int], NDArray[Any]],
    size: int,
    keys: NDArray[np.uint64],
    *,
    nearest: NDArray[Any] | None = None,
    allowed: Allowed = None,
) -> Cover:
    """Do the same with any similarity, given column by column; distance = 1 - similarity.

    Parameters
    ----------
    similarity
        Returns the (n,) similarities of all candidates with one, such as a row of count Tanimoto.
    size
        Candidates to pick.
    keys
        (n,) settle equal distances.
    nearest
        (n,) similarity of each candidate to its nearest measured one; None = nothing is measured.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.

    Examples
    --------
    >>> matrix = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
    >>> k_center_similarity(lambda row: matrix[row], 2, np.arange(3, dtype=np.uint64)).rows.tolist()
    [0, 2]
    """
    left = np.full(len(keys), np.inf) if nearest is None else 1.0 - np.asarray(nearest, np.float64)
    picks: list[int] = []
    radius: list[float] = []
    while len(picks) < size:
        far = np.where(open_mask(allowed, picks, len(keys)), left, -1.0)
        top = far.max(initial=-1.0)
        if top < 0:
            break
        level = np.flatnonzero(far == top)
        pick = int(level[np.argmin(keys[level])])
        picks.append(pick)
        radius.append(float(top))
        np.minimum(left, 1.0 - np.asarray(similarity(pick), np.float64), out=left)
        left[pick] = 0.0
    return Cover(np.asarray(picks, np.int64), np.asarray(radius, np.float64), float(left.max(initial=0.0)))


def badge(
    features: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    *,
    probability: NDArray[Any] | None = None,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Pick by k-means++ seeding of hypothetical gradients: uncertain candidates that differ.

    The gradient of the last layer, if the likeliest class were true, is ``(p - onehot(argmax p)) x h``;
    a candidate is drawn with a probability that is the squared distance of its gradient to the nearest
    one picked, the longest gradient first (Ash et al., ICLR 2020, algorithm 1). The outer products are
    never formed: O(n (c + d)) a pick and less, no n x c d. Without probabilities (regression, or a plain
    spread over an embedding) the features themselves are seeded.

    Parameters
    ----------
    features
        (n, d) last hidden layer h, or any embedding.
    size
        Candidates to pick.
    keys
        (n,) are the random numbers: other keys, another draw.
    probability
        (n, c) of the classes; NaN = never picked; None = regression.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.
    first
        Rows that are in.

    Examples
    --------
    >>> hidden = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> sure = np.array([[0.5, 0.5], [0.6, 0.4], [1.0, 0.0]])
    >>> badge(hidden, 2, np.arange(3, dtype=np.uint64), probability=sure).tolist()
    [0, 1]
    """
    features = check_features(features)
    check_size(len(features), keys=len(keys))
    coefficient: NDArray[Any] | None = None
    known: Any = np.ones(len(features), bool)
    if probability is not None:
        check_size(len(features), probability=len(probability))
        coefficient = check_probability(probability).astype(np.float32)
        known = ~np.isnan(coefficient).any(axis=1)
        coefficient[np.arange(len(coefficient)), coefficient.argmax(axis=1)] -= 1.0
        coefficient[~known] = 0.0
    space = make_space(features, coefficient)
    frontier = Frontier(space, keys, size)
    lengths = space.own if coefficient is not None else make_space(features, np.ones((len(features), 1), "f4")).own
    picks: list[int] = []
    forced = [int(one) for one in first][:size]
    while len(picks) < size:
        mask = known & open_mask(allowed, picks, len(features))
        if forced:
            pick = forced.pop(0)
        elif not picks:
            longest = np.where(mask, lengths, -1.0)
            level = np.flatnonzero(mask & (longest == longest.max(initial=-1.0)))
            pick = int(level[np.argmin(keys[level])]) if len(level) else -1
        else:
            pick, _ = frontier.farthest(mask, by_chance=True)
        if pick < 0:
            break
        picks.append(pick)
        frontier.cover(pick)
    return np.asarray(picks, np.int64)


def largest_cluster(
    features: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    *,
    measured: NDArray[Any] | None = None,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Pick the farthest member of the cluster with the largest sum of squared distances, again and again (LCMD).

    Every candidate belongs to the nearest of all picks and measured rows; a cluster weighs the sum of
    its members' squared distances. Representative and diverse at once: an outlier alone weighs little
    (largest cluster maximum distance; Holzmueller et al., JMLR 24 (2023) 164, section 4.2). O(n (l + k) d).
    With a gradient or last-layer embedding of a network it is the rule of that paper.

    Parameters
    ----------
    features
        (n, d) finite.
    size
        Candidates to pick.
    keys
        (n,) settle equal distances and order the sums.
    measured
        (l, d) rows that have clusters already; None or empty: the longest row is picked first.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.
    first
        Rows that are in.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [1.5], [2.0], [9.0]])
    >>> largest_cluster(line, 2, np.arange(5, dtype=np.uint64), measured=line[:1]).tolist()
    [4, 3]
    """
    features = check_features(features)
    check_size(len(features), keys=len(keys))
    keys = np.ascontiguousarray(keys, np.uint64)
    order = np.argsort(keys, kind="stable")
    start = 0 if measured is None else len(measured)
    if start:
        label, distance = nearest_of(features, check_features(measured, "measured features"))
    else:
        label, distance = np.zeros(len(features), np.int32), make_space(features, np.ones((len(features), 1), "f4")).own
    picks: list[int] = []
    forced = [int(one) for one in first][:size]
    weight = np.zeros(max(start, 1) + size)
    while len(picks) < size:
        mask = open_mask(allowed, picks, len(features))
        pick = forced.pop(0) if forced else int(_heaviest(label, distance, mask, weight, keys, order))
        if pick < 0:
            break
        if not start and not picks:  # distances to the origin made way for those to the first pick
            distance[:] = np.inf
        _claim(features, pick, max(start, 1) + len(picks), label, distance)
        picks.append(pick)
    return np.asarray(picks, np.int64)


@njit(cache=True)
def _heaviest(label: Any, distance: Any, mask: Any, weight: Any, keys: Any, order: Any) -> int:
    """Return the farthest open member of the heaviest cluster that has one; -1 = no row is open."""
    count = weight.shape[0]
    farthest = np.full(count, -1)
    weight[:] = 0.0
    for row in order:  # sums in the order of keys are the same for any order of rows
        cluster = label[row]
        weight[cluster] += np.float64(distance[row])
        if mask[row] and (farthest[cluster] < 0 or distance[row] > distance[farthest[cluster]]):
            farthest[cluster] = row
    best = -1
    for cluster in range(count):
        row = farthest[cluster]
        if row < 0:
            continue
        level = best >= 0 and weight[cluster] == weight[best] and keys[row] < keys[farthest[best]]
        if best < 0 or weight[cluster] > weight[best] or level:
            best = cluster
    return -1 if best < 0 else farthest[best]


@njit(cache=True, fastmath=SAFE)
def _claim(features: Any, pick: int, cluster: int, label: Any, distance: Any) -> None:
    """Give a new cluster all rows that are nearer to it."""
    for row in range(features.shape[0]):
        gap = squared(features, row, features, pick)
        if gap < distance[row]:
            label[row], distance[row] = cluster, gap
    label[pick], distance[pick] = cluster, 0.0
