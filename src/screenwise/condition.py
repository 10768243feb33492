"""Stable names of conditions: what was applied decides the id, not how the table was written."""

import hashlib
import re
import unicodedata
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ColumnError
from screenwise.rng import GOLDEN, scramble

ENTITIES = ("smiles", "sequence", "variant", "gene", "protein", "compound", "entity")
"""Columns that name an entity, the most exact first: where `smiles` is there, `compound` is only a label."""
CONTEXT = ("dose_um", "dose_m", "cell_line", "organism", "medium", "donor", "time_h", "temperature_c")
"""Columns that say how and where an entity was applied."""
CONTROL = ("", "ctrl", "control", "negative", "non-targeting", "NO-TARGET")
"""Names of "nothing applied" in a pair's second place: A + control is the same condition as A."""

_MEMBER = re.compile(r"^(?P<name>.+)_(?P<member>[a-e])$")


def factor_columns(conditions: pd.DataFrame) -> list[str]:
    """Return the columns that make a condition what it is, found by their names.

    Members of a pair carry the suffixes ``_a``, ``_b`` (up to ``_e``): ``gene_a, gene_b`` or
    ``smiles_a, dose_um_a, smiles_b, dose_um_b``. Any other column is a label.

    Examples
    --------
    >>> factor_columns(pd.DataFrame(columns=["gene_b", "gene_a", "plate", "cell_line"]))
    ['gene_a', 'gene_b', 'cell_line']
    >>> factor_columns(pd.DataFrame(columns=["compound", "smiles", "dose_um"]))
    ['smiles', 'dose_um']
    """
    found: list[str] = []
    for suffix in ("", "_a", "_b", "_c", "_d", "_e"):
        named = [name + suffix for name in ENTITIES if name + suffix in conditions.columns]
        found += named[:1]
    for name in CONTEXT:
        found += [name + suffix for suffix in ("", "_a", "_b", "_c", "_d", "_e") if name + suffix in conditions.columns]
    if not any(_entity_of(column) in ENTITIES for column in found):
        message = (
            f"No column names what was applied; found {list(map(str, conditions.columns))}. "
            f"Name one of {', '.join(ENTITIES)} (a pair: gene_a, gene_b), or say which column with --id or --smiles."
        )
        raise ColumnError(message)
    return found


def _entity_of(column: str) -> str:
    match = _MEMBER.match(column)
    return match["name"] if match else column


def condition_ids(conditions: pd.DataFrame, factors: list[str] | None = None) -> NDArray[Any]:
    """Return (n,) ids of 20 hexadecimal digits that depend only on what was applied.

    The id does not depend on the order of rows or columns, on the order inside a pair (each member's
    columns move together), on dtypes (1, 1.0 and "1" of a number column are one dose), nor on absent
    members (A + control = A). A missing factor counts as not there.

    Parameters
    ----------
    conditions
        (n,) conditions, factors as columns.
    factors
        Columns that make the condition; found by name when None.

    Examples
    --------
    >>> pair = pd.DataFrame({"gene_a": ["TP53", "MYC"], "gene_b": ["MYC", "TP53"]})
    >>> ids = condition_ids(pair)
    >>> bool(ids[0] == ids[1])
    True
    """
    factors = factor_columns(conditions) if factors is None else factors
    members: dict[str, NDArray[np.uint64]] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    total = np.zeros((len(conditions), 2), np.uint64)
    for column in sorted(factors):
        match = _MEMBER.match(column)
        name = match["name"] if match else column
        hashed, there = _hash_column(conditions[column], name)
        if match is None:
            total += _mix(hashed) * there[:, None]
            continue
        member = match["member"]
        members[member] = members.get(member, np.zeros_like(total)) + hashed * there[:, None]
        if name in ENTITIES:
            present[member] = there & ~_is_control(conditions[column])
    for member, hashed in members.items():
        # Mixing a member's columns before the sum keeps (A low, B high) apart from (A high, B low).
        total += _mix(hashed) * present.get(member, np.ones(len(conditions), bool))[:, None]
    total = _mix(total)
    text = total.astype(">u8").tobytes().hex()
    return np.asarray([text[first : first + 20] for first in range(0, len(text), 32)], dtype=object)


def _is_control(column: pd.Series) -> NDArray[np.bool_]:
    lowered = column.astype("string").str.strip().str.lower()
    return lowered.isin([name.lower() for name in CONTROL]).fillna(value=True).to_numpy(bool)


def _hash_column(column: pd.Series, name: str) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hash distinct values once; (n, 2) words and whether a value is there."""
    codes, values = pd.factorize(column)
    begun = hashlib.blake2b(f"{name}\x1f".encode(), digest_size=16)

    def digest(value: Any) -> bytes:
        one = begun.copy()
        one.update(_canonical(value).encode())
        return one.digest()

    words = np.zeros((len(values) + 1, 2), np.uint64)
    words[:-1] = np.frombuffer(b"".join(map(digest, values)), np.uint64).reshape(-1, 2)
    return words[codes], codes >= 0


def _canonical(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | float | np.integer | np.floating):
        return f"{float(value):.9g}"
    text = str(value)
    text = (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()
    try:
        return f"{float(text):.9g}" if text and text[0] in "0123456789.+-" else text
    except ValueError:
        return text


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble words, so that sums of them do not cancel."""
    with np.errstate(over="ignore"):
        return scramble(words + GOLDEN)
