"""Single cells in and out: AnnData -> profiles, control cells for predictions of single cells, predictions -> h5ad."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from screenwise.data.cell_groups import group_cells
from screenwise.data.cell_source import CellColumns, open_cells
from screenwise.data.cell_statistics import Statistics, cell_statistics
from screenwise.data.expression import expression_of, log_rows
from screenwise.data.predicted_profiles import ProfileOutput, profiles_anndata, write_profiles_h5ad
from screenwise.data.profiles import Profiles, profiles_from_statistics
from screenwise.errors import DataError
from screenwise.rng import stream

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "CellColumns",
    "ProfileOutput",
    "Statistics",
    "cell_statistics",
    "control_cells",
    "profiles_anndata",
    "read_cells",
    "shift_cells",
    "write_profiles_h5ad",
]


def read_cells(
    source: "AnnData | Path | str",
    columns: CellColumns | None = None,
    *,
    controls: str = "shrunk",
    progress: Callable[[str, int, int], None] | None = None,
) -> Profiles:
    """Return the profiles of a screen of single cells: one pass, a backed file never in memory as a whole.

    Parameters
    ----------
    source
        AnnData object, in memory or backed, or path of an h5ad file.
    columns
        Where labels, batches and counts stand.
    controls
        Control of each batch: "shrunk", "matched" or "pooled" (`screenwise.data.matched_control`).
    progress
        Called as ``progress(what, done, total)``.

    Examples
    --------
    >>> import pandas as pd
    >>> from anndata import AnnData
    >>> obs = pd.DataFrame({"condition": ["ctrl", "ctrl", "KLF1+ctrl", "KLF1+ctrl"]}, index=list("abcd"))
    >>> counts = np.array([[1, 3], [3, 1], [0, 4], [0, 4]], np.float32)
    >>> profiles = read_cells(AnnData(counts, obs=obs))
    >>> profiles.screen.conditions["condition"].tolist(), profiles.effect.round().tolist()
    (['ctrl', 'KLF1'], [[0.0, 0.0], [-8.0, 1.0]])
    """
    return profiles_from_statistics(cell_statistics(source, columns, progress=progress), controls=controls)


def control_cells(
    source: "AnnData | Path | str", columns: CellColumns | None = None, *, limit: int = 1_000, seed: int = 0
) -> NDArray[np.float32]:
    """Return (m, p) log1p-normalised control cells, m <= `limit` of them drawn at random, in file order.

    Examples
    --------
    >>> import pandas as pd
    >>> from anndata import AnnData
    >>> obs = pd.DataFrame({"condition": ["ctrl", "KLF1", "ctrl"]}, index=list("abc"))
    >>> control_cells(AnnData(np.ones((3, 2), np.float32), obs=obs), limit=1).shape
    (1, 2)
    """
    columns = columns or CellColumns()
    with open_cells(source, columns.layer) as cells:
        grouping = group_cells(cells, columns)
        control = np.flatnonzero(grouping.groups["gene_a"].to_numpy() == "")
        wanted = int(grouping.groups["n_cells"].to_numpy()[control].sum())
        # which of the control cells, numbered in file order
        chosen = np.sort(stream(seed, "control cells").permutation(wanted)[:limit])
        expression = expression_of(cells, columns)
        parts, met = [], 0
        for first, rows in cells.blocks():
            own = np.flatnonzero(np.isin(grouping.of(first, first + rows.shape[0]), control))
            here = own[chosen[(chosen >= met) & (chosen < met + len(own))] - met]
            met += len(own)
            if len(here):
                scale = expression.scale(first, rows)
                here = here[scale[here] != 0]
                parts.append(log_rows(csr_array(rows[here]), scale[here]).toarray())
        return np.concatenate([np.zeros((0, cells.shape[1]), np.float32), *parts])


def shift_cells(
    control_cells: Any, delta: NDArray[np.floating], *, size: int | None = None, seed: int = 0
) -> NDArray[np.float32]:
    """Return predicted cells: each control cell x becomes max(0, x + delta), for log1p values.

    Salt at the level of cells: `delta` is the sum of the effects of the single perturbations. The
    cells keep the spread of control cells; a value cannot fall below no expression.

    Parameters
    ----------
    control_cells
        (m, p) log1p-normalised control cells, dense or sparse.
    delta
        (p,) predicted effect.
    size
        Number of cells, drawn from the control cells (each at most once while there are enough);
        all control cells, once each, when None.
    seed
        Of the draw.

    References
    ----------
    Gaudelet et al., Season combinatorial intervention predictions with Salt & Peper, 2024,
    arXiv 2404.16907, in the reading that the sum applies to every control cell.

    Examples
    --------
    >>> shift_cells(np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([-1.0, 0.5])).tolist()
    [[0.0, 1.5], [1.0, 1.5]]
    """
    if control_cells.ndim != 2 or np.shape(delta) != (control_cells.shape[1],):  # noqa: PLR2004
        message = (
            f"An effect of shape {np.shape(delta)} does not fit control cells of shape {control_cells.shape}; it needs "
            "one number per feature."
        )
        raise DataError(message)
    if size is not None:
        if not control_cells.shape[0]:
            message = "There are no control cells to draw from."
            raise DataError(message)
        rounds = -(-size // control_cells.shape[0])
        order = stream(seed, "shift cells")
        rows = np.concatenate([order.permutation(control_cells.shape[0]) for _ in range(max(rounds, 1))])[:size]
        control_cells = control_cells[rows]
    cells = control_cells.toarray() if issparse(control_cells) else np.asarray(control_cells)
    return np.asarray(np.maximum(cells + np.asarray(delta), 0), np.float32)
