"""The folder of one fit, and writing files so that nothing is half written."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from screenwise.errors import DataError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path`; on success it replaces `path`, on failure it is gone.

    A reader sees the old file or the whole new one, also after a crash or a full disk.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as draft:
    ...     _ = draft.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    if path.is_dir():
        message = f"{path} is a directory; give the name of a file to write."
        raise DataError(message)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    except OSError as error:
        message = f"Cannot write {path}: {error.strerror or error}. Choose another place."
        raise DataError(message) from error
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        _flush(draft)
        draft.chmod(0o644)
        draft.replace(path)
        _flush(path.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        message = (
            f"Cannot write {path}: {error.strerror or error}. Nothing was changed; free space or choose another place."
        )
        raise DataError(message) from error
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    for name in ("tolist", "__fspath__"):
        if hasattr(value, name):
            return getattr(value, name)()
    message = f"{type(value).__name__} has no JSON form."
    raise TypeError(message)


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a `DataError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"{path} does not exist; is this the folder of a finished run?"
        raise DataError(message) from error
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read as JSON: {error}."
        raise DataError(message) from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Run:
    """The folder of one fit: ``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``model/``, ``card.md``.

    Examples
    --------
    >>> import tempfile
    >>> run = Run(Path(tempfile.mkdtemp()) / "run")
    >>> run.log(epoch=0, loss=1.5)
    >>> run.metrics()
    [{'epoch': 0, 'loss': 1.5}]
    """

    folder: Path
    progress: Callable[[str, int, int], None] | None = None
    """Called as ``progress(what, done, total)`` by long work; None = silent."""

    @property
    def model_folder(self) -> Path:
        """Where the fitted model is saved."""
        return self.folder / "model"

    @property
    def checkpoint_folder(self) -> Path:
        """Where a fit keeps what it needs to resume."""
        return self.folder / "checkpoints"

    def log(self, **metrics: float | str) -> None:
        """Append one line to ``metrics.jsonl``, apart from a torn one before it (killed while writing)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "metrics.jsonl").open("a+b") as stream:
            torn = False
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                torn = stream.read(1) != b"\n"
            line = json.dumps(metrics, default=_plain) + "\n"
            stream.write((("\n" if torn else "") + line).encode())

    def metrics(self) -> list[dict[str, Any]]:
        """Return the logged lines; a torn last line (killed while writing) is left out."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows
