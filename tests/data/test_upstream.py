"""Published layouts: the table they give, for every dataset that is fetched."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from screenwise.data import fetch
from screenwise.data.catalogue import DATASETS
from screenwise.data.upstream import UPSTREAM, read_packaged, read_upstream, table_sha256
from screenwise.errors import DatasetError
from screenwise.run import file_sha256

FETCHED = {name: info.files[0] for name, info in DATASETS.items() if info.files[0].fetch}
PHOTOSWITCH = (
    ",SMILES,E isomer pi-pi* wavelength in nm,E isomer n-pi* wavelength in nm,Z isomer pi-pi* wavelength in nm\r\n"
    "0,C[N]1N=NC(=N1)N=NC2=CC=CC=C2,310.0,442.0,290.0\r\n1,CCN,,,\r\n"
)


def test_every_fetched_file_has_a_reader():
    assert {Path(file.path).stem for file in FETCHED.values()} == set(UPSTREAM)


@pytest.mark.parametrize("kind", ["tar", "zip", "file"])
def test_archives_and_files_give_the_same_table(tmp_path, kind):
    path, member, text = tmp_path / f"a.{kind}", "top/Photoswitch.csv", PHOTOSWITCH.encode()
    if kind == "tar":
        with tarfile.open(path, "w:gz") as archive:
            entry = tarfile.TarInfo(member)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, text)
    else:
        path.write_bytes(text)
    table = read_upstream(path, "" if kind == "file" else member, "mol_photoswitch")
    assert table.columns.tolist() == ["smiles", "y", "e_npi", "z_pipi"]
    assert table["y"].tolist()[0] == 310.0
    assert table.iloc[1, 1:].isna().all()
    if kind != "file":
        with pytest.raises(DatasetError, match=r"holds no top/other\.csv"):
            read_upstream(path, "top/other.csv", "mol_photoswitch")


def test_values_keep_their_last_digit_and_a_byte_order_mark_is_no_name(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\ufeffentry,Base,yield\n0,KOAc,-4.593999999999999\n", encoding="utf-8")
    table = read_upstream(path, "", "rxn_direct_arylation")
    assert table.columns.tolist() == ["Base", "yield"]
    assert table["yield"].tolist() == [-4.593999999999999]


def _archive(file) -> Path | None:
    import pooch  # noqa: PLC0415

    path = Path(os.environ.get("SCREENWISE_CACHE") or pooch.os_cache("screenwise")) / file.fetch.rsplit("/", 1)[-1]
    return path if path.is_file() and file_sha256(path) == file.fetch_sha256 else None


@pytest.mark.parametrize("name", list(FETCHED))
def test_upstream_gives_the_table_of_the_data_folder(name):
    file = FETCHED[name]
    here = [folder / file.path for folder in fetch.data_folders() if (folder / file.path).is_file()]
    if not here or _archive(file) is None:
        pytest.skip(f"needs {file.path} in the data folder and {file.fetch} in the cache (SCREENWISE_CACHE)")
    assert file_sha256(here[0]) == file.sha256
    found = read_upstream(_archive(file), file.member, here[0].stem)
    pd.testing.assert_frame_equal(found, pd.read_parquet(here[0]), check_exact=True)


def test_another_content_of_scikit_learn_is_refused():
    with pytest.raises(DatasetError, match="scikit-learn's wine has another content here"):
        read_packaged("sklearn:wine", "0" * 64)


def test_the_sha256_of_a_table_sees_names_and_values():
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    others = [table.rename(columns={"a": "c"}), table.iloc[::-1], table[["b", "a"]], table + 1e-15]
    assert len({table_sha256(one) for one in [table, *others]}) == 5
    assert table_sha256(table) == table_sha256(table.astype("float32"))
