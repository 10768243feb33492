import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from screenwise.errors import ColumnError, ConfigError, ModelError
from screenwise.models.multitask import MultiTask, MultiTaskConfig
from screenwise.run import Run
from screenwise.screen import Targets, make_screen

QUICK = MultiTaskConfig(
    hidden=(32,), dropout=0.1, epochs=40, batch_size=16, minimum_count=1, learning_rate=5e-3, threads=1
)
CHAINS = [("C" * length) + tail for length in range(1, 16) for tail in ("O", "N", "C(=O)O", "Cl", "c1ccccc1")]
LENGTH = np.array([text.count("C") for text in CHAINS], np.float32)


def chain_screen(values=None, tasks=None, relation=None):
    values = np.column_stack([LENGTH, -LENGTH]) if values is None else values
    tasks = ["long", "short"] if tasks is None else tasks
    return make_screen(pd.DataFrame({"smiles": CHAINS}), Targets(values.astype(np.float32), relation), tasks)


def numbers_screen(n=200, relation=None, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    y = x @ np.array([1.0, -0.5, 0.2, 0.0])
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)]} | {f"feature:x{j}": x[:, j] for j in range(4)})
    return conditions, y.astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return MultiTask(replace(QUICK, members=2)).fit(chain_screen(), seed=1)


def test_it_learns_and_says_how_sure_it_is(fitted):
    screen = chain_screen()
    prediction = fitted.predict(screen.conditions)
    truth = screen.targets.dense()
    assert np.sqrt(np.mean((prediction.mean - truth) ** 2)) < 0.3 * truth.std()
    assert (prediction.std > 0).all()
    inside = np.abs(prediction.mean - truth) < 1.645 * prediction.std
    assert inside.mean() > 0.75


def test_draws_are_the_members_on_every_chunk(fitted):
    conditions = chain_screen().conditions
    whole = fitted.predict(conditions)
    assert whole.draws.shape == (2, len(conditions), 2)
    np.testing.assert_allclose(whole.draws.mean(axis=0), whole.mean, rtol=1e-5, atol=1e-5)
    part = fitted.predict(conditions.iloc[10:20])
    np.testing.assert_allclose(part.draws, whole.draws[:, 10:20], rtol=1e-4, atol=1e-4)


def test_cells_are_those_of_the_whole_prediction(fitted):
    conditions = chain_screen().conditions
    whole = fitted.predict(conditions)
    row, task = np.array([3, 70, 3, 0]), np.array([1, 0, 0, 1])
    mean, std = fitted.predict_cells(conditions, row, task)
    np.testing.assert_allclose(mean, whole.mean[row, task], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(std, whole.std[row, task], rtol=1e-4, atol=1e-4)


def test_cells_of_unreadable_conditions_are_empty(fitted):
    conditions = pd.DataFrame({"smiles": ["CCO", "C1CC"]})
    mean, std = fitted.predict_cells(conditions, np.array([1, 0]), np.array([0, 0]))
    assert np.isnan(mean[0])
    assert np.isnan(std[0])
    assert np.isfinite(mean[1])


def test_embedding_holds_what_the_tasks_are_linear_in(fitted):
    conditions = pd.DataFrame({"smiles": ["CCO", "CCCCO", ""]})
    embedding = fitted.embed(conditions)
    assert embedding.shape == (3, 2 * 32)
    assert np.isnan(embedding[2]).all()
    assert (embedding[:2] >= 0).all()


def test_unknown_substructures_leave_the_domain(fitted):
    strange = pd.DataFrame({"smiles": ["CCCCO", "FC(F)(F)S(=O)(=O)c1nnsc1Br"]})
    assert fitted.predict(strange).in_domain.tolist() == [True, False]


def test_bounds_only_push_from_the_wrong_side():
    """Half of the values are bounds 3 away on their harmless side; the other way round they would mislead."""
    conditions, y = numbers_screen(n=300)
    rng = np.random.default_rng(1)
    relation = np.where(rng.random(300) < 0.5, rng.choice([-1, 1], 300), 0).astype(np.int8)[:, None]
    value = (y - 3 * relation[:, 0])[:, None].astype(np.float32)
    error = {}
    for name, said in {"right": relation, "none": None, "wrong": -relation}.items():
        screen = make_screen(conditions, Targets(value, said), ["effect"])
        mean = MultiTask(replace(QUICK, hidden=(64,), epochs=30)).fit(screen).predict(conditions).mean[:, 0]
        error[name] = np.sqrt(np.mean((mean - y) ** 2))
    assert error["right"] < 0.4 * error["none"]
    assert error["right"] < 0.4 * error["wrong"]


def test_scales_come_from_exact_values_only():
    value = LENGTH.copy()
    relation = np.zeros(len(value), np.int8)
    value[::3], relation[::3] = 1000.0, -1
    model = MultiTask(replace(QUICK, epochs=1)).fit(chain_screen(value[:, None], ["long"], relation[:, None]))
    exact = value[relation == 0]
    assert model.fitted_.scaling.centre[0] == pytest.approx(exact.mean())
    assert model.fitted_.scaling.scale[0] == pytest.approx(exact.std())


def test_classes_and_values_share_a_trunk():
    label = (LENGTH > 8).astype(np.float32)
    label[::4] = np.nan
    tasks = pd.DataFrame({"name": ["active", "length"], "kind": ["classification", "regression"]})
    screen = chain_screen(np.column_stack([label, LENGTH]), tasks)
    prediction = MultiTask(QUICK).fit(screen).predict(screen.conditions)
    known = ~np.isnan(label)
    assert ((prediction.mean[:, 0] > 0.5) == (LENGTH > 8))[known].mean() > 0.9
    np.testing.assert_allclose(
        prediction.std[:, 0], np.sqrt(np.maximum(prediction.mean[:, 0] * (1 - prediction.mean[:, 0]), 1e-4)), rtol=1e-5
    )


def test_labels_other_than_0_and_1_are_refused():
    tasks = pd.DataFrame({"name": ["active"], "kind": ["classification"]})
    with pytest.raises(ModelError, match="'active' has values other than 0 and 1"):
        MultiTask(QUICK).fit(chain_screen(LENGTH[:, None], tasks))


def test_a_task_never_measured_is_empty_and_noted():
    screen = chain_screen(np.column_stack([LENGTH, np.full(len(LENGTH), np.nan)]))
    prediction = MultiTask(QUICK).fit(screen).predict(screen.conditions)
    assert np.isnan(prediction.mean[:, 1]).all()
    assert np.isnan(prediction.std[:, 1]).all()
    assert prediction.note[0] == "nothing was measured of short"


def test_weight_zero_is_as_if_not_there():
    value = LENGTH[:, None].copy()
    weight = np.ones(len(value), np.float32)
    weight[::5], value[::5] = 0, 500
    screen = chain_screen(value, ["long"])
    weighted = make_screen(screen.conditions, Targets(value, None, weight), ["long"])
    assert MultiTask(QUICK).fit(weighted).predict(screen.conditions).mean.max() < 40


def test_sparse_targets_give_the_same_bits():
    values = np.column_stack([LENGTH, -LENGTH]).astype(np.float32)
    dense = MultiTask(QUICK).fit(chain_screen(values)).predict(chain_screen().conditions)
    sparse_screen = make_screen(pd.DataFrame({"smiles": CHAINS}), Targets(csr_array(values)), ["long", "short"])
    sparse = MultiTask(QUICK).fit(sparse_screen).predict(sparse_screen.conditions)
    np.testing.assert_array_equal(dense.mean, sparse.mean)


def test_numbers_and_compounds_are_both_read():
    screen = chain_screen(LENGTH[:, None], ["long"])
    rng = np.random.default_rng(0)
    dose = rng.normal(size=len(CHAINS))
    conditions = screen.conditions.assign(**{"feature:dose": dose})
    both = make_screen(conditions, (5 * dose)[:, None].astype(np.float32), ["effect"])
    model = MultiTask(QUICK).fit(both)
    assert np.corrcoef(model.predict(conditions).mean[:, 0], dose)[0, 1] > 0.9
    with pytest.raises(ColumnError, match="feature:dose"):
        model.predict(screen.conditions)


@pytest.mark.parametrize("n", [1, 2, 5, 19, 21])
def test_very_small_screens(n):
    conditions, y = numbers_screen(n)
    prediction = MultiTask(replace(QUICK, epochs=2)).fit(make_screen(conditions, y[:, None], ["t"])).predict(conditions)
    assert np.isfinite(prediction.mean).all()
    assert (prediction.std > 0).all()


def test_valid_stops_early_and_calibrates():
    conditions, y = numbers_screen(300)
    screen = make_screen(conditions, y[:, None], ["t"])
    run_settings = replace(QUICK, epochs=200, patience=3)
    model = MultiTask(run_settings).fit(screen.take(np.arange(200)), valid=screen.take(np.arange(200, 300)))
    mean, std = model.predict(conditions).mean[200:, 0], model.predict(conditions).std[200:, 0]
    assert np.abs(mean - y[200:]).mean() < 0.3
    assert 0.8 <= (np.abs(mean - y[200:]) < 1.645 * std).mean() <= 1


def test_without_input_columns_or_values_it_says_so():
    with pytest.raises(ColumnError, match="reads a column 'smiles' or columns feature:"):
        MultiTask(QUICK).fit(make_screen(pd.DataFrame({"gene": ["A", "B"]}), np.ones((2, 1)), ["t"]))
    with pytest.raises(ModelError, match="nothing to learn from"):
        MultiTask(QUICK).fit(chain_screen(np.full((len(CHAINS), 1), np.nan), ["t"]))
    with pytest.raises(ModelError, match="not fitted"):
        MultiTask(QUICK).predict(chain_screen().conditions)
    with pytest.raises(ConfigError, match="at least 1"):
        MultiTaskConfig(hidden=())
    with pytest.raises(ConfigError, match=r"in \[0, 1\)"):
        MultiTaskConfig(dropout=1.0)


def test_a_killed_fit_goes_on_with_the_same_bits(tmp_path):
    """Killed in the second member; the first is not trained again."""
    settings = replace(QUICK, members=2, epochs=4, checkpoint_seconds=0.0)
    code = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
from test_multitask import MultiTask, MultiTaskConfig, Run, chain_screen

def progress(what, done, total):
    if what == "training member-1" and done == 6:
        os.kill(os.getpid(), signal.SIGKILL)

MultiTask({settings!r}).fit(chain_screen(), run=Run(Path({str(tmp_path)!r}), progress), seed=3)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    told = []
    resumed = MultiTask(settings).fit(chain_screen(), run=Run(tmp_path, lambda *what: told.append(what)), seed=3)
    straight = MultiTask(settings).fit(chain_screen(), seed=3)
    for one, other in zip(resumed.fitted_.networks, straight.fitted_.networks, strict=True):
        for first, second in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert first.equal(second)
    assert told[0][:2] == ("training member-1", 7)
    fits = [(line["fit"], line.get("epoch")) for line in Run(tmp_path).metrics()]
    assert len(fits) == len(set(fits))
