"""The command that prepares assay tables for training."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from screenwise.cli.root import app
from screenwise.data.tune_settings import TuneSettings
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import bars


@app.command
def tune(  # noqa: PLR0913 - three tables
    assays: Path,
    activities: Path,
    structures: Path,
    *,
    out: Path,
    key: Path | None = None,
    jobs: int | None = None,
    settings: Annotated[TuneSettings, Parameter(name="*", show=False)] = TuneSettings(),
) -> Outcome:
    """Prepare tables of assays, activities and structures (T0, T1, T2) for training, alone or with partners.

    Rules are read from --config FILE; --print-config writes them all with what they mean. Each is an option too,
    such as --folds.kind scaffold.

    Parameters
    ----------
    assays
        T0: input_assay_id, assay_type, and where there are any: use_in_regression, is_binary, expert_threshold_1 to 5,
        direction, catalog_assay_id, parent_assay_id.
    activities
        T1: input_compound_id, input_assay_id, standard_qualifier, standard_value.
    structures
        T2: input_compound_id, smiles.
    out
        Folder for matrices, tables, what was rejected, and report.json.
    key
        File with the secret that partners share; it permutes columns and draws folds.
    jobs
        Processes; one per core by default.
    """
    from screenwise.recipes import tune as recipe  # noqa: PLC0415

    return recipe.tune((assays, activities, structures), out, settings, key=key, jobs=jobs, progress=bars())
