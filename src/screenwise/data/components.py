"""Conditions that are put together from components, such as the base, ligand and solvent of a reaction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from screenwise.data.columns import Columns, listed
from screenwise.data.table import Table, typed
from screenwise.errors import ColumnError

TITLE = "components"
"""Column that names a condition by all its components."""
NOTHING = "none"
"""Stands where a component is left out, as in a control."""


def with_components(table: Table, columns: Columns, path: Path) -> tuple[Table, Columns]:
    """Return a table whose components are one name per condition and numbers that models read.

    A component of texts becomes a yes-or-no number per text, ``feature:ligand=XPhos``; one of numbers, such as a
    temperature, stays a number, ``feature:temperature``. Without `Columns.components` nothing changes.

    Parameters
    ----------
    table
        As read; `Columns.components` names columns of it.
    columns
        What the user says of the table.
    path
        Of the table, for errors.

    Raises
    ------
    ColumnError
        A component that is not a column, fewer than one of them, or structures named beside them.

    Examples
    --------
    >>> table = Table(pd.DataFrame({"base": ["K2CO3", "Cs2CO3"], "kelvin": ["300", "350"], "yield": ["1", "2"]}))
    >>> made, columns = with_components(table, Columns(components=("base", "kelvin")), Path("a.csv"))
    >>> made.frame["components"].tolist(), columns.id
    (['K2CO3 | 300', 'Cs2CO3 | 350'], 'components')
    >>> [name for name in made.frame if name.startswith("feature:")]
    ['feature:base=Cs2CO3', 'feature:base=K2CO3', 'feature:kelvin']
    """
    if columns.components is None:
        return table, columns
    names = listed(columns.components, list(map(str, table.frame.columns)))
    missing = [name for name in names if name not in table.frame.columns]
    if missing or not names:
        found = ", ".join(list(map(str, table.frame.columns))[:30])
        message = f"{path}: --components names {missing or 'nothing'}; its columns are {found}."
        raise ColumnError(message)
    if columns.smiles is not None:
        message = f"{path}: --components and --smiles both say what was applied; give one of them."
        raise ColumnError(message)
    parts = table.frame[names]
    texts = parts.astype("string").apply(lambda part: part.str.strip()).fillna("").replace("", NOTHING).astype(str)
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(typed(parts[[name]])[name])]
    choices = [name for name in names if name not in numbers]
    features = pd.get_dummies(texts[choices], prefix=choices, prefix_sep="=", dtype=np.float32)
    features = pd.concat([features, typed(parts[numbers]).astype(np.float32)], axis=1).add_prefix("feature:")
    title = pd.DataFrame({TITLE: texts.agg(" | ".join, axis=1)})
    frame = pd.concat([title, table.frame.drop(columns=names), features], axis=1)
    return replace(table, frame=frame), replace(columns, id=TITLE, components=tuple(names))
