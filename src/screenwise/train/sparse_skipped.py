"""What Adam would have done to a row of weights in the steps it was not touched: one sum per step of last use.

A row with moments m, v that is not touched for d steps after step s moves in dense Adam by

    sum over j = 1..d of  a_j m / (sqrt(v) + e_j),
    a_j = rate(s+j) sqrt(1 - beta2^(s+j)) / (1 - beta1^(s+j)) (beta1 / sqrt(beta2))^j,
    e_j = eps sqrt(1 - beta2^(s+j)) beta2^(-j/2),

and with decoupled weight decay each term shrinks with the weights that it moved. a and e are the same for
all rows last used at s, so they are summed once per step, and not per row. As a function of r = sqrt(v) the sum
is replaced by the ratio of polynomials of degree 1 and 2 that has its value and slope both at r = 0 and at
infinity (a two-point Pade approximant): where r >> eps, as it nearly always is, and where r << eps, nothing is
lost, and between them less than a thousandth of the rate.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

LONGEST = 1 << 14
"""Steps after which all rows are caught up, so that the tables stay short."""
NEGLIGIBLE = 1e-14
"""A step's share of the sum below which the rest is left out."""
SMALLEST = 1e-30
"""Factors below this are 0, far below float32's resolution of any moment."""

SAME = 1e-10
"""Relative variance of the e_j below which they are one."""


class Skipped:
    """The sums for every step since all rows were last caught up.

    Parameters
    ----------
    betas, eps, weight_decay
        As in `torch.optim.AdamW`.

    Examples
    --------
    >>> skipped = Skipped((0.9, 0.999), 1e-8, 0.0)
    >>> skipped.advance(0.01)  # a row is touched here, with gradient 1: m = 0.1, v = 0.001
    >>> skipped.advance(0.01)  # and not here
    >>> float(round(skipped.move(1, 0.1, 0.001), 5))
    0.0067
    """

    def __init__(self, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.steps = 0
        """Steps taken."""
        self.base = 0
        """Step at which all rows were last caught up."""
        ratio = math.log(betas[0] / math.sqrt(betas[1])) if betas[0] else -math.inf
        self.window = min(LONGEST, math.ceil(math.log(NEGLIGIBLE) / ratio))
        self.sums = np.zeros((LONGEST + 1, 4))
        """Sums of a_j (e_j / eps)^k, k = 0, 1, -1, -2, by step of last use after `base`."""
        self.exact = np.zeros((LONGEST + 1, 5))
        self.table = np.zeros((LONGEST + 1, 5), np.float32)
        """keep, p0, p1, q0, q1: a weight w becomes keep w - m (p0 + p1 r) / (q0 + q1 r + v), r = sqrt(v).
        `exact` is the same in float64, for what shrinks in every step."""
        steps = np.arange(LONGEST + 1)
        powers = np.stack([np.power(beta, steps) for beta in betas], axis=1)
        self.powers = np.where(powers < SMALLEST, 0, powers)
        """(steps, 2) what moments shrink to in so many steps."""
        self.restart()

    @property
    def now(self) -> int:
        """Steps since all rows were caught up."""
        return self.steps - self.base

    @property
    def full(self) -> bool:
        """Whether all rows must be caught up before the next step."""
        return self.now >= LONGEST

    def restart(self) -> None:
        """Begin anew: all rows have been caught up."""
        self.base = self.steps
        self._begin_row()

    def advance(self, rate: float) -> None:
        """Count one more step, missed by every row that was last used before it."""
        beta1, beta2 = self.betas
        self.steps += 1
        now, step = self.now, self.steps
        keep = 1 - rate * self.weight_decay
        if keep != 1:
            self.sums[:now] *= keep
            # p0 and p1 are in proportion to the sums
            self.exact[:now, :3] *= keep
        first = max(0, now - self.window)
        root = math.sqrt(1 - beta2**step)
        numbers = rate * root / (1 - beta1**step), root, beta1 / math.sqrt(beta2), beta2, self.eps
        _miss(self.sums[first:now], self.exact[first:now], numbers)
        changed = slice(first if keep == 1 else 0, now)
        self.table[changed] = self.exact[changed]
        self._begin_row()

    def _begin_row(self) -> None:
        """Say that a row used in the present step has missed nothing."""
        self.sums[self.now] = 0
        self.exact[self.now] = self.table[self.now] = (1, 0, 0, 1, 0)

    def move(self, seen: int, mean: float, square: float) -> float:
        """Return how far a weight with such moments, last used at step `seen` after `base`, has moved (down)."""
        _, p0, p1, q0, q1 = self.table[seen].astype(np.float64)
        root = math.sqrt(square)
        return float(mean * (p0 + p1 * root) / (q0 + q1 * root + square))

    def step_numbers(self, rate: float) -> NDArray[np.float32]:
        """Return the betas, each with what it lacks to 1, rate, root correction, eps and what decay keeps."""
        beta1, beta2 = self.betas
        step = self.steps + 1
        rest = rate / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step), self.eps, 1 - rate * self.weight_decay
        # 1 - beta2 of a rounded beta2 would be wrong in the fifth digit
        return np.array([beta1, 1 - beta1, beta2, 1 - beta2, *rest], np.float32)

    def to_state(self) -> dict[str, Any]:
        """Return counts and sums; `fill` takes them up."""
        used = slice(0, self.now + 1)
        return {"steps": self.steps, "base": self.base, "sums": self.sums[used], "exact": self.exact[used]}

    def fill(self, state: dict[str, Any]) -> None:
        """Take up what `to_state` returned."""
        self.steps, self.base = int(state["steps"]), int(state["base"])
        for name in ("sums", "exact"):
            getattr(self, name)[: self.now + 1] = state[name]
        self.table[: self.now + 1] = self.exact[: self.now + 1]


@njit(cache=True, error_model="numpy")
def _miss(sums: Any, exact: Any, numbers: tuple[float, ...]) -> None:  # pragma: no cover
    """Add one step's terms to the sums (n, 4) of the last n steps of use, and renew p0, p1, q0, q1 of `exact`.

    The sum of a / (r + e) is about (p0 + p1 r) / (q0 + q1 r + r^2).
    """
    rate, root, ratio, beta2, eps = numbers
    for row in range(len(sums)):
        missed = len(sums) - row
        weight, place = rate * ratio**missed, root * beta2 ** (-missed / 2)
        sums[row, 0] += weight
        sums[row, 1] += weight * place
        sums[row, 2] += weight / place
        sums[row, 3] += weight / place**2
        zeroth, first, inverse, inverse2 = sums[row]
        if zeroth <= 0:
            # steps of rate 0 move nothing, also where v = 0
            exact[row, 1:] = (0.0, 0.0, eps**2, 2 * eps)
            continue
        above, below = inverse * first - zeroth**2, inverse2 * zeroth - inverse**2
        mean = first / zeroth
        q0, q1 = mean**2, 2 * mean
        if above > SAME * zeroth**2:
            q0 = above / below
            q1 = (first + inverse * q0) / zeroth
        exact[row, 1:] = ((zeroth * q1 - first) * eps, zeroth, q0 * eps**2, q1 * eps)
