import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from screenwise.models.multitask_scale import (
    cell_table,
    label_notes,
    learn_scaling,
    learn_signs,
    paired_values,
    target_codes,
)
from screenwise.screen import Targets, make_screen


def test_a_task_with_bounds_only_takes_them_and_the_others_scale():
    value = np.array([[1.0, 5.0], [3.0, 5.0], [5.0, np.nan]], np.float32)
    relation = np.array([[0, -1], [0, -1], [0, 0]], np.int8)
    screen = make_screen(pd.DataFrame({"gene": list("ABC")}), Targets(value, relation), ["a", "b"])
    scaling = learn_scaling(screen)
    assert scaling.centre.tolist() == [3.0, 5.0]
    assert scaling.scale[1] == pytest.approx(scaling.scale[0])


def test_two_values_that_agree_do_not_make_a_scale():
    rng = np.random.default_rng(0)
    value = rng.normal(0, [1.0, 1.0, 1.0, 100.0], (200, 4)).astype(np.float32)
    value[2:, 2], value[1, 2] = np.nan, value[0, 2] + 0.001
    tasks = pd.DataFrame({"name": list("abcd"), "unit": ["pKi", "pKi", "pKi", "nM"]})
    screen = make_screen(pd.DataFrame({"gene": [f"G{i}" for i in range(200)]}), value, tasks)
    scale = learn_scaling(screen).scale
    assert scale[2] == pytest.approx(np.sqrt(5 / 7) * np.median(value[:, :3].std(axis=0)[:2]), rel=0.05)
    assert scale[0] == pytest.approx(np.nanstd(value[:, 0]), rel=0.01)
    assert scale[3] == pytest.approx(np.nanstd(value[:, 3]), rel=1e-5)
    without = learn_scaling(make_screen(screen.conditions, value, list("abcd"))).scale
    assert without[2] == pytest.approx(0.0005, rel=0.01)


def paired_screen(n=40, sparse=False):
    """Assay A: label follows the value; B: runs against it; C: against it but for one row; D: a label alone."""
    rng = np.random.default_rng(0)
    value = rng.normal(size=(n, 3)).astype(np.float32)
    label = (value > 0).astype(np.float32)
    label[:, 1:] = 1 - label[:, 1:]
    label[np.argmax(value[:, 2]), 2] = 1
    every = np.column_stack([value, label, label[:, 0]])
    every[::4, 1], every[1::4, 4] = np.nan, np.nan
    tasks = pd.DataFrame(
        {
            "name": ["A", "B", "C", "A label", "B label", "C label", "D label"],
            "kind": ["regression"] * 3 + ["classification"] * 4,
            "assay": ["a", "b", "c", "a", "b", "c", "d"],
            "target": ["EGFR", "EGFR", "", "EGFR", "EGFR", "", ""],
        }
    )
    there = np.isfinite(every)
    row, task = np.nonzero(there)
    targets = csr_array((every[there], (row, task)), shape=every.shape) if sparse else every
    return make_screen(pd.DataFrame({"gene": [f"G{i}" for i in range(n)]}), Targets(targets), tasks)


@pytest.mark.parametrize("sparse", [False, True])
def test_direction_of_labels_is_learned_and_told(sparse):
    screen = paired_screen(sparse=sparse)
    assert paired_values(screen.tasks).tolist() == [-1, -1, -1, 0, 1, 2, -1]
    sign, mixed = learn_signs(screen)
    assert sign.tolist() == [1, 1, 1, 1, -1, -1, 1]
    assert np.flatnonzero(mixed).tolist() == [5]
    notes = label_notes(screen, sign, mixed)
    assert notes[0].startswith("2 of 3 labels run against the values of their assay")
    assert notes[0].endswith("B label, C label.")
    assert notes[1].startswith("1 of 3 labels agree with no threshold")


def test_inverted_labels_are_learned_the_other_way_round():
    screen = paired_screen()
    scaling = learn_scaling(screen, learn_signs(screen)[0])
    x = csr_array(np.ones((len(screen), 1), np.float32))
    table = cell_table(screen, x, scaling, censored_weight=1.0, regression_weight=0.25)
    cells = screen.targets.cells()
    for task, upside_down in ((3, False), (4, True), (6, False)):
        mine = cells.task == task
        assert (table.target[mine] == (1 - cells.value[mine] if upside_down else cells.value[mine])).all()
    assert set(table.weight[cells.task < 3]) == {0.5}
    assert set(table.weight[cells.task >= 3]) == {1.5}
    odds = np.array([[2.0] * 7], np.float32)
    probability = scaling.each(odds, np.arange(7), 1.0)[0]
    assert probability[3] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert probability[4] == pytest.approx(1 / (1 + np.exp(2.0)))


def test_targets_are_shared_within_a_kind():
    assert target_codes(paired_screen().tasks).tolist() == [0, 0, 2, 3, 3, 5, 6]
    assert target_codes(pd.DataFrame({"name": ["a", "b"], "kind": ["regression"] * 2})) is None


def test_weights_of_tasks_bounds_and_catalogue():
    value = np.ones((2, 3), np.float32)
    relation = np.array([[0, 0, 0], [-1, 1, 0]], np.int8)
    tasks = pd.DataFrame(
        {
            "name": list("abc"),
            "kind": ["regression", "regression", "classification"],
            "weight": [2.0, 1.0, 3.0],
            "censored_weight": [0.5, np.nan, 1.0],
            "catalogue": ["", "", "HERG"],
            "aggregation_weight": [1.0, 0.0, 1.0],
        }
    )
    screen = make_screen(pd.DataFrame({"gene": ["A", "B"]}), Targets(value, relation), tasks)
    x = csr_array(np.ones((2, 1), np.float32))
    table = cell_table(screen, x, learn_scaling(screen), censored_weight=0.2, regression_weight=0.25)
    np.testing.assert_allclose(table.weight.reshape(2, 3), [[1.0, 0.5, 3.0], [0.1, 0.1, 3.0]], rtol=1e-6)
    assert table.aggregation.tolist() == [1, 0, 1]
