"""Which candidates to measure next: a model, an acquisition, and the rules of the round.

The default, `auto`, is one for all kinds of data: an exact Gaussian process on the kernels of the
pool, the upper confidence bound with a weight on the spread that falls from 2 to 0 as the wells are used up,
and spreads that shrink pick by pick, so that one round does not ask one question 96 times.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.fitted import add_numbers, choose_with_model, propose_from, propose_with, reads_numbers
from screenwise.campaign.laboratory import Laboratory
from screenwise.campaign.objective import Objective
from screenwise.campaign.pool_model import PoolKernels, prepare_pool
from screenwise.campaign.process import LEAST_MEASURED, choose_with_process
from screenwise.campaign.proposal import Policy, Proposal, Request, at_random, known_cells, make_plan
from screenwise.campaign.studied import MostStudied, Studied, choose_most_studied, surely_studied
from screenwise.design.acquisition import ACQUISITIONS
from screenwise.design.choose import BATCHES
from screenwise.errors import ConfigError
from screenwise.screen import Screen
from screenwise.simulate.replay import Turn

__all__ = [
    "POLICIES",
    "Objective",
    "Policy",
    "Proposal",
    "Request",
    "SimulatedPolicy",
    "policy_for",
    "propose",
    "propose_from",
    "propose_round",
    "propose_with",
]

POLICIES: dict[str, Policy] = {
    "auto": Policy(),
    "random": Policy(model="", acquisition="random"),
    "greedy": Policy(model="forest", acquisition="greedy", scaled=False),
    "greedy_gp": Policy(acquisition="greedy"),
    "ucb": Policy(kappa=1.0, decay=False),
    "ei": Policy(acquisition="ei"),
    "thompson": Policy(acquisition="thompson"),
    "probability_of_hit": Policy(acquisition="probability_of_hit"),
    "studied": MostStudied(),
}
"""Name -> policy; `greedy`, a random forest that takes what it predicts best, is the baseline to beat, and of
genes with known sets `studied`, which measures nothing."""


def policy_for(model: str = "auto", acquisition: str = "auto") -> Policy:
    """Return the policy of a campaign's settings, a model and an acquisition by name.

    Unnamed, the acquisition of the Gaussian process is that of `auto`; other models, whose spreads
    are rougher, take what they predict best (or candidates at random with the acquisition random).

    Examples
    --------
    >>> policy_for("auto", "auto") == POLICIES["auto"]
    True
    >>> policy_for("forest").acquisition
    'greedy'
    """
    if acquisition == "random":
        return POLICIES["random"]
    name = "gp" if model == "auto" else model
    if acquisition == "auto":
        return POLICIES["auto"] if name == "gp" else Policy(model=name, acquisition="greedy", scaled=False)
    if acquisition not in BATCHES:
        message = f"There is no acquisition {acquisition!r}; they are auto, {', '.join(BATCHES)}."
        raise ConfigError(message)
    return Policy(model=name, acquisition=acquisition, scaled=name == "gp")


def propose(  # noqa: PLR0913 -- the plain form of `propose_round`
    policy: Policy,
    measured: Screen,
    pool: pd.DataFrame,
    *,
    objective: Objective,
    wells: int,
    progress_share: float = 0.0,
    seed: int = 0,
) -> Proposal:
    """Choose the next round from what was measured; see `propose_round`."""
    return propose_round(policy, measured, pool, Request(objective, wells, progress_share, seed))


def propose_round(
    policy: Policy,
    measured: Screen,
    pool: pd.DataFrame,
    request: Request,
    *,
    kernels: PoolKernels | None = None,
    outlook: bool = True,
) -> Proposal:
    """Choose the next round.

    Parameters
    ----------
    policy
        How.
    measured
        What is known; other tasks than the objective's are not used. Bounds are taken as values.
    pool
        (n,) conditions with `condition_id`; measured and pending ones among them are not chosen.
    request
        Objective, wells, seed, rules.
    kernels
        Of exactly this pool (`prepare_pool`), where many rounds ask about it.
    outlook
        Say what is expected of the whole pool; without it the process leaves candidates out that cannot win.
    """
    known = known_cells(measured, request.objective)
    plan = make_plan(pool, known.conditions["condition_id"], request)
    if isinstance(policy, MostStudied):
        return choose_most_studied(plan, len(known))
    if policy.acquisition == "random" or len(known) < LEAST_MEASURED:
        few = policy.acquisition != "random"
        reason = f"at random: fewer than {LEAST_MEASURED} conditions are measured" if few else "at random"
        return at_random(plan, len(known), reason)
    # what the process of the pool does not know by itself, a fitted Gaussian process does
    if policy.model == "gp" and policy.acquisition in ACQUISITIONS:
        return choose_with_process(policy, known, plan, kernels, outlook=outlook)
    return choose_with_model(policy, known, plan)


@dataclass
class SimulatedPolicy:
    """A policy as a proposer of `screenwise.simulate.replay.run_replay`; keeps what it computes of a pool.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> from screenwise.simulate.replay import ReplaySettings, run_replay
    >>> x = np.linspace(0, 9, 60)
    >>> genes = pd.DataFrame({"gene": [f"G{i}" for i in range(60)], "feature:x": x})
    >>> screen = make_screen(genes, np.sin(x)[:, None], ["growth"])
    >>> objective = Objective("maximize", "growth")
    >>> settings = ReplaySettings("growth", objective.utility, rounds=2, wells=6, start=10, seeds=(0,))
    >>> curves = run_replay({"auto": SimulatedPolicy(POLICIES["auto"], objective)}, screen, settings)
    >>> float(curves["hit_fraction"].iloc[-1])
    1.0
    """

    policy: Policy
    objective: Objective
    laboratory: Laboratory | None = None
    """Rules that hold in every round; None = none."""
    _pool: Any = field(default=None, init=False, repr=False)
    _kept: Any = field(default=None, init=False, repr=False)

    def __call__(self, measured: Screen, pool: pd.DataFrame, turn: Turn) -> NDArray[np.int64]:
        """Choose a round of a replay."""
        self.prepare(pool)
        request = Request(self.objective, turn.wells, turn.progress_share, turn.seed)
        if self.laboratory is not None:
            known = measured.conditions["condition_id"]
            request = self.laboratory.asked(request, known)
            if not self.laboratory.leaves(pool, request, known):
                return np.zeros(0, np.int64)
        if isinstance(self._kept, Studied):
            cells = known_cells(measured, self.objective)
            plan = make_plan(pool, cells.conditions["condition_id"], request)
            return choose_most_studied(plan, len(cells), self._kept).rows
        kernels = self._kept if isinstance(self._kept, PoolKernels) else None
        if isinstance(self._kept, pd.DataFrame):
            rows = pd.Index(pool["condition_id"]).get_indexer(measured.conditions["condition_id"])
            pool = self._kept
            measured = Screen(pool.iloc[rows].reset_index(drop=True), measured.tasks, measured.targets)
        return propose_round(self.policy, measured, pool, request, kernels=kernels, outlook=False).rows

    def prepare(self, pool: pd.DataFrame) -> None:
        """Compute what can be known of a pool before anything is measured; nothing to do for the same pool again."""
        if self._pool is not pool and (self._pool is None or not self._pool.equals(pool)):
            if self.laboratory is not None:
                self.laboratory.check(pool)
            self._kept = self._keep(pool)
        self._pool = pool

    def _keep(self, pool: pd.DataFrame) -> PoolKernels | pd.DataFrame | Studied | None:
        if isinstance(self.policy, MostStudied):
            return surely_studied(pool)
        if self.policy.model == "gp":
            return prepare_pool(pool, keep=True)
        return add_numbers(pool) if self.policy.model == "forest" and not reads_numbers(pool) else None
