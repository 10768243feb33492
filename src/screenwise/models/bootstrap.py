"""Any learner as an ensemble: copies that each learn from rows drawn with replacement."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.errors import ConfigError
from screenwise.models.learners import Answer, Learner, Lesson, Numbers, as_learner
from screenwise.rng import derive_seed, stream


@dataclass(frozen=True)
class Bootstrap:
    """Copies of a learner or estimator, for what has no members of its own (bagging; Breiman 1996).

    The copies are the draws, member k always the same function; their mean is the prediction.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> copies = Bootstrap(Ridge(alpha=1e-3), members=5)
    >>> x = np.arange(9, dtype=np.float32)[:, None]
    >>> copies.predict_draws(copies.fit(Lesson(x, np.sin(x[:, 0]).astype(float))), x)[1].shape
    (5, 9)
    """

    member: Any
    """A learner, or an estimator with ``fit`` and ``predict``."""
    members: int = 16

    def __post_init__(self) -> None:
        if self.members < 2:  # noqa: PLR2004 - one copy has nobody to disagree with
            message = f"A bootstrap of {self.members} members cannot disagree; members must be at least 2."
            raise ConfigError(message)

    @property
    def joint(self) -> bool:
        """Whether the copies learn all tasks together."""
        return self._learner.joint

    def fit(self, lesson: Lesson) -> list[Any]:
        """Fit each copy to its own draw of the rows."""
        return [self._learner.fit(self._resampled(lesson, place)) for place in range(self.members)]

    def predict(self, learned: list[Any], x: Numbers) -> Answer:
        """Return the mean of the copies."""
        return self.predict_draws(learned, x)[0]

    def predict_draws(self, learned: list[Any], x: Numbers) -> tuple[Answer, NDArray[np.float64]]:
        """Return their mean and (s, n) answers of the copies, (s, n, t) of a joint learner."""
        each = np.stack([self._learner.predict(one, x)[0] for one in learned])
        return (each.mean(axis=0), None), each

    @property
    def _learner(self) -> Learner:
        return as_learner(self.member)

    def _resampled(self, lesson: Lesson, place: int) -> Lesson:
        size = len(lesson.x)
        rows = stream(lesson.seed, "bootstrap", place).integers(size, size=size)
        weight = None if lesson.weight is None else lesson.weight[rows]
        seed = derive_seed(lesson.seed, "bootstrap", place)
        return Lesson(lesson.x[rows], lesson.y[rows], weight, lesson.classes, lesson.task, seed)
