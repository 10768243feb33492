"""Which gene pairs to measure next, with the controls and the singles that they need."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.policy import Objective, Request, policy_for, propose_from
from screenwise.condition import condition_ids
from screenwise.data.columns import listed
from screenwise.data.labels import condition_columns, genes_of
from screenwise.design.plate import PlateRules, layout, write_plate
from screenwise.errors import ConfigError, DesignError
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.pair_settings import PairAsk
from screenwise.recipes.perturbseq import open_pair_run
from screenwise.screen import Screen

ACQUISITIONS = ("std", "departure", "random")
"""The pairs that teach most together; the largest expected departures from addition; any."""
MOST_PAIRS = 2_000_000
"""Candidate pairs beyond which genes must be named."""
HOW = {
    "std": ("maxdet", "least known, after the pairs before it"),
    "departure": ("greedy", "largest expected departure from addition"),
    "random": ("random", "at random"),
    "sums": ("k_center", "unlike the pairs before it"),
}
"""Acquisition of pairs -> acquisition of the core, and the reason; `sums` before any departure is learnt."""
SHOWN = 10
PLATE = 96


@dataclass(frozen=True)
class Chosen:
    """Pairs to measure."""

    rows: NDArray[np.int64]
    """Of the candidates, in the order they were picked."""
    score: NDArray[np.float64]
    reason: str


def suggest(run: Path, out: Path, ask: PairAsk = PairAsk()) -> Outcome:
    """Choose pairs of the genes of a run that were not measured together, and write their plate map.

    Wells hold pairs, the singles among their genes that were never measured, and controls. The model's
    own uncertainty chooses where it learnt departures; else pairs are spread over the sums of their
    singles, so that the first pairs of a screen cover what singles do.
    """
    _check(ask)
    model, screen = open_pair_run(run)
    singles, doubles = _measured(screen)
    genes = _genes(ask, singles)
    pool = _candidates(genes, doubles)
    chosen, missing = _fill(model, pool, ask, singles)
    picked = pool.iloc[chosen.rows].reset_index(drop=True)
    prediction = model.predict_profile(picked)
    table = pd.concat(
        [
            _single_rows(missing),
            picked.assign(
                kind="pair",
                score=chosen.score,
                profile_std=prediction.profile_std,
                in_domain=prediction.prediction.in_domain,
                reason=chosen.reason,
            ),
        ],
        ignore_index=True,
    )
    table["condition_id"] = condition_ids(table[["gene_a", "gene_b"]])
    rules = PlateRules(_format(ask.wells), positive=0, negative=ask.controls, negative_id="ctrl", replicates=0)
    plate = layout(table, rules, ask.seed)
    plate.loc[plate["role"] == "negative", "condition"] = "ctrl"
    write_plate(plate, out, [])
    facts = {
        "genes": len(genes),
        "candidate pairs": len(pool),
        "pairs chosen": len(chosen.rows),
        "missing singles added": len(missing),
        "controls": int((plate["role"] == "negative").sum()),
        "wells": len(plate),
        "plates": int(plate["plate"].nunique()),
        "how": chosen.reason,
    }
    shown = table[table["kind"] == "pair"][["condition", "score", "profile_std", "in_domain"]].head(SHOWN)
    rows = [{str(name): value for name, value in row.items()} for row in shown.to_dict("records")]
    return Outcome(facts, rows, files={"plate map": str(out)})


def choose(model: Any, pool: pd.DataFrame, ask: PairAsk, wells: int) -> Chosen:
    """Return `wells` of the candidate pairs, the first pick first, as the core proposes rounds.

    Parameters
    ----------
    model
        Fitted.
    pool
        (n,) candidate pairs.
    ask
        Its acquisition and seed.
    wells
        How many.
    """
    from screenwise.models.pairwise_departure import Departures, Sums  # noqa: PLC0415

    ids = condition_ids(pool[["gene_a", "gene_b"]])
    known = Departures.of(model)
    name = ask.acquisition if known is not None or ask.acquisition == "random" else "sums"
    acquisition, reason = HOW[name]
    view = known or Sums(model)
    request = Request(Objective("maximize", "departure"), wells, seed=ask.seed)
    policy = policy_for("auto", acquisition)
    rows = propose_from(view, 0, pool.assign(condition_id=ids), request, policy=policy).rows
    if name == "random":
        return Chosen(rows, np.zeros(len(rows)), reason)
    prediction = view.predict(pool.iloc[rows])
    told = prediction.std if name == "std" and prediction.std is not None else prediction.mean
    return Chosen(rows, told[:, 0].astype(np.float64), reason)


def _fill(model: Any, pool: pd.DataFrame, ask: PairAsk, singles: set[str]) -> tuple[Chosen, list[str]]:
    """Return the pairs that fit into the wells beside controls and the singles that they lack."""
    capacity = ask.wells - _plates(ask) * ask.controls
    chosen = choose(model, pool, ask, min(capacity, len(pool)))
    kept, missing = list[int](), list[str]()
    for place, (gene_a, gene_b) in enumerate(pool[["gene_a", "gene_b"]].iloc[chosen.rows].to_numpy()):
        new = [gene for gene in (gene_a, gene_b) if gene not in singles and gene not in missing]
        # a later pair may need fewer singles and still fit
        if len(kept) + 1 + len(missing) + len(new) <= capacity:
            kept, missing = [*kept, place], [*missing, *new]
    if not kept:
        message = f"--wells {ask.wells} leaves no room for a pair and the singles that it lacks; ask for more wells."
        raise ConfigError(message)
    return Chosen(chosen.rows[kept], chosen.score[kept], chosen.reason), missing


def _measured(screen: Screen) -> tuple[set[str], set[tuple[str, ...]]]:
    genes = genes_of(screen.conditions)
    return {one[0] for one in genes if len(one) == 1}, {one for one in genes if len(one) > 1}


def _genes(ask: PairAsk, singles: set[str]) -> list[str]:
    if ask.genes is None:
        return sorted(singles)
    genes = sorted(set(listed([ask.genes])))
    if len(genes) < 2:  # noqa: PLR2004
        message = f"--genes names {len(genes)} gene; a pair needs two, such as --genes TP53,MYC,KLF1."
        raise ConfigError(message)
    return genes


def _candidates(genes: list[str], doubles: set[tuple[str, ...]]) -> pd.DataFrame:
    if len(genes) * (len(genes) - 1) // 2 > MOST_PAIRS:
        message = f"{len(genes)} genes make more than {MOST_PAIRS:,} pairs; name the ones of interest with --genes."
        raise DesignError(message)
    pairs = [pair for pair in itertools.combinations(genes, 2) if pair not in doubles]
    if not pairs:
        message = f"All pairs of the {len(genes)} genes are measured; name other genes with --genes."
        raise DesignError(message)
    return condition_columns(pairs)


def _single_rows(genes: list[str]) -> pd.DataFrame:
    table = condition_columns([(gene,) for gene in genes]).reindex(columns=["condition", "gene_a", "gene_b"])
    return table.fillna("").assign(kind="single", reason="its pairs need it")


def _check(ask: PairAsk) -> None:
    if ask.acquisition not in ACQUISITIONS:
        message = f"There is no acquisition {ask.acquisition!r} of pairs; there are {', '.join(ACQUISITIONS)}."
        raise ConfigError(message)
    if ask.controls < 0:
        message = f"--controls is {ask.controls}; it must be 0 or more."
        raise ConfigError(message)
    if ask.wells - _plates(ask) * ask.controls < 1:
        message = f"--wells {ask.wells} leaves no well for a pair beside {ask.controls} controls; ask for more wells."
        raise ConfigError(message)


def _format(wells: int) -> int:
    return next((one for one in (96, 384, 1536) if wells <= one), PLATE)


def _plates(ask: PairAsk) -> int:
    return -(-max(ask.wells, 1) // _format(ask.wells))
