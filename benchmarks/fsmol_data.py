"""fsmol_chembl27 as the benchmarks of many small tasks share it: values, labels, targets, pinned scaffold folds.

Rows with a p value and a structure that can be read; assays with 100 such rows or more; of one compound in
one assay the first row. Each assay is two tasks, its value (``CHEMBL...``, p units, bounds kept) and its label
(``CHEMBL... label``), with the same `assay` and `target`. A compound's fold is the SHA-256 of its scaffold modulo 5.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from screenwise.data.chemistry import quiet_rdkit
from screenwise.data.split import scaffolds
from screenwise.screen import Cells, Screen, make_screen, targets_from_cells

DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[2] / "shared" / "data"))
FOLDER = DATA / "bioactivity" / "fsmol_chembl27"
LEAST_ROWS = 100
FOLDS = 5
FOLD_SIZES = (20_088, 20_792, 22_026, 21_679, 22_049)
"""Of the pinned protocol; other sizes mean other compounds or another scaffold."""
SAME = 0.5
"""Assays whose compounds have a Jaccard index above this are of one cluster."""


@dataclass(frozen=True)
class Fsmol:
    """The screen and which part of it is which."""

    screen: Screen
    """(n, 2 a): the values of a assays, then their labels in the same order."""
    fold: np.ndarray
    """(n,) 0 to 4."""
    assays: int

    def labels(self) -> Screen:
        """Return the labels only, (n, a)."""
        return self.screen.take_tasks(np.arange(self.assays, 2 * self.assays))

    def values(self) -> Screen:
        """Return the values only, (n, a)."""
        return self.screen.take_tasks(np.arange(self.assays))

    def clusters(self) -> np.ndarray:
        """Return (a,) cluster of each assay, joined by compounds that they share; 0 is the largest, the panel."""
        cells = self.values().targets.cells()
        there = csr_array((np.ones(len(cells)), (cells.task, cells.row)), shape=(self.assays, len(self.screen)))
        shared = (there @ there.T).tocoo()
        size = np.asarray(there.sum(axis=1)).ravel()
        near = shared.data > SAME * (size[shared.row] + size[shared.col] - shared.data)
        links = csr_array((near[near], (shared.row[near], shared.col[near])), shape=shared.shape)
        code = connected_components(links, directed=False)[1]
        return np.argsort(np.argsort(-np.bincount(code), kind="stable"))[code]

    def rows(self, *folds: int) -> np.ndarray:
        """Return (n,) whether a compound is in one of these folds."""
        return np.isin(self.fold, folds)


def load(cache: Path | None = None) -> Fsmol:
    """Read the tables, or what an earlier call left in the folder `cache` (structures take a minute)."""
    if cache is not None and (cache / "folds.npy").exists():
        screen = Screen.load(cache)
        return Fsmol(screen, np.load(cache / "folds.npy"), len(screen.tasks) // 2)
    found = _read()
    if cache is not None:
        found.screen.save(cache)
        np.save(cache / "folds.npy", found.fold)
    return found


def _read() -> Fsmol:
    activities = pd.read_csv(FOLDER / "activities.tsv.gz", sep="\t", low_memory=False)
    smiles = pd.read_csv(FOLDER / "compounds.tsv.gz", sep="\t").set_index("compound_id")["smiles"]
    targets = pd.read_csv(FOLDER / "assays.tsv.gz", sep="\t", dtype=str).set_index("assay_id")["target_id"].fillna("")
    used = activities[activities["p_value"].notna()]
    # first by count, which leaves few structures to read; then by the rows whose structure can be read
    used = used[used.groupby("assay_id")["p_value"].transform("size") >= LEAST_ROWS]
    compounds = np.unique(used["compound_id"])
    readable = compounds[_readable(smiles.loc[compounds])]
    used = used[used["compound_id"].isin(readable)]
    used = used[used.groupby("assay_id")["p_value"].transform("size") >= LEAST_ROWS]
    used = used.drop_duplicates(["assay_id", "compound_id"])
    row, compounds = pd.factorize(used["compound_id"], sort=True)
    task, names = pd.factorize(used["assay_id"], sort=True)
    text = smiles.loc[compounds].to_numpy(object)
    relation = used["relation"].map(_side).to_numpy(np.int8)
    cells = Cells(
        np.tile(row, 2),
        np.concatenate([task, task + len(names)]),
        np.concatenate([used["p_value"], used["label"]]).astype(np.float32),
        np.concatenate([relation, np.zeros(len(row), np.int8)]),
    )
    tasks = pd.DataFrame(
        {
            "name": [*names, *(f"{name} label" for name in names)],
            "kind": np.repeat(["regression", "classification"], len(names)),
            "unit": np.repeat(["pXC50", ""], len(names)),
            "assay": np.tile(names, 2),
            "target": np.tile(targets.loc[names].to_numpy(object), 2),
        }
    )
    targets = targets_from_cells(cells, (len(compounds), 2 * len(names)), sparse=True)
    screen = make_screen(pd.DataFrame({"smiles": text}), targets, tasks)
    fold = np.array([_fold(one) for one in scaffolds(text)])
    sizes = tuple(np.bincount(fold, minlength=FOLDS).tolist())
    if sizes != FOLD_SIZES:
        message = f"The folds have {sizes} compounds, the pinned protocol {FOLD_SIZES}."
        raise SystemExit(message)
    return Fsmol(screen, fold, len(names))


def _readable(smiles: pd.Series) -> np.ndarray:
    from rdkit import Chem  # noqa: PLC0415

    with quiet_rdkit():
        return np.array([Chem.MolFromSmiles(text) is not None for text in smiles])


def _side(relation: object) -> int:
    """Return the side of the true p value: the relation is that of the concentration."""
    text = str(relation)
    return -1 if text.startswith(">") else 1 if text.startswith("<") else 0


def _fold(scaffold: str) -> int:
    return int(hashlib.sha256(scaffold.encode()).hexdigest(), 16) % FOLDS
