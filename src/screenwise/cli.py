"""The commands; each a few lines that call a recipe."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.config import Toml

from screenwise import __version__
from screenwise.config import check_config, to_toml
from screenwise.data.columns import Columns
from screenwise.errors import ScreenwiseError
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import bars, show
from screenwise.recipes.settings import (
    Ask,
    CampaignOptions,
    CompareSettings,
    FitSettings,
    Reading,
    SimulateSettings,
)

HELP = """Learn from screens, know where to believe the model, design the next plate.

TABLE and POOL are CSV, TSV, Parquet (.gz allowed) or h5ad files, or the name of a dataset.
Exit codes: 0 done, 1 an error that is explained, 2 wrong usage, 130 interrupted."""

app = App(name="screenwise", help=HELP, version=__version__, help_format="plaintext", suppress_keyboard_interrupt=False)
campaign = App(name="campaign", help="A discovery campaign that lasts: propose, export, ingest, again.")
app.command(campaign)

Flat = Parameter(name="*")
Features = Annotated[Path | None, Parameter(help="Table of numbers per entity, joined on its id.")]


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
def datasets(name: str | None = None, *, to: Path | None = None) -> Outcome:
    """List the datasets with size, licence and source; or write one as a table.

    Parameters
    ----------
    name
        One dataset.
    to
        File to write it to: .csv, .tsv or .parquet.
    """
    from screenwise.recipes import catalogue  # noqa: PLC0415

    return catalogue.datasets(name, to)


@app.command
def fit(
    table: str,
    *,
    out: Path,
    settings: Annotated[FitSettings, Flat] = FitSettings(),
    columns: Annotated[Columns, Flat] = Columns(),
    features: Features = None,
) -> Outcome:
    """Fit a model to a table and save it as a run.

    Models: auto, gp, multitask, ridge, forest, svr, neighbours, mean.

    Parameters
    ----------
    table
        Measurements, wide or long.
    out
        Folder of the run.
    """
    from screenwise.recipes import learn  # noqa: PLC0415

    return learn.fit(table, out, settings, Reading(columns, features), progress=bars())


@app.command
def predict(
    run: Path,
    table: str,
    *,
    out: Path,
    wide: bool = False,
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
    wide
        One row per input row instead of one per row and task.
    """
    from screenwise.recipes import learn  # noqa: PLC0415

    return learn.predict(run, table, out, wide=wide, reading=Reading(columns), progress=bars())


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

    return discover.propose(run, pool, out, ask, Reading(columns))


@campaign.command(name="new")
def campaign_new(
    folder: Path,
    *,
    pool: str,
    options: Annotated[CampaignOptions, Flat],
    columns: Annotated[Columns, Flat] = Columns(),
    features: Features = None,
) -> Outcome:
    """Begin a campaign over a pool of candidates.

    Parameters
    ----------
    folder
        Folder of the campaign; it must not exist yet.
    pool
        Candidates; measured values in it are ignored.
    """
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.new(folder, pool, options, Reading(columns, features))


@campaign.command(name="propose")
def campaign_propose(folder: Path) -> Outcome:
    """Choose the wells of the next round."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.propose(folder)


@campaign.command(name="export")
def campaign_export(folder: Path, *, out: Path) -> Outcome:
    """Write the proposed round as a plate map (CSV), with controls and replicates."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.export(folder, out)


@campaign.command(name="ingest")
def campaign_ingest(folder: Path, results: Path) -> Outcome:
    """Take results: the filled plate map, or a table with id and value."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.ingest(folder, results)


@campaign.command(name="status")
def campaign_status(folder: Path) -> Outcome:
    """Say where the campaign stands."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.status(folder)


@campaign.command(name="stop")
def campaign_stop(folder: Path, *, reason: str = "stopped by the user") -> Outcome:
    """End the campaign; its record stays readable."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.stop(folder, reason)


@campaign.command(name="verify")
def campaign_verify(folder: Path) -> Outcome:
    """Check that no event and no table was changed since it was written."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.verify(folder)


@campaign.command(name="replay")
def campaign_replay(folder: Path) -> Outcome:
    """Compute every proposal again from the record and compare them bit for bit."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.replay(folder, progress=bars())


@app.command
def simulate(
    *,
    pool: str,
    out: Path,
    settings: Annotated[SimulateSettings, Flat] = SimulateSettings(),
    columns: Annotated[Columns, Flat] = Columns(),
    features: Features = None,
) -> Outcome:
    """Replay a measured screen round by round, with random and greedy beside the policy.

    Parameters
    ----------
    pool
        A measured screen: file or dataset.
    out
        Folder for curves.csv and the picture.
    """
    from screenwise.recipes import simulation  # noqa: PLC0415

    return simulation.simulate(pool, out, settings, Reading(columns, features), progress=bars())


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


PRINTABLE: dict[str, tuple[Any, ...]] = {
    "fit": (FitSettings(), Columns()),
    **dict.fromkeys(("predict", "evaluate"), (Columns(),)),
    "propose": (Ask(), Columns()),
    "campaign new": (CampaignOptions("maximize:TASK"), Columns()),
    "compare": (CompareSettings(), Columns()),
    "simulate": (SimulateSettings(), Columns()),
}
"""Commands whose settings `--print-config` writes as TOML."""


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    json: bool = False,
    debug: bool = False,
    config: Path | None = None,
    print_config: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run a command.

    Parameters
    ----------
    json
        Print the result as one JSON object on standard output.
    debug
        Show the Python traceback of an error.
    config
        TOML file with settings; what the command line says wins.
    print_config
        Write the command's settings as commented TOML and do nothing else.
    """
    if print_config:
        return _print_config(tokens)
    try:
        if config is not None:
            if tokens and tokens[0] in PRINTABLE:
                check_config(config, tuple(type(one) for one in PRINTABLE[tokens[0]]))
            app.config = (Toml(config, must_exist=True, use_commands_as_keys=False, allow_unknown=False),)
        outcome = app(tokens, result_action="return_value")
        if isinstance(outcome, Outcome):
            show(outcome, as_json=json)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # who reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _say("Interrupted. What was finished is kept; the same command goes on.")
        return 130
    except (ScreenwiseError, OSError, MemoryError) as error:
        if debug:
            raise
        _say(f"Error: {str(error) or type(error).__name__}")
    except Exception as error:  # a fault of ours: still no traceback on a scientist's screen
        if debug:
            raise
        _say(f"Internal error: {type(error).__name__}: {error}\nThis is a fault in Screenwise; --debug shows where.")
    finally:
        app.config = ()
    return 1


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    code = app.meta(arguments, result_action="return_value")
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Everything is written; the thread pools of numerical libraries may abort while they are torn down.
    os._exit(code or 0)


def _print_config(tokens: tuple[str, ...]) -> int:
    command = " ".join(tokens[: 2 if tokens[:1] == ("campaign",) else 1])
    if command not in PRINTABLE:
        _say(f"--print-config works with: {', '.join(PRINTABLE)}.")
        return 2
    sys.stdout.write("\n".join(to_toml(settings) for settings in PRINTABLE[command]) + "\n")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
