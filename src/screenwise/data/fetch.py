"""Where the files of a dataset are: in the package, in the user's data folder, or fetched once."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.data.catalogue import PACKAGED, DataFile, DatasetInfo
from screenwise.data.upstream import read_packaged, read_upstream
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
    """Return a dataset's file as a table: embedded, in scikit-learn, from a data folder, or fetched into the cache."""
    if file.path.startswith(PACKAGED):
        return read_packaged(file.path, file.sha256)
    path = _find(file)
    if path is not None:
        return _read_file(path, path.name)
    if file.fetch:
        return read_upstream(_fetch(file, info), file.member, Path(file.path).stem)
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
    except ValueError as error:
        if "hash" not in str(error):
            raise
        message = (
            f"What came from {file.fetch} for the dataset {info.name!r} is not the file of sha256 {file.fetch_sha256}: "
            f"something between here and there changed it. Fetch it elsewhere and put it into {cache}."
        )
        raise DatasetError(message) from error
    except Exception as error:  # pooch passes on whatever requests, ssl and the disk raise
        message = (
            f"The dataset {info.name!r} is not in {data_folders()[0]}, or {file.path} there is damaged, and it could "
            f"not be fetched from {file.fetch} ({type(error).__name__}): this machine seems to be offline, or {cache} "
            f"cannot be written. Fetch that file elsewhere and put it into {cache}, or set SCREENWISE_DATA to a folder "
            f"that holds {file.path}."
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


def _read_file(path: Path, name: str) -> pd.DataFrame:
    if name.endswith(".parquet"):
        return pd.read_parquet(path)
    return pd.read_csv(path, sep="\t" if ".tsv" in name else ",", low_memory=False)
