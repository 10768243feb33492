"""A screen as SparseChem's files, and back."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, load_npz

from screenwise.data.sparsechem_screen import screen_from_sparsechem, screen_to_sparsechem
from screenwise.errors import DataError
from screenwise.screen import Targets, make_screen

TASKS = pd.DataFrame(
    {
        "name": ["pIC50", "active", "pKi"],
        "kind": ["regression", "classification", "regression"],
        "assay": ["A", "A", "B"],
        "weight": [1.0, 0.5, 0.25],
        "censored_weight": [0.5, 1.0, 1.0],
        "catalogue": ["", "ID7", ""],
    }
)


def screen_of(value, relation=None, tasks=TASKS):
    conditions = pd.DataFrame({"compound": [f"c{n}" for n in range(len(value))], "dose_um": 1.5})
    return make_screen(conditions, Targets(np.asarray(value, float), relation), tasks)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), rows=st.integers(1, 6), sparse=st.booleans())
def test_there_and_back_nothing_is_lost(tmp_path_factory, seed, rows, sparse):
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("files")
    value = np.where(rng.random((rows, 3)) < 0.4, np.nan, rng.normal(size=(rows, 3)).round(2))
    value[:, 1] = np.where(np.isnan(value[:, 1]), np.nan, value[:, 1] > 0)
    value[0, 0] = 0.0
    relation = np.where(np.isnan(value), 0, rng.integers(-1, 2, value.shape)).astype(np.int8)
    relation[:, 1] = 0
    screen = screen_of(value, relation)
    if sparse:
        cells = screen.targets.cells()
        start = np.searchsorted(cells.row, np.arange(rows + 1))
        stored = [csr_array((one, cells.task, start), shape=value.shape) for one in (cells.value, cells.relation)]
        screen = replace(screen, targets=Targets(*stored))
    x, folding = csr_array(rng.integers(0, 3, (rows, 4)).astype(float)), rng.integers(0, 3, rows)
    found = screen_from_sparsechem(screen_to_sparsechem(screen, x, folder, folding=folding))
    order = [1, 0, 2]  # classes first
    np.testing.assert_allclose(found.screen.targets.dense(), value[:, order].astype(np.float32))
    cells = found.screen.targets.cells()
    np.testing.assert_array_equal(cells.relation, relation[:, order][cells.row, cells.task])
    pd.testing.assert_frame_equal(found.screen.conditions, screen.conditions)
    pd.testing.assert_frame_equal(
        found.screen.tasks[list(screen.tasks)], screen.tasks.iloc[order].reset_index(drop=True), check_dtype=False
    )
    np.testing.assert_array_equal(found.x.toarray(), x.toarray())
    np.testing.assert_array_equal(found.folding, folding)


def test_sparsechem_finds_what_it_expects(tmp_path):
    value = np.array([[5.0, 1, np.nan], [np.nan, 0, 0.0]])
    relation = np.array([[-1, 0, 0], [0, 0, 1]], np.int8)
    files = screen_to_sparsechem(screen_of(value, relation), csr_array(np.eye(2)), tmp_path)
    classes, values, censor = (load_npz(tmp_path / f"{name}.npz") for name in ("y_class", "y_regr", "y_censor"))
    assert classes.toarray().tolist() == [[1.0], [-1.0]]
    assert values.nnz == censor.nnz == 2
    assert censor.toarray().tolist() == [[-1.0, 0.0], [0.0, 1.0]]
    table = pd.read_csv(files.weights_regr)
    assert table["training_weight"].tolist() == [1.0, 0.25]
    assert table["censored_weight"].tolist() == [0.5, 1.0]
    assert pd.read_csv(files.weights_class)["catalog_id"].tolist() == ["ID7"]


def test_without_names_rows_and_tasks_are_numbered(tmp_path):
    value = np.array([[5.0, 1, np.nan], [np.nan, 0, 0.0]])
    files = screen_to_sparsechem(screen_of(value), csr_array(np.eye(2)), tmp_path)
    for name in ("conditions", "tasks"):
        (tmp_path / f"{name}.parquet").unlink()
    found = screen_from_sparsechem(files)
    assert found.screen.task_names == ["class0", "regr0", "regr1"]
    assert found.screen.conditions["compound"].tolist() == ["row0", "row1"]
    assert found.screen.tasks["catalogue"].tolist() == ["ID7", "", ""]


def test_names_of_other_tasks_are_refused(tmp_path):
    value = np.array([[5.0, 1, np.nan], [np.nan, 0, 0.0]])
    files = screen_to_sparsechem(screen_of(value), csr_array(np.eye(2)), tmp_path)
    TASKS.head(2).to_parquet(tmp_path / "tasks.parquet")
    with pytest.raises(DataError, match="names 2 tasks"):
        screen_from_sparsechem(files)
    TASKS.assign(kind="regression").to_parquet(tmp_path / "tasks.parquet")
    with pytest.raises(DataError, match="other kinds"):
        screen_from_sparsechem(files)


def test_what_sparsechem_cannot_hold_is_refused(tmp_path):
    value = np.array([[5.0, 1, np.nan], [np.nan, 0, 0.0]])
    screen, x = screen_of(value), csr_array(np.eye(2))
    cases = {
        "3 rows": (screen, csr_array(np.eye(3)), None),
        "The folds have 1": (screen, x, np.array([0])),
        "'active'.*0.5 is not 0 or 1": (screen_of(np.array([[1, 0.5, 1]])), x[[0]], None),
        "weighs 2": (screen_of(value, tasks=TASKS.assign(weight=2.0)), x, None),
        "weights of conditions": (replace(screen, targets=Targets(value, None, np.ones(2, np.float32))), x, None),
    }
    for said, (one, features, folding) in cases.items():
        with pytest.raises(DataError, match=said):
            screen_to_sparsechem(one, features, tmp_path, folding=folding)
    assert not list(tmp_path.iterdir())


def test_types_of_assays_are_those_of_the_weights(tmp_path):
    value = np.array([[5.5, 1.0, 6.0], [6.5, 0.0, 7.0]])
    screen = screen_of(value, tasks=TASKS.assign(assay_type=["OTHER", "AUX_HTS", None]))
    files = screen_to_sparsechem(screen, csr_array(np.eye(2)), tmp_path)
    assert "task_type" in pd.read_csv(files.weights_regr)
    assert screen_from_sparsechem(files).screen.tasks["assay_type"].tolist() == ["AUX_HTS", "OTHER", ""]
    for name in ("tasks.parquet", "conditions.parquet"):
        (tmp_path / name).unlink()
    numbered = screen_from_sparsechem(files).screen.tasks
    assert numbered["name"].tolist() == ["class0", "regr0", "regr1"]
    assert numbered["assay_type"].tolist() == ["AUX_HTS", "OTHER", ""]
