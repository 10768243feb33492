"""Kernels of conditions that are put together from few distinct parts: members of pairs, sites of variants.

A hundred thousand pairs of 449 genes have 449 distinct members, and 160,000 variants of four sites 400
distinct halves. Their kernels are sums, or products, of similarities of parts: tables of all distinct
parts against each other take the place of features, and a covariance is a few look-ups and products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from screenwise.represent.kernel import Kernel
from screenwise.represent.pairs import EachMember, SymmetricProduct, SymmetricSum, member_table
from screenwise.represent.similarity import ExpHamming, Linear, Rbf
from screenwise.represent.variants import SharedSites, SiteProperties, Sites

TABLE_BYTES = 2**29
"""Tables of distinct parts beyond this are not made."""
PART_VALUES = 512
"""Sites are taken together in one part while they have no more distinct combinations than this."""
BOUND_BYTES = 2**27
"""Tables of distinct parts against given conditions that are in memory at a time."""

_PAIR = 2
_SITE_SIMILARITIES = (SharedSites, ExpHamming, Rbf, Linear)


@dataclass(frozen=True)
class Factored:
    """The m kernels of n conditions of s parts each."""

    codes: NDArray[np.int64]
    """(n, s) distinct value of each part."""
    tables: tuple[tuple[NDArray[np.float32], ...], ...]
    """m times s tables (d, d) of a part's distinct values against each other; exchangeable parts share one."""
    products: tuple[bool, ...]
    """(m,) whether a kernel is the product of its parts' similarities, or their sum."""
    exchangeable: bool
    """Whether members may change places: products are averaged over both orders, sums run over all pairs."""

    def cross(self, a: NDArray[np.int64], b: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return (na, nb) weighted sums of the kernels between conditions.

        Parameters
        ----------
        a, b
            (na, s) and (nb, s) codes.
        weights
            (m,)
        """
        out = np.empty((len(a), len(b)), np.float32)
        if out.size == 0:
            return out
        used, places = _used(a)
        tables = 1 + len(self._orders()) * sum(self.products)
        step = max(64, BOUND_BYTES // (4 * tables * a.shape[1] * max(len(one) for one in used)))
        for first in range(0, len(b), step):
            added, factors = self._bind(used, b[first : first + step], weights.astype(np.float32))
            # rows that lie one after the other are what the compiled loops are quick at
            piece = out if step >= len(b) else np.empty((len(a), added.shape[2]), np.float32)
            _combine(places, added, factors, piece)
            if piece is not out:
                out[:, first : first + step] = piece
        return out

    def gram(self, a: NDArray[np.int64], kernel: int) -> NDArray[np.float32]:
        """Return (na, na) of one kernel between conditions, given their codes."""
        return self.cross(a, a, np.eye(len(self.tables))[kernel])

    def diagonal(self, a: NDArray[np.int64], kernel: int) -> NDArray[np.float64]:
        """Return (na,) of one kernel with the conditions themselves, given their codes."""
        tables, parts = self.tables[kernel], range(a.shape[1])

        def own(one: int, other: int) -> NDArray[np.float64]:
            return tables[one][a[:, one], a[:, other]].astype(np.float64)

        if self.products[kernel]:
            orders = [np.prod([own(one, other) for one, other in enumerate(order)], axis=0) for order in self._orders()]
            return np.asarray(np.mean(orders, axis=0))
        meet = [(one, other) for one in parts for other in parts if self.exchangeable or one == other]
        return np.asarray(np.sum([own(*both) for both in meet], axis=0))

    def times(
        self, a: NDArray[np.int64], b: NDArray[np.int64], weights: NDArray[np.float64], alpha: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return (na,) the matrix of `cross` times a vector; with two parts without making the matrix.

        With A the sum of ``alpha_j e_c e_d'`` over conditions of parts c and d, a product of similarities
        S and T comes to ``(S A T')[first, second]``, members in both orders to ``(S (A + A') S' / 2)``, and
        a sum of similarities to u[first] + v[second]: a few products of tables of distinct parts, exact,
        however many conditions there are (the vec trick of Kronecker kernels: Airola and Pahikkala, IEEE
        Trans. Neural Netw. Learn. Syst. 29, 3374 (2018)).

        Parameters
        ----------
        a, b, weights
            As in `cross`.
        alpha
            (nb,)
        """
        sizes = [len(table) for table in self.tables[0]]
        # a multiplication inside a matrix product takes a tenth of the time of one after a look-up
        if len(sizes) != _PAIR or sum(sizes) * sizes[0] * sizes[1] > 10 * len(a) * len(b):
            step = max(256, BOUND_BYTES // (32 * max(len(b), 1)))
            parts = [self.cross(a[first : first + step], b, weights) for first in range(0, len(a), step)]
            return np.concatenate([np.zeros(0), *(part.astype(np.float64) @ alpha for part in parts)])
        single = [np.bincount(b[:, part], alpha, size) for part, size in enumerate(sizes)]
        if self.exchangeable:
            single = [single[0] + single[1]] * _PAIR
        counted = np.bincount(b[:, 0] * sizes[1] + b[:, 1], alpha, sizes[0] * sizes[1]).reshape(sizes)
        paired = (counted + counted.T) / 2 if self.exchangeable else counted
        summed, mixed = [np.zeros(size) for size in sizes], np.zeros(sizes)
        for tables, product, weight in zip(self.tables, self.products, weights, strict=True):
            if product:
                mixed += weight * (tables[0] @ paired @ tables[1].T)
                continue
            for part, table in enumerate(tables):
                summed[part] += weight * (table @ single[part])
        return np.asarray(summed[0][a[:, 0]] + summed[1][a[:, 1]] + mixed[a[:, 0], a[:, 1]])

    def _orders(self) -> list[list[int]]:
        """Return the orders in which the parts of one condition meet those of another."""
        forth = list(range(self.codes.shape[1]))
        return [forth, forth[::-1]] if self.exchangeable else [forth]

    def _bind(
        self, used: Sequence[NDArray[np.int64]], b: NDArray[np.int64], weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return sums (s, d, nb) and factors (t, s, d, nb) of the used values of each part against conditions."""
        parts, shape, orders = range(len(used)), (max(len(one) for one in used), len(b)), self._orders()
        live = [place for place in np.flatnonzero(weights).tolist() if self.products[place]]
        added = np.zeros((len(used), *shape), np.float32)
        factors = np.empty((len(live) * len(orders), len(used), *shape), np.float32)
        for term, (place, order) in enumerate((place, order) for place in live for order in orders):
            for part in parts:
                found = factors[term, part, : len(used[part])]
                _look_up(self.tables[place][part], used[part], b[:, order[part]], found)
                if part == 0:
                    found *= weights[place] / np.float32(len(orders))
        for place in np.flatnonzero(weights).tolist():
            for part in () if self.products[place] else parts:
                rows = weights[place] * self.tables[place][part][used[part]]
                for other in parts if self.exchangeable else (part,):
                    added[part, : len(rows)] += np.take(rows, b[:, other], axis=1)
        return added, factors


def factor_kernels(kernels: Sequence[Kernel], conditions: pd.DataFrame) -> Factored | None:
    """Return kernels as tables of few distinct parts; None where one of them has no such form.

    They have it where all are symmetric forms over the same members, or all compare the same sites of
    variants, and where the tables are small.

    Parameters
    ----------
    kernels
        Fitted.
    conditions
        (n,) conditions of which the parts are taken.

    Examples
    --------
    >>> from screenwise.represent.default import default_kernels
    >>> pairs = pd.DataFrame({"gene_a": ["TP53", "MYC"], "gene_b": ["MYC", "RB1"]})
    >>> factored = factor_kernels(default_kernels(pairs), pairs)
    >>> factored.codes.tolist(), factored.gram(factored.codes, 0).tolist()
    ([[2, 0], [0, 1]], [[1.0, 0.5], [0.5, 1.0]])
    """
    if not kernels or len(conditions) == 0:
        return None
    if all(isinstance(kernel.representation, EachMember) for kernel in kernels):
        return _factor_members(kernels, conditions)
    if all(isinstance(kernel.representation, Sites | SiteProperties) for kernel in kernels):
        return _factor_sites(kernels, conditions)
    return None


def _factor_members(kernels: Sequence[Kernel], conditions: pd.DataFrame) -> Factored | None:
    first = kernels[0].representation
    same = all(kernel.representation.members == first.members for kernel in kernels)
    if not same or not all(isinstance(kernel.similarity, SymmetricSum | SymmetricProduct) for kernel in kernels):
        return None
    distinct, codes = first.distinct(conditions)
    if 4 * len(kernels) * (len(distinct) + 1) ** 2 > TABLE_BYTES:
        return None
    products = tuple(isinstance(kernel.similarity, SymmetricProduct) for kernel in kernels)
    tables = []
    for kernel, product in zip(kernels, products, strict=True):
        features = kernel.representation.representation.transform(distinct)
        table = member_table(kernel.similarity.similarity, features, None, absent=1.0 if product else 0.0)
        tables.append((table if product else table / np.float32(2),) * codes.shape[1])
    # the last row and column of a table are those of an absent member
    return Factored(np.where(codes < 0, len(distinct), codes), tuple(tables), products, exchangeable=True)


def _factor_sites(kernels: Sequence[Kernel], conditions: pd.DataFrame) -> Factored | None:
    sites = [kernel.representation for kernel in kernels]
    sites = [one.sites if isinstance(one, SiteProperties) else one for one in sites]
    if any(one != sites[0] for one in sites) or not all(isinstance(k.similarity, _SITE_SIMILARITIES) for k in kernels):
        return None
    codes = sites[0].transform(conditions)
    groups = group_columns(codes)
    if 4 * len(kernels) * len(groups) * PART_VALUES**2 > TABLE_BYTES:
        return None
    places = np.empty((len(codes), len(groups)), np.int64)
    tables: list[list[NDArray[np.float32]]] = [[] for _ in kernels]
    for part, columns in enumerate(groups):
        _, first, places[:, part] = np.unique(codes[:, columns], axis=0, return_index=True, return_inverse=True)
        some = conditions.iloc[first]
        for kernel, found in zip(kernels, tables, strict=True):
            found.append(_site_table(kernel, kernel.features(some), columns, codes.shape[1]))
    products = tuple(isinstance(kernel.similarity, ExpHamming | Rbf) for kernel in kernels)
    return Factored(places, tuple(map(tuple, tables)), products, exchangeable=False)


def group_columns(codes: NDArray[np.uint8], most: int = PART_VALUES) -> list[list[int]]:
    """Return groups of neighbouring columns with at most `most` distinct combinations each, where they can.

    Examples
    --------
    >>> group_columns(np.array([[0, 0, 0], [0, 1, 1], [1, 0, 2], [1, 1, 3]], np.uint8), most=4)
    [[0, 1, 2]]
    >>> group_columns(np.array([[0, 0, 0], [0, 1, 1], [1, 0, 2], [1, 1, 3]], np.uint8), most=3)
    [[0], [1], [2]]
    """
    groups: list[list[int]] = []
    joined = np.zeros(len(codes), np.int64)
    for column in range(codes.shape[1]):
        both = pd.factorize(joined * 256 + codes[:, column])[0]
        if groups and int(both.max(initial=-1)) < most:
            groups[-1].append(column)
            joined = both
        else:
            groups.append([column])
            joined = codes[:, column].astype(np.int64)
    return groups


def _site_table(kernel: Kernel, features: NDArray[Any], columns: list[int], width: int) -> NDArray[np.float32]:
    """Return the table of one kernel over some sites, given the features of conditions that have all values there."""
    if isinstance(kernel.representation, SiteProperties):
        each = (features.shape[1] - 1) // (width - 1)
        # the last column of both counts changes at other sites
        columns = [at for one in columns for at in (range(one * each, (one + 1) * each) if one < width - 1 else [-1])]
    table = np.asarray(kernel.similarity(features[:, columns]), np.float32)
    if isinstance(kernel.similarity, SharedSites):
        # a share of these sites becomes one of all
        table *= np.float32(len(columns) / width)
    return table


def _used(codes: NDArray[np.int64]) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Return the values that each part has, and the codes as places among them."""
    found = [np.unique(codes[:, part], return_inverse=True) for part in range(codes.shape[1])]
    return [values for values, _ in found], np.column_stack([places for _, places in found])


@njit(cache=True)
def _look_up(table: Any, rows: Any, columns: Any, out: Any) -> None:  # pragma: no cover
    for row in range(len(rows)):
        line, found = table[rows[row]], out[row]
        for column in range(len(columns)):
            found[column] = line[columns[column]]


@njit(cache=True)
def _combine(codes: Any, added: Any, factors: Any, out: Any) -> None:  # pragma: no cover
    """Write sums and products of the rows that each condition's parts have."""
    parts, count = codes.shape[1], out.shape[1]
    product = np.empty(count, np.float32)
    for row in range(len(codes)):
        line, first = out[row], codes[row, 0]
        line[:] = added[0, first]
        for part in range(1, parts):
            more = added[part, codes[row, part]]
            for other in range(count):
                line[other] += more[other]
        for term in range(len(factors)):
            left = factors[term, 0, first]
            for part in range(1, parts - 1):
                more = factors[term, part, codes[row, part]]
                for other in range(count):
                    product[other] = left[other] * more[other]
                left = product
            if parts == 1:
                for other in range(count):
                    line[other] += left[other]
                continue
            right = factors[term, parts - 1, codes[row, parts - 1]]
            for other in range(count):
                line[other] += left[other] * right[other]
