"""What a campaign looks for, and the numbers a model learns in its place."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from screenwise.errors import ConfigError
from screenwise.screen import ABOVE, BELOW

DIRECTIONS = ("maximize", "minimize", "absolute")


@dataclass(frozen=True)
class Objective:
    """High values, low values, or strong effects of either sign, of one task.

    Examples
    --------
    >>> Objective.parse("minimize:docking score").utility(np.array([-9.0, 2.0])).tolist()
    [9.0, -2.0]
    """

    direction: str
    """maximize, minimize or absolute."""
    task: str

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS or not self.task:
            message = (
                f"The objective '{self.direction}:{self.task}' is none; write one of "
                f"{', '.join(f'{one}:TASK' for one in DIRECTIONS)}, with the name of a task."
            )
            raise ConfigError(message)

    @classmethod
    def parse(cls, text: str) -> "Objective":
        """Read ``maximize:TASK``, ``minimize:TASK`` or ``absolute:TASK``."""
        direction, colon, task = str(text).partition(":")
        if not colon and text.strip() and text.strip().lower() not in DIRECTIONS:
            name = text.strip()
            message = (
                f"The objective {name!r} does not say what is wanted of {name}; write "
                f"{', '.join(f'{one}:{name}' for one in DIRECTIONS[:-1])} or {DIRECTIONS[-1]}:{name}."
            )
            raise ConfigError(message)
        return cls(direction.strip().lower(), task.strip())

    def __str__(self) -> str:
        return f"{self.direction}:{self.task}"

    def utility(self, value: NDArray[Any]) -> NDArray[np.float64]:
        """Turn values of the task into what is wanted: higher = better."""
        value = np.asarray(value, np.float64)
        if self.direction == "absolute":
            return np.abs(value)
        return -value if self.direction == "minimize" else value

    def value(self, utility: NDArray[Any]) -> NDArray[np.float64]:
        """Turn utilities back into the task's units; for `absolute` the size of the effect."""
        return -np.asarray(utility, np.float64) if self.direction == "minimize" else np.asarray(utility, np.float64)

    def reached(self, value: NDArray[Any], relation: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
        """Return (n,) whether values are surely at least as good as a threshold: a bound that leaves worse open is not.

        Examples
        --------
        >>> relation = np.array([1, -1, 0])  # above 5, below 5, and 5
        >>> Objective("maximize", "pic50").reached(np.full(3, 5.0), relation, 5.0).tolist()
        [True, False, True]
        """
        value = np.asarray(value, np.float64)
        falling = value < 0 if self.direction == "absolute" else self.direction == "minimize"
        open_below = np.asarray(relation) == np.where(falling, ABOVE, BELOW)
        return np.asarray((self.utility(value) >= self.utility(np.array([threshold]))) & ~open_below)


@dataclass(frozen=True)
class Scale:
    """A monotone scale on which the best are told apart: ``z(z(u) + rank-Gaussian(u))``.

    The first part keeps how much better the best are, the second keeps outliers from ruling the fit.
    """

    utility: NDArray[np.float64]
    """(k,) distinct measured utilities, ascending."""
    scaled: NDArray[np.float64]
    """(k,) where they lie on the scale."""
    slope: float
    """Units of the utility per unit of the scale, beyond both ends."""

    def back(self, mean: NDArray[Any], std: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and std, (n,) each, in the utility's units: of the interval one std to both sides."""
        low, high = self._inverse(mean - std), self._inverse(mean + std)
        return self._inverse(mean), 0.5 * (high - low)

    def forward(self, utility: float) -> float:
        """Return where a utility lies on the scale.

        Examples
        --------
        >>> scale = learn_scale(np.array([1.0, 2.0, 3.0, 50.0]))[1]
        >>> round(float(scale.back(np.array([scale.forward(60.0)]), np.zeros(1))[0][0]), 6)
        60.0
        """
        inside = float(np.interp(utility, self.utility, self.scaled))
        beyond = min(utility - self.utility[0], 0.0) + max(utility - self.utility[-1], 0.0)
        return inside + float(beyond) / self.slope

    def _inverse(self, scaled: NDArray[Any]) -> NDArray[np.float64]:
        inside = np.interp(scaled, self.scaled, self.utility)
        beyond = np.minimum(scaled - self.scaled[0], 0.0) + np.maximum(scaled - self.scaled[-1], 0.0)
        return np.asarray(inside + self.slope * beyond)


def learn_scale(utility: NDArray[np.float64]) -> tuple[NDArray[np.float64], Scale]:
    """Return the (n,) utilities on a scale of mean 0 and variance 1, and the way back.

    Equal utilities stay equal; a constant becomes zeros.

    Examples
    --------
    >>> scaled, scale = learn_scale(np.array([1.0, 2.0, 3.0, 50.0]))
    >>> scale.back(scaled, np.zeros(4))[0].round(6).tolist()
    [1.0, 2.0, 3.0, 50.0]
    """
    spread = float(utility.std())
    if not spread > 1e-12 * max(1.0, float(np.abs(utility).max())):
        return np.zeros(len(utility)), Scale(utility[:1], np.zeros(1), 1.0)
    ranks = ndtri((rankdata(utility) - 0.5) / len(utility))
    mixed = (utility - utility.mean()) / spread + ranks
    wide = float(mixed.std())
    scaled = (mixed - mixed.mean()) / wide
    distinct, first = np.unique(utility, return_index=True)
    return scaled, Scale(distinct, scaled[first], spread * wide)
