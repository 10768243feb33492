"""From the files of a dataset to a screen: one short function per layout, named in the catalogue."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from screenwise.condition import factor_columns
from screenwise.data.catalogue import DatasetInfo
from screenwise.data.replicate import aggregate_replicates
from screenwise.screen import Cells, Screen, Targets, make_screen, targets_from_cells

Frames = list[pd.DataFrame]
Loaded = tuple[Screen, pd.DataFrame]
"""A screen, and further columns of its measured cells in the order of ``targets.cells()``."""

_REGRESSION, _CLASSIFICATION = "regression", "classification"
_DIRECTION = {"docking": "minimize"}


def table(frames: Frames, info: DatasetInfo) -> Loaded:
    """Rows are conditions, named by the entity columns that are there; x0, x1, ... are features."""
    frame = frames[0]
    if info.kind == "numeric":
        features = [name for name in frame.columns if name not in info.tasks]
        frame = frame.rename(columns={name: f"feature:{name}" for name in features})
        frame.insert(0, "entity", [f"{info.name}-{place:05d}" for place in range(len(frame))])
    return rows_as_conditions(frame, info)


def rows_as_conditions(frame: pd.DataFrame, info: DatasetInfo) -> Loaded:
    """Return a screen with one condition per row; what is neither factor nor task is a column of cells."""
    factors = factor_columns(frame)
    extra = [name for name in frame.columns if name not in info.tasks and not str(name).startswith("feature:")]
    features = [name for name in frame.columns if str(name).startswith("feature:")]
    labels = [name for name in extra if name in ("name", "compound_a", "compound_b") and name not in factors]
    values = frame[list(info.tasks)].to_numpy(np.float32)
    kinds = [_CLASSIFICATION if set(np.unique(c[~np.isnan(c)])) <= {0.0, 1.0} else _REGRESSION for c in values.T]
    names = list(info.tasks.values())
    tasks = pd.DataFrame({"name": names, "kind": kinds, "direction": [_DIRECTION.get(name, "") for name in names]})
    conditions = frame[[*factors, *labels, *features]]
    screen = make_screen(conditions.reset_index(drop=True), values, tasks)
    row = screen.targets.cells().row
    cells = frame[[name for name in extra if name not in [*factors, *labels]]].iloc[row].reset_index(drop=True)
    return screen, cells


def chembl30(frames: Frames, info: DatasetInfo) -> Loaded:
    """One row per cell, sorted by compound and task; the published split stays with its cells."""
    frame = frames[0]
    row, smiles = pd.factorize(frame["smiles"])
    names = list(frame["task"].cat.categories)
    unit = ["p" + name.split("_")[1] for name in names]
    tasks = pd.DataFrame({"name": names, "unit": unit, "direction": "maximize"})
    exact = np.zeros(len(frame), np.int8)
    cells = Cells(row, frame["task"].cat.codes.to_numpy(np.int64), frame["p"].to_numpy(np.float32), exact)
    targets = targets_from_cells(cells, (len(smiles), len(names)))
    screen = make_screen(pd.DataFrame({"smiles": np.asarray(smiles, dtype=object)}), targets, tasks)
    return screen, pd.DataFrame({"moleculeace": frame["split"].astype(str), "cliff": frame["cliff"].to_numpy(bool)})


def ifng(frames: Frames, info: DatasetInfo) -> Loaded:
    """One row per gene; the non-targeting control is no gene and stays out."""
    frame = frames[0]
    genes = frame[~frame["control"]].drop(columns="control").reset_index(drop=True)
    tasks = pd.DataFrame({"name": ["ifng"], "unit": ["log2 fold change"]})
    screen = make_screen(genes[["gene"]].copy(), genes[["ifng"]].to_numpy(np.float32), tasks)
    return screen, genes.drop(columns=["gene", "ifng"])


def nek(frames: Frames, info: DatasetInfo) -> Loaded:
    """Long table whose qualifier is already on the p scale."""
    frame = frames[0]
    sign = frame["relation_p"].map({"<": -1, "=": 0, ">": 1}).to_numpy(np.int8)
    return _long(frame["smiles"], frame["task"], frame["p_value"], sign)


def fsmol(frames: Frames, info: DatasetInfo) -> Loaded:
    """Long table whose qualifier is on the concentration: ">" there is "<" on the p scale."""
    activities, compounds = frames
    activities = activities[activities["p_value"].notna()]
    smiles = compounds.set_index("compound_id")["smiles"].loc[activities["compound_id"]].reset_index(drop=True)
    above = activities["relation"].isin([">", ">=", ">>"]).to_numpy()
    below = activities["relation"].isin(["<", "<=", "<<"]).to_numpy()
    sign = below.astype(np.int8) - above.astype(np.int8)
    return _long(smiles, activities["assay_id"].reset_index(drop=True), activities["p_value"], sign)


def _long(smiles: pd.Series, task: pd.Series, value: pd.Series, sign: Any) -> Loaded:
    row, compounds = pd.factorize(smiles)
    column, names = pd.factorize(task, sort=True)
    cells = aggregate_replicates(row, column, value.to_numpy(np.float64), sign)
    cells = cells[cells["reason"] == ""].reset_index(drop=True)
    arrays = Cells(
        cells["row"].to_numpy(), cells["task"].to_numpy(), cells["value"].to_numpy(np.float32),
        cells["relation"].to_numpy(np.int8),
    )  # fmt: skip
    shape = (len(compounds), len(names))
    targets = targets_from_cells(arrays, shape, sparse=is_wide(len(cells), shape))
    tasks = pd.DataFrame({"name": list(map(str, names)), "unit": "pXC50", "direction": "maximize"})
    screen = make_screen(pd.DataFrame({"smiles": np.asarray(compounds, dtype=object)}), targets, tasks)
    return screen, cells[["replicates"]]


def is_wide(measured: int, shape: tuple[int, int]) -> bool:
    """Return whether a screen is so large and empty that it is kept sparse."""
    full = shape[0] * shape[1]
    return full > 20_000_000 and measured < 0.2 * full  # noqa: PLR2004


def toxcast(frames: Frames, info: DatasetInfo) -> Loaded:
    """Wide table of yes and no; compounds that occur twice are kept apart by their row."""
    frame = frames[0]
    names = [name for name in frame.columns if name != "smiles"]
    tasks = pd.DataFrame({"name": names, "kind": _CLASSIFICATION})
    screen = make_screen(frame[["smiles"]].copy(), frame[names].to_numpy(np.float32), tasks)
    return screen, pd.DataFrame(index=pd.RangeIndex(len(screen.targets.cells())))


def profiles(frames: Frames, info: DatasetInfo) -> Loaded:
    """Labels such as ctrl, A+ctrl and A+B; profiles of one label (several guides) are averaged."""
    frame = frames[0]
    axes = [name for name in frame.columns if name.startswith("pc")]
    mean = frame.groupby("condition", sort=False)[axes].mean()
    genes = (
        pd.Series(mean.index).str.replace("ctrl", "", regex=False).str.split("+", expand=True).reindex(columns=[0, 1])
    )
    genes = genes.fillna("").set_axis(["gene_a", "gene_b"], axis=1)
    values = Targets(mean.to_numpy(np.float32))
    screen = make_screen(genes, values, axes)
    counts = frame.groupby("condition", sort=False).size().to_numpy()
    return screen, pd.DataFrame({"replicates": counts[screen.targets.cells().row]})


def oneil(frames: Frames, info: DatasetInfo) -> Loaded:
    """Drug pairs in cell lines, SMILES looked up by name; published-style folds as columns of cells."""
    return _drug_pairs(frames, info, ("drug_row", "drug_col"), "name")


def almanac(frames: Frames, info: DatasetInfo) -> Loaded:
    """Drug pairs in cell lines, by PubChem CID; both orders of a pair are rows of their own."""
    return _drug_pairs(frames, info, ("cid_row", "cid_col"), "cid")


def _drug_pairs(frames: Frames, info: DatasetInfo, pair: tuple[str, str], key: str) -> Loaded:
    scores, drugs, folds = frames
    smiles = drugs.drop_duplicates(key).set_index(key)["smiles"]
    frame = pd.DataFrame(
        {
            "smiles_a": scores[pair[0]].map(smiles),
            "smiles_b": scores[pair[1]].map(smiles),
            "compound_a": scores[pair[0]].astype(str),
            "compound_b": scores[pair[1]].astype(str),
            "cell_line": scores["cell_line"],
        }
    )
    return rows_as_conditions(pd.concat([frame, scores[list(info.tasks)], folds], axis=1), info)


def arylation(frames: Frames, info: DatasetInfo) -> Loaded:
    """Components as yes-or-no features, concentration and temperature as numbers."""
    return _reaction(frames[0], info, ["Base", "Ligand", "Solvent"], ["Concentration", "Temp_C"])


def suzuki(frames: Frames, info: DatasetInfo) -> Loaded:
    """Six components, each as yes-or-no features."""
    return _reaction(frames[0], info, [name for name in frames[0].columns if name not in info.tasks], [])


def buchwald(frames: Frames, info: DatasetInfo) -> Loaded:
    """Four components; controls lack one of them. Plate, row and column stay with the cells."""
    return _reaction(frames[0], info, ["base", "ligand", "aryl_halide", "additive"], [], ["plate", "row", "col"])


def _reaction(
    frame: pd.DataFrame, info: DatasetInfo, parts: list[str], numbers: list[str], keep: list[str] | None = None
) -> Loaded:
    names = frame[parts].astype("string").fillna("none").astype(str)
    entity = names.agg(" | ".join, axis=1)
    for name in numbers:
        entity = entity + " | " + frame[name].map("{:g}".format)
    features = pd.get_dummies(names, prefix=parts, prefix_sep="=", dtype=np.float32)
    features = pd.concat([features, frame[numbers].astype(np.float32)], axis=1).add_prefix("feature:")
    lead = pd.DataFrame({"entity": entity})
    return rows_as_conditions(pd.concat([lead, features, frame[[*(keep or []), *info.tasks]]], axis=1), info)


LOADERS: dict[str, Callable[[Frames, DatasetInfo], Loaded]] = {
    loader.__name__: loader
    for loader in (table, chembl30, ifng, nek, fsmol, toxcast, profiles, oneil, almanac, arylation, suzuki, buchwald)
}
"""Layout -> function, by the name that the catalogue gives."""
