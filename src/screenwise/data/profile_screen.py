"""Profiles: one mean response over many features per condition, as a screen."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.labels import condition_columns, genes_of, listing
from screenwise.errors import DataError
from screenwise.screen import Screen, make_screen

FEW_CELLS = 25
"""Cells below which a profile is mostly noise."""


@dataclass(frozen=True)
class Profiles:
    """Mean responses of n conditions over p features; one row is the control."""

    screen: Screen
    """Conditions: `condition`, gene_a, gene_b, ..., n_cells, squared_error; targets: control + effect, (n, p)."""
    standard_error: NDArray[np.float32] | None
    """(n, p) of the mean of each condition's own cells; an effect has the control row's besides. None: unknown."""
    rejected: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["label", "count", "reason"]))
    """Labels that were not read: label, count, reason."""
    notes: list[str] = field(default_factory=list)
    """What was guessed, pooled or is missing, in sentences."""
    floor: float | None = None
    """Smallest value that a feature can have, such as 0 of log1p counts; None: not known."""

    @property
    def level(self) -> NDArray[np.float32]:
        """(n, p) control + effect."""
        return self.screen.targets.value

    @property
    def control_row(self) -> int:
        """Row of the control."""
        return int(np.flatnonzero(self.size == 0)[0])

    @property
    def control(self) -> NDArray[np.float32]:
        """(p,) level of the control."""
        return self.level[self.control_row]

    @property
    def effect(self) -> NDArray[np.float32]:
        """(n, p) level minus control; 0 at the control."""
        return self.level - self.control

    @property
    def genes(self) -> list[tuple[str, ...]]:
        """(n,) sorted genes."""
        return genes_of(self.screen.conditions)

    @property
    def size(self) -> NDArray[np.int64]:
        """(n,) number of genes: 0 control, 1 singles, 2 doubles."""
        return np.array([len(one) for one in self.genes], np.int64)

    @property
    def features(self) -> list[str]:
        """(p,) names."""
        return self.screen.task_names


@dataclass(frozen=True)
class ProfileFacts:
    """What is known of profiles beside their levels."""

    standard_error: NDArray[np.floating] | None = None
    """(n, p)"""
    n_cells: NDArray[np.floating] | None = None
    """(n,); NaN = unknown."""
    symbols: Sequence[str] | None = None
    """(p,) gene symbols of the features, where they differ."""
    rejected: pd.DataFrame | None = None
    notes: Sequence[str] = ()
    floor: float | None = None


def make_profiles(
    genes: Sequence[Sequence[str]],
    level: NDArray[np.floating],
    features: Sequence[str],
    facts: ProfileFacts | None = None,
) -> Profiles:
    """Return profiles of n different conditions, the control first, then by number of genes and label.

    Parameters
    ----------
    genes
        (n,) genes of each condition; exactly one is empty, the control.
    level
        (n, p) mean responses.
    features
        (p,) names.
    facts
        Errors, numbers of cells, notes.

    Examples
    --------
    >>> profiles = make_profiles([("KLF1",), ()], np.array([[2.0, 3.0], [1.0, 1.0]]), ["x", "y"])
    >>> profiles.screen.conditions["condition"].tolist(), profiles.effect.tolist()
    (['ctrl', 'KLF1'], [[0.0, 0.0], [1.0, 2.0]])
    """
    facts = facts or ProfileFacts()
    conditions = condition_columns(genes)
    labels = conditions["condition"]
    doubled = labels[labels.duplicated()].unique().tolist()
    if doubled:
        message = f"{listing(doubled, 'Conditions stand more than once')} Average them first."
        raise DataError(message)
    sizes = np.array([len(set(one)) for one in genes], np.int64)
    if (sizes == 0).sum() != 1:
        message = "Profiles need the control: one condition without genes. Add its row."
        raise DataError(message)
    order = np.lexsort((labels.to_numpy(str), sizes))
    error = None if facts.standard_error is None else np.asarray(facts.standard_error, np.float32)[order]
    cells = np.full(len(sizes), np.nan) if facts.n_cells is None else np.asarray(facts.n_cells, float)
    conditions = conditions.iloc[order].reset_index(drop=True)
    conditions["n_cells"] = cells[order]
    # the sum in float64: thousands of small squares
    conditions["squared_error"] = np.nan if error is None else (error.astype(np.float64) ** 2).sum(axis=1)
    tasks = pd.DataFrame({"name": list(features)})
    if facts.symbols is not None:
        tasks["symbol"] = list(facts.symbols)
    screen = make_screen(conditions, np.asarray(level, np.float32)[order], tasks)
    notes = [*facts.notes, *_warnings(screen, facts.symbols or features)]
    rejected = Profiles(screen, error).rejected if facts.rejected is None else facts.rejected
    return Profiles(screen, error, rejected, notes, facts.floor)


def _warnings(screen: Screen, symbols: Sequence[str]) -> list[str]:
    """Return what a user should know before believing the profiles."""
    conditions = screen.conditions
    genes = genes_of(conditions)
    notes = []
    few = conditions["condition"][conditions["n_cells"] < FEW_CELLS].tolist()
    if few:
        notes.append(listing(few, f"Fewer than {FEW_CELLS} cells, so mostly noise"))
    singles = {one[0] for one in genes if len(one) == 1}
    combined = sorted({name for one in genes if len(one) > 1 for name in one})
    missing = [name for name in combined if name not in singles]
    if missing:
        notes.append(listing(missing, "Genes of combinations whose single was not measured"))
    targets, measured = sorted({name for one in genes for name in one}), set(symbols)
    unmeasured = [name for name in targets if name not in measured]
    # components and other features that are no genes say nothing of targets
    if unmeasured and len(unmeasured) < len(targets):
        notes.append(listing(unmeasured, "Perturbed genes that are not among the features"))
    return notes
