"""Named screens: embedded, in the user's data folder, or fetched once into a cache."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.data.catalogue import DATASETS, KNOWLEDGE, POOLS, DatasetInfo, Pool
from screenwise.data.fetch import data_folders, read_data_file
from screenwise.data.loaders import LOADERS
from screenwise.data.table import write_table, written_kind
from screenwise.errors import DatasetError
from screenwise.screen import Screen

__all__ = [
    "DATASETS",
    "KNOWLEDGE",
    "KNOWN",
    "POOLS",
    "Dataset",
    "DatasetInfo",
    "Pool",
    "data_folders",
    "load_dataset",
    "load_gene_descriptors",
    "load_gene_links",
    "load_gene_sets",
    "write_dataset_table",
]

_LINKS = {"n_interactions": ("GiG",), "n_links": ("DaG", "DuG", "DdG", "CbG")}
"""Number per gene -> kinds of edges that it counts."""
_SYMBOLS = {-1: "<", 0: "=", 1: ">"}


@dataclass(frozen=True)
class Dataset:
    """A named, published screen in memory."""

    name: str
    screen: Screen
    cells: pd.DataFrame
    """(m,) further columns of the measured cells, aligned with ``screen.targets.cells()``."""
    info: DatasetInfo


def load_dataset(name: str) -> Dataset:
    """Return a dataset by name: embedded, from the data folder, or fetched.

    `chembl30` has the columns `moleculeace` (train or test, the published split) and `cliff` of each
    measured cell; `ifng` has the two donors' log fold changes and false discovery rates.

    Parameters
    ----------
    name
        A key of `DATASETS`.

    Examples
    --------
    >>> chembl30 = load_dataset("chembl30")
    >>> len(chembl30.screen), len(chembl30.cells), chembl30.screen.task_names[0]
    (35633, 48714, 'CHEMBL1862_Ki')
    """
    info = _info(name, DATASETS)
    screen, cells = LOADERS[info.loader]([read_data_file(file, info) for file in info.files], info)
    return Dataset(name, screen, cells, info)


def load_gene_sets() -> pd.DataFrame:
    """Return which genes are in which pathway: gene, source, gene_set; `DatasetError` where absent."""
    info = KNOWLEDGE["gene_sets"]
    return read_data_file(info.files[0], info)


def load_gene_descriptors() -> pd.DataFrame:
    """Return 128 numbers per gene (`pw000`...) and `n_sets`, beside `gene`; `DatasetError` where absent."""
    info = KNOWLEDGE["gene_descriptors"]
    return read_data_file(info.files[0], info)


def load_gene_links() -> pd.DataFrame:
    """Return gene, n_interactions and n_links: its interacting genes, its links to diseases and compounds.

    `DatasetError` where absent.
    """
    info = KNOWLEDGE["gene_links"]
    edges, nodes = (read_data_file(file, info) for file in info.files)
    genes = nodes[nodes["kind"] == "Gene"].set_index("id")["name"].dropna()
    ends = pd.concat([edges, edges.rename(columns={"source": "target", "target": "source"})], ignore_index=True)
    ends = ends.assign(gene=ends["source"].map(genes)).dropna(subset="gene")
    counts = {name: ends.loc[ends["metaedge"].isin(kinds), "gene"].value_counts() for name, kinds in _LINKS.items()}
    table = pd.DataFrame(counts, index=pd.Index(sorted(genes.unique()), name="gene"))
    return table.fillna(0).astype(np.int64).reset_index()


KNOWN = {"gene_sets": load_gene_sets, "gene_descriptors": load_gene_descriptors, "gene_links": load_gene_links}
"""Name of `KNOWLEDGE` -> what returns it as a table per gene."""


def write_dataset_table(name: str, path: Path) -> int:
    """Write a dataset as a table that people and `read_assay` read; return the number of rows.

    Screens that are mostly empty, have bounds or further columns per cell come out long (entities, task,
    relation, value, unit, those columns), the others wide, one row per condition.

    Parameters
    ----------
    name
        A key of `DATASETS`.
    path
        File to write: .csv, .tsv or .parquet (.csv.gz and .tsv.gz too).
    """
    written_kind(path)  # before anything is fetched
    table = _as_table(load_dataset(name))
    write_table(table, path)
    return len(table)


def _info(name: str, known: Any) -> DatasetInfo:
    if name not in known:
        message = f"There is no dataset {name!r}; the datasets are {', '.join(known)}."
        raise DatasetError(message)
    info: DatasetInfo = known[name]
    return info


def _as_table(dataset: Dataset) -> pd.DataFrame:
    screen, cells = dataset.screen, dataset.screen.targets.cells()
    conditions = screen.conditions.drop(columns="condition_id")
    extra = dataset.cells.drop(columns="replicates", errors="ignore")
    full = screen.targets.shape[0] * screen.targets.shape[1]
    if len(cells) > full // 2 and not cells.relation.any() and extra.columns.empty:
        return pd.concat([conditions, pd.DataFrame(screen.targets.dense(), columns=screen.task_names)], axis=1)
    table = conditions.iloc[cells.row].reset_index(drop=True)
    table["task"] = np.asarray(screen.task_names, dtype=object)[cells.task]
    if cells.relation.any():
        table["relation"] = pd.Series(cells.relation).map(_SYMBOLS).to_numpy()
    table["value"] = cells.value
    if screen.tasks["unit"].astype(bool).any():
        table["unit"] = screen.tasks["unit"].to_numpy()[cells.task]
    return pd.concat([table, extra], axis=1)
