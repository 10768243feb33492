"""Every acquisition by name: what it needs to know of the candidates, and the batch it picks.

`BATCHES` is the one list: scores of a prediction, of class probabilities and of draws, whose best are
taken, and the rules that choose candidates together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.design.acquisition import ACQUISITIONS, ucb
from screenwise.design.batch import LinearPosterior, bait, pick_batch_ucb, pick_maxdet, pick_variance_reduction
from screenwise.design.batchbald import batch_bald
from screenwise.design.diversity import badge, k_center, largest_cluster, relative_distance
from screenwise.design.information import PROBABILITY_SCORES, bald, bald_regression, stochastic_score
from screenwise.design.picking import Allowed, open_mask, pick_top
from screenwise.design.representatives import (
    mean_representatives,
    medoid_representatives,
    typical_representatives,
)
from screenwise.design.sampling import hit_probability, pick_thompson, probability_of_optimality
from screenwise.design.spending import buy_hits
from screenwise.errors import ConfigError, DataError

Picked = tuple[NDArray[np.int64], NDArray[np.float64] | None]
"""Rows in the order they were picked, and the (n,) scores of all candidates, where there are such."""


@dataclass(frozen=True)
class Candidates:
    """What is known of n candidates; what is not known stays None."""

    keys: NDArray[np.uint64]
    """(n,) that settle ties and are the random numbers of diversity (`tie_keys`)."""
    prediction: Any = None
    """A `Prediction` of one task, turned round where it is to be minimised."""
    draws: Any = None
    """(s, n) joint draws of the task's value."""
    posterior: Any = None
    """A `Posterior` of the same candidates."""
    probability: Any = None
    """(n, c) of c classes."""
    class_draws: Any = None
    """(s, n, c) class probabilities under each member of a posterior."""
    embedding: Any = None
    """(n, d) finite numbers."""
    measured: Any = None
    """(l, d) the embedding of what was measured."""
    cost: Any = None
    """(n,)"""

    @property
    def std(self) -> Any:
        """(n, 1) spread of the prediction, where it has one."""
        return None if self.prediction is None else self.prediction.std


@dataclass(frozen=True)
class Ask:
    """How many, and with which numbers."""

    size: int
    best: float = 0.0
    """Best value measured for ei, log_ei and pi; what counts as a hit for the others."""
    kappa: float = 1.0
    """Weight of the spread in ucb and batch_ucb."""
    budget: float = np.inf
    """Most that the picks may cost, for hits_per_cost."""
    noise: float = 1.0
    """Variance of one measurement, where an embedding stands for a posterior (bait)."""
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    allowed: Allowed = None
    first: Sequence[int] = ()


@dataclass(frozen=True)
class Batch:
    """One way to choose."""

    needs: tuple[str, ...]
    """Fields of `Candidates` that must be there; `std` is that of the prediction."""
    pick: Callable[[Candidates, Ask], Picked]


def choose(name: str, candidates: Candidates, ask: Ask) -> Picked:
    """Choose by an acquisition's name.

    Parameters
    ----------
    name
        One of `BATCHES`.
    candidates
        What is known of them.
    ask
        Size, numbers, rules.

    Returns
    -------
    rows, score
        (k,) picks, and (n,) scores where the acquisition scores candidates one by one.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [5.0]])
    >>> known = Candidates(np.arange(3, dtype=np.uint64), embedding=line, measured=line[:1])
    >>> choose("k_center", known, Ask(1))[0].tolist()
    [2]
    """
    if name not in BATCHES:
        message = f"There is no acquisition {name!r}; they are {', '.join(BATCHES)}."
        raise ConfigError(message)
    lacking = [need for need in BATCHES[name].needs if getattr(candidates, need) is None]
    if lacking:
        able = ", ".join(usable(candidates))
        message = f"The acquisition {name} needs {' and '.join(lacking)}, which this model does not give. Use {able}."
        raise DataError(message)
    return BATCHES[name].pick(candidates, ask)


def usable(candidates: Candidates) -> list[str]:
    """Return the names of all acquisitions that candidates known like these allow.

    Examples
    --------
    >>> usable(Candidates(np.arange(2, dtype=np.uint64)))
    ['random']
    """
    return [
        name for name, batch in BATCHES.items() if all(getattr(candidates, need) is not None for need in batch.needs)
    ]


def _top(score: NDArray[np.float64], candidates: Candidates, ask: Ask) -> Picked:
    return pick_top(score, ask.size, candidates.keys, allowed=ask.allowed, first=ask.first), score


def _scored(needs: tuple[str, ...], score: Callable[[Candidates, Ask], NDArray[np.float64]]) -> Batch:
    return Batch(needs, lambda known, ask: _top(score(known, ask), known, ask))


def _doubted(name: str) -> Batch:
    return _scored(("probability",), lambda known, ask: PROBABILITY_SCORES[name](known.probability))


def _predicted(name: str) -> Batch:
    def score(known: Candidates, ask: Ask) -> NDArray[np.float64]:
        if name == "ucb":
            return ucb(known.prediction, kappa=ask.kappa)
        return ACQUISITIONS[name](known.prediction, best=ask.best, rng=ask.rng)

    return _scored(("prediction",) if name == "greedy" else ("prediction", "std"), score)


def _together(needs: tuple[str, ...], pick: Callable[..., NDArray[np.int64]], further: tuple[str, ...] = ()) -> Batch:
    """Return a rule that chooses candidates together; `further` are arguments that may be None."""

    def picked(known: Candidates, ask: Ask) -> Picked:
        arguments = {name: getattr(known, name) for name in further}
        subject = getattr(known, needs[0])
        return pick(subject, ask.size, known.keys, allowed=ask.allowed, first=ask.first, **arguments), None

    return Batch(needs, picked)


def _k_center(known: Candidates, ask: Ask) -> Picked:
    cover = k_center(
        known.embedding, ask.size, known.keys, measured=known.measured, allowed=ask.allowed, first=ask.first
    )
    return cover.rows, None


def _bait(known: Candidates, ask: Ask) -> Picked:
    posterior = LinearPosterior.of(known.embedding, measured=known.measured, noise=ask.noise)
    return bait(posterior, ask.size, known.keys, allowed=ask.allowed, first=ask.first), None


def _batch_ucb(known: Candidates, ask: Ask) -> Picked:
    rows = pick_batch_ucb(known.posterior, ask.size, ask.kappa, ask.allowed, keys=known.keys, first=ask.first)
    return rows, known.posterior.mean + ask.kappa * np.sqrt(known.posterior.variance)


def _batch_bald(known: Candidates, ask: Ask) -> Picked:
    draws = known.class_draws
    return batch_bald(draws, ask.size, known.keys, ask.rng, allowed=ask.allowed, first=ask.first), None


def _hits_per_cost(known: Candidates, ask: Ask) -> Picked:
    score = ACQUISITIONS["probability_of_hit"](known.prediction, best=ask.best, rng=ask.rng)
    chance = np.where(np.isfinite(score), score, np.nan)
    bought = buy_hits(chance, known.cost, ask.budget, ask.size, known.keys, allowed=ask.allowed, first=ask.first)
    return bought.rows, score


def _functions(known: Candidates, ask: Ask) -> Picked:
    draws = known.draws[ask.rng.permutation(len(known.draws))]
    return pick_thompson(draws, ask.size, known.keys, allowed=ask.allowed, first=ask.first), None


def _optimality(known: Candidates, ask: Ask) -> NDArray[np.float64]:
    closed = ~open_mask(ask.allowed, ask.first, len(known.keys))
    return probability_of_optimality(np.where(closed, np.nan, known.draws))


BATCHES: dict[str, Batch] = {
    "random": _scored((), lambda known, ask: np.zeros(len(known.keys))),
    **{name: _predicted(name) for name in ACQUISITIONS if name not in ("random", "thompson")},
    "hits_per_cost": Batch(("prediction", "std", "cost"), _hits_per_cost),
    "thompson": Batch(("draws",), _functions),
    "probability_of_optimality": _scored(("draws",), _optimality),
    "hit_share": _scored(("draws",), lambda known, ask: hit_probability(known.draws, ask.best)),
    "batch_ucb": Batch(("posterior",), _batch_ucb),
    "maxdet": _together(("posterior",), pick_maxdet),
    "variance_reduction": _together(("posterior",), pick_variance_reduction),
    "bald_regression": _scored(
        ("posterior",), lambda known, ask: bald_regression(known.posterior.variance, known.posterior.noise)
    ),
    **{name: _doubted(name) for name in PROBABILITY_SCORES},
    "bald": _scored(("class_draws",), lambda known, ask: bald(known.class_draws)),
    "power_bald": _scored(
        ("class_draws",), lambda known, ask: stochastic_score(bald(known.class_draws), known.keys, "power")
    ),
    "soft_bald": _scored(
        ("class_draws",), lambda known, ask: stochastic_score(bald(known.class_draws), known.keys, "soft")
    ),
    "batch_bald": Batch(("class_draws",), _batch_bald),
    "k_center": Batch(("embedding",), _k_center),
    "relative_distance": _scored(
        ("embedding", "measured"), lambda known, ask: relative_distance(known.embedding, known.measured)
    ),
    "k_means": _together(("embedding",), mean_representatives),
    "k_medoids": _together(("embedding",), medoid_representatives),
    "typical": _together(("embedding",), typical_representatives, ("measured",)),
    "badge": _together(("embedding",), badge, ("probability",)),
    "lcmd": _together(("embedding",), largest_cluster, ("measured",)),
    "bait": Batch(("embedding",), _bait),
}
"""Name -> what it needs and how it picks."""
