"""A round chosen with the Gaussian process of the pool."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.objective import Scale, learn_scale
from screenwise.campaign.outlook import look_out
from screenwise.campaign.pool_model import PoolKernels, PoolModel, PoolModelSettings, fit_pool_model, prepare_pool
from screenwise.campaign.proposal import (
    Outlook,
    Plan,
    Policy,
    Proposal,
    at_random,
    plan_plates,
    reasons_with_forced,
    signal,
)
from screenwise.design.acquisition import (
    ACQUISITIONS,
    OVER_INCUMBENT,
    draw_functions,
    pick_batch_ucb,
    pick_thompson,
    pick_top,
)
from screenwise.errors import DesignError
from screenwise.prediction import Prediction
from screenwise.protocols import Posterior
from screenwise.rng import derive_seed, stream
from screenwise.screen import Screen

LEAST_MEASURED = 5
"""With fewer measured conditions than this nothing is learned: the round is chosen at random."""
HIT_QUANTILE = 0.95
"""What counts as a hit for probability_of_hit: above this quantile of the measured utilities."""
MOST_LIKELY = 20_000
"""Candidates whose joint posterior is in memory at once, those of the highest bounds."""
DRAWN = 1000
"""Candidates of the highest bounds among which functions are drawn."""
REASONS = {
    "ei": "most improvement expected",
    "log_ei": "most improvement expected",
    "pi": "most likely to beat the best so far",
    "standard_deviation": "the model knows least here",
    "thompson": "best in one function drawn from the model",
    "probability_of_hit": "most likely a hit",
}


@dataclass(frozen=True)
class View:
    """A pool of n candidates under a fitted process."""

    model: PoolModel
    place: NDArray[np.int64]
    """(n,) position among the readable conditions; -1 = cannot be read."""
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    """(n,) each, of the latent function on the target's scale; NaN = not asked or cannot be read."""
    target: NDArray[np.float64]
    """(m,) measured targets."""
    scale: Scale

    @property
    def std(self) -> NDArray[np.float64]:
        """(n,) of the latent function."""
        return np.asarray(np.sqrt(self.variance))


def choose_with_process(policy: Policy, known: Screen, plan: Plan, kernels: PoolKernels | None = None) -> Proposal:
    """Fit the process to what is known of the objective, and choose."""
    if kernels is None:
        kernels = prepare_pool(_with_outside(plan.pool, known))
    where = kernels.rows(known.conditions["condition_id"].astype(str).tolist())
    seen = where >= 0
    if seen.sum() < LEAST_MEASURED:
        return at_random(plan, len(known), f"at random: fewer than {LEAST_MEASURED} measured conditions can be read")
    target, scale = learn_scale(plan.request.objective.utility(known.targets.dense()[seen, 0]))
    settings = PoolModelSettings(policy.rows_for_weights, policy.prior_sd)
    seed = derive_seed(plan.request.seed, "process")
    model = fit_pool_model(kernels, where[seen], target, settings, seed)
    place = kernels.place[: len(plan.pool)]
    asked = np.flatnonzero(plan.rules.open & (place >= 0))
    if len(asked) == 0:
        message = f"None of the open candidates can be read ({kernels.note[plan.rules.open][0]}); check the pool."
        raise DesignError(message)
    mean, variance = np.full((2, len(place)), np.nan)
    mean[asked], variance[asked] = model.moments(place[asked])
    view = View(model, place, mean, variance, target, scale)
    kappa = policy.kappa_at(plan.request.progress_share) if policy.acquisition == "ucb" else 0.0
    plan = plan_plates(plan, mean + kappa * view.std)
    rows, score = pick_with(policy.acquisition, view, kappa, plan)
    return _answer(policy, view, (rows, score, kappa), plan)


def _with_outside(pool: pd.DataFrame, known: Screen) -> pd.DataFrame:
    """Return the pool followed by what was measured outside it, which teaches too."""
    ids = known.conditions["condition_id"].astype(str)
    outside = known.conditions[~ids.isin(pool["condition_id"].astype(str)).to_numpy(bool)]
    return pd.concat([pool, outside.reindex(columns=pool.columns)], ignore_index=True) if len(outside) else pool


def pick_with(acquisition: str, view: View, kappa: float, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the picks and the (n,) scores of all candidates."""
    if acquisition == "ucb":
        return _pick_ucb(view, kappa, plan), view.mean + kappa * view.std
    if acquisition == "thompson":
        return _pick_thompson(view, plan), view.mean
    prediction = Prediction(view.mean[:, None].astype(np.float32), view.std[:, None].astype(np.float32))
    best = float(view.target.max() if acquisition in OVER_INCUMBENT else np.quantile(view.target, HIT_QUANTILE))
    # the logarithm orders candidates alike and does not fade to equal zeros
    name = "log_ei" if acquisition == "ei" else acquisition
    score = ACQUISITIONS[name](prediction, best=best, rng=stream(plan.request.seed, "acquisition"))
    allowed, first = plan.rules.mask_or_rule(), plan.rules.first
    return pick_top(score, plan.request.wells, plan.keys, allowed=allowed, first=first), score


def _pick_ucb(view: View, kappa: float, plan: Plan) -> NDArray[np.int64]:
    """Pick one after the other among the candidates whose bound can win at all."""
    wells = plan.request.wells
    bound = view.mean + kappa * view.std
    likely = np.isfinite(bound) & plan.rules.open
    if plan.rules.free and likely.sum() > wells:
        # bounds only shrink and means stay: no pick ends below the wells-th best mean
        likely &= bound >= np.sort(view.mean[likely])[-wells]
    if likely.sum() > MOST_LIKELY:
        likely &= bound >= np.sort(bound[likely])[-MOST_LIKELY]
    likely[[*plan.pending, *plan.rules.first]] = True
    rows = np.flatnonzero(likely)
    posterior = view.model.posterior(view.place[rows])
    return batch_ucb(posterior, rows, kappa, plan)


def batch_ucb(posterior: Posterior, rows: NDArray[np.int64], kappa: float, plan: Plan) -> NDArray[np.int64]:
    """Return a batch of pool rows; pending ones lower the spreads first and are not returned.

    Parameters
    ----------
    posterior
        Of the pool's `rows`, which hold all that is pending or must be in.
    rows
        (r,) ascending.
    kappa
        Weight of the spread.
    plan
        Wells, rules, keys.
    """
    rules, pending = plan.rules.among(rows), np.searchsorted(rows, plan.pending).tolist()

    def allowed(picks: Any) -> NDArray[np.bool_]:
        return rules.allowed(picks[len(pending) :])

    picks = pick_batch_ucb(
        posterior,
        plan.request.wells + len(pending),
        kappa,
        rules.open if rules.free else allowed,
        keys=plan.keys[rows],
        first=[*pending, *rules.first],
    )
    return rows[picks[len(pending) :]]


def _pick_thompson(view: View, plan: Plan) -> NDArray[np.int64]:
    wells = plan.request.wells
    likely = pick_top(view.mean + 2.0 * view.std, max(DRAWN, 2 * wells), plan.keys, allowed=plan.rules.open)
    # in an order that is the conditions' own, so that the same functions are drawn whatever the pool's order
    read = likely[np.argsort(plan.keys[likely], kind="stable")]
    posterior = view.model.posterior(view.place[read])
    draws = draw_functions(posterior, np.arange(len(read)), wells, stream(plan.request.seed, "functions"))
    unread = [row for row in plan.rules.first if row not in set(read.tolist())]
    rows = np.concatenate([read, np.asarray(unread, np.int64)])
    every = np.pad(draws, ((0, 0), (0, len(unread))), constant_values=np.nan)
    rules = plan.rules.among(rows)
    return rows[pick_thompson(every, wells, plan.keys[rows], allowed=rules.mask_or_rule(), first=rules.first)]


def _answer(
    policy: Policy, view: View, chosen: tuple[NDArray[np.int64], NDArray[np.float64], float], plan: Plan
) -> Proposal:
    rows, score, kappa = chosen
    mean, latent = view.mean[rows], view.variance[rows]
    utility, std = view.scale.back(mean, np.sqrt(latent + view.model.noise))
    evidence: dict[str, Any] = {"policy": f"gp, {policy.acquisition}", "kappa": kappa} | view.model.evidence()
    evidence |= signal(evidence["loo_rank_correlation"], len(view.target))
    return Proposal(
        rows,
        score[rows],
        plan.request.objective.value(utility),
        std,
        view.model.in_domain(view.place[rows]),
        reasons_with_forced(rows, plan, _reasons(policy.acquisition, rows, view.mean)),
        evidence,
        _outlook(view, score, plan),
    )


def _outlook(view: View, score: NDArray[np.float64], plan: Plan) -> Outlook:
    """Return what the process expects of all open candidates."""
    request, best = plan.request, float(view.target.max())
    edge = float(np.quantile(view.target, HIT_QUANTILE))
    if request.threshold is not None:
        edge = view.scale.forward(float(request.objective.utility(np.array([request.threshold]))[0]))
    units = (*view.scale.back(view.mean, view.std), float(view.scale.utility[-1]))
    return look_out(score, (view.mean, view.std, view.model.noise), (edge, best), units, np.isfinite(view.mean))


def _reasons(acquisition: str, rows: NDArray[np.int64], mean: NDArray[np.float64]) -> list[str]:
    if acquisition in REASONS:
        return [REASONS[acquisition]] * len(rows)
    known = mean[np.isfinite(mean)]
    edge = np.sort(known)[-min(len(rows), len(known))]
    return ["among the best predicted" if mean[row] >= edge else "uncertain, may be among the best" for row in rows]
