"""The rules of a laboratory in a replay: what a round may hold, and what it costs."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.proposal import Request
from screenwise.campaign.rules import bench_of
from screenwise.design.constraints import Constraints
from screenwise.design.plate import PlateRules
from screenwise.design.rules import Bench, apply_constraints
from screenwise.errors import DesignError


@dataclass(frozen=True)
class Laboratory:
    """Rules that hold in every round of a replay, and the plates it is laid out on.

    Examples
    --------
    >>> pool = pd.DataFrame({"condition_id": ["a", "b", "c"], "price": [1.0, 5.0, 2.0]})
    >>> laboratory = Laboratory(Constraints(cost="price", cost_per_well=0.5), PlateRules(positive=0, negative=0))
    >>> laboratory.cost(pool, np.zeros(3, bool), np.array([0, 1]))
    9.0
    """

    constraints: Constraints = field(default_factory=Constraints)
    plate: PlateRules = field(default_factory=PlateRules)

    def check(self, pool: pd.DataFrame) -> None:
        """Raise where what must be in is not among the conditions that are replayed, before the first round."""
        ids = set(pool["condition_id"].astype(str))
        unknown = [one for one in self.constraints.must_include if one not in ids]
        if unknown:
            message = (
                f"must_include names {unknown[0]!r}, which is no condition_id of the {len(pool)} measured conditions "
                "that are replayed; take it out, or measure it."
            )
            raise DesignError(message)

    def asked(self, request: Request, known: pd.Series) -> Request:
        """Return what is asked of a policy under the rules; `known` holds the ids of what is measured."""
        measured = set(known.astype(str))
        left = [one for one in self.constraints.must_include if one not in measured]
        constraints = replace(self.constraints, must_include=tuple(left[: request.wells]))
        return replace(request, constraints=constraints, bench=self._bench(known, request.wells))

    def leaves(self, pool: pd.DataFrame, request: Request, known: pd.Series) -> bool:
        """Return whether the rules leave anything of a pool to choose."""
        allowed = apply_constraints(request.constraints, pool, request.bench).allowed([])
        return bool((allowed & ~pool["condition_id"].isin(known).to_numpy(bool)).any())

    def cost(self, pool: pd.DataFrame, known: NDArray[np.bool_], chosen: NDArray[np.int64]) -> float:
        """Return what a round costs.

        Parameters
        ----------
        pool
            (n,) conditions.
        known
            (n,) what was measured before: its reagents are there already.
        chosen
            (k,) rows of the round.
        """
        if not len(chosen):
            return 0.0
        bench = self._bench(pool.loc[known, "condition_id"], len(chosen))
        prices = apply_constraints(replace(self.constraints, must_include=()), pool, bench).prices
        return 0.0 if prices is None else prices.total(chosen)

    def _bench(self, known: Iterable[str], wells: int) -> Bench:
        used = {str(one): self.plate.copies for one in known}
        return bench_of(self.plate, wells, used, self.constraints.plates)
