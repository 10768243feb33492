"""Assay tables into matrices, as partners prepare them alike: structures, folds, tasks, weights, and a report."""

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise import __version__
from screenwise.config import config_hash, to_mapping
from screenwise.data.keyed_folds import LSH_BITS, read_key
from screenwise.data.parent_form import parent_forms
from screenwise.data.table import write_table
from screenwise.data.tune_settings import TuneSettings
from screenwise.data.tuned_assays import TunedAssays, tune_assays
from screenwise.data.tuner_tables import read_tables
from screenwise.errors import DataError
from screenwise.processes import usual_jobs
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.tune_files import MODELS, write_activity_tables, write_models, write_structure_tables
from screenwise.represent.fingerprint_store import computing
from screenwise.represent.keyed_descriptor import Compounds, describe, reference_hash
from screenwise.represent.row_content import row_content
from screenwise.run import file_sha256, write_json

UNKEYED = (
    "No key was given: columns are not permuted, and anyone can tell which substructures they are. Folds agree with "
    "other partners who gave none. Give --key FILE to work with partners."
)


def tune(
    tables: tuple[Path, Path, Path],
    out: Path,
    settings: TuneSettings = TuneSettings(),
    *,
    key: Path | None = None,
    jobs: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Prepare T0 (assays), T1 (activities) and T2 (structures) for training.

    Parameters
    ----------
    tables
        T0, T1, T2: CSV, TSV (also .gz) or Parquet.
    out
        Folder: `cls`, `reg`, `hyb`, `clsaux` with matrices in SparseChem's formats; `tables`; `rejected` with a table
        per step; `report.json`, written last.
    settings
        Every rule.
    key
        File with the secret that partners share; None = no secret.
    jobs
        Processes; the result is the same. None = one per core where that is safe.
    progress
        Called with what is done.

    Raises
    ------
    DataError
        A table or the key cannot be used, the reference set comes out otherwise than partners have it, no
        structure can be used, or no task has enough.
    """
    out = Path(out)
    secret = "" if key is None else read_key(key)
    reference = _check_reference(settings, secret)
    read = read_tables(*tables)
    jobs = usual_jobs() if jobs is None else jobs
    if out.exists() and not out.is_dir():
        message = f"{out} is a file; --out must be a folder."
        raise DataError(message)
    with computing(jobs=jobs, progress=progress):
        forms = parent_forms(read.structures["smiles"], settings.structures, jobs=jobs, progress=progress)
        row_of, made = describe_structures(forms, settings, secret, Path(tables[2]))
    why_not = forms["reason"].to_numpy(object)
    tuned = tune_assays(read, row_of, why_not, made.fold, settings)
    _clear(out)
    models = write_models(out, tuned, made)
    structures = read.structures.assign(canonical_smiles=forms["smiles"], reason=why_not)
    tuned.rejected["structures"] = _rejected_structures(structures)
    for step, table in tuned.rejected.items():
        write_table(table, out / "rejected" / f"{step}.csv")
    write_structure_tables(out / "tables", structures, row_of, made)
    write_activity_tables(out / "tables", tuned)
    if not models:
        message = (
            f"No task has enough values: {_most_often(tuned.rejected['tasks'], tuned)} What was left out, and why, is "
            f"in {out / 'rejected'}; lower the quorum in --config if so few are enough."
        )
        raise DataError(message)
    report = _report(tables, settings, tuned, {"secret": bool(secret), "reference": reference})
    report["steps"] = {"structures": len(structures), "descriptors": len(made.fold)} | report["steps"]
    report["models"] = models
    report["files"] = {str(path.relative_to(out)): file_sha256(path) for path in sorted(out.rglob("*.*"))}
    write_json(out / "report.json", report)
    return _outcome(out, report, tuned, keyed=bool(secret))


def _check_reference(settings: TuneSettings, secret: str) -> str:
    found = reference_hash(settings, secret)
    if settings.reference and settings.reference.strip().lower() != found:
        message = (
            f"This installation prepares the reference set otherwise than partners do: its hash is {found}, theirs is "
            f"{settings.reference}. Compare the key, the settings and the version of RDKit (here {version('rdkit')})."
        )
        raise DataError(message)
    return found


def describe_structures(
    forms: pd.DataFrame, settings: TuneSettings, secret: str, path: Path
) -> tuple[NDArray[np.int64], Compounds]:
    """Return each structure's row of the descriptors (-1 = rejected), and the distinct descriptors.

    Structures with the same features are one row. Its fold is that of the one whose SMILES is first in
    the alphabet, and rows are in the order in which that one stands in T2.
    """
    good = np.flatnonzero((forms["reason"] == "").to_numpy())
    if not len(good):
        often = forms["reason"].value_counts().index[0]
        message = f"{path}: none of the {len(forms)} structures can be used; most often: {often}."
        raise DataError(message)
    codes, distinct = pd.factorize(forms["smiles"].to_numpy(object)[good])
    made = describe(distinct, settings, secret)
    same = np.unique(row_content(made.features), axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((distinct.astype(str), same))
    first = order[np.flatnonzero(np.diff(same[order], prepend=-1))]  # of each group, the first SMILES
    rank = np.argsort(np.argsort(first))
    row_of = np.full(len(forms), -1, np.int64)
    row_of[good] = rank[same][codes]
    kept = np.sort(first)
    return row_of, Compounds(made.features[kept], made.fold[kept], made.text[kept])


def _rejected_structures(structures: pd.DataFrame) -> pd.DataFrame:
    bad = (structures["reason"] != "").to_numpy()
    out = structures.loc[bad, ["input_compound_id", "smiles", "reason"]]
    out.insert(0, "row", np.flatnonzero(bad) + 1)
    return out.reset_index(drop=True)


def _clear(out: Path) -> None:
    """Take away what an earlier run wrote: a folder never mixes two."""
    (out / "report.json").unlink(missing_ok=True)
    for name in (*MODELS, "tables", "rejected"):
        if (out / name).is_dir():
            shutil.rmtree(out / name)


def _report(
    tables: tuple[Path, Path, Path], settings: TuneSettings, tuned: TunedAssays, told: dict[str, Any]
) -> dict[str, Any]:
    used = to_mapping(settings)
    if settings.folds.kind == "lsh" and not settings.folds.bits:
        used["folds"]["bits"] = list(LSH_BITS)
    names = ("numpy", "pandas", "rdkit", "scipy")
    classes, values = tuned.classes, tuned.values
    return {
        "versions": {"screenwise": __version__, "python": platform.python_version()} | {n: version(n) for n in names},
        "settings": used,
        "settings_hash": config_hash(settings),
        "keyed": told["secret"],
        "reference_hash": told["reference"],
        "inputs": {
            name: {"file": Path(path).name, "sha256": file_sha256(Path(path))}
            for name, path in zip(("T0", "T1", "T2"), tables, strict=True)
        },
        "steps": tuned.counts
        | {
            "class tasks": len(classes),
            "class tasks trained": int(classes["training_quorum_OK"].sum()),
            "class tasks scored": int(classes["aggregation_weight"].sum()),
            "regression tasks": len(values),
            "regression tasks trained": int((values["cont_regression_task_id"] >= 0).sum()),
            "regression tasks scored": int(values["aggregation_weight"].sum()),
        },
        "rejected": {step: {"rows": len(table)} | _reasons(table) for step, table in tuned.rejected.items()},
    }


def _reasons(table: pd.DataFrame) -> dict[str, Any]:
    """Return the commonest kinds of reasons, their numbers left out."""
    kinds = table["reason"].astype(str).str.replace(r"-?\d[\d.,e+-]*|(?<= )'.*'", "...", regex=True)
    return {"reasons": {str(kind): int(count) for kind, count in kinds.value_counts().head(10).items()}}


def _most_often(table: pd.DataFrame, tuned: TunedAssays) -> str:
    if len(table):
        return f"for example assay {table['input_assay_id'].iloc[0]}: {table['reason'].iloc[0]}."
    return f"{tuned.counts['credible']} of {tuned.counts['activities']} activities are credible."


def _outcome(out: Path, report: dict[str, Any], tuned: TunedAssays, *, keyed: bool) -> Outcome:
    rejected = {step: len(table) for step, table in tuned.rejected.items()}
    facts = report["steps"] | {f"rejected {step}": count for step, count in rejected.items() if count}
    facts["reference hash"] = report["reference_hash"]
    files = {"report": str(out / "report.json"), "rejected": str(out / "rejected"), "tables": str(out / "tables")}
    files |= {str(row["model"]): str(out / str(row["model"])) for row in report["models"]}
    return Outcome(facts, report["models"], [] if keyed else [UNKEYED], files, {"rejected": report["rejected"]})
