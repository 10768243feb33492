"""Choosing candidates that stand for the others: k-means, k-medoids, TypiClust, without pool x pool.

Rows begin at centres drawn by k-means++ and move to the nearest centre, again and again. Sums over
members run in the order of the keys, so that the order of the candidates changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.design.cover import SAFE, Frontier, assign_nearest, check_features, make_space, nearest_of, squared
from screenwise.design.picking import Allowed, best_left, check_size, open_mask

TURNS = 25
"""Most turns of k-means."""
TRIED = 64
"""Members of a cluster, those nearest to its mean, that may become its medoid."""
TYPICAL = 512
"""Members of a cluster, those nearest to its mean, whose typicality is measured."""
MOST_CLUSTERS = 500
"""Clusters of TypiClust, as in its paper."""


@dataclass(frozen=True)
class Clusters:
    """A pool in clusters."""

    label: NDArray[np.int32]
    """(n,) cluster of each row."""
    distance: NDArray[np.float32]
    """(n,) squared distance to its centre."""
    centre: NDArray[np.float32]
    """(k, d) means."""


def cluster_means(features: NDArray[Any], count: int, keys: NDArray[np.uint64], *, turns: int = TURNS) -> Clusters:
    """Return at most `count` clusters by k-means, begun by k-means++ (Lloyd 1982; Arthur and Vassilvitskii, 2007).

    Fewer come back where fewer rows differ. O(n count d turns); memory: n labels and distances.

    Parameters
    ----------
    features
        (n, d) finite.
    count
        Clusters.
    keys
        (n,) are the random numbers of the begin, and the order of sums.
    turns
        Most moves of all centres; ends earlier when no row changes its cluster.

    Examples
    --------
    >>> found = cluster_means(np.array([[0.0], [1.0], [9.0]]), 2, np.arange(3, dtype=np.uint64))
    >>> sorted(found.centre[:, 0].tolist())
    [0.5, 9.0]
    """
    rows = check_features(features)
    check_size(len(rows), keys=len(keys))
    keys = np.ascontiguousarray(keys, np.uint64)
    order = np.argsort(keys, kind="stable")
    frontier, begin = Frontier(make_space(rows), keys, min(count, len(rows))), list[int]()
    mask = np.ones(len(rows), bool)
    while len(begin) < min(count, len(rows)):
        pick, far = frontier.farthest(mask, by_chance=True)
        if pick < 0 or far == 0:
            break
        begin.append(pick)
        mask[pick] = False
        frontier.cover(pick)
    centre = rows[begin].copy()
    label, distance = nearest_of(rows, centre)
    for _ in range(turns):
        _means(rows, order, label, centre)
        distance[:] = _to_own(rows, centre, label)
        if not assign_nearest(rows, centre, label, distance, 0):
            break
    return Clusters(label, distance, centre)


@njit(cache=True)
def _means(features: Any, order: Any, label: Any, centre: Any) -> None:
    """Move centres to the means of their members; one without members stays."""
    total = np.zeros(centre.shape, np.float64)
    count = np.zeros(centre.shape[0], np.int64)
    for row in order:
        count[label[row]] += 1
        for column in range(features.shape[1]):
            total[label[row], column] += features[row, column]
    for cluster in range(centre.shape[0]):
        for column in range(centre.shape[1]):
            if count[cluster]:
                centre[cluster, column] = total[cluster, column] / count[cluster]


@njit(cache=True, fastmath=SAFE)
def _to_own(features: Any, centre: Any, label: Any) -> Any:
    out = np.empty(features.shape[0], np.float32)
    for row in range(features.shape[0]):
        out[row] = squared(features, row, centre, label[row])
    return out


def mean_representatives(
    features: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    *,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Pick the row nearest to each of `size` k-means centres, the largest cluster first.

    Representative sampling (Xu et al., ECIR 2003). Uncertainty and what was measured do not count: for a first
    round, or among the candidates that another score likes. Where rules close all rows of a cluster, the
    round fills up with the second nearest ones of the largest clusters.

    Parameters
    ----------
    features
        (n, d) finite.
    size
        Candidates to pick.
    keys
        (n,) are the random numbers of the begin, and settle ties.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.
    first
        Rows that are in.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [2.0], [9.0]])
    >>> mean_representatives(line, 2, np.arange(4, dtype=np.uint64)).tolist()
    [1, 3]
    """
    found = cluster_means(features, size, keys)
    return _one_each(
        found.label, -found.distance.astype(np.float64), np.zeros(len(found.centre)), size, keys, (allowed, first)
    )


def medoid_representatives(
    features: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    *,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Pick the medoids of `size` clusters, the largest cluster first: rows with the least sum of distances.

    Alternates between medoids and members (Park and Jun, Expert Syst. Appl. 36 (2009)), from the clusters of
    k-means. Distances are not squared, so that an outlier draws a medoid less than a mean. A new medoid is
    sought among the 64 members nearest to the cluster's mean: O(n 64 d) a turn, where all members would be n x n.

    Parameters
    ----------
    features, size, keys, allowed, first
        As in `mean_representatives`.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [2.0], [30.0], [31.0], [60.0]])
    >>> medoid_representatives(line, 2, np.arange(6, dtype=np.uint64)).tolist()
    [1, 4]
    """
    rows = check_features(features)
    found = cluster_means(rows, size, keys)
    order = np.argsort(keys, kind="stable")
    _, place = np.unique(found.label, return_inverse=True)  # clusters without members are left out
    label = np.asarray(place, np.int32)
    centre = np.empty((label.max(initial=-1) + 1, rows.shape[1]), np.float32)
    medoid = np.zeros(len(centre), np.int64)
    for _ in range(TURNS):
        _means(rows, order, label, centre)
        members, start = _sorted_members(label, _to_own(rows, centre, label), keys, len(centre))
        _medoids(rows, members, start, _by_key(label, order), medoid)
        distance = _to_own(rows, rows[medoid], label)
        if not assign_nearest(rows, rows[medoid], label, distance, 0):
            break
    score = -distance.astype(np.float64)
    own = medoid[label[medoid] == np.arange(len(medoid))]
    score[own] = 1.0  # before their twins
    return _one_each(label, score, np.zeros(len(centre)), size, keys, (allowed, first))


def typical_representatives(  # noqa: PLR0913 -- the form of all pickers, and the neighbours
    features: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    *,
    measured: NDArray[Any] | None = None,
    allowed: Allowed = None,
    first: Sequence[int] = (),
    neighbours: int = 20,
) -> NDArray[np.int64]:
    """Pick the most typical row of each cluster that holds nothing measured, the largest first (TypiClust).

    The pool falls into l + size clusters (at most 500); typicality is one over the mean distance to the
    nearest 20 members of the row's own cluster (Hacohen, Dekel and Weinshall, ICML 2022, eq. 1 and
    algorithm 1). For small budgets, where uncertainty misleads. Measured rows are given to the nearest
    centre and do not move centres. In clusters above 512 members only the 512 nearest to the mean are
    candidates: O(n (l + size) d) a turn of k-means, and O(512 d) a row.

    Parameters
    ----------
    features, size, keys, allowed, first
        As in `mean_representatives`.
    measured
        (l, d) rows that were measured.
    neighbours
        Neighbours that typicality is taken over.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [2.0], [30.0], [31.0]])
    >>> typical_representatives(line, 1, np.arange(5, dtype=np.uint64), measured=np.array([[31.5]])).tolist()
    [1]
    """
    rows = check_features(features)
    known = np.empty((0, rows.shape[1]), np.float32) if measured is None else check_features(measured, "measured rows")
    found = cluster_means(rows, min(len(known) + size, max(MOST_CLUSTERS, size)), keys)
    covered = np.bincount(nearest_of(known, found.centre)[0], minlength=len(found.centre)).astype(np.float64)
    members, start = _sorted_members(found.label, found.distance, keys, len(found.centre))
    typical = -1.0 - found.distance.astype(np.float64)  # those beyond the 512 come after all others
    _typicality(rows, members, start, neighbours, typical)
    return _one_each(found.label, typical, covered, size, keys, (allowed, first))


def _by_key(label: NDArray[np.int32], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all rows, cluster by cluster, each cluster in the order of the keys."""
    return order[np.argsort(label[order], kind="stable")]


def _sorted_members(
    label: NDArray[np.int32], distance: NDArray[np.float32], keys: NDArray[np.uint64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all rows cluster by cluster, the nearest to its centre first, and where clusters begin, (k + 1,)."""
    members = np.lexsort((keys, distance, label))
    return members, np.searchsorted(label[members], np.arange(count + 1))


@njit(cache=True, fastmath=SAFE)
def _medoids(features: Any, members: Any, start: Any, by_key: Any, out: Any) -> None:
    """Write the (k,) medoids; a cluster without members keeps its own."""
    for cluster in range(out.shape[0]):
        begin, end = start[cluster], start[cluster + 1]
        best, least = out[cluster], np.inf
        for place in range(begin, min(end, begin + TRIED)):
            row = members[place]
            total = 0.0
            for other in range(begin, end):
                total += np.sqrt(np.float64(squared(features, row, features, by_key[other])))
            if total < least:
                best, least = row, total
        out[cluster] = best


@njit(cache=True, fastmath=SAFE)
def _typicality(features: Any, members: Any, start: Any, neighbours: int, out: Any) -> None:
    for cluster in range(start.shape[0] - 1):
        begin, end = start[cluster], start[cluster + 1]
        count = min(neighbours, end - begin - 1)
        nearest = np.empty(max(count, 1))
        for place in range(begin, min(end, begin + TYPICAL)):
            row = members[place]
            nearest[:] = np.inf
            for other in range(begin, end):
                if other == place or count == 0:
                    continue
                gap = np.float64(squared(features, row, features, members[other]))
                if gap < nearest[count - 1]:
                    spot = count - 1
                    while spot > 0 and nearest[spot - 1] > gap:
                        nearest[spot] = nearest[spot - 1]
                        spot -= 1
                    nearest[spot] = gap
            total = 0.0
            for spot in range(count):
                total += np.sqrt(nearest[spot])
            # a row alone is as typical of its cluster as can be, and twins are finite
            out[row] = count / total if total > 0.0 else 1e300


def _one_each(
    label: NDArray[np.int32],
    score: NDArray[np.float64],
    covered: NDArray[np.float64],
    size: int,
    keys: NDArray[np.uint64],
    allowed_and_first: tuple[Allowed, Sequence[int]],
) -> NDArray[np.int64]:
    """Pick the best row of the cluster that is least covered and largest, again and again."""
    allowed, first = allowed_and_first
    order = np.lexsort((keys, label))
    cluster, start, weight = np.unique(label[order], return_index=True, return_counts=True)
    members = dict(zip(cluster.tolist(), np.split(order, start[1:]), strict=True))
    # larger clusters first; equal ones by the smallest key of their members
    rank = {int(cluster[place]): position for position, place in enumerate(np.lexsort((keys[order[start]], -weight)))}
    covered, picks = covered.copy(), list[int]()
    forced = [int(one) for one in first][:size]
    while len(picks) < size:
        mask = open_mask(allowed, picks, len(label))
        pick = forced.pop(0) if forced else None
        for one in sorted(members, key=lambda one: (covered[one], rank[one])) if pick is None else ():
            rows = members[one]
            place = best_left(score[rows], keys[rows], mask[rows])
            if place is not None:
                pick = int(rows[place])
                break
        if pick is None:
            break
        picks.append(pick)
        covered[label[pick]] += 1
    return np.asarray(picks, np.int64)
