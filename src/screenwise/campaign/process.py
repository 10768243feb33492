"""A round chosen with the Gaussian process of the pool."""

from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

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
from screenwise.design.spending import leave_for_rest
from screenwise.errors import DesignError
from screenwise.prediction import Prediction
from screenwise.protocols import Posterior
from screenwise.rng import derive_seed, stream
from screenwise.screen import Screen

LEAST_MEASURED = 5
"""With fewer measured conditions than this nothing is learned: the round is chosen at random."""
HIT_QUANTILE = 0.95
"""What counts as a hit for probability_of_hit: above this quantile of the measured utilities."""
MOST_LIKELY = 10_000
"""Candidates whose joint posterior is in memory at once, those of the highest bounds."""
MOST_PRODUCTS = 2**36
"""Candidates times measured conditions squared, the products that spreads cost, beyond which means choose alone:
69 thousand million, some seconds of one processor."""
PRIOR_SD_OF_MEANS = 0.7
"""Prior standard deviation of log weights where means choose alone."""
DRAWN = 1000
"""Candidates of the highest bounds among which functions are drawn."""
ASIDE = "best predicted, spreads aside"
"""Why, where means choose alone."""
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


def choose_with_process(
    policy: Policy, known: Screen, plan: Plan, kernels: PoolKernels | None = None, *, outlook: bool = True
) -> Proposal:
    """Fit the process to what is known of the objective, and choose; `outlook` also says what is left in the pool."""
    if kernels is None:
        kernels = prepare_pool(_with_outside(plan.pool, known))
    where = kernels.rows(known.conditions["condition_id"].astype(str).tolist())
    seen = where >= 0
    if seen.sum() < LEAST_MEASURED:
        return at_random(plan, len(known), f"at random: fewer than {LEAST_MEASURED} measured conditions can be read")
    place = kernels.place[: len(plan.pool)]
    asked = np.flatnonzero(plan.rules.open & (place >= 0))
    if len(asked) == 0:
        message = f"None of the open candidates can be read ({kernels.note[plan.rules.open][0]}); check the pool."
        raise DesignError(message)
    policy, note = affordable(policy, len(asked), int(seen.sum()))
    target, scale = learn_scale(plan.request.objective.utility(known.targets.dense()[seen, 0]))
    settings = PoolModelSettings(policy.rows_for_weights, policy.prior_sd)
    seed = derive_seed(plan.request.seed, "process")
    model = fit_pool_model(kernels, where[seen], target, settings, seed)
    kappa = policy.kappa_at(plan.request.progress_share) if policy.acquisition == "ucb" else 0.0
    view = View(model, place, np.full(len(place), np.nan), np.full(len(place), np.nan), target, scale)
    by_bound = policy.acquisition in ("ucb", "greedy")
    if by_bound and not outlook and (kappa == 0 or plan.rules.free):
        view.mean[asked], view.variance[asked] = model.leading(place[asked], kappa, plan.request.wells)
    else:
        # where means choose alone, spreads given some of the rows serve the outlook: they are at least the true ones
        given = max(1, isqrt(MOST_PRODUCTS // len(asked))) if by_bound else None
        view.mean[asked], view.variance[asked] = model.moments(place[asked], given=given)
    bound = view.mean + kappa * view.std if kappa else view.mean
    if plan.rules.plates is not None:
        wide = np.sqrt(np.nan_to_num(view.variance) + model.noise)
        plan = plan_plates(plan, bound, ndtr((bound - _edge(view, plan)) / wide))
    chosen = pick_with(policy.acquisition, view, kappa, plan)
    return _answer(policy, view, chosen, (kappa, note, outlook), plan)


def affordable(policy: Policy, candidates: int, measured: int) -> tuple[Policy, str]:
    """Return the policy, or its form for pools too big for spreads, and then why in words.

    Spreads cost a product per candidate and pair of measured conditions. Beyond `MOST_PRODUCTS` an upper
    confidence bound gives way to the mean alone, and weights stay nearer to their medians; other
    acquisitions are not changed, whatever they cost.

    Examples
    --------
    >>> affordable(Policy(), 100_000, 2_000)[0].acquisition, affordable(Policy(), 100_000, 500)[0].acquisition
    ('greedy', 'ucb')
    """
    if policy.acquisition != "ucb" or candidates * measured**2 <= MOST_PRODUCTS:
        return policy, ""
    note = (
        f"Chosen by predicted values alone: with {measured} measured conditions the spreads of {candidates} "
        f"candidates would take over {MOST_PRODUCTS / 1e9:.0f} thousand million products."
    )
    return replace(policy, acquisition="greedy", prior_sd=min(policy.prior_sd, PRIOR_SD_OF_MEANS)), note


def _with_outside(pool: pd.DataFrame, known: Screen) -> pd.DataFrame:
    """Return the pool followed by what was measured outside it, which teaches too."""
    ids = known.conditions["condition_id"].astype(str)
    outside = known.conditions[~ids.isin(pool["condition_id"].astype(str)).to_numpy(bool)]
    return pd.concat([pool, outside.reindex(columns=pool.columns)], ignore_index=True) if len(outside) else pool


def pick_with(acquisition: str, view: View, kappa: float, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the picks and the (n,) scores of all candidates, NaN where a score could not win."""
    if acquisition == "greedy" or (acquisition == "ucb" and kappa == 0):
        allowed, first = plan.rules.mask_or_rule(), plan.rules.first
        return pick_top(view.mean, plan.request.wells, plan.keys, allowed=allowed, first=first), view.mean
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
        return leave_for_rest(rules, picks[len(pending) :], plan.request.wells)

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
    policy: Policy,
    view: View,
    chosen: tuple[NDArray[np.int64], NDArray[np.float64]],
    how: tuple[float, str, bool],
    plan: Plan,
) -> Proposal:
    (rows, score), (kappa, means_alone, outlook) = chosen, how
    view.mean[rows], view.variance[rows] = mean, latent = view.model.moments(view.place[rows])
    utility, std = view.scale.back(mean, np.sqrt(latent + view.model.noise))
    evidence: dict[str, Any] = {"policy": f"gp, {policy.acquisition}", "kappa": kappa} | view.model.evidence()
    evidence |= signal(evidence["loo_rank_correlation"], len(view.target))
    evidence["note"] = " ".join(filter(None, (evidence["note"], means_alone)))
    reasons = [ASIDE] * len(rows) if means_alone else _reasons(policy.acquisition, rows, view.mean)
    return Proposal(
        rows,
        mean + kappa * np.sqrt(latent) if policy.acquisition == "ucb" else score[rows],
        plan.request.objective.value(utility),
        std,
        view.model.in_domain(view.place[rows]),
        reasons_with_forced(rows, plan, reasons),
        evidence,
        _outlook(view, score, plan) if outlook else None,
    )


def _edge(view: View, plan: Plan) -> float:
    """Return from where on a target counts as a hit."""
    threshold = plan.request.threshold
    if threshold is None:
        return float(np.quantile(view.target, HIT_QUANTILE))
    return view.scale.forward(float(plan.request.objective.utility(np.array([threshold]))[0]))


def _outlook(view: View, score: NDArray[np.float64], plan: Plan) -> Outlook:
    """Return what the process expects of all open candidates."""
    edge, best = _edge(view, plan), float(view.target.max())
    units = (*view.scale.back(view.mean, view.std), float(view.scale.utility[-1]))
    return look_out(score, (view.mean, view.std, view.model.noise), (edge, best), units, np.isfinite(view.mean))


def _reasons(acquisition: str, rows: NDArray[np.int64], mean: NDArray[np.float64]) -> list[str]:
    if acquisition in REASONS:
        return [REASONS[acquisition]] * len(rows)
    known = mean[np.isfinite(mean)]
    edge = np.sort(known)[-min(len(rows), len(known))]
    return ["among the best predicted" if mean[row] >= edge else "uncertain, may be among the best" for row in rows]
