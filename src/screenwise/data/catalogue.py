"""The named datasets: what each holds, where it came from, its licence, and the sha256 of its files.

The entries are in ``catalogue.toml`` beside this file.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGED = "sklearn:"
"""Start of the path of a table that scikit-learn carries; the rest names its loader."""


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset."""

    path: str
    """Place below the data folder (`SCREENWISE_DATA`), in the package (``embedded/``), or `PACKAGED` and a loader."""
    sha256: str
    """Of the file there; of the values, for a table that scikit-learn carries."""
    fetch: str = ""
    """Address of an archive or file that holds the same data; empty = none is known by its sha256, see the source."""
    fetch_sha256: str = ""
    """Of what is fetched."""
    member: str = ""
    """File inside the archive; empty = the file itself."""


@dataclass(frozen=True)
class Pool:
    """How a dataset is replayed: what counts as a hit, and the budget.

    Examples
    --------
    >>> pool = DATASETS["enamine10k"].pool
    >>> pool.objective, pool.rule, pool.budget
    ('minimize:docking', 'lowest 1 % of docking', '100 + 5 x 100')
    """

    task: str
    direction: str = "maximize"
    """maximize, minimize or absolute."""
    hits: float = 0.05
    """Share of the pool, best first, that counts as hits; ties at its edge count too."""
    threshold: float | None = None
    """Least utility of a hit, in place of a share."""
    start: int = 10
    """Wells of the random start."""
    rounds: int = 5
    """Rounds after it."""
    wells: int = 10
    """Wells of each of them."""
    candidates: int = 0
    """Conditions drawn at random to replay on; 0 = all."""

    @property
    def objective(self) -> str:
        """The objective in the form that `screenwise simulate` takes."""
        return f"{self.direction}:{self.task}"

    @property
    def rule(self) -> str:
        """What a hit is, in words."""
        if self.threshold is not None:
            sign = "<=" if self.direction == "minimize" else ">="
            value = -self.threshold if self.direction == "minimize" else self.threshold
            return f"{self._quantity} {sign} {value:g}"
        return f"{'lowest' if self.direction == 'minimize' else 'highest'} {100 * self.hits:g} % of {self._quantity}"

    @property
    def budget(self) -> str:
        """Wells of the random start + rounds x wells."""
        return f"{self.start} + {self.rounds} x {self.wells}"

    @property
    def _quantity(self) -> str:
        return f"|{self.task}|" if self.direction == "absolute" else self.task

    def utility(self, value: NDArray[Any]) -> NDArray[np.float64]:
        """Turn (n,) values of the task into what is wanted: higher = better."""
        value = np.asarray(value, np.float64)
        if self.direction == "absolute":
            return np.abs(value)
        return -value if self.direction == "minimize" else value

    def hit_share(self, value: NDArray[Any]) -> float:
        """Return the share of (n,) measured values that are hits: `hits`, or what reaches the threshold.

        Examples
        --------
        >>> Pool("active", threshold=1.0).hit_share(np.array([0.0, 1.0, 0.0, 0.0]))
        0.25
        """
        if self.threshold is None:
            return self.hits
        return float(np.mean(self.utility(value) >= self.threshold))


@dataclass(frozen=True)
class DatasetInfo:
    """A named, published screen."""

    name: str
    kind: str
    """compound, gene, gene pair, drug pair, variant, reaction, numeric"""
    title: str
    size: str
    """Counts in words."""
    licence: str
    url: str
    """Upstream address at a fixed commit or version."""
    files: tuple[DataFile, ...]
    tasks: Mapping[str, str] = field(default_factory=dict)
    """Column of the file -> task name; empty = the loader knows."""
    loader: str = "table"
    """Name of the function in `screenwise.data.loaders`."""
    pool: Pool | None = None
    """How it is replayed; None = it has many tasks or none to look for."""

    @property
    def sha256(self) -> str:
        """Of the main file."""
        return self.files[0].sha256

    @property
    def source(self) -> str:
        """The upstream address."""
        return self.url

    @property
    def embedded(self) -> bool:
        """Whether the data travel with the package."""
        return self.files[0].path.startswith("embedded/")

    @property
    def packaged(self) -> bool:
        """Whether scikit-learn carries the data."""
        return self.files[0].path.startswith(PACKAGED)


def _entry(name: str, fields: dict[str, Any]) -> DatasetInfo:
    files = tuple(DataFile(**file) for file in fields.pop("files"))
    pool = Pool(**fields.pop("pool")) if "pool" in fields else None
    return DatasetInfo(name=name, files=files, pool=pool, **fields)


def _read() -> dict[str, DatasetInfo]:
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    return {name: _entry(name, fields) for name, fields in tomllib.loads(text).items()}


_ENTRIES = _read()

DATASETS: Mapping[str, DatasetInfo] = MappingProxyType(
    {name: info for name, info in _ENTRIES.items() if info.kind != "knowledge"}
)
"""Name -> what it is; the embedded ones first."""

KNOWLEDGE: Mapping[str, DatasetInfo] = MappingProxyType(
    {name: info for name, info in _ENTRIES.items() if info.kind == "knowledge"}
)
"""What is known beside the screens: tables per gene."""

POOLS: Mapping[str, DatasetInfo] = MappingProxyType(
    {name: info for name, info in DATASETS.items() if info.pool is not None}
)
"""The datasets with a rule of what a hit is, and a budget: a measured screen to replay."""
