"""Fetching: once, into the cache, only what has its sha256; a server on this machine stands for the world."""

import hashlib
import io
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from screenwise.data import datasets
from screenwise.data.catalogue import DATASETS
from screenwise.errors import DatasetError

CSV = b"iupac,smiles,expt,calc\r\nmethanol,CO,-5.10,-3.5\r\nethanol,CCO,-5.00,-3.4\r\n"


def _tarball() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("top/FreeSolv.csv")
        entry.size = len(CSV)
        archive.addfile(entry, io.BytesIO(CSV))
    return buffer.getvalue()


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Serve an archive; the list that comes back grows by one path per request."""
    content, asked = _tarball(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words):
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("SCREENWISE_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("SCREENWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    file = replace(
        DATASETS["freesolv"].files[0],
        fetch=f"http://127.0.0.1:{server.server_port}/solv.tar.gz",
        fetch_sha256=hashlib.sha256(content).hexdigest(),
        member="top/FreeSolv.csv",
    )
    monkeypatch.setattr(datasets, "DATASETS", {"freesolv": replace(DATASETS["freesolv"], files=(file,))})
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_dataset_is_fetched_once(world, tmp_path, capfd):
    for _ in range(2):
        data = datasets.load_dataset("freesolv")
        assert data.screen.conditions["smiles"].tolist() == ["CO", "CCO"]
        assert data.screen.targets.dense()[:, 0].tolist() == pytest.approx([-5.1, -5.0])
    assert world == ["/solv.tar.gz"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["solv.tar.gz"]
    assert capfd.readouterr().out == ""


def test_what_has_another_sha256_is_refused_and_not_kept(world, tmp_path, monkeypatch):
    info = datasets.DATASETS["freesolv"]
    wrong = replace(info, files=(replace(info.files[0], fetch_sha256="0" * 64),))
    monkeypatch.setattr(datasets, "DATASETS", {"freesolv": wrong})
    with pytest.raises(DatasetError, match=r"is not the file of sha256 0000.*Fetch it elsewhere"):
        datasets.load_dataset("freesolv")
    assert not list((tmp_path / "cache").iterdir())
