"""The commands that say where to believe a run, what a second one gains, and that let a run teach another."""

from pathlib import Path
from typing import Annotated

from screenwise.cli.root import Flat, app
from screenwise.data.columns import Columns
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import bars
from screenwise.recipes.settings import DomainSettings, GainSettings, PseudolabelSettings, Reading


@app.command
def domain(
    run: Path,
    table: str,
    *,
    out: Path,
    settings: Annotated[DomainSettings, Flat] = DomainSettings(),
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
    """
    from screenwise.recipes import domain as recipe  # noqa: PLC0415

    return recipe.domain(run, table, out, settings, Reading(columns), progress=bars())


@app.command
def gain(
    run_a: Path,
    run_b: Path,
    table: str,
    *,
    out: Path,
    settings: Annotated[GainSettings, Flat] = GainSettings(),
    columns: Annotated[Columns, Flat] = Columns(),
) -> Outcome:
    """Say what a second run gains over a first, task by task: scores, significance, domain.

    Parameters
    ----------
    run_a
        Folder of the first run.
    run_b
        Folder of the second run.
    table
        Measurements; rows that either run was fitted on are left out and counted.
    out
        Folder for deltas.csv, summary.csv, domain.csv, predictions.csv and report.html.
    """
    from screenwise.recipes import gain as recipe  # noqa: PLC0415

    return recipe.gain(run_a, run_b, table, out, settings, reading=Reading(columns), progress=bars())


@app.command
def pseudolabel(
    run: Path,
    table: str,
    *,
    out: Path,
    settings: Annotated[PseudolabelSettings, Flat] = PseudolabelSettings(),
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
    """
    from screenwise.recipes import pseudolabel as recipe  # noqa: PLC0415

    return recipe.pseudolabel(run, table, out, settings, Reading(columns), progress=bars())
