"""Cell stores: what goes in comes out, in every order asked for, and damage is told."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, issparse, random_array

from screenwise.data.cell_order import Order
from screenwise.data.cellstore import CellStore
from screenwise.data.cellstore_convert import from_blocks, from_matrix
from screenwise.errors import ColumnError, ConfigError, DataError

CELLS, GENES = 103, 40


@pytest.fixture(scope="module")
def dense():
    rng = np.random.default_rng(0)
    matrix = rng.poisson(0.3, (CELLS, GENES)).astype(np.float32)
    matrix[7] = 0
    matrix[9, 39] = 65_535
    return matrix


@pytest.fixture(scope="module")
def obs():
    return pd.DataFrame(
        {"condition": pd.Categorical(["ctrl", "A+B", None, "A"])[np.arange(CELLS) % 4], "depth": np.arange(CELLS) * 0.5}
    )


@pytest.fixture(scope="module")
def store(dense, obs, tmp_path_factory):
    names = [f"gene {number}" for number in range(GENES)]
    return from_matrix(tmp_path_factory.mktemp("cells") / "store", dense, genes=names, obs=obs)


def test_what_goes_in_comes_out(store, dense, obs):
    assert store.shape == dense.shape
    assert len(store) == CELLS
    assert store.counts
    assert (store.indices.dtype, store.data.dtype) == (np.uint8, np.uint16)
    assert store.genes[:2] == ["gene 0", "gene 1"]
    asked = [5, 102, 5, 7, 0, 9]
    np.testing.assert_array_equal(store.rows(asked), dense[asked])
    np.testing.assert_array_equal(store.rows(obs["condition"] == "A"), dense[obs["condition"] == "A"])
    assert store.rows([]).shape == (0, GENES)
    sparse = store.rows(asked, dense=False)
    assert issparse(sparse)
    assert sparse.dtype == np.float32
    sparse.check_format(full_check=True)
    np.testing.assert_array_equal(sparse.toarray(), dense[asked])
    back = store.obs()
    assert back["condition"].dtype == "category"
    pd.testing.assert_frame_equal(back.astype({"condition": object}), obs.astype({"condition": object}))
    assert list(store.obs(["depth"]).columns) == ["depth"]
    assert store.obs([]).shape == (CELLS, 0)
    store.verify()


@pytest.mark.parametrize(
    ("genes", "indices"), [(256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32")]
)
@pytest.mark.parametrize(
    ("values", "data", "counts"),
    [
        ([1, 65_535], "uint16", True),
        ([1, 65_536], "float32", True),
        ([0.5, 2.0], "float32", False),
        ([-0.5, 2], "float32", False),
    ],
)
def test_types_are_the_smallest_that_hold_the_values(tmp_path, genes, indices, values, data, counts):
    matrix = csr_array((np.array(values), ([0, 1], [0, genes - 1])), shape=(2, genes))
    store = from_matrix(tmp_path / "store", matrix, genes=list(map(str, range(genes))))
    assert (store.indices.dtype, store.data.dtype, store.counts) == (indices, data, counts)
    found = store.rows([1, 0])
    assert (found[0, -1], found[1, 0], np.count_nonzero(found)) == (values[1], values[0], 2)


def test_values_that_turn_out_no_counts_widen_what_was_written(tmp_path):
    rng = np.random.default_rng(1)
    blocks = [rng.poisson(1.0, (50, 9)), rng.poisson(1.0, (20, 9)) / 2.0, rng.poisson(1.0, (3, 9))]
    store = from_blocks(tmp_path / "store", map(csr_array, blocks), genes=list("abcdefghi"))
    assert not store.counts
    assert sorted(path.name for path in store.folder.glob("data-*")) == ["data-float32.bin"]
    np.testing.assert_array_equal(store.rows(np.arange(73)), np.concatenate(blocks).astype(np.float32))
    store.verify()


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 120),
    kind=st.sampled_from(["random", "block", "sequential"]),
    world=st.integers(1, 4),
    start=st.integers(0, 12),
    workers=st.sampled_from([0, 2]),
)
def test_ranks_cover_and_a_resumed_pass_is_the_tail(store, dense, kind, **asked):
    size, world, start, workers = (asked[name] for name in ("size", "world", "start", "workers"))
    seen = []
    for rank in range(world):
        order = Order(kind, seed=4, block=8, window=3, rank=rank, world=world)
        batches = list(store.batches(size, order, epochs=2))
        for number, batch in enumerate(batches):
            assert batch.position == number
            np.testing.assert_array_equal(batch.matrix, dense[batch.rows])
        seen += [batch.rows for batch in batches[: len(batches) // 2]]
        tail = list(store.batches(size, order, start=start, epochs=2, workers=workers))
        assert [batch.position for batch in tail] == list(range(len(batches)))[start:]
        for ours, whole in zip(tail, batches[start:], strict=True):
            np.testing.assert_array_equal(ours.rows, whole.rows)
            np.testing.assert_array_equal(ours.matrix, whole.matrix)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(CELLS))


def test_all_ranks_together_see_what_one_would(store):
    one = [batch.rows for batch in store.batches(12, Order(seed=2))]
    ranks = [[batch.rows for batch in store.batches(4, Order(seed=2, rank=rank, world=3))] for rank in range(3)]
    for whole, *parts in zip(one, *ranks, strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_passes_differ_and_may_go_on_for_ever(store):
    endless = store.batches(50, epochs=None, dense=False)
    first = [next(endless) for _ in range(6)]
    assert [len(batch.rows) for batch in first] == [50, 50, 3] * 2
    assert not np.array_equal(first[0].rows, first[3].rows)
    assert issparse(first[0].matrix)
    assert [len(batch.rows) for batch in store.batches(50, Order(drop_last=True))] == [50, 50]


def test_groups_are_drawn_by_weight(store, obs):
    order = Order(seed=1, column="condition", weights={"A": 1.0, "ctrl": 1.0})
    drawn = np.concatenate([batch.rows for batch in store.batches(64, order, epochs=20)])
    found = obs["condition"].iloc[drawn].value_counts()
    assert found["A+B"] == 0
    assert found.sum() == 20 * CELLS
    assert 0.45 < found["A"] / len(drawn) < 0.55
    with pytest.raises(ConfigError, match=r"'B'.*groups are A, A\+B, ctrl"):
        next(store.batches(4, Order(column="condition", weights={"B": 1.0})))


def test_threads_end_when_the_reader_stops_early(store):
    batches = store.batches(4, workers=2)
    next(batches)
    batches.close()
    assert next(batches, None) is None


@pytest.mark.parametrize("rows", [[CELLS], [-1], [0.5], [[0]], [True], ["a"]])
def test_rows_that_are_not_there_are_told(store, rows):
    with pytest.raises(DataError, match=r"[Rr]ow"):
        store.rows(rows)


def test_wrong_questions_are_told(store):
    with pytest.raises(DataError, match="size = 0"):
        store.batches(0)
    with pytest.raises(ColumnError, match="no obs column 'batch'; its columns are condition, depth"):
        store.obs(["batch"])


@pytest.mark.parametrize(
    ("matrix", "genes", "said"),
    [
        ([[1, 2]], ["a", "a"], "1 genes stand more than once, such as a"),
        ([[1, 2]], ["a"], "2 columns; there are 1 genes"),
        ([[1, -2]], ["a", "b"], r"cell 0 .from 0., gene b is -2.*never negative"),
        ([[1.0], [np.nan]], ["a"], "cell 1 .from 0., gene a is nan.*finite"),
        ([[np.inf]], ["a"], "finite"),
        ([["x"]], ["a"], "must be numbers"),
        ([1, 2], ["a", "b"], r"shape \(2,\)"),
        (np.zeros((0, 2)), ["a", "b"], "holds no cells"),
        (np.zeros((2, 0)), [], "at least one gene"),
        ([[2**25]], ["a"], "counts, at most 16,777,216"),
    ],
)
def test_bad_cells_are_refused_and_leave_nothing(tmp_path, matrix, genes, said):
    with pytest.raises(DataError, match=said):
        from_matrix(tmp_path / "store", np.asarray(matrix), genes=genes)
    assert list(tmp_path.iterdir()) == []


def test_counts_as_declared(tmp_path):
    with pytest.raises(DataError, match=r"gene a is 0.5.*counts, as declared"):
        from_matrix(tmp_path / "store", [[0.5]], genes=["a"], counts=True)
    store = from_matrix(tmp_path / "store", [[-2, 3]], genes=["a", "b"], counts=False)
    assert not store.counts
    assert store.rows([0]).tolist() == [[-2.0, 3.0]]
    with pytest.raises(DataError, match="is not empty"):
        from_matrix(tmp_path / "store", [[1, 3]], genes=["a", "b"])
    with pytest.raises(DataError, match="obs has 3 rows"):
        from_matrix(tmp_path / "other", [[1]], genes=["a"], obs=pd.DataFrame({"x": [1, 2, 3]}))


def test_what_is_given_stays_as_it_is(tmp_path):
    matrix = csr_array((np.array([1.0, 0.0, 2.0]), np.array([1, 0, 1]), np.array([0, 2, 3])), shape=(2, 2))
    matrix.data[1] = 0
    from_matrix(tmp_path / "store", matrix, genes=["a", "b"])
    assert matrix.nnz == 3


def test_a_half_precision_matrix(tmp_path):
    store = from_matrix(tmp_path / "store", np.array([[0.5, 0]], np.float16), genes=["a", "b"])
    assert store.rows([0]).tolist() == [[0.5, 0.0]]


@pytest.mark.parametrize("name", ["indptr.bin", "indices.bin", "data-uint16.bin", "genes.parquet", "obs-00000.parquet"])
def test_torn_and_changed_stores_are_told(store, tmp_path, name):
    for path in store.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-3])
    with pytest.raises(DataError, match=f"{name} has .* bytes of"):
        CellStore.open(tmp_path)
    (tmp_path / name).write_bytes(whole[:40] + bytes([whole[40] ^ 255]) + whole[41:])
    with pytest.raises(DataError, match=f"{name} was changed"):
        CellStore.open(tmp_path).verify()
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        CellStore.open(tmp_path)


@pytest.mark.parametrize("name", ["indptr.bin", "indices.bin"])
@pytest.mark.parametrize("dense", [True, False])
def test_numbers_that_lead_outside_are_told(tmp_path, name, dense):
    store = from_matrix(
        tmp_path / "store", random_array((50, 30), density=0.2, rng=0) > 0, genes=list(map(str, range(30)))
    )
    path = store.folder / name
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(DataError, match="lead outside"):
        CellStore.open(store.folder).rows(np.arange(50), dense=dense)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "screenwise cells 1", "obs": []}'])
def test_broken_headers_are_told(tmp_path, text):
    with pytest.raises(DataError, match="no cell store"):
        CellStore.open(tmp_path)
    (tmp_path / "header.json").write_text(text)
    with pytest.raises(DataError, match=r"header\.json"):
        CellStore.open(tmp_path)


def test_the_header_is_plain(store):
    header = json.loads((store.folder / "header.json").read_text())
    assert (header["rows"], header["genes"], header["data"]) == (CELLS, GENES, "uint16")
    assert header["size"]["indptr.bin"] == 8 * (CELLS + 1)
