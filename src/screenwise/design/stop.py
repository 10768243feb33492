"""When to stop: rules on what was found, what is still expected, and what it costs; each says its value and why."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from screenwise.errors import ConfigError


@dataclass(frozen=True)
class StopRules:
    """When a campaign stops by itself: before a round, where one of these rules holds; a rule that is not set never."""

    budget: float | None = None
    """Most that the campaign may cost in all, in the unit of the costs: it stops when the next round goes beyond it."""
    rounds: int | None = None
    """Most rounds."""
    expected_improvement: float | None = None
    """Least improvement over the best value that the most promising candidate must promise, in the task's units."""
    probability_of_improvement: float | None = None
    """Least probability of an improvement over the best value that the most promising candidate must have."""
    hits_per_plate: float | None = None
    """Least hits that a plate of the next round must promise."""
    worth_of_hit: float | None = None
    """What a hit is worth, in the unit of the costs: it stops when a hit of the next round costs as much."""
    recall: float | None = None
    """Share of all hits, found or still expected in the pool, that is enough."""
    stagnation: int | None = None
    """Rounds in a row without a gain of the best `top` values that are enough."""
    top: int = 10
    """Best values that stagnation looks at."""
    least_gain: float = 0.05
    """Gain of their mean that counts, in standard deviations of all measured values."""
    no_signal: int | None = None
    """Rounds in a row whose measured wells show no usable signal that are enough."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value >= (1 if name in _COUNTS else 0):
                message = f"StopRules.{name} is {value}; it must be at least {1 if name in _COUNTS else 0}."
                raise ConfigError(message)
        for name in ("recall", "probability_of_improvement"):
            if (getattr(self, name) or 0) > 1:
                message = f"StopRules.{name} is {getattr(self, name)}; it is a share, at most 1."
                raise ConfigError(message)


_COUNTS = ("rounds", "stagnation", "top", "no_signal")


@dataclass(frozen=True)
class Outcomes:
    """What is known when a round is about to begin. What is not known is None."""

    rounds: int
    """Rounds so far."""
    spent: float = 0.0
    """Cost so far."""
    cost: float = 0.0
    """Cost of the next round."""
    plates: int = 1
    """Plates of the next round."""
    improvement: float | None = None
    """Largest expected improvement, in the utility's units."""
    better: float | None = None
    """Largest probability of an improvement."""
    hits: float | None = None
    """Hits expected in the next round."""
    found: int = 0
    """Hits measured."""
    unfound: float | None = None
    """Hits expected among all that is not measured."""
    utilities: tuple[tuple[float, ...], ...] = ()
    """Measured utilities of each round so far."""
    signals: tuple[bool | None, ...] = ()
    """Whether the wells measured before each round, the next one too, show a usable signal."""


@dataclass(frozen=True)
class Judgement:
    """One rule before one round."""

    rule: str
    value: float | None
    """None = cannot be told."""
    limit: float | None
    """None = the rule is not set."""
    fired: bool
    why: str
    """In words, where it fired."""


def judge(rules: StopRules, known: Outcomes) -> list[Judgement]:
    """Return every rule's value, limit and whether it says stop; values are told of rules that are not set too.

    Examples
    --------
    >>> found = judge(StopRules(recall=0.9), Outcomes(rounds=3, found=19, unfound=1.0))
    >>> [(one.rule, one.value, one.why) for one in found if one.fired]
    [('recall', 0.95, '19 hits are found and 1.0 more are expected: 95 % of all')]
    """
    lines = []
    for name, (value_of, least, say) in _RULES.items():
        value, limit = value_of(rules, known), getattr(rules, name)
        told = value is not None and bool(np.isfinite(value))
        fired = bool(told and limit is not None and (value < limit if least else value >= limit))
        if name == "budget":  # to spend it to the last is allowed
            fired = bool(told and limit is not None and value is not None and value > limit * (1 + 1e-9))
        why = say(rules, known, value) if fired else ""
        lines.append(Judgement(name, float(value) if told and value is not None else None, limit, fired, why))
    return lines


def top_gain(utilities: Sequence[Sequence[float]], rounds: int, top: int) -> float | None:
    """Return how much the mean of the best values grew in the last rounds, in standard deviations of all values.

    The rule of molpal (Graff, Shakhnovich and Coley, Chem. Sci. 2021) compares the mean of the best with its moving
    average and divides by that, which may be 0 or negative; a standard deviation has no sign and no zero.

    Parameters
    ----------
    utilities
        Measured utilities of each round so far.
    rounds
        Rounds to look back.
    top
        Best values to average.

    Returns
    -------
    Gain; None with too few rounds or values to tell.

    Examples
    --------
    >>> top_gain([[0.0, 1.0], [2.0, 3.0], [0.5, 0.5]], rounds=1, top=2)
    0.0
    """
    if len(utilities) <= rounds or rounds < 1:
        return None
    before = np.concatenate([np.asarray(one, float) for one in utilities[:-rounds]])
    every = np.concatenate([np.asarray(one, float) for one in utilities])
    if len(before) < top:
        return None
    spread = float(every.std())
    gain = float(np.sort(every)[-top:].mean() - np.sort(before)[-top:].mean())
    return gain / spread if spread > 0 else 0.0


def _recall(rules: StopRules, known: Outcomes) -> float | None:
    total = None if known.unfound is None else known.found + known.unfound
    return known.found / total if total else None


def _still(rules: StopRules, known: Outcomes) -> int | None:
    """Count the rounds in a row, up to the last, in which the best did not grow."""
    count = 0
    while (gain := top_gain(known.utilities[: len(known.utilities) - count], 1, rules.top)) is not None:
        if gain >= rules.least_gain:
            break
        count += 1
    return count if len(known.utilities) else None


def _silent(rules: StopRules, known: Outcomes) -> int:
    count = 0
    for one in reversed(known.signals):
        if one is not False:
            break
        count += 1
    return count


def _worth(rules: StopRules, known: Outcomes) -> float | None:
    """Return what a hit costs in the next round."""
    return None if known.hits is None else known.cost / max(known.hits, 1e-9)


def _per_plate(rules: StopRules, known: Outcomes) -> float | None:
    return None if known.hits is None else known.hits / max(known.plates, 1)


Value = Callable[[StopRules, Outcomes], float | None]
Words = Callable[[StopRules, Outcomes, Any], str]
_RULES: dict[str, tuple[Value, bool, Words]] = {
    "budget": (
        lambda rules, known: known.spent + known.cost,
        False,
        lambda rules, known, value: (
            f"{known.spent:g} is spent and the next round costs {known.cost:g}, the budget is {rules.budget:g}"
        ),
    ),
    "rounds": (
        lambda rules, known: known.rounds,
        False,
        lambda rules, known, value: f"{value} rounds are done",
    ),
    "expected_improvement": (
        lambda rules, known: known.improvement,
        True,
        lambda rules, known, value: f"the best candidate promises {value:.3g} more than the best value",
    ),
    "probability_of_improvement": (
        lambda rules, known: known.better,
        True,
        lambda rules, known, value: f"no candidate beats the best value with a probability above {value:.3g}",
    ),
    "hits_per_plate": (
        _per_plate,
        True,
        lambda rules, known, value: f"the next round promises {value:.2f} hits a plate",
    ),
    "worth_of_hit": (
        _worth,
        False,
        lambda rules, known, value: f"a hit of the next round costs {value:.4g} and is worth {rules.worth_of_hit:g}",
    ),
    "recall": (
        _recall,
        False,
        lambda rules, known, value: (
            f"{known.found} hits are found and {known.unfound:.1f} more are expected: {value:.0%} of all".replace(
                "%", " %"
            )
        ),
    ),
    "stagnation": (
        _still,
        False,
        lambda rules, known, value: f"the best {rules.top} values have not grown for {value} rounds",
    ),
    "no_signal": (
        _silent,
        False,
        lambda rules, known, value: f"the measured wells have shown no usable signal for {value} rounds",
    ),
}
"""Rule -> its value, whether values below the limit stop (else those at or above it), and its words."""
