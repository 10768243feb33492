"""What is asked of a policy, what it answers, and how a round is chosen that nothing can be learnt for."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.objective import Objective
from screenwise.design.acquisition import pick_top, tie_keys
from screenwise.design.choose import BATCHES
from screenwise.design.constraints import Constraints
from screenwise.design.picking import uniform
from screenwise.design.rules import NOTHING_USED, Bench, Rules, apply_constraints
from screenwise.errors import ColumnError, ConfigError, DesignError
from screenwise.models import MODELS
from screenwise.rng import stream
from screenwise.screen import Screen

LEAST_SIGNAL = 0.05
"""Least leave-one-out rank correlation that counts as a signal, however many wells there are."""
ONE_SIDED = 1.645
"""Standard errors of a rank correlation of nothing that it must exceed."""


@dataclass(frozen=True)
class Policy:
    """How a round is chosen.

    Examples
    --------
    >>> Policy().kappa_at(0.75)
    0.5
    """

    model: str = "gp"
    """Model that learns from the measured conditions (`screenwise.models.MODELS`); empty = none."""
    acquisition: str = "ucb"
    """How candidates are chosen (`screenwise.design.choose.BATCHES`)."""
    kappa: float = 2.0
    """Weight of the spread in ucb, in standard deviations, when nothing is used up. In replays of compounds 2 finds
    more hits than 1, most of all where answers are yes or no; of 3 some pools gain further and some lose."""
    decay: bool = True
    """Whether that weight falls to 0 as the wells are used up."""
    scaled: bool = True
    """Whether the model learns utilities on the scale that tells the best apart (`learn_scale`)."""
    rows_for_weights: int = 400
    """Random measured rows on which the process learns the weights of its kernels."""
    prior_sd: float = 2.0
    """Prior standard deviation of the logarithm of each of those weights."""

    def __post_init__(self) -> None:
        if self.model not in ("", *MODELS):
            message = f"There is no model {self.model!r}; the models are {', '.join(MODELS)}."
            raise ConfigError(message)
        if self.acquisition not in BATCHES:
            message = f"There is no acquisition {self.acquisition!r}; they are auto, {', '.join(BATCHES)}."
            raise ConfigError(message)
        if not self.model and self.acquisition != "random":
            message = f"The acquisition {self.acquisition} needs a model; name one, or choose random."
            raise ConfigError(message)

    def kappa_at(self, progress_share: float) -> float:
        """Return the weight of the spread when this share of all wells is used."""
        return self.kappa * (1.0 - float(np.clip(progress_share, 0.0, 1.0)) if self.decay else 1.0)


@dataclass(frozen=True)
class Request:
    """What is asked of a policy in one round."""

    objective: Objective
    wells: int
    """Candidates to choose; fewer come back when the pool or the rules allow no more."""
    progress_share: float = 0.0
    """Wells used over all wells planned, 0 to 1."""
    seed: int = 0
    """Of everything random in this round."""
    pending: tuple[str, ...] = ()
    """condition_ids that are being measured: not chosen again, and counted as known to come."""
    constraints: Constraints = field(default_factory=Constraints)
    """Caps, budget, what must and must not be in."""
    bench: Bench = NOTHING_USED
    """Plates of the round, and what was used before."""
    threshold: float | None = None
    """A value at least this good is a hit; None = the best 5 % of what is measured."""


@dataclass(frozen=True)
class Outlook:
    """What a model expects of the whole pool, the open candidates of the round."""

    score: NDArray[np.float64]
    """(n,) acquisition score; NaN = not open or not readable."""
    hit: NDArray[np.float64]
    """(n,) probability that a measurement is a hit."""
    improvement: float
    """Largest expected improvement over the best so far, in the utility's units."""
    better: float
    """Largest probability of an improvement."""


@dataclass(frozen=True)
class Proposal:
    """A round's candidates, the first choice first."""

    rows: NDArray[np.int64]
    """(k,) positions in the pool."""
    score: NDArray[np.float64]
    """(k,) acquisition score before the round's own picks shrink spreads; NaN without a model. On the
    model's scale: only differences within one round mean something."""
    mean: NDArray[np.float64]
    """(k,) predicted value in the task's units (absolute objectives: size of the effect); NaN without a model."""
    std: NDArray[np.float64]
    """(k,) standard deviation of a new measurement, in the task's units."""
    in_domain: NDArray[np.bool_]
    """(k,) whether the model may be trusted there; False without a model."""
    reason: NDArray[Any]
    """(k,) why it was chosen, in words."""
    evidence: dict[str, Any]
    """What the measured wells say of the model: `policy`, `rows`, `kappa`, `loo_rank_correlation`,
    `signal` (False = the measured wells show no usable signal), `note`, and the model's own."""
    outlook: Outlook | None = None
    """Of the whole pool; None without a model."""

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Plan:
    """A round's question, in terms of the pool's rows."""

    request: Request
    pool: pd.DataFrame
    """(n,)"""
    rules: Rules
    """With measured and pending conditions closed."""
    pending: NDArray[np.int64]
    """(p,) rows that are being measured."""
    keys: NDArray[np.uint64]
    """(n,) that settle ties."""


def known_cells(measured: Screen, objective: Objective) -> Screen:
    """Return the measured conditions of the objective's task alone, in an order that is theirs."""
    task = measured.task_index(objective.task)
    screen = measured.take(measured.targets.task(task).row).take_tasks([task])
    order = np.argsort(screen.conditions["condition_id"].astype(str).to_numpy(), kind="stable")
    return screen.take(order)


def make_plan(pool: pd.DataFrame, measured: Iterable[str], request: Request) -> Plan:
    """Turn a request into rows: what is open, what must be in, what settles ties.

    Parameters
    ----------
    pool
        (n,) conditions with `condition_id`.
    measured
        condition_ids that are known already.
    request
        Wells, pending conditions, rules, seed.
    """
    if "condition_id" not in pool.columns:
        message = f"The pool has no column condition_id; found {list(map(str, pool.columns))[:20]}."
        raise ColumnError(message)
    ids = pool["condition_id"].astype(str)
    rules = apply_constraints(request.constraints, pool, request.bench)
    taken = ids.isin([str(one) for one in measured]) | ids.isin(request.pending)
    again = [row for row in rules.first if taken.iloc[row]]
    if again or len(rules.first) > request.wells:
        message = (
            f"must_include names {ids.iloc[again[0]]}, which is measured or pending already; take it out."
            if again
            else f"must_include names {len(rules.first)} conditions for {request.wells} wells; take some out."
        )
        raise DesignError(message)
    rules = replace(rules, open=rules.open & ~taken.to_numpy(bool))
    if request.wells < 1 or not rules.open.any():
        message = f"Nothing is left to choose: {int(rules.open.sum())} open candidates for {request.wells} wells."
        raise DesignError(message)
    keys = tie_keys(ids.to_numpy(object), stream(request.seed, "ties"))
    return Plan(request, pool, rules, np.flatnonzero(ids.isin(request.pending)), keys)


def at_random(plan: Plan, measured: int, reason: str) -> Proposal:
    """Choose without a model."""
    rules = plan.rules.with_plates(uniform(plan.keys))
    score = np.zeros(len(plan.keys))
    rows = pick_top(score, plan.request.wells, plan.keys, allowed=rules.mask_or_rule(), first=rules.first)
    nothing = np.full(len(rows), np.nan)
    evidence = {"policy": "random", "rows": measured, "loo_rank_correlation": None, "signal": None, "note": reason}
    return Proposal(
        rows,
        nothing,
        nothing,
        nothing,
        np.zeros(len(rows), bool),
        reasons_with_forced(rows, plan, [reason] * len(rows)),
        evidence,
    )


def plan_plates(plan: Plan, score: NDArray[np.float64], hit: NDArray[np.float64] | None = None) -> Plan:
    """Return the plan once it is decided which values the round's plates have; see `Rules.with_plates`."""
    return plan if plan.rules.plates is None else replace(plan, rules=plan.rules.with_plates(score, hit))


def reasons_with_forced(rows: NDArray[np.int64], plan: Plan, reasons: list[str]) -> NDArray[Any]:
    """Say first what had to be in."""
    forced = set(plan.rules.first)
    told = ["must be in" if int(row) in forced else one for row, one in zip(rows, reasons, strict=True)]
    return np.asarray(told, object)


def signal(rank_correlation: float | None, rows: int) -> dict[str, Any]:
    """Say whether the measured wells taught the model anything, from its leave-one-out predictions.

    A flag and no accuracy: the wells were chosen, not drawn.

    Examples
    --------
    >>> signal(0.02, 200)["signal"], signal(0.4, 200)["signal"]
    (False, True)
    """
    if rank_correlation is None or not np.isfinite(rank_correlation):
        return {"loo_rank_correlation": None, "signal": None, "note": ""}
    least = max(LEAST_SIGNAL, ONE_SIDED / np.sqrt(max(rows - 1, 1)))
    there = bool(rank_correlation >= least)
    note = (
        f"The measured wells show no usable signal (leave-one-out rank correlation {rank_correlation:.2f} "
        f"over {rows} wells): expect about what a random round finds."
    )
    return {"loo_rank_correlation": float(rank_correlation), "signal": there, "note": "" if there else note}
