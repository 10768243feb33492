"""How far the rounds of a campaign lean to well-studied genes, and how many hits that alone would have found."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.objective import Objective
from screenwise.campaign.state import State
from screenwise.campaign.studied import ABSENT, Studied, how_studied, names_genes
from screenwise.evaluate.metrics import roc_auc

HITS = 0.05
"""Share of the measured conditions, best first, that are hits where the campaign has no threshold."""
ROUNDS = ["round", "wells", "studied", "hits", "hits of the most studied", "hits at random", "hits so far", "auroc"]


@dataclass(frozen=True)
class Lean:
    """How far a choice leans to genes that are studied much."""

    chosen: float
    """Mean share of what was chosen."""
    left: float
    """Mean share of what it was chosen from."""
    wells: int
    overlap: float
    """How many of the chosen are among as many of the most studied; equal ones at the edge by their share."""
    chance: float
    """How many of a choice at random would be."""
    words: str
    """What is counted."""

    def __str__(self) -> str:
        return (
            f"{self.chosen:.2f} on average, the pool {self.left:.2f}; {self.overlap:.0f} of the {self.wells} most "
            f"studied are chosen, {self.chance:.1f} at random (by {self.words})"
        )


def lean_of(studied: Studied, chosen: NDArray[np.int64], left: NDArray[np.bool_]) -> Lean:
    """Return how a choice leans to well-studied genes.

    Parameters
    ----------
    studied
        Of n conditions.
    chosen
        (k,) rows, k > 0.
    left
        (n,) what they were chosen from.

    Examples
    --------
    >>> from screenwise.campaign.studied import how_studied
    >>> genes = pd.DataFrame({"gene": list("abcd"), "sets:go": ["x|y|z", "", "x", "x|y"]})
    >>> lean = lean_of(how_studied(genes), np.array([0, 1]), np.ones(4, bool))
    >>> lean.chosen, lean.left, lean.overlap, lean.chance
    (0.5, 0.5, 1.0, 1.0)
    """
    among = np.zeros(len(left))
    among[left] = most_studied(studied.score[left], len(chosen))
    shares = float(studied.share[chosen].mean()), float(studied.share[left].mean())
    return Lean(*shares, len(chosen), float(among[chosen].sum()), len(chosen) ** 2 / int(left.sum()), studied.words)


def how_it_leans(
    pool: pd.DataFrame, rows: NDArray[np.int64], left: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Return the column `studied` of a choice and the fact of that name; neither of pools without genes.

    Parameters
    ----------
    pool
        (n,) conditions.
    rows
        (k,) what was chosen, the column's order.
    left
        (n,) what it was chosen from; what was chosen counts as left.
    """
    if not names_genes(pool):
        return {}, {}
    studied = how_studied(pool)
    if studied is None:
        return {}, {"studied": ABSENT}
    left = left.copy()
    left[rows] = True
    return {"studied": studied.share[rows]}, {"studied": str(lean_of(studied, rows, left))}


def most_studied(score: NDArray[np.float64], wells: int) -> NDArray[np.float64]:
    """Return (n,) the chance of each to be among so many of the highest scores, equal ones drawn at random.

    Examples
    --------
    >>> most_studied(np.array([3.0, 1.0, 2.0, 2.0]), 2).tolist()
    [1.0, 0.0, 0.5, 0.5]
    """
    wells = min(wells, len(score))
    edge = np.sort(score)[-wells]
    above, at = score > edge, score == edge
    return np.asarray(above + at * (wells - int(above.sum())) / int(at.sum()), np.float64)


def lean_by_round(state: State, pool: pd.DataFrame, studied: Studied) -> pd.DataFrame:
    """Return what each round found beside what the order of how much genes are studied would have found.

    Parameters
    ----------
    state
        Where the campaign stands.
    pool
        (n,) conditions.
    studied
        Of the pool.

    Returns
    -------
    DataFrame: round, wells (measured), studied (their mean share), hits (among them), hits of the most studied (of
    as many wells, those studied most of all that is measured by then) and hits at random (of as many of those), both
    missing where the round is all that is measured, hits so far, auroc (of these hits by how much they are studied;
    0.5 = no better than chance).
    A hit surely reaches the threshold (`Objective.reached`), as in a status; without one it is among the best 5 % of
    all that is measured now.
    """
    objective = Objective.parse(state.settings.objective)
    cells = state.cells()
    cells = cells[(cells["task"] == state.tasks[0]) & (cells["reason"] == "")]
    rounds = state.by_round()
    rounds = rounds[rounds["standing"] == "measured"].drop_duplicates("condition_id")
    known = rounds.merge(cells[["condition_id", "value", "relation"]], on="condition_id")
    if known.empty:
        return pd.DataFrame(columns=ROUNDS)
    row = pd.Index(pool["condition_id"]).get_indexer(known["condition_id"])
    number, score, share = known["round"].to_numpy(), studied.score[row], studied.share[row]
    threshold = state.settings.threshold
    if threshold is None:
        best = np.quantile(objective.utility(known["value"].to_numpy()), [1 - HITS])
        threshold = float(objective.value(best)[0])
    hit = objective.reached(known["value"], known["relation"], threshold)
    lines = []
    for one in np.unique(number):
        own, now = number == one, number <= one
        wells, every, so_far = int(own.sum()), int(now.sum()), int(hit[now].sum())
        others = (float((most_studied(score[now], wells) * hit[now]).sum()), so_far * wells / every)
        others = others if wells < every else (np.nan, np.nan)
        auroc = float(roc_auc(hit[now].astype(float), score[now], np.zeros(every, int), 1)[0])
        lines.append((one, wells, share[own].mean(), int(hit[own].sum()), *others, so_far, auroc))
    return pd.DataFrame(lines, columns=ROUNDS)
