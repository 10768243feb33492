"""The baseline of fame: genes in the order of how much is known of them.

Part of what any model of genes finds is how well they are studied: genes of many sets are hits more often
in many screens. A ranking of genes is worth what it finds beyond this one, which measures nothing.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.proposal import Plan, Policy, Proposal, plan_plates, reasons_with_forced
from screenwise.design.acquisition import pick_top
from screenwise.errors import DesignError
from screenwise.represent.features import FEATURE, SETS

COUNT = f"{FEATURE}n_sets"
"""A table of gene descriptors carries the number of sets under this name."""
_MEMBERS = ("_a", "_b", "_c", "_d", "_e")


@dataclass(frozen=True)
class MostStudied(Policy):
    """The genes that are in most sets first, whatever was measured."""

    model: str = ""
    acquisition: str = "random"


def how_studied(conditions: pd.DataFrame) -> NDArray[np.float64] | None:
    """Return (n,) log(1 + number of sets), summed over the genes of a condition; None where no column says.

    Read from the columns ``sets:<name>`` and, without them, ``feature:n_sets`` (see `join_features`).

    Examples
    --------
    >>> how_studied(pd.DataFrame({"gene": ["A", "B"], "sets:go": ["x|y|z", ""]})).round(2).tolist()
    [1.39, 0.0]
    """
    columns = [str(name) for name in conditions.columns]
    named = [name for name in columns if name.startswith(SETS)]
    counted = named or [name for name in columns if name.removesuffix(_suffix(name)) == COUNT]
    if not counted:
        return None
    totals: dict[str, NDArray[np.float64]] = {}
    for name in counted:
        if named:
            texts = conditions[name].astype("string").fillna("")
            count = (texts.str.count(r"\|") + (texts != "")).to_numpy(np.float64)
        else:
            count = pd.to_numeric(conditions[name], errors="coerce").fillna(0.0).to_numpy(np.float64)
        totals[_suffix(name)] = totals.get(_suffix(name), np.zeros(len(conditions))) + count
    return np.asarray(sum(np.log1p(total) for total in totals.values()), np.float64)


def choose_most_studied(plan: Plan, measured: int) -> Proposal:
    """Choose the candidates whose genes are in most sets; equal ones at random."""
    score = how_studied(plan.pool)
    if score is None:
        message = (
            "The policy studied ranks genes by the number of their sets, and the pool does not say it. "
            "Join a table of gene sets (gene, gene_set) with --features."
        )
        raise DesignError(message)
    plan = plan_plates(plan, score)
    allowed, first = plan.rules.mask_or_rule(), plan.rules.first
    rows = pick_top(score, plan.request.wells, plan.keys, allowed=allowed, first=first)
    nothing = np.full(len(rows), np.nan)
    evidence = {"policy": "studied", "rows": measured, "loo_rank_correlation": None, "signal": None, "note": ""}
    reasons = reasons_with_forced(rows, plan, ["most studied"] * len(rows))
    return Proposal(rows, score[rows], nothing, nothing, np.zeros(len(rows), bool), reasons, evidence)


def _suffix(name: str) -> str:
    """Return which member of a condition a column is of; "" = there is one only."""
    return name[-2:] if name.endswith(_MEMBERS) else ""
