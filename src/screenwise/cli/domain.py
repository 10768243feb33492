"""The commands that say where to believe a run, and that let it teach with what it is sure of."""

from pathlib import Path
from typing import Annotated

from screenwise.cli.root import Flat, app
from screenwise.data.columns import Columns
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import bars
from screenwise.recipes.settings import Reading


@app.command
def domain(
    run: Path,
    table: str,
    *,
    out: Path,
    error: float = 0.1,
    columns: Annotated[Columns, Flat] = Columns(),
) -> Outcome:
    """Say where to believe a run: conformal sets and intervals, nearest training condition, validity.

    Parameters
    ----------
    run
        Folder that `screenwise fit` wrote.
    table
        Conditions; where values were measured, the achieved validity is shown.
    out
        File to write, one row per condition and task: .csv, .tsv or .parquet.
    error
        Share of sets and intervals that may be wrong.
    """
    from screenwise.recipes import domain as recipe  # noqa: PLC0415

    return recipe.domain(run, table, out, error, Reading(columns), progress=bars())


@app.command
def pseudolabel(
    run: Path,
    table: str,
    *,
    out: Path,
    error: float = 0.1,
    weight: float = 0.1,
    columns: Annotated[Columns, Flat] = Columns(),
) -> Outcome:
    """Write the labels a run is sure of, as auxiliary tasks for `screenwise fit --auxiliary`.

    Parameters
    ----------
    run
        Folder that `screenwise fit` wrote, with a classification task.
    table
        Conditions that nobody measured.
    out
        Long table to write: .csv, .tsv or .parquet.
    error
        Error level of the conformal sets: a label is written where it is alone in its set.
    weight
        Weight of the auxiliary tasks in training.
    """
    from screenwise.recipes import pseudolabel as recipe  # noqa: PLC0415

    return recipe.pseudolabel(run, table, out, (error, weight), Reading(columns), progress=bars())
