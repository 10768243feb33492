"""The layouts in which datasets are published: one short function each, to the table the data folder holds."""

import tarfile
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from screenwise.data.catalogue import PACKAGED
from screenwise.errors import DatasetError

# Upstream prints doubles in full; the fast parser of pandas may miss their last digit.
_EXACT = "round_trip"


def read_upstream(path: Path, member: str, stem: str) -> pd.DataFrame:
    """Return the table `stem` from a fetched file.

    Parameters
    ----------
    path
        A wheel, another zip or tar archive, or the file itself.
    member
        File inside the archive; empty = `path` is the file.
    stem
        Key of `UPSTREAM`: name of the file in the data folder, without its ending.
    """
    read = UPSTREAM[stem]
    try:
        if not member:
            with path.open("rb") as stream:
                return read(stream)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as wheel, wheel.open(member) as stream:
                return read(stream)
        with tarfile.open(path) as archive, archive.extractfile(member) or _no_file(member) as stream:
            return read(stream)
    except KeyError as error:
        message = f"{path} holds no {member} in the layout that {stem} was published in: {error}. Fetch it again."
        raise DatasetError(message) from error


def _no_file(member: str) -> IO[bytes]:
    raise KeyError(member)


def _tau(stream: Any) -> pd.DataFrame:
    names = {"Symbol": "gene", "RSA_Down": "rsa_down", "RSA_Up": "rsa_up", "Q1": "q1", "Q3": "q3"}
    frame = _columns(stream, names)
    return frame.assign(phenotype=-frame["rsa_down"])


def _sarscov2(stream: Any) -> pd.DataFrame:
    names = {"id": "gene", "num": "n_guides", "pos|score": "pos_score", "pos|p-value": "pos_p", "pos|fdr": "pos_fdr"}
    frame = _columns(stream, names | {"pos|goodsgrna": "good_guides"})
    # MARC1 and MARCH1 both became 01.Mar in the source: the better score is kept
    frame = frame.sort_values(["gene", "pos_score"]).drop_duplicates("gene").reset_index(drop=True)
    return frame.assign(phenotype=-np.log10(frame["pos_score"]))


def _nk(stream: Any) -> pd.DataFrame:
    names = {"Gene": "gene", "sgRNA": "n_guides"}
    for replicate in (1, 2):
        names |= {f"Rep{replicate}|{part}": f"{part}_rep{replicate}" for part in ("beta", "z", "fdr")}
    frame = _columns(stream, names, separator="\t")
    return frame.assign(phenotype=(frame["z_rep1"] + frame["z_rep2"]) / 2)


def _esol(stream: Any) -> pd.DataFrame:
    measured = "measured log solubility in mols per litre"
    return _columns(stream, {"smiles": "smiles", "Compound ID": "name", measured: "y"})


def _freesolv(stream: Any) -> pd.DataFrame:
    return _columns(stream, {"smiles": "smiles", "iupac": "name", "expt": "y", "calc": "calc"})


def _lipophilicity(stream: Any) -> pd.DataFrame:
    return _columns(stream, {"smiles": "smiles", "CMPD_CHEMBLID": "name", "exp": "y"})


def _photoswitch(stream: Any) -> pd.DataFrame:
    wavelength = {"E isomer pi-pi*": "y", "E isomer n-pi*": "e_npi", "Z isomer pi-pi*": "z_pipi"}
    names = {f"{band} wavelength in nm": name for band, name in wavelength.items()}
    return _columns(stream, {"SMILES": "smiles"} | names)


def _suzuki(stream: Any) -> pd.DataFrame:
    return _whole(stream).drop(columns="rxn")


def _arylation(stream: Any) -> pd.DataFrame:
    return _whole(stream).drop(columns="entry")


def _whole(stream: Any, separator: str = ",") -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(stream, sep=separator, encoding="utf-8-sig", float_precision=_EXACT)
    return frame


def _columns(stream: Any, names: Mapping[str, str], separator: str = ",") -> pd.DataFrame:
    return _whole(stream, separator)[list(names)].rename(columns=names)


UPSTREAM: Mapping[str, Callable[[Any], pd.DataFrame]] = {
    "crispr_sanchez2021_tau": _tau,
    "crispr_zhu2021_sarscov2": _sarscov2,
    "crispr_zhuang2019_nk": _nk,
    "mol_esol": _esol,
    "mol_freesolv": _freesolv,
    "mol_lipophilicity": _lipophilicity,
    "mol_photoswitch": _photoswitch,
    "rxn_buchwald_hartwig_plates": _whole,
    "rxn_direct_arylation": _arylation,
    "rxn_suzuki": _suzuki,
}
"""Readers of the published layout, by the name of the file they stand for."""


def read_packaged(path: str, digest: str) -> pd.DataFrame:
    """Return a table that scikit-learn carries: its features, then one column per task.

    Classes become one yes-or-no task each; `malignant` is scikit-learn's class 0 of the breast cancer
    set. The diabetes features are in their own units, not scaled.

    Parameters
    ----------
    path
        `PACKAGED` and the name of a loader, without ``load_``.
    digest
        sha256 of the values, see `table_sha256`; another one is refused.
    """
    from sklearn import datasets  # noqa: PLC0415 - slow to import

    name = path.removeprefix(PACKAGED)
    settings = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(as_frame=True, **settings)
    features = bunch.data.rename(columns=lambda column: str(column).replace(" ", "_")).astype(np.float64)
    frame = pd.concat([features, _tasks(name, bunch.target)], axis=1)
    found = table_sha256(frame)
    if found != digest:
        message = (
            f"scikit-learn's {name} has another content here (sha256 {found}) than the one this dataset names "
            f"({digest}). Its source names the version of scikit-learn to install."
        )
        raise DatasetError(message)
    return frame


def _tasks(name: str, target: pd.Series) -> pd.DataFrame:
    if name == "diabetes":
        return target.astype(np.float64).to_frame("progression")
    if name == "breast_cancer":
        return (target == 0).astype(np.float64).to_frame("malignant")
    word = {"digits": "digit", "wine": "cultivar"}[name]
    return pd.get_dummies(target, prefix=word, dtype=np.float64)


def table_sha256(frame: pd.DataFrame) -> str:
    """Return the sha256 of a table of numbers: its column names, a line each, then its doubles row by row.

    Examples
    --------
    >>> table_sha256(pd.DataFrame({"a": [1.0, 2.0]}))[:12]
    'fed94b28486e'
    """
    names = "".join(f"{name}\n" for name in frame.columns).encode()
    return sha256(names + frame.to_numpy("<f8").tobytes("C")).hexdigest()
