"""A round chosen with any model: one fitted here to the utilities, or one that was fitted before."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, issparse
from scipy.special import ndtr

from screenwise.campaign.capabilities import (
    LIKELY,
    Question,
    Turned,
    able_model,
    choose_by_name,
    serves,
    usual_model,
)
from screenwise.campaign.objective import Objective, Scale, learn_scale
from screenwise.campaign.outlook import look_out
from screenwise.campaign.process import HIT_QUANTILE, LEAST_MEASURED, REASONS, batch_ucb
from screenwise.campaign.proposal import (
    Outlook,
    Plan,
    Policy,
    Proposal,
    Request,
    at_random,
    known_cells,
    make_plan,
    plan_plates,
    reasons_with_forced,
    signal,
)
from screenwise.design.acquisition import ACQUISITIONS, OVER_INCUMBENT, pick_top, ucb
from screenwise.design.choose import BATCHES
from screenwise.errors import ModelError
from screenwise.evaluate.metrics import rank_correlation
from screenwise.models import make_model
from screenwise.prediction import Prediction
from screenwise.protocols import HasPosterior, LeavesOneOut, Model
from screenwise.rng import derive_seed, stream
from screenwise.screen import Screen, Targets
from screenwise.simulate.replay import Turn

DEFAULT = Policy()
LEAST_RANKED = 3
"""Held-out predictions below which their rank correlation says nothing."""
DIMENSIONS = 64
"""Numbers that stand for conditions a forest could not read."""
ASKED = 2**16
"""Candidates that a model is asked about at a time, so that memory does not grow with the pool."""


def choose_with_model(policy: Policy, known: Screen, plan: Plan, model: Model | None = None) -> Proposal:
    """Fit a model to the utilities of what is known, and choose by what it predicts.

    Parameters
    ----------
    policy
        How; its model is made where none is given.
    known
        Measured conditions of the one task.
    plan
        Wells, rules, pool.
    model
        Not fitted; None = the policy's.
    """
    objective, value = plan.request.objective, known.targets.dense()[:, 0]
    utility = objective.utility(value)
    scaled, scale = learn_scale(utility)
    classes = _reads_classes(policy.acquisition, known.tasks["kind"].iloc[0], value)
    turned = policy.scaled and not classes
    target = scaled if turned else utility
    conditions, pool = known.conditions, plan.pool
    if model is None and policy.model == "forest" and not reads_numbers(pool):
        both = add_numbers(pd.concat([pool, conditions.reindex(columns=pool.columns)], ignore_index=True))
        pool, conditions = both.iloc[: len(pool)], both.iloc[len(pool) :].reset_index(drop=True)
    named, model = model is None, model or make_model(policy.model)
    tasks = known.tasks.assign(kind="classification" if classes else "regression")
    learnt = np.asarray(value if classes else target, np.float64)
    model.fit(
        Screen(conditions, tasks, Targets(learnt[:, None], None, known.targets.weight)),
        seed=derive_seed(plan.request.seed, "model"),
    )
    prediction = _ask(model, plan, pool, lambda raw: _utility_of(raw, objective) if classes else raw, policy)
    best = float(target.max() if policy.acquisition in OVER_INCUMBENT else np.quantile(target, HIT_QUANTILE))
    kappa = policy.kappa_at(plan.request.progress_share)
    sign = _sign(objective) if classes else 1.0
    question = Question(able_model(model), 0, pool, prediction, best, kappa, sign, conditions, classes)
    if policy.model == "auto" and named and not serves(policy.acquisition, question, plan):
        return _choose_instead(policy, type(question.model).__name__, known, plan)
    rows, score = _pick(policy.acquisition, question, plan)
    mean, std = _moments(prediction, rows)
    if turned:
        mean, std = scale.back(mean, std)
    name = policy.model if named else type(model).__name__
    evidence: dict[str, Any] = {"policy": f"{name}, {policy.acquisition}", "rows": len(known)}
    evidence |= signal(_rank_correlation(model, learnt), len(known))
    found = _answer(policy.acquisition, (rows, score, objective.value(mean), std), (prediction, evidence), plan)
    return replace(found, outlook=_outlook(prediction, score, (target, scale if turned else None), plan))


def _choose_instead(policy: Policy, chosen: str, known: Screen, plan: Plan) -> Proposal:
    """Choose with the usual model of an acquisition that the model which `auto` chose cannot serve, and say so."""
    other = usual_model(policy.acquisition)
    found = choose_with_model(replace(policy, model=other, scaled=other == "gp"), known, plan)
    note = f"auto took a {chosen}, which {policy.acquisition} cannot ask for what it needs: {other} chose instead."
    return replace(found, evidence=found.evidence | {"note": f"{note} {found.evidence['note']}".strip()})


def _reads_classes(acquisition: str, kind: str, value: NDArray[Any]) -> bool:
    """Say whether the acquisition asks for probabilities and the values are classes."""
    asks = acquisition == "badge" or {"probability", "class_draws"} & set(BATCHES[acquisition].needs)
    return bool(asks) and (kind == "classification" or bool(np.isin(value, (0.0, 1.0)).all()))


def _sign(objective: Objective) -> float | None:
    return {"maximize": 1.0, "minimize": -1.0}.get(objective.direction)


def propose_with(
    make: Callable[[], Model], policy: Policy, measured: Screen, pool: pd.DataFrame, request: Request
) -> Proposal:
    """Choose the next round with a model of your own, fitted to what was measured.

    ``partial(propose_with, make)`` is a proposer of a `screenwise.campaign.campaign.Campaign`.

    Parameters
    ----------
    make
        Returns the model, not fitted; its random numbers come from the seed of the round.
    policy
        Its acquisition, kappa and scale count, its model does not.
    measured
        What is known.
    pool
        (n,) conditions with `condition_id`.
    request
        Objective, wells, seed, rules.

    Examples
    --------
    >>> from sklearn.linear_model import BayesianRidge
    >>> from screenwise.models.adapter import Adapter
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene": list("ABCDEFGH"), "feature:x": np.arange(8.0)})
    >>> screen = make_screen(genes, np.arange(8.0)[:, None], ["growth"])
    >>> request = Request(Objective("maximize", "growth"), wells=1)
    >>> policy = Policy(acquisition="k_center")
    >>> first = screen.take(np.arange(5))
    >>> propose_with(lambda: Adapter(BayesianRidge()), policy, first, screen.conditions, request).rows
    array([7])
    """
    known = known_cells(measured, request.objective)
    plan = make_plan(pool, known.conditions["condition_id"], request)
    if len(known) < LEAST_MEASURED:
        return at_random(plan, len(known), f"at random: fewer than {LEAST_MEASURED} conditions are measured")
    return choose_with_model(policy, known, plan, make())


@dataclass(frozen=True)
class SimulatedModel:
    """A model of your own as a proposer of `screenwise.simulate.replay.run_replay`; see `propose_with`."""

    make: Callable[[], Model]
    policy: Policy
    objective: Objective

    def __call__(self, measured: Screen, pool: pd.DataFrame, turn: Turn) -> NDArray[np.int64]:
        """Choose a round of a replay."""
        request = Request(self.objective, turn.wells, turn.progress_share, turn.seed)
        return propose_with(self.make, self.policy, measured, pool, request).rows


def _outlook(
    prediction: Prediction, score: NDArray[np.float64], learnt: tuple[NDArray[np.float64], Scale | None], plan: Plan
) -> Outlook | None:
    """Return what the model expects of all open candidates; None where it gives no spread, which holds noise too."""
    if prediction.std is None:
        return None
    target, scale = learnt
    mean, std = prediction.mean[:, 0].astype(np.float64), prediction.std[:, 0].astype(np.float64)
    edge, best = float(np.quantile(target, HIT_QUANTILE)), float(target.max())
    if plan.request.threshold is not None:
        edge = float(plan.request.objective.utility(np.array([plan.request.threshold]))[0])
        edge = edge if scale is None else scale.forward(edge)
    units = (mean, std, best) if scale is None else (*scale.back(mean, std), float(scale.utility[-1]))
    return look_out(score, (mean, std, 0.0), (edge, best), units, plan.rules.open)


def propose_from(
    model: Model,
    task: int,
    pool: pd.DataFrame,
    request: Request,
    *,
    policy: Policy = DEFAULT,
    measured: Iterable[str] | Screen = (),
) -> Proposal:
    """Choose a round with a model that was fitted before, on the task's own values.

    Parameters
    ----------
    model
        Fitted; one with a joint posterior gives batches whose spreads shrink pick by pick.
    task
        Which of the model's tasks the objective names.
    pool
        (n,) conditions with `condition_id`.
    request
        Objective, wells, rules.
    policy
        Its acquisition and kappa count; for ei, pi and probability_of_hit the best prediction of the pool,
        or the edge of its best 5 %, stand in for what was measured.
    measured
        condition_ids not to be chosen again; or the measured screen, which also tells diverse batches where
        it lies, and whether the task's values are classes. Of ids, conditions that stand in the pool are known.
    """
    given = measured if isinstance(measured, Screen) else None
    ids = list(measured) if given is None else given.conditions["condition_id"].tolist()  # type: ignore[arg-type]
    plan = make_plan(pool, ids, request)
    if policy.acquisition == "random":
        return at_random(plan, 0, "at random")
    prediction = _ask(model, plan, pool, lambda raw: _utility_of(_one_task(raw, task), request.objective), policy)
    known = prediction.mean[np.isfinite(prediction.mean)]
    if len(known) == 0:
        message = "The model predicts none of the open candidates; look at the note column of `screenwise predict`."
        raise ModelError(message)
    kappa = policy.kappa_at(request.progress_share)
    best = float(known.max() if policy.acquisition in OVER_INCUMBENT else np.quantile(known, HIT_QUANTILE))
    inside = pool[pool["condition_id"].astype(str).isin([str(one) for one in ids])]
    conditions = inside if given is None else given.conditions
    classes = given is not None and given.tasks["kind"].iloc[task] == "classification"
    sign = _sign(request.objective)
    question = Question(able_model(model), task, pool, prediction, best, kappa, sign, conditions, classes)
    rows, score = _pick(policy.acquisition, question, plan)
    mean, std = _moments(prediction, rows)
    evidence = {"policy": policy.acquisition, "kappa": kappa, "signal": None, "note": ""}
    told = (rows, score, request.objective.value(mean), std)
    return _answer(policy.acquisition, told, (prediction, evidence), plan)


def _batch(
    model: HasPosterior, task: int, score: NDArray[np.float64], sign_and_kappa: tuple[float, float], plan: Plan
) -> NDArray[np.int64]:
    likely = pick_top(score, max(LIKELY, 2 * plan.request.wells), plan.keys, allowed=plan.rules.open)
    rows = np.unique(np.concatenate([likely, plan.pending, np.asarray(plan.rules.first, np.int64)]))
    posterior = model.posterior(plan.pool.iloc[rows].reset_index(drop=True), task)
    sign, kappa = sign_and_kappa
    return batch_ucb(Turned(posterior, sign), rows, kappa, plan)


def _one_task(prediction: Prediction, task: int) -> Prediction:
    inside = prediction.in_domain
    return Prediction(
        prediction.mean[:, [task]],
        None if prediction.std is None else prediction.std[:, [task]],
        None if prediction.draws is None else prediction.draws[:, :, [task]],
        inside[:, task] if inside is not None and inside.ndim > 1 else inside,
    )


def _utility_of(prediction: Prediction, objective: Objective) -> Prediction:
    """Return the prediction of the utility; of an absolute one the moments of a folded normal distribution."""
    draws = prediction.draws
    if objective.direction == "minimize":
        return Prediction(-prediction.mean, prediction.std, None if draws is None else -draws, prediction.in_domain)
    if objective.direction != "absolute":
        return prediction
    if prediction.std is None:
        return Prediction(np.abs(prediction.mean), None, None if draws is None else np.abs(draws), prediction.in_domain)
    mean = prediction.mean.astype(np.float64)
    std = np.maximum(prediction.std.astype(np.float64), 1e-12)
    folded = std * np.sqrt(2 / np.pi) * np.exp(-0.5 * (mean / std) ** 2) + mean * (1 - 2 * ndtr(-mean / std))
    spread = np.sqrt(np.maximum(mean**2 + std**2 - folded**2, 0.0))
    drawn = None if draws is None else np.abs(draws)
    return Prediction(folded.astype(np.float32), spread.astype(np.float32), drawn, prediction.in_domain)


def _ask(
    model: Model, plan: Plan, pool: pd.DataFrame, turn: Callable[[Prediction], Prediction], policy: Policy
) -> Prediction:
    """Return what a model says of all n pool rows, (n, 1), some at a time; NaN where a row is closed."""
    size, rules = len(pool), plan.rules
    asked = np.flatnonzero(rules.open | np.isin(np.arange(size), [*rules.first, *plan.pending]))
    mean, std, inside = np.full((size, 1), np.nan, np.float32), None, np.zeros(size, bool)
    draws, drawn = None, bool({"draws", "class_draws"} & set(BATCHES[policy.acquisition].needs))
    for first in range(0, max(len(asked), 1), ASKED):
        rows = asked[first : first + ASKED]
        found = turn(model.predict(pool.iloc[rows].reset_index(drop=True)))
        mean[rows] = found.mean[:, :1]
        if found.std is not None:
            std = np.full((size, 1), np.nan, np.float32) if std is None else std
            std[rows] = found.std[:, :1]
        if drawn and found.draws is not None:
            draws = np.full((len(found.draws), size, 1), np.nan, np.float32) if draws is None else draws
            draws[:, rows] = found.draws[:, :, :1]
        if found.in_domain is not None:
            inside[rows] = found.in_domain if found.in_domain.ndim == 1 else found.in_domain[:, 0]
    return Prediction(mean, std, draws, inside)


def _pick(acquisition: str, question: Question, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the picks and the (n,) scores of all candidates."""
    prediction, model = question.prediction, question.model
    if acquisition == "ucb":
        score = ucb(prediction, kappa=question.kappa)
        if isinstance(model, HasPosterior) and question.sign is not None:
            return _batch(model, question.task, score, (question.sign, question.kappa), plan_plates(plan, score)), score
    elif acquisition not in ACQUISITIONS or (acquisition == "thompson" and prediction.draws is not None):
        return choose_by_name(acquisition, question, plan)
    else:
        rng = stream(plan.request.seed, "acquisition")
        score = ACQUISITIONS[acquisition](prediction, best=question.best, rng=rng)
    allowed = plan.rules.with_plates(score).mask_or_rule()
    return pick_top(score, plan.request.wells, plan.keys, allowed=allowed, first=plan.rules.first), score


def _moments(prediction: Prediction, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = prediction.mean[rows, 0].astype(np.float64)
    return mean, np.full(len(rows), np.nan) if prediction.std is None else prediction.std[rows, 0].astype(np.float64)


def _rank_correlation(model: Model, target: NDArray[np.float64]) -> float | None:
    able = getattr(model, "model_", model)
    if not isinstance(able, LeavesOneOut):
        return None
    held = able.leave_one_out()[0][:, 0]
    return rank_correlation(target, held) if np.isfinite(held).sum() >= LEAST_RANKED else 0.0


def _answer(
    acquisition: str,
    chosen: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    told: tuple[Prediction, dict[str, Any]],
    plan: Plan,
) -> Proposal:
    rows, score, mean, std = chosen
    prediction, evidence = told
    inside = np.zeros(len(rows), bool) if prediction.in_domain is None else prediction.in_domain[rows]
    other = "highest bound" if acquisition in ACQUISITIONS else f"chosen by {acquisition}"
    reason = REASONS.get(acquisition, "among the best predicted" if acquisition == "greedy" else other)
    return Proposal(
        rows, score[rows], mean, std, inside, reasons_with_forced(rows, plan, [reason] * len(rows)), evidence
    )


def reads_numbers(conditions: pd.DataFrame) -> bool:
    """Say whether conditions have what a forest reads: a structure, or `feature:` columns."""
    return any(str(name) == "smiles" or str(name).startswith("feature:") for name in conditions.columns)


def add_numbers(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return conditions with `feature:` columns that say what their kernels see, for a forest.

    The features of all kernels side by side, each of mean square length 1, reduced to their principal
    scores where there are many. So the baseline reads the same descriptors as the process.
    """
    from screenwise.represent.flat import flat_features  # noqa: PLC0415
    from screenwise.represent.kernels import default_kernels  # noqa: PLC0415
    from screenwise.represent.reduction import principal_scores  # noqa: PLC0415

    representations = list(dict.fromkeys(kernel.representation for kernel in default_kernels(conditions)))
    table = hstack([_compact(flat_features(one.transform(conditions))) for one in representations], format="csr")
    # few columns stay as they are: a forest tells them apart best one by one
    numbers = principal_scores(table, DIMENSIONS) if table.shape[1] > DIMENSIONS else table.toarray()
    names = [f"feature:part{place:03d}" for place in range(numbers.shape[1])]
    frame = pd.DataFrame(numbers, columns=names, index=conditions.index)
    return pd.concat([conditions, frame], axis=1)


def _compact(flat: Any) -> csr_array:
    """Return a table of the columns that occur, scaled to rows of mean square length 1."""
    if issparse(flat):
        codes, distinct = pd.factorize(flat.indices)
        shape = (flat.shape[0], max(len(distinct), 1))
        table = csr_array((flat.data.astype(np.float64), codes, flat.indptr), shape=shape)
    else:
        table = csr_array(np.nan_to_num(np.asarray(flat, np.float64)))
    length = np.sqrt((table.data**2).sum() / max(table.shape[0], 1))
    return table / length if length > 0 else table
