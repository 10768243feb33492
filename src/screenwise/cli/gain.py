"""The command that compares two fitted runs."""

from pathlib import Path
from typing import Annotated

from screenwise.cli.root import Flat, app
from screenwise.data.columns import Columns
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import bars
from screenwise.recipes.settings import GainSettings, Reading


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
