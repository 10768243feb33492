"""Screens keep what was measured through takes, files and AnnData."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array, issparse

from screenwise.errors import ColumnError, DataError
from screenwise.screen import Cells, Screen, Targets, make_screen, targets_from_cells


def toy(value, relation=None, *, sparse=False):
    n, t = value.shape
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)]})
    targets = Targets(value, relation)
    if sparse:
        targets = targets_from_cells(targets.cells(), (n, t), sparse=True)
    return make_screen(conditions, targets, [f"task{i}" for i in range(t)])


values = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 4)),
    elements=st.sampled_from([0.0, 1.5, -2.0, float("nan")]),
)


def same(a: Screen, b: Screen):
    pd.testing.assert_frame_equal(a.conditions, b.conditions, check_dtype=False, check_column_type=False)
    pd.testing.assert_frame_equal(a.tasks, b.tasks, check_dtype=False, check_column_type=False)
    for one, other in zip(vars(a.targets.cells()).values(), vars(b.targets.cells()).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert issparse(a.targets.value) == issparse(b.targets.value)


@settings(max_examples=30, deadline=None)
@given(values, st.booleans())
def test_folder_and_anndata_round_trips(tmp_path_factory, value, sparse):
    relation = np.where(np.nan_to_num(value) < 0, -1, 0).astype(np.int8)
    screen = toy(value, relation, sparse=sparse)
    folder = tmp_path_factory.mktemp("screen")
    screen.save(folder)
    same(Screen.load(folder), screen)
    assert not any(path.suffix == ".pkl" for path in folder.iterdir())
    same(Screen.from_anndata(screen.to_anndata()), screen)


@given(values, st.booleans(), st.data())
def test_take_and_where_agree_with_dense(value, sparse, data):
    screen = toy(value, sparse=sparse)
    rows = data.draw(st.lists(st.integers(0, len(value) - 1), min_size=1))
    np.testing.assert_array_equal(screen.take(rows).targets.dense(), value[rows])
    tasks = data.draw(st.permutations(range(value.shape[1])))
    np.testing.assert_array_equal(screen.take_tasks(tasks).targets.dense(), value[:, tasks])
    cells = screen.targets.cells()
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(cells), max_size=len(cells))), bool)
    kept = screen.where(keep).targets.cells()
    np.testing.assert_array_equal(kept.value, cells.value[keep])
    np.testing.assert_array_equal(kept.row, cells.row[keep])
    for task in range(value.shape[1]):
        np.testing.assert_array_equal(screen.targets.task(task).value, cells.value[cells.task == task])


def test_a_measured_zero_is_not_a_missing_value():
    screen = toy(np.array([[0.0, np.nan]]), sparse=True)
    assert screen.targets.cells().value.tolist() == [0.0]
    assert np.isnan(screen.targets.dense()[0, 1])


def test_anndata_file(tmp_path):
    anndata = pytest.importorskip("anndata")
    screen = toy(np.array([[0.0, np.nan], [1.0, 2.0]]))
    screen.to_anndata().write_h5ad(tmp_path / "screen.h5ad")
    same(Screen.from_anndata(anndata.read_h5ad(tmp_path / "screen.h5ad")), screen)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Targets(np.zeros(3)), "must be"),
        (lambda: Targets(np.zeros((2, 2)), np.zeros((2, 1), np.int8)), "must agree"),
        (lambda: Targets(csr_array(np.eye(2)), np.zeros((2, 2), np.int8)), "both be"),
        (lambda: Targets(csr_array(np.eye(2)), csr_array(np.ones((2, 2), np.int8))), "exactly the entries"),
        (lambda: Targets(np.zeros((2, 2)), weight=np.ones(3, np.float32)), "weight"),
        (lambda: make_screen(pd.DataFrame({"gene": ["A"]}), np.zeros((2, 1)), ["x"]), "cannot have"),
        (lambda: Screen.load("nowhere"), "does not exist"),
    ],
)
def test_shapes_that_disagree_are_errors(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_doubled_and_unknown_tasks_are_errors():
    with pytest.raises(ColumnError, match="stand twice"):
        make_screen(pd.DataFrame({"gene": ["A"]}), np.zeros((1, 2)), ["x", "x"])
    with pytest.raises(ColumnError, match="no task 'y'"):
        toy(np.zeros((1, 1))).task_index("y")


def test_cells_build_the_same_targets_dense_and_sparse():
    cells = Cells(np.array([1, 0]), np.array([0, 1]), np.array([1.0, 2.0], np.float32), np.array([0, 1], np.int8))
    dense, sparse = (targets_from_cells(cells, (2, 2), sparse=sparse) for sparse in (False, True))
    np.testing.assert_array_equal(dense.dense(), sparse.dense())
    np.testing.assert_array_equal(dense.cells().relation, sparse.cells().relation)
