"""The application, what the commands share, and the words of its help."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, CycloptsPanel, Parameter, UnusedCliTokensError

from screenwise import __version__

HELP = """Learn from screens, know where to believe the model, design the next plate.

TABLE and POOL are CSV, TSV, Parquet (.gz allowed) or h5ad files, or the name of a dataset.
Exit codes: 0 done, 1 an error that is explained, 2 wrong usage, 130 interrupted."""


def _explained(error: CycloptsError) -> Any:
    """Return what is wrong with a command line, and the cure where words are left over."""
    said = str(error)
    if isinstance(error, UnusedCliTokensError):
        said += " Several values of one option: with commas between them (--only A,B), or the option again for each."
    return CycloptsPanel(said)


app = App(
    name="screenwise",
    help=HELP,
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    error_formatter=_explained,
)

Flat = Parameter(name="*")
Features = Annotated[
    Path | None, Parameter(help="Table of numbers or sets per entity, joined on its id; gene_sets = public ones.")
]
