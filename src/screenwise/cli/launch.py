"""From a command line to an exit code: settings, errors in plain words, results."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.config import Toml

from screenwise.cli import campaign as _campaign  # noqa: F401 - names its commands
from screenwise.cli import perturbseq as _perturbseq  # noqa: F401
from screenwise.cli import screens as _screens  # noqa: F401
from screenwise.cli import sparsechem as _sparsechem  # noqa: F401
from screenwise.cli import trust as _trust  # noqa: F401
from screenwise.cli import tune as _tune  # noqa: F401
from screenwise.cli.lists import joined
from screenwise.cli.root import app
from screenwise.config import check_config, to_toml
from screenwise.data.columns import Columns
from screenwise.data.tune_settings import TuneSettings
from screenwise.errors import ScreenwiseError
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.pair_settings import PairAsk, PairEvaluation, PairFitSettings, ProfileReading
from screenwise.recipes.progress import close_bars, show
from screenwise.recipes.settings import (
    Ask,
    CampaignOptions,
    CompareSettings,
    DomainSettings,
    FitSettings,
    GainSettings,
    PredictSettings,
    PseudolabelSettings,
    SimulateSettings,
)

PRINTABLE: dict[str, tuple[Any, ...]] = {
    "fit": (FitSettings(), Columns()),
    "predict": (PredictSettings(), Columns()),
    "evaluate": (Columns(),),
    "domain": (DomainSettings(), Columns()),
    "propose": (Ask(), Columns()),
    "campaign new": (CampaignOptions("maximize:TASK"), Columns()),
    "compare": (CompareSettings(), Columns()),
    "gain": (GainSettings(), Columns()),
    "pseudolabel": (PseudolabelSettings(), Columns()),
    "simulate": (SimulateSettings(), Columns()),
    "perturbseq fit": (PairFitSettings(), ProfileReading()),
    "perturbseq interactions": (ProfileReading(),),
    "perturbseq suggest": (PairAsk(),),
    "perturbseq evaluate": (PairEvaluation(), ProfileReading()),
    "tune": (TuneSettings(),),
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
    command = _command(tokens)
    if (print_config or config is not None) and not command:
        _say(f"--config and --print-config work with: {', '.join(PRINTABLE)}.")
        return 2
    if print_config:
        sys.stdout.write("\n".join(to_toml(settings) for settings in PRINTABLE[command]) + "\n")
        return 0
    try:
        if config is not None:
            check_config(config, tuple(type(one) for one in PRINTABLE[command]))
            app.config = (Toml(config, must_exist=True, use_commands_as_keys=False, allow_unknown=False),)
        outcome = app(joined(tokens), result_action="return_value")
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
    # torch's idle threads would spin on the processors that the loops of the sparse layer want (two threads: 1.4 times
    # the speed of one instead of 0.9); read when torch is loaded, which nothing has done yet
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code = app.meta(arguments, result_action="return_value")
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Everything is written; the thread pools of numerical libraries may abort while they are torn down.
    os._exit(code or 0)


def _command(tokens: tuple[str, ...]) -> str:
    """Name the command of a call: its first two words where both belong to the name."""
    return next((name for name in (" ".join(tokens[:2]), *tokens[:1]) if name in PRINTABLE), "")


def _say(text: str) -> None:
    close_bars()
    sys.stderr.write(text + "\n")
