"""Choose among Salt, scaled Salt and Peper by the held-out errors of a screen's own doubles."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from screenwise.models.pairwise import PeperGP, Salt, ScaledSalt
from screenwise.models.pairwise_descriptors import Descriptors
from screenwise.models.pairwise_model import FEW_DOUBLES, PairModel
from screenwise.run import Run
from screenwise.screen import Screen

CANDIDATES: dict[str, type[PairModel]] = {"peper_gp": PeperGP, "scaled_salt": ScaledSalt, "salt": Salt}
"""In the order of preference: a later one must be clearly better."""
CLEARLY = 2.0
"""Standard errors of the paired difference by which a later candidate must be better."""


@dataclass(frozen=True)
class PairwiseChoice:
    """Which model of gene combinations to use, and why."""

    model: PairModel
    """Fitted."""
    name: str
    """Of `screenwise.models.MODELS`."""
    reason: str
    """A sentence."""
    scores: list[dict[str, Any]]
    """One row per candidate: `model`, `doubles` and `held_out_distance`, the mean distance to the measured
    doubles, each predicted from all others (None without doubles)."""


def choose_pairwise(
    screen: Screen, *, descriptors: Descriptors | None = None, run: Run | None = None, seed: int = 0
) -> PairwiseChoice:
    """Fit the candidates and return the one to use, with the reason.

    Each double is predicted from all others; Peper stays unless a simpler model's distances to the measured
    profiles are smaller by two standard errors of the paired difference.

    Examples
    --------
    >>> import pandas as pd
    >>> from screenwise.screen import make_screen
    >>> conditions = pd.DataFrame({"gene_a": ["", "A", "B"], "gene_b": ["", "", ""]})
    >>> choice = choose_pairwise(make_screen(conditions, np.array([[1.0], [3.0], [0.5]]), ["growth"]))
    >>> choice.name, choice.scores[0]["doubles"]
    ('scaled_salt', 0)
    """
    fitted: dict[str, PairModel] = {}
    for name, kind in CANDIDATES.items():
        fitted[name] = kind(descriptors=descriptors).fit(screen, run=run if name == "peper_gp" else None, seed=seed)
    held = {name: np.linalg.norm(model.rule_.held_error, axis=1) for name, model in fitted.items()}
    doubles = len(held["peper_gp"])
    distance = {name: float(one.mean()) if doubles else None for name, one in held.items()}
    if doubles < FEW_DOUBLES:
        choice = "scaled_salt"
        reason = f"only {doubles} measured doubles with both singles: they can scale a sum, not teach departures"
    else:
        choice = "peper_gp"
        for name in ("scaled_salt", "salt"):
            gain = held[choice] - held[name]
            if gain.mean() > CLEARLY * gain.std(ddof=1) / np.sqrt(doubles):
                choice = name
        reason = _sentence(choice, distance, doubles)
    scores = [{"model": name, "doubles": doubles, "held_out_distance": value} for name, value in distance.items()]
    return PairwiseChoice(fitted[choice], choice, reason, scores)


def _sentence(choice: str, distance: dict[str, float | None], doubles: int) -> str:
    told = ", ".join(f"{name} {value:.3g}" for name, value in distance.items())
    return f"{choice}: mean distance to {doubles} doubles, each predicted from all others: {told}"
