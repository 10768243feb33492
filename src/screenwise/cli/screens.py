"""The commands for any screen; each a few lines that call a recipe."""

from pathlib import Path
from typing import Annotated

from screenwise.cli.root import Features, Flat, app
from screenwise.data.columns import Columns
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import bars
from screenwise.recipes.settings import Ask, CompareSettings, FitSettings, PredictSettings, Reading, SimulateSettings


@app.command
def demo(*, out: Path = Path("demo"), seed: int = 0) -> Outcome:
    """Run the main job on the embedded screen: compare, calibrate, replay, design the next plate, report.

    Parameters
    ----------
    out
        Folder for the report and its tables.
    seed
        Seed of everything random.
    """
    from screenwise.recipes import bioactivity  # noqa: PLC0415

    return bioactivity.demo(out, seed=seed, progress=bars())


@app.command
def datasets(name: str | None = None, *, to: Path | None = None, pools: bool = False) -> Outcome:
    """List the datasets with size, licence and source; or write one as a table.

    Parameters
    ----------
    name
        One dataset.
    to
        File to write it to: .csv, .tsv or .parquet.
    pools
        List the pools that `screenwise simulate` replays: what a hit is, and the budget.
    """
    from screenwise.recipes import catalogue  # noqa: PLC0415

    return catalogue.datasets(name, to, pools=pools)


@app.command
def fit(
    table: str,
    *,
    out: Path,
    settings: Annotated[FitSettings, Flat] = FitSettings(),
    columns: Annotated[Columns, Flat] = Columns(),
    features: Features = None,
    auxiliary: Path | None = None,
) -> Outcome:
    """Fit a model to a table and save it as a run.

    Models: auto, gp, pooled_gp, gp_network, multitask, ridge, forest, svr, neighbours, mean.

    Parameters
    ----------
    table
        Measurements, wide or long.
    out
        Folder of the run.
    auxiliary
        Table of further tasks that teach a multitask model and are not scored; a column weight says how much.
    """
    from screenwise.recipes import learn  # noqa: PLC0415

    return learn.fit(table, out, settings, Reading(columns, features, auxiliary), progress=bars())


@app.command
def predict(
    run: Path,
    table: str,
    *,
    out: Path,
    settings: Annotated[PredictSettings, Flat] = PredictSettings(),
    columns: Annotated[Columns, Flat] = Columns(),
) -> Outcome:
    """Predict every row of a table with a fitted run: mean, std, 90 % interval, domain.

    Parameters
    ----------
    run
        Folder that `screenwise fit` wrote.
    table
        Conditions to predict.
    out
        File to write: .csv, .tsv or .parquet.
    """
    from screenwise.recipes import learn  # noqa: PLC0415

    return learn.predict(run, table, out, settings=settings, reading=Reading(columns), progress=bars())


@app.command
def evaluate(run: Path, table: str, *, out: Path, columns: Annotated[Columns, Flat] = Columns()) -> Outcome:
    """Score a fitted run on measured rows that it has not seen.

    Parameters
    ----------
    run
        Folder that `screenwise fit` wrote.
    table
        Measurements; rows the run was fitted on are left out and counted.
    out
        Folder for scores and report.
    """
    from screenwise.recipes import learn  # noqa: PLC0415

    return learn.evaluate(run, table, out, Reading(columns), progress=bars())


@app.command
def compare(
    table: str,
    *,
    out: Path,
    settings: Annotated[CompareSettings, Flat] = CompareSettings(),
    columns: Annotated[Columns, Flat] = Columns(),
    features: Features = None,
) -> Outcome:
    """Compare models, always beside the baselines, with intervals and paired tests.

    Parameters
    ----------
    table
        Measurements, wide or long.
    out
        Folder for scores.csv, summary.csv and report.html.
    """
    from screenwise.recipes import comparison  # noqa: PLC0415

    return comparison.compare(table, out, settings, Reading(columns, features), progress=bars())


@app.command
def propose(
    run: Path,
    pool: str,
    *,
    out: Path,
    ask: Annotated[Ask, Flat] = Ask(),
    columns: Annotated[Columns, Flat] = Columns(),
) -> Outcome:
    """Choose the next wells from a pool with a fitted run, and write their plate map.

    Parameters
    ----------
    run
        Folder that `screenwise fit` wrote.
    pool
        Candidates.
    out
        Plate map to write (CSV).
    """
    from screenwise.recipes import discover  # noqa: PLC0415

    return discover.propose(run, pool, out, ask, Reading(columns), progress=bars())


@app.command
def simulate(
    *,
    pool: str,
    out: Path,
    settings: Annotated[SimulateSettings, Flat] = SimulateSettings(),
    columns: Annotated[Columns, Flat] = Columns(),
    constraints: Path | None = None,
    features: Features = None,
) -> Outcome:
    """Replay measured screens round by round, with random and greedy beside the policies.

    Interrupted or killed, the same command goes on: a replay of a pool, policy and seed that was finished is kept.

    Parameters
    ----------
    pool
        Measured screens, separated by commas: files or datasets (`screenwise datasets --pools`).
    out
        Folder for summary.csv (pools x policies), curves.csv, mean_curves.csv, pictures and report.html.
    constraints
        TOML file of rules, as `campaign new` takes it: all rounds keep them, and costs are told.
    """
    from screenwise.recipes import simulation  # noqa: PLC0415

    reading = Reading(columns, features)
    return simulation.simulate(pool, out, settings, reading, constraints=constraints, progress=bars())


@app.command
def report(folder: Path, *, out: Path | None = None) -> Outcome:
    """Write one self-contained HTML page of a run, a comparison or a campaign.

    Parameters
    ----------
    folder
        What to report on.
    out
        File to write; report.html in the folder by default.
    """
    from screenwise.recipes import reporting  # noqa: PLC0415

    return reporting.report(folder, out)
