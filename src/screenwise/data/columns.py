"""Which columns of a user's table mean what; light enough for the command line to import."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Columns:
    """Columns of a user's table; what is None is found by the names people use."""

    smiles: str | None = None
    """Column with SMILES."""
    id: str | None = None
    """Column that names a row's compound, gene or other entity."""
    components: tuple[str, ...] | None = None
    """Columns that are together what was applied, such as the base, ligand and temperature of a reaction."""
    task: str | None = None
    """Long tables: column that names the assay, target or readout."""
    value: str | None = None
    """Long tables: column with the measured value."""
    label: str | None = None
    """Long tables: column with 0 or 1, such as inactive or active, beside the value; a task of its own."""
    target: str | None = None
    """Long tables: column with the protein that a task asks of; tasks of one target can learn from each other."""
    relation: str | None = None
    """Long tables: column with the qualifier, such as < or >."""
    unit: str | None = None
    """Column with the unit of the value, such as nM; or the unit itself, for all rows."""
    tasks: tuple[str, ...] | None = None
    """Wide tables: columns that are tasks; patterns such as 'pIC50_*' are allowed."""


def listed(given: Iterable[str], known: Collection[str] = ()) -> list[str]:
    """Return names that were given one by one, or several with commas between them.

    Parameters
    ----------
    given
        As a user writes them.
    known
        Names that are there: one that holds a comma itself is not taken apart.

    Examples
    --------
    >>> listed(["base, ligand", "yield, %", "time"], ["base", "ligand", "yield, %", "time"])
    ['base', 'ligand', 'yield, %', 'time']
    """
    found: list[str] = []
    for text in given:
        found += [text] if text in known else [name.strip() for name in text.split(",") if name.strip()]
    return found
