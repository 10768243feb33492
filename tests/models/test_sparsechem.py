"""Cells, statistics and schedule of SparseChem's training."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from screenwise.data.sparsechem import SparseChemLabels, fold_inputs
from screenwise.data.sparsechem_tasks import TaskWeights
from screenwise.models.sparsechem import (
    FoldedRows,
    SparseChemTraining,
    learn_statistics,
    sparsechem_cells,
)
from screenwise.models.sparsechem_network import SparseChemTasks
from screenwise.train.sparse_store import write_rows


def labels_of(seed=0, rows=12, classes=3, values=2):
    rng = np.random.default_rng(seed)
    y_class = csr_array(np.where(rng.random((rows, classes)) < 0.5, rng.choice([-1.0, 1.0], (rows, classes)), 0))
    y_regr = csr_array(random_array((rows, values), density=0.7, rng=rng))
    y_regr.data[:1] = 0
    bound = rng.integers(-1, 2, y_regr.nnz).astype(np.int8)
    censor = csr_array((bound, y_regr.indices, y_regr.indptr), shape=y_regr.shape)
    class_tasks = TaskWeights(rng.random(classes))
    regr_tasks = TaskWeights(rng.random(values), censored=rng.random(values))
    return SparseChemLabels(y_class, y_regr, censor, class_tasks, regr_tasks, np.arange(rows) % 3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), share=st.sampled_from([0.0, 0.3, 1.0]), shared=st.sampled_from([(), (2,), (0, 1)]))
def test_cells_have_the_weights_of_the_loss(seed, share, shared):
    labels, tasks = labels_of(seed), SparseChemTasks(3, 2, np.array(shared, int))
    table = sparsechem_cells(csr_array((12, 4)), labels, tasks, None, share)
    found = {}
    for row in range(12):
        cells, _ = table.where(np.array([row]))
        for cell in cells:
            key = (row, int(table.task[cell]))
            assert key not in found
            found[key] = tuple(float(one[cell]) for one in (table.target, table.relation, table.weight))
    wanted = {}
    for row, task in zip(*labels.y_class.nonzero(), strict=True):
        label = (labels.y_class[row, task] + 1) / 2
        wanted[row, task] = (label, 0, labels.class_tasks.training[task] * 2 * (1 - share))
        if task in shared:
            wanted[row, 3 + shared.index(task)] = (label, 0, 1.0)
    start = labels.y_regr.indptr
    for row in range(12):
        for entry in range(start[row], start[row + 1]):
            task, bound = labels.y_regr.indices[entry], labels.y_censor.data[entry]
            weight = labels.regr_tasks.training[task] * 2 * share
            weight *= labels.regr_tasks.censored[task] if bound else 1
            wanted[row, 3 + len(shared) + task] = (labels.y_regr.data[entry], bound, weight)
    assert found.keys() == wanted.keys()
    for key, numbers in wanted.items():
        np.testing.assert_allclose(found[key], numbers, rtol=1e-6)


def test_statistics_of_few_or_equal_exact_values():
    value = np.array([[1.0, 5.0, 2.0], [3.0, 6.0, 2.0], [9.0, 7.0, 2.0], [5.0, 0.0, 2.0]])
    bound = np.array([[0, 0, 0], [0, -1, 0], [1, -1, 0], [0, 1, 0]], np.int8)
    labels = labels_of(rows=4, values=3)
    start = np.arange(0, 13, 3)
    full = [csr_array((one.ravel(), np.tile(np.arange(3), 4), start), shape=(4, 3)) for one in (value, bound)]
    found = learn_statistics(replace(labels, y_regr=full[0], y_censor=full[1]))
    np.testing.assert_allclose(found.mean, [3.0, 4.5, 2.0])  # exact values; all, as one is exact; all equal
    np.testing.assert_allclose(found.variance[:2], [np.var([1, 3, 5]), np.var([5, 6, 7, 0])])
    np.testing.assert_allclose(found.variance[2], np.median(found.variance[:2]))


@given(
    rows=st.integers(1, 5000),
    ratio=st.floats(0.001, 1),
    most=st.one_of(st.none(), st.integers(1, 600)),
)
def test_a_step_has_the_rows_of_its_parts(rows, ratio, most):
    training = SparseChemTraining(batch_ratio=ratio, internal_batch_max=most)
    part, parts = training.batches(rows)
    batch = int(np.ceil(ratio * rows))
    assert part <= (most or batch)
    assert 0 <= part * parts - batch < parts
    assert training.loop(rows).batch_size == part * parts


@pytest.mark.parametrize(("columns", "transform"), [(7, "none"), (None, "log1p"), (5, "binarize")])
def test_rows_on_disk_are_folded_as_those_in_memory(tmp_path, columns, transform):
    x = csr_array(random_array((9, 16), density=0.4, rng=np.random.default_rng(1), dtype=np.float32))
    rows = FoldedRows(write_rows(tmp_path / "x", [x]), columns, transform)
    wanted = fold_inputs(x, columns, transform)
    assert rows.shape == wanted.shape
    np.testing.assert_allclose(rows[np.array([8, 0, 3])].toarray(), wanted.toarray()[[8, 0, 3]], rtol=1e-6)


def test_the_digest_tells_data_apart():
    labels, tasks = labels_of(), SparseChemTasks(3, 2, np.zeros(0, int))
    table = sparsechem_cells(csr_array((12, 4)), labels, tasks, None, 0.5)
    rows = np.arange(12)
    other = sparsechem_cells(csr_array((12, 4)), labels, tasks, None, 0.4)
    assert table.digest(rows) == table.digest(rows)
    assert len({table.digest(rows), table.digest(rows[1:]), other.digest(rows)}) == 3
