"""The commands for gene pairs: fit, predict, interactions, suggest, evaluate."""

from pathlib import Path
from typing import Annotated

from cyclopts import App

from screenwise.cli.root import Flat, app
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.pair_settings import PairAsk, PairEvaluation, PairFitSettings, ProfileReading
from screenwise.recipes.progress import bars

HELP = """Transcriptomes of gene pairs: predict those nobody measured, find interactions, choose pairs.

DATA is an h5ad of cells, or a table of profiles (CSV, TSV, Parquet): `condition` (ctrl, A+ctrl, A+B),
perhaps `n_cells` and `batch`, then one numeric column per feature."""

perturbseq = App(name="perturbseq", help=HELP)
app.command(perturbseq)


@perturbseq.command(name="fit")
def perturbseq_fit(
    data: str,
    *,
    out: Path,
    settings: Annotated[PairFitSettings, Flat] = PairFitSettings(),
    reading: Annotated[ProfileReading, Flat] = ProfileReading(),
) -> Outcome:
    """Fit a model of gene pairs and save it as a run.

    Parameters
    ----------
    data
        Cells (h5ad) or profiles (a table).
    out
        Folder of the run.
    """
    from screenwise.recipes import perturbseq as recipe  # noqa: PLC0415

    return recipe.fit(data, out, settings, reading, progress=bars())


@perturbseq.command(name="predict")
def perturbseq_predict(run: Path, ask: Path, *, out: Path) -> Outcome:
    """Predict the profiles of pairs (and triples), with 90 % intervals and what to trust.

    Parameters
    ----------
    run
        Folder that `screenwise perturbseq fit` wrote.
    ask
        Table with a column condition: A+B in any order, A+B+C too.
    out
        File to write: .h5ad (layers std, lower, upper, delta), .csv, .tsv or .parquet.
    """
    from screenwise.recipes import perturbseq as recipe  # noqa: PLC0415

    return recipe.predict(run, ask, out, progress=bars())


@perturbseq.command(name="interactions")
def perturbseq_interactions(
    data: str, *, out: Path, reading: Annotated[ProfileReading, Flat] = ProfileReading()
) -> Outcome:
    """Measure how pairs depart from addition: how far, how sure, of which type, on which features.

    Parameters
    ----------
    data
        Cells (h5ad) or profiles (a table).
    out
        Folder for pairs.csv, features.csv and report.html.
    """
    from screenwise.recipes import pair_interactions  # noqa: PLC0415

    return pair_interactions.interactions(data, out, reading, progress=bars())


@perturbseq.command(name="suggest")
def perturbseq_suggest(run: Path, *, out: Path, ask: Annotated[PairAsk, Flat] = PairAsk()) -> Outcome:
    """Choose the pairs to measure next, with the controls and singles that they need, as a plate map.

    Parameters
    ----------
    run
        Folder that `screenwise perturbseq fit` wrote.
    out
        Plate map to write (CSV).
    """
    from screenwise.recipes import pair_design  # noqa: PLC0415

    return pair_design.suggest(run, out, ask)


@perturbseq.command(name="evaluate")
def perturbseq_evaluate(
    data: str,
    *,
    out: Path,
    settings: Annotated[PairEvaluation, Flat] = PairEvaluation(),
    reading: Annotated[ProfileReading, Flat] = ProfileReading(),
) -> Outcome:
    """Hold out pairs and score models beside no change, the mean, plain and scaled addition, and the noise.

    Parameters
    ----------
    data
        Cells (h5ad) or profiles (a table).
    out
        Folder for scores.csv, summary.csv, splits.json and report.html.
    """
    from screenwise.recipes import pair_evaluation  # noqa: PLC0415

    return pair_evaluation.evaluate(data, out, settings, reading, progress=bars())
