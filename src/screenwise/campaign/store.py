"""What happened, for good: an event log that shows tampering, and tables named by their content.

A campaign is one folder: ``campaign.sqlite`` (SQLite, one row per event) and
``objects/<sha256>.parquet`` (tables too large for an event). It can be zipped and moved.

Each event carries the hash of the one before it, so a change of any row, of any payload or of any
table that an event names is found by `Store.verify`. What a chain alone cannot show is that its last
events were cut off: who needs that proof notes the head hash (in `status`) outside the folder.
"""

import hashlib
import io
import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.errors import CampaignError, DataError
from screenwise.run import atomic_path, file_sha256

FORMAT = 1
"""Version of the folder's layout; stands in ``PRAGMA user_version``."""
MARK = int.from_bytes(b"SCRW", "big")
"""``PRAGMA application_id`` of our files."""
WAIT = 2.0
"""Seconds to wait for another process before saying that it is busy."""
GENESIS = "0" * 64
"""What stands as the previous hash of the first event."""

_TABLE = """
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY,
  time TEXT NOT NULL,
  actor TEXT NOT NULL,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  payload_digest TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE
) STRICT
"""
_FINAL = (
    "CREATE TRIGGER no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are final'); END",
    "CREATE TRIGGER no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are final'); END",
)


@dataclass(frozen=True)
class Event:
    """One thing that happened; never changed afterwards."""

    sequence: int
    """1, 2, 3 ..."""
    time: str
    """UTC, ISO 8601."""
    actor: str
    """Who: a person's or a program's name."""
    kind: str
    """created, proposed, exported, ingested, judged, stopped or resumed."""
    payload: dict[str, Any]
    """What; tables are named in ``payload["objects"]`` by their SHA-256."""
    payload_digest: str
    """SHA-256 of the payload's text."""
    previous: str
    """Hash of the event before."""
    hash: str
    """SHA-256 of everything above but the payload itself, which its digest stands for."""


@dataclass(frozen=True)
class Writer:
    """An open transaction: the events so far, and a way to add one."""

    connection: sqlite3.Connection
    actor: str
    events: list[Event]
    added: list[Event] = field(default_factory=list)

    def append(self, kind: str, payload: dict[str, Any]) -> Event:
        """Add an event; it becomes a fact when the transaction ends well."""
        last = [*self.events, *self.added][-1:]
        text = canonical(payload)
        event = _chained(last[0] if last else None, self.actor, kind, text)
        self.connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (event.sequence, event.time, event.actor, kind, text, event.payload_digest, event.previous, event.hash),
        )
        self.added.append(event)
        return event


@dataclass(frozen=True)
class Store:
    """The folder of a campaign. Holds no state: every call reads what is on the disk.

    Examples
    --------
    >>> import tempfile
    >>> store = Store.create(Path(tempfile.mkdtemp()) / "campaign")
    >>> with store.writing("ann") as writer:
    ...     event = writer.append("created", {"objects": {"pool": store.put(pd.DataFrame({"a": [1]}))}})
    >>> [(event.sequence, event.kind) for event in store.events()]
    [(1, 'created')]
    >>> store.verify()["ok"]
    True
    """

    folder: Path
    on_commit: Callable[[Event], None] | None = None
    """Called with each event once it is safe on the disk."""

    @property
    def path(self) -> Path:
        """The event log."""
        return self.folder / "campaign.sqlite"

    @classmethod
    def create(cls, folder: Path, on_commit: Callable[[Event], None] | None = None) -> "Store":
        """Make an empty log in a folder that is not there yet, or is empty."""
        folder = Path(folder).absolute()
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            message = f"{folder} exists already; give the name of a new folder for the campaign."
            raise CampaignError(message)
        store = cls(folder, on_commit)
        try:
            (folder / "objects").mkdir(parents=True)
            with _explained(store.path), closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
                connection.execute(f"PRAGMA application_id = {MARK}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                for statement in (_TABLE, *_FINAL):
                    connection.execute(statement)
                connection.execute("PRAGMA journal_mode = WAL")
        except OSError as error:
            message = f"Cannot make a campaign in {folder}: {error.strerror or error}. Choose another place."
            raise CampaignError(message) from error
        return store

    @classmethod
    def open(cls, folder: Path, on_commit: Callable[[Event], None] | None = None) -> "Store":
        """Open the folder of a campaign; one that is none, or of a newer release, is an error."""
        store = cls(Path(folder).absolute(), on_commit)
        if not store.path.is_file():
            message = f"{folder} is not the folder of a campaign: it has no campaign.sqlite. Make one with `new`."
            raise CampaignError(message)
        with store._connected() as connection:
            mark = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        if mark != MARK or version > FORMAT:
            known = "a file of another program" if mark != MARK else f"in format {version}; this release reads {FORMAT}"
            message = f"{store.path} is {known}. Give the folder of a campaign, or install a newer release."
            raise CampaignError(message)
        return store

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with (
            _explained(self.path),
            closing(
                sqlite3.connect(f"{self.path.as_uri()}?{self._mode()}", WAIT, isolation_level=None, uri=True)
            ) as opened,
        ):
            opened.execute("PRAGMA synchronous = FULL")
            yield opened

    def _mode(self) -> str:
        """How the log is opened: a finished one that nobody may write, such as on an archive, can still be read."""
        late = self.path.with_name(f"{self.path.name}-wal")
        whole = not late.is_file() or late.stat().st_size == 0
        shut = not (os.access(self.folder, os.W_OK) and os.access(self.path, os.W_OK))
        return "mode=ro&immutable=1" if shut and whole else "mode=rw"

    def events(self) -> list[Event]:
        """Return all events in order; a broken chain is an error that names the event."""
        with self._connected() as connection:
            return _checked(_rows(connection), self.path)

    @contextmanager
    def writing(self, actor: str) -> Iterator[Writer]:
        """Hold the campaign for one operation: its events are all kept, or none is.

        Another process that wants to write meanwhile gets a `CampaignError`. The lock is the
        operating system's: it ends with the process, however that ends.
        """
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                writer = Writer(connection, actor, _checked(_rows(connection), self.path))
                yield writer
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        for event in writer.added:
            if self.on_commit is not None:
                self.on_commit(event)

    def put(self, table: pd.DataFrame) -> str:
        """Write a table under its own SHA-256, which is returned; the same table is kept once."""
        buffer = _parquet(table)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = self._object(digest)
        if not path.exists() or file_sha256(path) != digest:
            with atomic_path(path) as draft:
                draft.write_bytes(buffer.getvalue())
        return digest

    def get(self, digest: str) -> pd.DataFrame:
        """Read a table; one that is missing or was changed is an error that names the file."""
        path = self._object(digest)
        damage = _damage_of(path, digest)
        if damage:
            message = f"{damage} Bring it back from a copy of the campaign."
            raise CampaignError(message)
        return pd.read_parquet(path)

    def as_stored(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table as it would come back after `put`, without writing it."""
        return pd.read_parquet(_parquet(table))

    def _object(self, digest: str) -> Path:
        return self.folder / "objects" / f"{digest}.parquet"

    def verify(self) -> dict[str, Any]:
        """Recompute every hash; say what is damaged and where.

        Returns
        -------
        dict: ok, events (number), objects (number of tables named), head (last hash), problems (list of text).
        """
        try:
            with self._connected() as connection:
                broken = connection.execute("PRAGMA integrity_check").fetchone()[0]
                rows = _rows(connection)
        except CampaignError as error:
            return {"ok": False, "events": 0, "objects": 0, "head": "", "problems": [str(error)]}
        damage = [] if broken == "ok" else [f"{self.path}: {broken}."]
        damage += chain_damage(rows)
        wanted: dict[str, int] = {}
        for row in rows:
            for digest in _objects_of(row[4]):
                wanted.setdefault(digest, row[0])
        for digest, sequence in wanted.items():
            fault = _damage_of(self._object(digest), digest)
            damage += [f"Event {sequence}: {fault}"] if fault else []
        head = rows[-1][7] if rows else GENESIS
        return {"ok": not damage, "events": len(rows), "objects": len(wanted), "head": head, "problems": damage}


def _parquet(table: pd.DataFrame) -> io.BytesIO:
    buffer = io.BytesIO()
    try:
        table.to_parquet(buffer, index=False)
    except (TypeError, ValueError, OverflowError) as error:  # pyarrow's errors are of these kinds
        message = f"This table cannot be stored: {error}. Give every column one kind of value."
        raise DataError(message) from error
    buffer.seek(0)
    return buffer


def canonical(payload: dict[str, Any]) -> str:
    """Return the one JSON text of a payload: sorted keys, no spaces, NaN as null.

    Examples
    --------
    >>> canonical({"b": float("nan"), "a": (1, 2.5)})
    '{"a":[1,2.5],"b":null}'
    """
    return json.dumps(_plain(payload), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _chained(last: Event | None, actor: str, kind: str, text: str) -> Event:
    sequence, previous = (1, GENESIS) if last is None else (last.sequence + 1, last.hash)
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    digest = hashlib.sha256(text.encode()).hexdigest()
    hashed = _hash(sequence, time, actor, kind, digest, previous)
    return Event(sequence, time, actor, kind, json.loads(text), digest, previous, hashed)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT * FROM events ORDER BY sequence").fetchall()


def _checked(rows: list[tuple[Any, ...]], path: Path) -> list[Event]:
    damage = chain_damage(rows)
    if damage:
        message = f"{path} is damaged: {damage[0]} Bring the folder back from a copy; `verify` lists everything."
        raise CampaignError(message)
    return [
        Event(sequence, time, actor, kind, json.loads(text), digest, previous, hashed)
        for sequence, time, actor, kind, text, digest, previous, hashed in rows
    ]


def chain_damage(rows: list[tuple[Any, ...]]) -> list[str]:
    """Return what is wrong with a chain of event rows, one text per event; empty = whole."""
    damage, before = [], GENESIS
    for place, row in enumerate(rows, start=1):
        sequence, time, actor, kind, text, digest, previous, hashed = row
        faults = []
        if sequence != place:
            faults.append(f"it stands in place {place} (an event is missing or was added)")
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            faults.append("its payload was changed")
        if previous != before:
            faults.append("it does not follow the event before it")
        if _hash(sequence, time, actor, kind, digest, previous) != hashed:
            faults.append("its time, actor, kind or digest was changed")
        if faults:
            damage.append(f"Event {sequence} ({kind}): {', '.join(faults)}.")
        before = hashed
    return damage


def _objects_of(text: str) -> list[str]:
    try:
        return list(json.loads(text).get("objects", {}).values())
    except (ValueError, AttributeError):
        return []


def _damage_of(path: Path, digest: str) -> str:
    try:
        found = file_sha256(path)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}."
    return "" if found == digest else f"{path} was changed: its SHA-256 is {found[:12]}..., not its name."


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", None) or ""
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            message = (
                f"Another process is working on the campaign in {path.parent}. Wait until it ends, then try again."
            )
        elif name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            message = f"Cannot write {path}: {error}. Nothing was changed; free space or allow writing, then try again."
        else:
            message = f"{path} is damaged: {error}. Bring the folder back from a copy."
        raise CampaignError(message) from error
