import numpy as np
import pytest

from screenwise.evaluate.bootstrap import interval, paired_test, resample, signed_rank
from screenwise.evaluate.scoring import PredictedCells
from screenwise.evaluate.summary import Plan, summarise
from screenwise.rng import stream


def toy(rng, error, *, conditions=150, tasks=8, std=None):
    """Every condition measured in two tasks; `error` (m,) is what the model errs."""
    row = np.repeat(np.arange(conditions), 2)
    task = np.stack([rng.permutation(tasks)[:2] for _ in range(conditions)]).ravel()
    m = len(row)
    spread = np.full(m, np.nan) if std is None else std
    return PredictedCells(row, task, np.zeros(m), np.zeros(m, np.int8), error, spread)


def same_cells(cells, error):
    return PredictedCells(cells.row, cells.task, cells.value, cells.relation, error, cells.std)


def plan(**more):
    return Plan(np.full(8, "regression"), ("mean",), ("rmse",), **{"replicates": 200, **more})


def test_each_replicate_draws_as_many_conditions_and_all_alike():
    parts = list(resample(50, 400, stream(0, "test"), chunk=64))
    times = np.concatenate(parts, axis=1)
    assert times.shape == (50, 400)
    assert (times.sum(axis=0) == 50).all()
    assert times.mean() == 1
    assert times.var() == pytest.approx(0.98, abs=0.05)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_interval_holds_the_truth_at_its_level(correlation):
    """Errors of known size, independent or shared by the cells of a condition: 95 % hold the true RMSE of 1."""
    held = []
    for draw in range(200):
        rng = stream(draw, "coverage")
        own, shared = rng.normal(size=300), np.repeat(rng.normal(size=150), 2)
        error = np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared
        row = summarise({"mean": {0: toy(rng, error)}}, plan(seed=draw)).iloc[0]
        held.append(row["lower"] <= 1 <= row["upper"])
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)


def test_difference_of_equal_models_holds_nought_at_its_level_and_p_is_not_small_too_often():
    held, small = [], []
    for draw in range(200):
        rng = stream(draw, "null")
        cells = toy(rng, rng.normal(size=300))
        models = {"mean": {0: cells}, "other": {0: same_cells(cells, rng.normal(size=300))}}
        row = summarise(models, plan(seed=draw)).set_index("model").loc["other"]
        held.append(row["difference_lower"] <= 0 <= row["difference_upper"])
        small.append(row["p_value"] < 0.05)
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)
    assert np.mean(small) < 0.09


def test_paired_difference_is_surer_than_two_intervals():
    """The same errors, 3 % smaller: the intervals overlap, the difference is clear."""
    rng = stream(0, "paired")
    error = rng.normal(size=300)
    cells = toy(rng, error)
    table = summarise({"mean": {0: cells}, "better": {0: same_cells(cells, 0.97 * error)}}, plan()).set_index("model")
    assert table.loc["better", "upper"] > table.loc["mean", "lower"]
    assert table.loc["better", "difference_upper"] < 0
    assert table.loc["better", "tasks_won"] == table.loc["better", "tasks_compared"] == 8
    assert table.loc["better", "p_value"] == pytest.approx(2 / 2**8)


def test_seeds_widen_the_interval():
    rng = stream(0, "seeds")
    error = rng.normal(size=300)
    cells = toy(rng, error)
    calm = {seed: same_cells(cells, error) for seed in range(4)}
    wild = {seed: same_cells(cells, error * (0.7 + 0.2 * seed)) for seed in range(4)}
    table = summarise({"mean": calm, "wild": wild}, plan()).set_index("model")
    width = table["upper"] - table["lower"]
    assert width["wild"] > 1.3 * width["mean"]
    assert table.loc["mean", "seed_std"] == 0
    assert table.loc["wild", "seed_std"] > 0.2


def test_interval_of_nothing_and_of_a_constant():
    assert np.isnan(interval([], 1.0)).all()
    assert np.isnan(interval([np.nan], np.nan)).all()
    assert interval([2.0, 2.0, 2.0], 2.0) == (2.0, 2.0)
    assert interval([0.9, 1.0, 0.95, 1.0], 1.0, bounds=(0.0, 1.0))[1] == 1.0


def test_few_tasks_ask_the_bootstrap():
    rng = np.random.default_rng(0)
    p, test = paired_test([0.5, 0.7], rng.normal(0.6, 0.1, 999))
    assert test == "bootstrap"
    assert p == pytest.approx(0.002)
    assert paired_test([0.0], np.zeros(99)) == (1.0, "bootstrap")
    assert np.isnan(paired_test([np.nan], [])[0])


def test_signed_rank_ignores_tasks_that_do_not_differ():
    assert signed_rank(np.array([0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == signed_rank(np.arange(1.0, 7) / 10)
