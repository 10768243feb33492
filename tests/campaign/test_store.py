import errno
import json
import os
import sqlite3

import pandas as pd
import pytest

from screenwise.campaign import store as store_file
from screenwise.campaign.store import Store
from screenwise.errors import CampaignError, DataError


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "c")
    for place in range(4):
        with store.writing("ann") as writer:
            digest = store.put(pd.DataFrame({"a": [place, 7]}))
            writer.append("proposed", {"round": place, "objects": {"proposal": digest}})
    return store


def change(store, statement, *values):
    """Change the file behind the log's back."""
    with sqlite3.connect(store.path, isolation_level=None) as connection:
        connection.execute("DROP TRIGGER IF EXISTS no_update")
        connection.execute("DROP TRIGGER IF EXISTS no_delete")
        connection.execute(statement, values)
    connection.close()


def test_the_log_keeps_what_was_said_in_order(store):
    events = store.events()
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert [event.previous for event in events[1:]] == [event.hash for event in events[:-1]]
    assert store.get(events[2].payload["objects"]["proposal"])["a"].tolist() == [2, 7]
    assert store.verify() == {"ok": True, "events": 4, "objects": 4, "head": events[-1].hash, "problems": []}


def test_the_file_is_strict_write_ahead_and_refuses_changes(store):
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT strict FROM pragma_table_list WHERE name = 'events'").fetchone() == (1,)
        for statement in ("UPDATE events SET actor = 'eve'", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="events are final"):
                connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("column", ["time", "actor", "kind", "payload", "payload_digest", "previous", "hash"])
def test_a_changed_cell_is_found_and_its_event_named(store, column):
    change(store, f"UPDATE events SET {column} = ? WHERE sequence = 3", '{"round":9}')
    report = store.verify()
    assert not report["ok"]
    assert report["problems"][0].startswith("Event 3 (")
    with pytest.raises(CampaignError, match=r"Event 3 \("):
        store.events()
    with pytest.raises(CampaignError, match="damaged"), store.writing("ann"):
        pass


def test_a_removed_event_and_a_forged_payload_with_its_digest_are_found(store):
    text = json.dumps({"round": 9})
    digest = store_file.hashlib.sha256(text.encode()).hexdigest()
    change(store, "UPDATE events SET payload = ?, payload_digest = ? WHERE sequence = 2", text, digest)
    assert "Event 2" in store.verify()["problems"][0]
    change(store, "DELETE FROM events WHERE sequence = 2")
    assert "Event 3 (proposed): it stands in place 2" in store.verify()["problems"][0]


def test_a_changed_or_missing_table_is_found_and_named(store):
    first, second = (event.payload["objects"]["proposal"] for event in store.events()[:2])
    path = store.folder / "objects" / f"{first}.parquet"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    (store.folder / "objects" / f"{second}.parquet").unlink()
    damage = store.verify()["problems"]
    assert len(damage) == 2
    assert "Event 1" in damage[0]
    assert first in damage[0]
    assert "Event 2" in damage[1]
    with pytest.raises(CampaignError, match="was changed"):
        store.get(first)
    with pytest.raises(CampaignError, match="cannot be read"):
        store.get(second)


def test_garbage_in_the_log_is_damage_not_a_traceback(store):
    data = bytearray(store.path.read_bytes())
    data[4096:6000] = b"\x55" * (6000 - 4096)
    store.path.write_bytes(data)
    assert not store.verify()["ok"]
    store.path.write_bytes(b"no database at all" * 100)
    assert not store.verify()["ok"]
    with pytest.raises(CampaignError, match="damaged"):
        Store.open(store.folder)


def test_what_nobody_may_write_can_be_read(store, monkeypatch):
    monkeypatch.setattr(store_file.os, "access", lambda path, mode: False)
    again = Store.open(store.folder)
    assert again.events() == store.events()
    assert again.verify()["ok"]
    with pytest.raises(CampaignError, match="Cannot write"), again.writing("ann") as writer:
        writer.append("proposed", {})


def test_a_second_writer_is_told_that_another_is_at_work(store, monkeypatch):
    monkeypatch.setattr(store_file, "WAIT", 0.05)
    with store.writing("ann") as writer:
        writer.append("stopped", {})
        with pytest.raises(CampaignError, match="Another process is working"), store.writing("bob"):
            pass
        assert len(store.events()) == 4  # readers are not kept out, and see no half work
    assert len(store.events()) == 5


def test_an_operation_that_fails_leaves_nothing(store):
    with pytest.raises(AttributeError), store.writing("ann") as writer:
        writer.append("stopped", {}).no_such_method()
    assert len(store.events()) == 4


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_full_disk_is_our_error_and_leaves_no_file(store, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(path.name for path in (store.folder / "objects").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(DataError, match="No space left"):
            store.put(pd.DataFrame({"a": [99]}))
    assert sorted(path.name for path in (store.folder / "objects").iterdir()) == before


def test_other_files_and_newer_formats_are_refused(store, tmp_path):
    with pytest.raises(CampaignError, match="not the folder of a campaign"):
        Store.open(tmp_path / "nothing")
    with pytest.raises(CampaignError, match="exists already"):
        Store.create(store.folder)
    change(store, "PRAGMA user_version = 99")
    with pytest.raises(CampaignError, match="newer release"):
        Store.open(store.folder)


def test_mixed_kinds_in_a_column_are_named(store):
    with pytest.raises(DataError, match="one kind of value"):
        store.put(pd.DataFrame({"a": ["x", 1.5, object()]}))


def test_events_are_announced_once_they_are_safe(tmp_path):
    seen = []
    store = Store.create(tmp_path / "c", on_commit=lambda event: seen.append((event.kind, len(store.events()))))
    with store.writing("ann") as writer:
        writer.append("created", {})
        assert seen == []
    assert seen == [("created", 1)]


def test_a_full_disk_under_the_log_is_our_error_and_leaves_nothing(store, monkeypatch):
    connect = sqlite3.connect

    def small(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute("PRAGMA max_page_count = 1")  # no page more than there are
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(store_file.sqlite3, "connect", small)
        with pytest.raises(CampaignError, match="full"), store.writing("ann") as writer:
            writer.append("stopped", {"reason": "x" * 100_000})
    assert len(store.events()) == 4
    assert store.verify()["ok"]
