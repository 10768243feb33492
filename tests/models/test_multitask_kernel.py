from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.kernel_ridge import KernelRidge as Peer

from screenwise.errors import ConfigError
from screenwise.models.multitask import MultiTask, MultiTaskConfig
from screenwise.models.multitask_cells import CellTable, Lots
from screenwise.models.multitask_kernel import (
    LEAST,
    LEAST_SHARE,
    MOST,
    PENALTIES,
    _affordable,
    fit_kernel,
    kernel_arrays,
    kernel_of,
    weigh,
)
from screenwise.screen import make_screen


def min_max(one, other):
    low = np.minimum(one[:, None], other[None]).sum(axis=2)
    return low / np.maximum(one[:, None], other[None]).sum(axis=2)


def centred(gram):
    return gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()


def counts(rng, rows, columns=30):
    return (rng.poisson(0.7, (rows, columns)) + np.eye(rows, columns)).astype(np.float32)


def table(rng, x, tasks, share=1.0):
    there = rng.random((len(x), tasks)) < share
    row, task = np.nonzero(there)
    target = (np.sqrt(x[row]).sum(axis=1) / 5 + 0.1 * rng.normal(size=len(row))).astype(np.float32)
    start = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    one = np.ones(len(row), np.float32)
    return CellTable(csr_array(x), start, task, target, 0 * one, one, np.zeros(tasks, bool))


def all_of(data):
    return Lots(data, np.arange(len(data)), data, np.arange(0))


def test_held_out_rows_are_told_before_they_are_learned():
    rng = np.random.default_rng(5)
    data = table(rng, counts(rng, 90), 3, 0.8)
    lots = Lots(data, rng.permutation(90)[:60], data, np.arange(0))
    lots = replace(lots, held=np.setdiff1d(np.arange(90), lots.rows))
    relation = np.where(rng.random(len(data.task)) < 0.2, -1.0, 0.0).astype(np.float32)
    lots = replace(lots, table=replace(data, relation=relation), judge=replace(data, relation=relation))
    before, _ = fit_kernel(lots)
    both, said = fit_kernel(lots, every=True)
    cells, row = lots.table.where(lots.held)
    assert said == pytest.approx(before.cells(csr_array(data.x[lots.held]), row, data.task[cells]), abs=1e-5)
    assert both.alpha.nnz == (relation == 0).sum()
    assert before.alpha.nnz < both.alpha.nnz
    assert weigh(before, said[None].astype(np.float32) + 1, lots, np.empty(0))[0].share == pytest.approx(
        weigh(both, said[None].astype(np.float32) + 1, lots, said)[0].share, abs=1e-4
    )


def test_predictions_are_those_of_scikit_learn_on_the_same_similarities():
    rng = np.random.default_rng(0)
    x, new = counts(rng, 60), counts(rng, 20)
    data = table(rng, x, 1)
    kernel, _ = fit_kernel(all_of(data))
    gram, cross = min_max(x, x), min_max(new, x)
    own = centred(gram)
    across = cross - cross.mean(axis=1)[:, None] - gram.mean(axis=0) + gram.mean()
    y = data.target.astype(float)
    options = {}
    for penalty in PENALTIES:
        alpha = penalty * np.trace(own) / 60
        held = [
            Peer(alpha=alpha, kernel="precomputed").fit(gram_left - 0, y_left - y_left.mean()).predict(line[None])[0]
            + y_left.mean()
            for gram_left, line, y_left in (left_out(gram, y, place) for place in range(60))
        ]
        fit = Peer(alpha=alpha, kernel="precomputed").fit(own, y - y.mean())
        options[np.mean((held - y) ** 2)] = fit.predict(across) + y.mean()
    assert kernel.predict(csr_array(new), np.array([0]))[:, 0] == pytest.approx(options[min(options)], abs=1e-5)


def left_out(gram, y, place):
    """Return the centred similarities of all but one, those of that one, and the other values."""
    some = np.delete(np.arange(len(y)), place)
    left = gram[np.ix_(some, some)]
    line = gram[place, some]
    return centred(left), line - line.mean() - left.mean(axis=0) + left.mean(), y[some]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), tasks=st.integers(1, 4))
def test_cells_tasks_and_order_of_rows_change_nothing(seed, tasks):
    rng = np.random.default_rng(seed)
    x, new = counts(rng, 50), csr_array(counts(rng, 8))
    kernel, _ = fit_kernel(all_of(table(rng, x, tasks, 0.7)))
    every = kernel.predict(new, np.arange(tasks))
    row, task = rng.integers(0, 8, 15), rng.integers(0, tasks, 15)
    assert kernel.cells(new, row, task) == pytest.approx(every[row, task], nan_ok=True, rel=1e-6)
    some = rng.permutation(8)
    assert kernel.predict(new[some], np.arange(tasks)[::-1]) == pytest.approx(
        every[some][:, ::-1], nan_ok=True, rel=1e-6
    )
    again = kernel_of(kernel_arrays(kernel), kernel.share)
    assert np.array_equal(again.predict(new, np.arange(tasks)), every, equal_nan=True)


def test_small_tasks_bounds_and_classes_are_left_to_the_network():
    rng = np.random.default_rng(1)
    data = table(rng, counts(rng, 40), 3)
    relation = np.where((data.task == 0) & (np.arange(120) >= 3 * (LEAST - 1)), -1.0, 0.0).astype(np.float32)
    data = replace(data, relation=relation, binary=np.array([False, True, False]))
    kernel, _ = fit_kernel(all_of(data))
    assert np.isnan(kernel.constant).tolist() == [True, True, False]
    members = rng.normal(size=(2, 40, 3)).astype(np.float32)
    mixed = kernel.blend(data.x, members, np.arange(3))
    assert np.array_equal(mixed[:, :, :2], members[:, :, :2])
    assert not np.isclose(mixed[:, :, 2], members[:, :, 2]).any()
    assert np.isnan(fit_kernel(all_of(data), bounds_are_values=True)[0].constant).tolist() == [False, True, False]
    assert fit_kernel(replace(all_of(data), rows=np.arange(LEAST - 1)))[0] is None


def test_tasks_too_large_and_too_many_pairs_are_left_out():
    most = np.full(100, MOST)
    assert _affordable(np.array([LEAST - 1, LEAST, MOST, MOST + 1])).tolist() == [1, 2]
    assert len(_affordable(most)) == 55  # 500,000,000 / 3,000^2
    assert 0 in _affordable(np.append(LEAST, most))


def test_the_share_is_what_held_out_cells_ask_for():
    rng = np.random.default_rng(2)
    data = table(rng, counts(rng, 80), 1)
    lots = Lots(data, np.arange(40), data, np.arange(40, 80))
    kernel, said = fit_kernel(lots)
    assert len(said) == 0
    truth = data.target[40:][None]
    best, mixed = weigh(kernel, truth, lots, said)
    assert best.share == 1
    assert mixed == pytest.approx(truth, abs=1e-5)
    worst, _ = weigh(kernel, truth + 5, lots, said)
    assert worst.share == LEAST_SHARE
    assert weigh(kernel, truth[:, :0], replace(lots, held=lots.held[:0]), said)[0] is kernel


def test_a_screen_of_small_tasks_is_predicted_better_beside_the_kernel(tmp_path):
    rng = np.random.default_rng(3)
    atoms, places = ("C", "N", "O", "F", "Cl", "Br"), 7
    chosen = rng.integers(0, 6, (360, places))
    smiles = ["C(" + ")C(".join(atoms[one] for one in line) + ")C" for line in chosen]
    effect = rng.normal(size=(6, places, 6))
    value = np.stack([effect[task][np.arange(places), chosen].sum(axis=1) for task in range(6)], 1)
    value[rng.random(value.shape) < 0.6] = np.nan
    screen = make_screen(pd.DataFrame({"smiles": smiles}), value.astype(np.float32), [f"t{task}" for task in range(6)])
    train, test = screen.take(np.arange(360) < 280), screen.take(np.arange(360) >= 280)
    error = {}
    for kernel in (None, False):
        model = MultiTask(MultiTaskConfig(hidden=(64,), epochs=10, kernel=kernel)).fit(train)
        error[kernel] = np.nanmean((model.predict(test.conditions).mean - test.targets.dense()) ** 2)
    assert error[None] < error[False]
    model.save(tmp_path)
    assert MultiTask.load(tmp_path).fitted_.kernel is None
    both = MultiTask(MultiTaskConfig(hidden=(64,), epochs=1)).fit(train)
    both.save(tmp_path)
    again = MultiTask.load(tmp_path)
    assert np.array_equal(again.predict(test.conditions).mean, both.predict(test.conditions).mean)
    row, task = np.array([3, 0, 7]), np.array([5, 1, 0])
    assert again.predict_cells(test.conditions, row, task)[0] == pytest.approx(
        again.predict(test.conditions).mean[row, task], rel=1e-5
    )
    assert again.predict_tasks(test.conditions, [4]).mean[:, 0] == pytest.approx(
        again.predict(test.conditions).mean[:, 4], rel=1e-5
    )


def test_numbers_are_no_counts():
    conditions = pd.DataFrame({"gene": [f"G{place}" for place in range(30)], "feature:x": np.arange(30.0)})
    screen = make_screen(conditions, np.arange(30.0)[:, None], ["growth"])
    with pytest.raises(ConfigError, match="kernel compares counts"):
        MultiTask(MultiTaskConfig(kernel=True)).fit(screen)
