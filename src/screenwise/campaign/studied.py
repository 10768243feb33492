"""How much each gene is studied, and the policy that asks for nothing else.

Part of what any model of genes finds is how well they are studied: genes of many sets, interactions and links are
hits more often in many screens. A ranking of genes is worth what it finds beyond this one, which measures nothing.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from screenwise.campaign.proposal import Plan, Policy, Proposal, plan_plates, reasons_with_forced
from screenwise.data.datasets import data_folders, load_gene_links, load_gene_sets
from screenwise.design.acquisition import pick_top
from screenwise.errors import DatasetError, DesignError
from screenwise.represent.features import FEATURE, SETS

NUMBERS = {"n_sets": "sets", "n_interactions": "interactions", "n_links": "disease and compound links"}
"""What is counted of a gene -> in words. A table of features may carry a count under this name."""
LEAST_KNOWN = 0.1
"""Share of the genes that a public table must name for its counts to be used: else it speaks of other genes."""
ABSENT = (
    "not known: neither the pool nor a public table tells these genes apart by sets, interactions or links. Join a "
    "table of gene sets (columns gene, gene_set) with --features SETS.csv, or set SCREENWISE_DATA to the folder of "
    "public data."
)
"""What is said of genes of which nothing is known, or of all the same."""
_DECIMALS = 9
_SUFFIXES = ("", "_a", "_b", "_c", "_d", "_e")


@dataclass(frozen=True)
class MostStudied(Policy):
    """The genes that are studied most first, whatever was measured."""

    model: str = ""
    acquisition: str = "random"


@dataclass(frozen=True)
class Studied:
    """How much the genes of n conditions are studied."""

    score: NDArray[np.float64]
    """(n,) mean of the numbers, each as log(1 + count), summed over a condition's genes and standardised."""
    share: NDArray[np.float64]
    """(n,) share of the conditions that are studied less, equal ones by half: 0.5 on average."""
    numbers: tuple[str, ...]
    """Which of `NUMBERS` are known."""

    @property
    def words(self) -> str:
        """What is counted."""
        return ", ".join(NUMBERS[name] for name in self.numbers)


def names_genes(conditions: pd.DataFrame) -> bool:
    """Return whether conditions are genes, or several of them together."""
    return bool(_members(conditions))


def how_studied(conditions: pd.DataFrame) -> Studied | None:
    """Return how much the genes of conditions are studied; None where they name no genes, or nothing tells.

    Three numbers tell: sets, interactions, and links to diseases and compounds. Each is read from the conditions
    (columns ``sets:<name>``, or ``feature:`` and its name, see `join_features`), else from the public tables of
    the data folder.

    Parameters
    ----------
    conditions
        (n,) with the column `gene`, or `gene_a`, `gene_b`, ...

    Examples
    --------
    >>> genes = pd.DataFrame({"gene": ["my1", "my2", "my3"], "sets:go": ["x|y|z", "", "x"]})
    >>> how_studied(genes).share.round(2).tolist()
    [0.83, 0.17, 0.5]
    """
    known: dict[str, NDArray[np.float64]] = {}
    members = _members(conditions)
    for name in NUMBERS if members else ():
        counts = [_own_counts(conditions, name, suffix) for suffix in members]
        if any(count is None for count in counts):
            counts = [_public_counts(conditions[f"gene{suffix}"], name) for suffix in members]
        if any(count is None for count in counts):
            continue
        number = np.sum([np.log1p(count) for count in counts if count is not None], axis=0)
        if (spread := float(number.std())) > 0:
            known[name] = (number - number.mean()) / spread
    if not known:
        return None
    # rounded, so that equal counts stay equal whatever the order of the sums
    score = np.asarray(np.round(np.mean(list(known.values()), axis=0), _DECIMALS), np.float64)
    return Studied(score, (rankdata(score) - 0.5) / len(score), tuple(known))


def studied_column(conditions: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return the column `studied`, the (n,) shares, by its name; nothing where `how_studied` knows nothing."""
    studied = how_studied(conditions)
    return {} if studied is None else {"studied": studied.share}


def surely_studied(pool: pd.DataFrame) -> Studied:
    """Return how much the genes of a pool are studied; where nothing tells, an error says what to do."""
    studied = how_studied(pool)
    if studied is None:
        message = f"The policy studied ranks genes by how much they are studied, which is {ABSENT}"
        if not names_genes(pool):
            message = "The policy studied ranks genes, and the pool has no column gene (of pairs gene_a, gene_b)."
        raise DesignError(message)
    return studied


def choose_most_studied(plan: Plan, measured: int, studied: Studied | None = None) -> Proposal:
    """Choose the candidates whose genes are studied most; equal ones at random.

    Parameters
    ----------
    plan
        Wells, rules, keys.
    measured
        How many conditions are measured.
    studied
        What `surely_studied` says of the plan's pool; None = asked here, where a replay asks once.
    """
    studied = surely_studied(plan.pool) if studied is None else studied
    plan = plan_plates(plan, studied.score)
    allowed, first = plan.rules.mask_or_rule(), plan.rules.first
    rows = pick_top(studied.score, plan.request.wells, plan.keys, allowed=allowed, first=first)
    nothing = np.full(len(rows), np.nan)
    evidence = {"policy": "studied", "rows": measured, "loo_rank_correlation": None, "signal": None, "note": ""}
    reasons = reasons_with_forced(rows, plan, ["most studied"] * len(rows))
    return Proposal(rows, studied.score[rows], nothing, nothing, np.zeros(len(rows), bool), reasons, evidence)


def _members(conditions: pd.DataFrame) -> list[str]:
    return [suffix for suffix in _SUFFIXES if f"gene{suffix}" in conditions.columns]


def _own_counts(conditions: pd.DataFrame, name: str, suffix: str) -> NDArray[np.float64] | None:
    """Return the (n,) counts that the conditions carry of one member; None = they do not."""
    columns = [str(column) for column in conditions.columns if str(column).startswith(SETS)]
    own = [column for column in columns if column.endswith(suffix)]
    if name == "n_sets" and own:
        total = np.zeros(len(conditions))
        for column in own:
            texts = conditions[column].astype("string").fillna("")
            total += (texts.str.count(r"\|") + (texts != "")).to_numpy(np.float64)
        return total
    column = f"{FEATURE}{name}{suffix}"
    if column not in conditions.columns:
        return None
    return np.asarray(pd.to_numeric(conditions[column], errors="coerce").fillna(0.0), np.float64)


def _public_counts(genes: pd.Series, name: str) -> NDArray[np.float64] | None:
    """Return the (n,) counts that a public table gives; None = it is not here, or speaks of other genes."""
    table = _public_table(name, tuple(map(str, data_folders())))
    if table is None:
        return None
    symbols = _symbols(genes)
    found = symbols.map(table)
    named = int((symbols != "").sum())  # a place of a pair may be empty
    return None if found.notna().sum() < LEAST_KNOWN * named else found.fillna(0.0).to_numpy(np.float64)


@cache
def _public_table(name: str, folders: tuple[str, ...]) -> pd.Series | None:
    """Return the count of each gene symbol; read once from these folders."""
    try:
        if name == "n_sets":
            table = load_gene_sets().groupby("gene", observed=True)["gene_set"].nunique()
        else:
            table = load_gene_links().set_index("gene")[name]
    except DatasetError:  # no public data here: `ABSENT` says so where it matters
        return None
    return table.groupby(_symbols(pd.Series(table.index)).to_numpy()).max()


def _symbols(genes: pd.Series) -> pd.Series:
    return genes.astype("string").fillna("").str.strip().str.upper().astype(object)
