"""A round by any acquisition of `screenwise.design.choose`, as far as a fitted model knows what it needs.

What a model can do is found with `isinstance`: `screenwise.protocols.HasPosterior` (joint posteriors, from which
functions are drawn exactly), `KnowsFunctions` (several functions, such as trees) and `Embeds` (where conditions lie);
the rest is in its `Prediction`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.proposal import Plan, plan_plates
from screenwise.design.acquisition import draw_functions, pick_top, tie_keys
from screenwise.design.choose import BATCHES, Ask, Candidates, choose, usable
from screenwise.design.information import two_classes
from screenwise.errors import DataError
from screenwise.models import model_class
from screenwise.prediction import Prediction
from screenwise.protocols import Embeds, HasPosterior, KnowsFunctions, Model, Posterior
from screenwise.rng import stream

LIKELY = 10_000
"""Candidates at most whose joint posterior is asked for."""
DRAWN = 1000
"""Candidates of the highest bounds among which functions are drawn from a posterior."""
FUNCTIONS = 256
"""Functions that are drawn, or one for each well if these are more."""
MEANS = ("batch_ucb",)
"""Acquisitions of a posterior whose means count; the others read variances only."""
KNOWN_TO_FORESTS = ("embedding", "class_draws")
"""Needs that forests meet and Gaussian processes do not: who asks for one gets a forest unless told otherwise."""
WANTED = {
    "std": "a spread of the prediction",
    "draws": "functions drawn from the model (an ensemble, dropout masks, or a joint posterior)",
    "posterior": "a joint posterior of the objective (a Gaussian process; not of absolute:TASK if means count)",
    "probability": "class probabilities (a task of the kind classification, or whose values are 0 and 1)",
    "class_draws": "class probabilities under several functions (a forest or ensemble on a task of values 0 and 1)",
    "embedding": "an embedding of conditions (a forest, estimator or network, not gp)",
    "measured": "an embedding of measured conditions (they must be given, or stand in the pool)",
    "cost": "costs of the candidates (rules with a cost: --constraints RULES.toml)",
}
"""What an acquisition may need, in words."""
NO_MODELS = ("probability", "measured", "cost")
"""Needs that no other model meets: they are of the task, of what was measured, or of the rules."""


@dataclass(frozen=True)
class Question:
    """A fitted model and what is asked of it."""

    model: Any
    task: int
    pool: pd.DataFrame
    """(n,) as the model reads it."""
    prediction: Prediction
    """(n, 1) of the utility; NaN where not asked or unreadable."""
    best: float
    """What counts as the best so far, or as a hit."""
    kappa: float
    sign: float | None = 1.0
    """Of the task's values in the utility; None = its absolute value."""
    measured: pd.DataFrame | None = None
    """(l,) measured conditions."""
    classes: bool = False
    """Whether the task's values are classes 0 and 1."""


def able_model(model: Model) -> Any:
    """Return the model that knows what it can do: the one that `auto` chose; `auto` only passes questions on."""
    return getattr(model, "model_", model)


def choose_by_name(acquisition: str, question: Question, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose a round by the name of an acquisition.

    Pending conditions are in the batch before all others, so that what is chosen is chosen beside them.

    Parameters
    ----------
    acquisition
        One of `screenwise.design.choose.BATCHES`.
    question
        The model and its prediction.
    plan
        Wells, rules, keys.

    Returns
    -------
    rows, score
        (k,) rows of the pool, and the (n,) scores; the predicted utility where candidates are chosen together.

    Raises
    ------
    DataError
        The model does not know what the acquisition needs; the message says what would do.
    """
    _check(acquisition, question, plan)
    needs, prediction = BATCHES[acquisition].needs, question.prediction
    mean = prediction.mean[:, 0].astype(np.float64)
    plan = plan_plates(plan, mean)
    forced = [int(row) for row in (*plan.pending, *plan.rules.first)]
    readable = np.isfinite(mean)
    rows = np.flatnonzero(readable & plan.rules.open)
    drawn = "draws" in needs and prediction.draws is None and not isinstance(question.model, KnowsFunctions)
    if "posterior" in needs or drawn:
        rows = _likely(acquisition, question, rows, (DRAWN if drawn else LIKELY), plan)
    rows = np.unique(np.concatenate([rows, np.asarray([row for row in forced if readable[row]], np.int64)]))
    rows = rows[np.argsort(plan.keys[rows], kind="stable")]  # an order of the conditions' own
    known = _candidates(acquisition, question, rows, plan)
    place = {int(row): position for position, row in enumerate(rows)}
    inside = [place[row] for row in forced if row in place]
    outside = [row for row in forced if row not in place]  # must be in, and cannot be read
    waiting = {int(row) for row in plan.pending}

    def allowed(picks: Any) -> NDArray[np.bool_]:
        new = [row for row in (*outside, *rows[list(picks)].tolist()) if row not in waiting]
        return plan.rules.allowed(new)[rows]

    ask = Ask(
        plan.request.wells + len(waiting) - len(outside),
        question.best,
        question.kappa,
        _budget(plan),
        rng=stream(plan.request.seed, "acquisition"),
        allowed=plan.rules.open[rows] if plan.rules.free else allowed,
        first=inside,
    )
    picks, told = choose(acquisition, known, ask)
    chosen = [row for row in (*outside, *rows[picks].tolist()) if row not in waiting]
    score = np.full(len(mean), np.nan)
    score[rows] = mean[rows] if told is None else told
    return np.asarray(chosen[: plan.request.wells], np.int64), score


def _check(acquisition: str, question: Question, plan: Plan) -> None:
    """Raise where the model does not know what the acquisition needs."""
    known = _there(acquisition, question, plan)
    if lacking := _lacking(acquisition, known):
        wanted, usual = " and ".join(WANTED[need] for need in lacking), usual_model(acquisition)
        elsewhere = bool(set(lacking) & set(NO_MODELS)) or ("class_draws" in lacking and not question.classes)
        same = isinstance(question.model, model_class(usual))
        other = "" if same or elsewhere else f" Another model may: {usual} is the usual one."
        message = (
            f"The acquisition {acquisition} needs {wanted}; a {type(question.model).__name__} does not give that here. "
            f"It allows {', '.join(usable(known))}.{other}"
        )
        raise DataError(message)


def serves(acquisition: str, question: Question, plan: Plan) -> bool:
    """Return whether the model knows what the acquisition needs."""
    return not _lacking(acquisition, _there(acquisition, question, plan))


def usual_model(acquisition: str) -> str:
    """Return the model that an acquisition is asked of where none is named.

    Examples
    --------
    >>> usual_model("maxdet"), usual_model("k_center")
    ('gp', 'forest')
    """
    return "forest" if set(KNOWN_TO_FORESTS) & set(BATCHES[acquisition].needs) else "gp"


def _lacking(acquisition: str, known: Candidates) -> list[str]:
    return [need for need in BATCHES[acquisition].needs if getattr(known, need) is None]


def _there(acquisition: str, question: Question, plan: Plan) -> Candidates:
    """Return candidates that hold something in the place of each thing that the model knows."""
    model, prediction = question.model, question.prediction
    joint = isinstance(model, HasPosterior) and (question.sign is not None or acquisition not in MEANS)
    several = prediction.draws is not None or isinstance(model, KnowsFunctions)
    there = {
        "draws": several or isinstance(model, HasPosterior),
        "posterior": joint,
        "probability": question.classes,
        "class_draws": question.classes and several,
        "embedding": isinstance(model, Embeds),
        "measured": isinstance(model, Embeds) and question.measured is not None and len(question.measured) > 0,
        "cost": plan.rules.prices is not None,
    }
    return Candidates(plan.keys, prediction, **{name: True for name, one in there.items() if one})


def _likely(acquisition: str, question: Question, rows: NDArray[np.int64], most: int, plan: Plan) -> NDArray[np.int64]:
    """Return the rows whose joint posterior is worth the time: high bounds, wide spreads, or any at random."""
    most = max(most, 2 * plan.request.wells)
    if len(rows) <= most:
        return rows
    prediction = question.prediction
    std = np.zeros(len(prediction.mean)) if prediction.std is None else prediction.std[:, 0].astype(np.float64)
    score = prediction.mean[:, 0] + max(question.kappa, 1.0) * std
    if acquisition in ("maxdet", "bald_regression"):
        score = std
    elif acquisition == "variance_reduction":
        score = np.zeros(len(std))
    mask = np.zeros(len(score), bool)
    mask[rows] = True
    return pick_top(score, most, plan.keys, allowed=mask)


def _candidates(acquisition: str, question: Question, rows: NDArray[np.int64], plan: Plan) -> Candidates:
    """Ask the model for what the acquisition reads, of some rows of the pool."""
    needs, model = BATCHES[acquisition].needs, question.model
    prediction = question.prediction.take(rows)
    known = Candidates(plan.keys[rows], prediction)
    some = question.pool.iloc[rows].reset_index(drop=True)
    if "draws" in needs:
        draws = _functions(question, prediction, some)
        known = replace(known, draws=_drawn(question, some, plan) if draws is None else draws)
    if "posterior" in needs:
        known = replace(known, posterior=Turned(model.posterior(some, question.task), question.sign or 1.0))
    if question.classes:
        known = replace(known, probability=two_classes(np.abs(prediction.mean[:, 0])))
    if "class_draws" in needs:
        known = replace(known, class_draws=two_classes(np.abs(np.asarray(_functions(question, prediction, some)))))
    if "embedding" in needs:
        measured = None
        if question.measured is not None and len(question.measured):
            found = model.embed(_in_own_order(question.measured))
            measured = found[np.isfinite(found).all(axis=1)]
        known = replace(known, embedding=model.embed(some), measured=measured)
    if "cost" in needs and plan.rules.prices is not None:
        known = replace(known, cost=plan.rules.prices.own[rows])
    return known


def _functions(question: Question, prediction: Prediction, some: pd.DataFrame) -> NDArray[Any] | None:
    """Return the (s, r) utilities under the functions that a model has by itself; None = it has none."""
    if prediction.draws is not None:
        return prediction.draws[:, :, 0]
    if not isinstance(question.model, KnowsFunctions):
        return None
    found = question.model.functions(some, question.task)
    return np.abs(found) if question.sign is None else question.sign * found


def _drawn(question: Question, some: pd.DataFrame, plan: Plan) -> NDArray[np.float64]:
    """Draw functions from the joint posterior, exactly."""
    posterior, rng = question.model.posterior(some, question.task), stream(plan.request.seed, "functions")
    draws = draw_functions(posterior, np.arange(len(some)), max(FUNCTIONS, plan.request.wells), rng)
    return np.abs(draws) if question.sign is None else question.sign * draws


def _in_own_order(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return conditions in an order that is theirs, so that sums over them are the same for any table."""
    if "condition_id" not in conditions.columns:
        return conditions
    keys = tie_keys(conditions["condition_id"].astype(str).to_numpy(object), np.random.default_rng(0))
    return conditions.iloc[np.argsort(keys, kind="stable")].reset_index(drop=True)


def _budget(plan: Plan) -> float:
    prices = plan.rules.prices
    return np.inf if prices is None else float(prices.budget + prices.own[plan.pending].sum())


class Turned:
    """A posterior of the utility: the task's own, or its negative."""

    def __init__(self, posterior: Posterior, sign: float) -> None:
        self.mean = sign * np.asarray(posterior.mean, np.float64)
        self.variance = np.asarray(posterior.variance, np.float64)
        self.noise = posterior.noise
        self.covariance = posterior.covariance
