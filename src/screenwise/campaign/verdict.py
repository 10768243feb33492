"""Which plates cannot be believed: their readings do not count and their conditions may be chosen again."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from screenwise.campaign.qc import check_plates
from screenwise.campaign.state import KEY, State

LEAST_Z_PRIME = 0.0
"""Z' below which positive and negative controls overlap: the plate measured nothing that could be told apart."""
MISPLACED = ("plate order", "row order")
"""Checks of whether values stand where the plate map says."""


def verdicts(state: State, readings: pd.DataFrame) -> dict[str, str]:
    """Return plate -> why it is rejected, or an empty text, of all plates in the rounds of new readings.

    A plate is rejected where the objective's task has a Z' below 0, or where values fit another plate's map, or two
    rows exchanged, better than their own. What is merely suspicious (an edge effect, noisy replicates) is flagged
    and left to a person.

    Parameters
    ----------
    state
        Before the readings.
    readings
        New ones.
    """
    known = pd.concat([state.readings, readings], ignore_index=True) if len(state.readings) else readings
    current = known.drop_duplicates(KEY, keep="last")
    rounds = readings["round"].unique()
    wells = state.wells[state.wells["round"].isin(rounds)]
    current = current[current["round"].isin(rounds) & (current["task"] == state.tasks[0])]
    after = replace(state, readings=known)
    checks = check_plates(wells, current, seed=state.settings.seed, expected=expected_values(after))
    return {str(plate): _why(part) for plate, part in checks.groupby("plate", sort=True)}


def plate_checks(state: State) -> pd.DataFrame:
    """Return the checks of all plates that have readings, beside those that count; see `check_plates`."""
    expected, seed = expected_values(state), state.settings.seed
    return check_plates(state.wells, state.current(), seed=seed, expected=expected, rejected=state.rejected)


def _why(checks: pd.DataFrame) -> str:
    overlap = checks["check"].eq("z prime") & (checks["value"] < LEAST_Z_PRIME)
    bad = checks["ok"].eq(False).fillna(False).to_numpy(bool)  # noqa: FBT003
    misplaced = checks["check"].isin(MISPLACED) & bad
    return " ".join(f"{line['check']}: {line['message']}" for _, line in checks[misplaced | overlap].iterrows())


def expected_values(state: State) -> dict[tuple[int, str], float]:
    """Return (round, condition_id) -> what was predicted before it was measured; absolute objectives predict none."""
    told = state.proposals[np.isfinite(state.proposals["mean"])]
    if state.settings.objective.startswith("absolute"):
        return {}
    names: Any = zip(told["round"], told["condition_id"], strict=True)
    return dict(zip(names, told["mean"].astype(float), strict=True))
