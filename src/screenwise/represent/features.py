"""Numbers given per entity in a table, joined onto conditions as columns named `feature:<name>`."""

import re
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ColumnError, ConfigError, DataError

FEATURE = "feature:"
"""What the names of feature columns begin with."""
SETS = "sets:"
"""What the names of columns begin with that hold the names of an entity's sets, parted by `|`."""
BLOCK = 16
"""So many columns numbered under one name (pw000, pw001, ...) are one block: their relative sizes matter."""
ONE_UNIT = 100.0
"""Unless the spread of one is more than this times that of another: then they are different quantities."""

_NUMBERED = re.compile(r"^(.*?)_?(\d+)$")
_SKEWED = 2.0
_PAIR = ("_a", "_b")


def join_features(conditions: pd.DataFrame, features: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return conditions with an entity's numbers as columns `feature:<name>`, and its sets as `sets:<name>`.

    Numbers: one row per entity. Sets: one row per entity and set (long form), the set's name in a
    text column. Entities that the table does not have get NaN (numbers) or "" (sets). For pairs
    (`key_a`, `key_b`) every member gets its own columns, `feature:<name>_a` and `feature:<name>_b`.

    Parameters
    ----------
    conditions
        (n,) conditions with the column `key`, or `key_a` and `key_b`.
    features
        Table with the column `key` (else `id` or `name`), and numbers or sets.
    key
        What both name, such as `gene`.

    Examples
    --------
    >>> genes = pd.DataFrame({"gene": ["TP53", "MYC"]})
    >>> joined = join_features(genes, pd.DataFrame({"gene": ["MYC"], "degree": [7.0]}), "gene")
    >>> joined["feature:degree"].tolist()
    [nan, 7.0]
    """
    own = next((name for name in (key, "id", "name") if name in features.columns), None)
    if own is None:
        message = f"The features name no {key!r}; found {list(map(str, features.columns))}. Name the id column {key!r}."
        raise ColumnError(message)
    table = _per_entity(features, own)
    members = {"": key} if key in conditions.columns else {each: key + each for each in _PAIR}
    absent = [column for column in members.values() if column not in conditions.columns]
    if absent:
        message = f"Features are joined on {key!r}, but the conditions have {list(map(str, conditions.columns))}."
        raise ColumnError(message)
    parts = [conditions.drop(columns=[name for name in conditions if str(name).startswith((FEATURE, SETS))])]
    for suffix, column in members.items():
        names = conditions[column].astype("string").fillna("").astype(str).str.strip()
        found = table.reindex(names).set_axis(conditions.index, axis=0)
        for name in (name for name in table if str(name).startswith(SETS)):
            found[name] = found[name].fillna("")
        parts.append(found.add_suffix(suffix))
    return pd.concat(parts, axis=1)


def _per_entity(features: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return a table indexed by entity, its columns under the names they will have."""
    names = features[key].astype("string").fillna("").astype(str).str.strip()
    numbers = [name for name in features if name != key and pd.api.types.is_numeric_dtype(features[name])]
    texts = [name for name in features if name not in numbers and name != key]
    if not names.duplicated().any():
        if not numbers:
            message = f"The features hold no numbers; found the text columns {texts[:10]} beside {key!r}."
            raise DataError(message)
        table = features[numbers].astype(np.float64).set_axis(pd.Index(names), axis=0)
        table = table.rename(columns=lambda name: FEATURE + str(name).removeprefix(FEATURE))
        return table.replace([np.inf, -np.inf], np.nan)
    sets = "gene_set" if "gene_set" in texts else texts[-1] if texts and not numbers else None
    if sets is None:
        doubled = names[names.duplicated()].unique()[:5].tolist()
        message = f"Features give one row per {key}, or sets in long form; {doubled} stand more than once."
        raise DataError(message)
    long = pd.DataFrame({"name": names, "set": features[sets].astype("string").fillna("").astype(str)})
    long = long[long["set"] != ""].drop_duplicates().sort_values(["name", "set"])
    return long.groupby("name")["set"].agg("|".join).to_frame(f"{SETS}{sets}")


def feature_blocks(conditions: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the `feature:` columns by block: numbered families each apart, all others under "".

    Examples
    --------
    >>> table = pd.DataFrame(np.eye(20), columns=[f"feature:pw{number}" for number in range(20)])
    >>> {name: len(columns) for name, columns in feature_blocks(table.assign(**{"feature:size": 1.0})).items()}
    {'': 1, 'pw': 20}
    """
    columns = [str(name) for name in conditions.columns if str(name).startswith(FEATURE)]
    stems: dict[str, list[str]] = {}
    for column in columns:
        match = _NUMBERED.match(column.removeprefix(FEATURE))
        stems.setdefault(match[1] if match else "", []).append(column)
    blocks = {
        stem: tuple(found)
        for stem, found in stems.items()
        if stem and len(found) >= BLOCK and _one_unit(_numbers(conditions, tuple(found)))
    }
    taken = {column for found in blocks.values() for column in found}
    rest = tuple(column for column in columns if column not in taken)
    return ({"": rest} if rest else {}) | blocks


def _one_unit(values: NDArray[np.float64]) -> bool:
    _, spread, _ = _moments(values, ~np.isnan(values))
    spread = spread[spread > 0]
    return len(spread) == 0 or bool(spread.max() <= ONE_UNIT * spread.min())


@dataclass(frozen=True)
class NumericFeatures:
    """Columns of numbers on one scale, NaN as zero, and last the share of them that is missing.

    Columns are standardised one by one, those that are >= 0 and skewed (above 2) as log(1 + x). A
    block keeps its zero and its columns' relative sizes: all are divided by one number, which brings
    the median row to the norm sqrt(columns).

    Examples
    --------
    >>> table = pd.DataFrame({"feature:x": [1.0, 2.0, 3.0]})
    >>> NumericFeatures(("feature:x",)).fit(table).transform(table).round(2).tolist()
    [[-1.2200000286102295, 0.0], [0.0, 0.0], [1.2200000286102295, 0.0]]
    """

    columns: tuple[str, ...]
    """Columns of the conditions, p of them."""
    block: bool = False
    """Whether the columns are one block."""
    centre: NDArray[np.float64] | None = field(default=None, compare=False)
    """(p,) subtracted; None = not fitted."""
    scale: NDArray[np.float64] | None = field(default=None, compare=False)
    """(p,) divided by."""
    logarithm: NDArray[np.bool_] | None = field(default=None, compare=False)
    """(p,) columns taken as log(1 + x)."""

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Return the same representation with its scales taken from conditions."""
        values = _numbers(conditions, self.columns)
        there = ~np.isnan(values)
        if self.block:
            norms = np.sqrt(np.square(np.where(there, values, 0.0)).sum(axis=1))
            norms = norms[norms > 0]
            size = float(np.median(norms)) / np.sqrt(len(self.columns)) if len(norms) else 1.0
            zero = np.zeros(len(self.columns))
            return replace(self, centre=zero, scale=zero + size, logarithm=zero > 0)
        _, sd, skewness = _moments(values, there)
        logarithm = (np.where(there, values, 0.0) >= 0).all(axis=0) & (skewness > _SKEWED) & (sd > 0)
        values[:, logarithm] = np.log1p(values[:, logarithm])
        mean, sd, _ = _moments(values, there)
        return replace(self, centre=mean, scale=np.where(sd > 0, sd, 1.0), logarithm=logarithm)

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, p + 1) numbers."""
        if self.centre is None or self.scale is None or self.logarithm is None:
            message = "These features are not fitted yet; call fit(conditions) first."
            raise ConfigError(message)
        values = _numbers(conditions, self.columns)
        values[:, self.logarithm] = np.log1p(np.maximum(values[:, self.logarithm], 0.0))
        values = (values - self.centre) / self.scale
        missing = np.isnan(values)
        values[missing] = 0.0
        return np.column_stack([values, missing.mean(axis=1)]).astype(np.float32)


def _numbers(conditions: pd.DataFrame, columns: tuple[str, ...]) -> NDArray[np.float64]:
    absent = [name for name in columns if name not in conditions.columns]
    if absent:
        message = (
            f"The model needs {len(columns)} feature columns; {absent[:5]} are missing. "
            "Join the same --features table that the model was fitted with."
        )
        raise ColumnError(message)
    try:
        values = conditions[list(columns)].to_numpy(np.float64, na_value=np.nan, copy=True)
    except (ValueError, TypeError) as error:
        message = f"Feature columns must hold numbers: {error}."
        raise DataError(message) from error
    values[~np.isfinite(values)] = np.nan
    return values


def _moments(values: NDArray[np.float64], there: NDArray[np.bool_]) -> tuple[Any, Any, Any]:
    """Return mean, standard deviation and skewness, (p,) each, of the values that are there."""
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, values, 0.0).sum(axis=0) / count
    off = np.where(there, values - mean, 0.0)
    sd = np.sqrt(np.square(off).sum(axis=0) / count)
    sd = np.where(sd > 1e-12 * np.maximum(np.abs(mean), 1e-300), sd, 0.0)
    cubed = (off**3).sum(axis=0) / count
    return mean, sd, cubed / np.where(sd > 0, sd, 1.0) ** 3
