"""The scaled sum of single effects: one learnt coefficient and an offset, shrunk to what published screens say."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.models.pairwise_weigh import weigh

RAW_SCALE = 0.85
"""Prior of the coefficient of a sum of two measured singles: on Norman et al. 2019 (131 doubles, 50 components) it
lowers the mean error from 3.20 to 2.69, on 500 genes of the same screen it does no harm (0.446 against 0.446)."""
SHRUNK_SCALE = 0.9
"""The same where each single was shrunk by its known error: 2.71 and 0.420 on those sets."""
SCALE_DOUBLES = 6.0
"""Doubles that the prior of the coefficient counts as: with 6 and 6, three to six doubles never did worse than plain
addition in 2000 random draws each of the same screen (4 and 6: six times); the mean error is as small."""
OFFSET_DOUBLES = 6.0
"""Doubles that the prior of the offset, zero, counts as."""
ALTERNATIONS = 10
"""Of coefficient and offset; the change after ten is below 1e-6 of the coefficient."""


@dataclass(frozen=True)
class Scale:
    """effect of a combination = coefficient x sum of single effects + offset."""

    coefficient: float
    """Of two genes."""
    offset: NDArray[np.float64]
    """(p,) 0 without doubles."""
    wider: dict[int, "Wider"]
    """Number of genes, from 3 on -> what measured combinations of so many genes taught."""

    def of(self, size: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the coefficients of combinations of `size` (n,) genes.

        Each doubling of the genes multiplies the coefficient once more, unless it was learnt.

        Examples
        --------
        >>> Scale(0.8, np.zeros(1), {}).of(np.array([1, 2, 4])).round(2).tolist()
        [1.0, 0.8, 0.64]
        """
        out = extended(self.coefficient, size)
        for genes, wider in self.wider.items():
            out[size == genes] = wider.coefficient
        return out

    def predict(self, total: NDArray[np.float64], size: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (n, p) effects of combinations with these sums of single effects, (n, p)."""
        mean = self.of(size)[:, None] * total + self.offset
        for genes, wider in self.wider.items():
            mine = size == genes
            sums = wider.coefficient * total[mine] + wider.offset
            mean[mine] = wider.share * sums + (1 - wider.share) * wider.mean
        return mean


@dataclass(frozen=True)
class Wider:
    """What measured combinations of one number of genes, from 3 on, taught."""

    coefficient: float
    offset: NDArray[np.float64]
    """(p,)"""
    mean: NDArray[np.float64]
    """(p,) mean effect of these combinations."""
    share: float
    """Weight of the scaled sum against that mean, by held-out errors."""


def extended(coefficient: float, size: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the coefficient of `size` genes, when that of two is known and each doubling multiplies it."""
    return float(max(coefficient, 0.0)) ** np.log2(np.maximum(size, 1))


def shrink_singles(single: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shrink each single's effect by its known noise (James and Stein, Proc. 4th Berkeley Symposium 1961, 361).

    Parameters
    ----------
    single
        (g, p) measured effects.
    error
        (g,) squared standard error of an effect, summed over features; NaN = not known, left as it is.

    Examples
    --------
    >>> shrink_singles(np.array([[3.0, 4.0], [0.1, 0.0], [1.0, 0.0]]), np.array([5.0, 5.0, np.nan])).tolist()
    [[2.4000000000000004, 3.2], [0.0, 0.0], [1.0, 0.0]]
    """
    squared = np.einsum("ij,ij->i", single, single)
    factor = np.maximum(0.0, 1.0 - error / np.maximum(squared, 1e-300))
    return np.where(np.isfinite(error), factor, 1.0)[:, None] * single


def learn_scale(
    total: NDArray[np.float64], effect: NDArray[np.float64], size: NDArray[np.int64], prior: float
) -> Scale:
    """Learn coefficient and offset by empirical Bayes, from doubles; wider combinations have their own coefficient.

    With sums A and effects Y of m doubles: ``o = sum(Y - bA) / (m + 6)`` and
    ``b = (sum A.(Y - o) + 6 a b0) / (sum |A|^2 + 6 a)``, a = mean |A|^2, alternated.

    Parameters
    ----------
    total, effect
        (m, p) sums of single effects and measured effects, of combinations of `size` (m,) genes.
    prior
        b0.

    Examples
    --------
    >>> total = np.random.default_rng(0).normal(size=(40, 8))
    >>> scale = learn_scale(total, 0.7 * total, np.full(40, 2), 0.85)
    >>> round(scale.coefficient, 2)
    0.72
    """
    two = size == 2  # noqa: PLR2004
    coefficient, offset = _alternate(total[two], effect[two], prior)
    wider = {}
    for genes in np.unique(size[size > 2]).tolist():  # noqa: PLR2004
        mine = size == genes
        start = float(extended(coefficient, np.array([genes]))[0])
        held = [leave_one_out_scale(total[mine], effect[mine], start), leave_one_out_mean(effect[mine])]
        share = float(weigh(effect[mine] - np.stack(held))[0])
        wider[int(genes)] = Wider(*_alternate(total[mine], effect[mine], start), effect[mine].mean(axis=0), share)
    return Scale(coefficient, offset, wider)


def _alternate(
    total: NDArray[np.float64], effect: NDArray[np.float64], prior: float
) -> tuple[float, NDArray[np.float64]]:
    coefficient, offset = prior, np.zeros(total.shape[1])
    squared = float(np.square(total).sum())
    if len(total) == 0 or squared == 0:
        return coefficient, effect.sum(axis=0) / (len(total) + OFFSET_DOUBLES)
    weight = SCALE_DOUBLES * squared / len(total)
    sum_total, sum_effect, along = total.sum(axis=0), effect.sum(axis=0), float((total * effect).sum())
    for _ in range(ALTERNATIONS):
        offset = (sum_effect - coefficient * sum_total) / (len(total) + OFFSET_DOUBLES)
        coefficient = (along - float(sum_total @ offset) + weight * prior) / (squared + weight)
    return coefficient, offset


def leave_one_out_scale(total: NDArray[np.float64], effect: NDArray[np.float64], prior: float) -> NDArray[np.float64]:
    """Return (m, p) what `learn_scale` from all other doubles says of each double.

    The alternation needs scalar products only, so that all m fits cost one pass over the table.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> total, effect = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    >>> rest = learn_scale(total[1:], effect[1:], np.full(4, 2), 0.85)
    >>> bool(np.allclose(rest.predict(total[:1], np.array([2])), leave_one_out_scale(total, effect, 0.85)[:1]))
    True
    """
    others = len(total) - 1
    if others < 1:
        return prior * total
    sums, means = total.sum(axis=0) - total, effect.sum(axis=0) - effect  # (m, p) sums over the others
    squared = np.square(total).sum() - np.square(total).sum(axis=1)
    along = (total * effect).sum() - (total * effect).sum(axis=1)
    both, cross = np.square(sums).sum(axis=1), (sums * means).sum(axis=1)
    weight = SCALE_DOUBLES * squared / others
    safe = np.where(squared > 0, squared + weight, 1.0)
    coefficient = np.full(len(total), prior)
    used = coefficient
    for _ in range(ALTERNATIONS):
        used = coefficient
        # the offset enters only through its product with the sum of the others' totals
        product = (cross - used * both) / (others + OFFSET_DOUBLES)
        coefficient = np.where(squared > 0, (along - product + weight * prior) / safe, prior)
    offset = (means - used[:, None] * sums) / (others + OFFSET_DOUBLES)
    return coefficient[:, None] * total + offset


def leave_one_out_mean(effect: NDArray[np.float64]) -> NDArray[Any]:
    """Return (m, p) mean effects of the other combinations; 0 of a single one.

    Examples
    --------
    >>> leave_one_out_mean(np.array([[1.0], [2.0], [6.0]])).ravel().tolist()
    [4.0, 3.5, 1.5]
    """
    return (effect.sum(axis=0) - effect) / max(len(effect) - 1, 1)
