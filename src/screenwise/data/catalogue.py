"""The named datasets: what each holds, where it came from, its licence, and the sha256 of its files.

The entries are in ``catalogue.toml`` beside this file.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset."""

    path: str
    """Place below the data folder (`SCREENWISE_DATA`)."""
    sha256: str
    """Of the file there."""
    fetch: str = ""
    """Address of an archive that holds the same data; empty = the upstream layout differs, see the source."""
    fetch_sha256: str = ""
    """Of the archive."""
    member: str = ""
    """File inside the archive."""


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


def _entry(name: str, fields: dict[str, Any]) -> DatasetInfo:
    files = tuple(DataFile(**file) for file in fields.pop("files"))
    return DatasetInfo(name=name, files=files, **fields)


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
