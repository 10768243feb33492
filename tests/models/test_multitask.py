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
from screenwise.models.multitask_config import settle
from screenwise.models.multitask_store import FORMAT
from screenwise.run import Run
from screenwise.screen import Targets, make_screen
from screenwise.train.checkpoint import read_checkpoint, write_checkpoint

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


def test_some_tasks_are_those_of_the_whole_prediction(fitted):
    conditions = pd.concat([chain_screen().conditions.iloc[:5], pd.DataFrame({"smiles": ["C1CC"]})], ignore_index=True)
    whole, one = fitted.predict(conditions), fitted.predict_tasks(conditions, [1])
    np.testing.assert_allclose(one.mean, whole.mean[:, [1]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.std, whole.std[:, [1]], rtol=1e-5, atol=1e-6)
    assert one.draws.shape == (2, 6, 1)
    assert one.note.tolist() == whole.note.tolist()


def test_calibration_cells_are_held_out_measurements(fitted):
    screen = chain_screen()
    cells = fitted.calibration_cells()
    assert len(cells) == 2 * 8
    assert set(cells.value[cells.task == 0]) <= set(LENGTH)
    assert (cells.std > 0).all()
    rows = np.arange(60, 75)
    model = MultiTask(replace(QUICK, patience=5)).fit(screen.take(np.arange(60)), valid=screen.take(rows))
    seen = model.calibration_cells()
    assert seen.value.reshape(-1, 2)[:, 0].tolist() == LENGTH[rows].tolist()
    # early stopping leaves the network as it was when it was judged
    np.testing.assert_allclose(
        seen.mean, model.predict(screen.conditions.iloc[rows]).mean.ravel(), rtol=1e-4, atol=1e-4
    )


def test_several_heads_on_one_trunk_disagree_where_nothing_was_measured():
    screen = chain_screen()
    model = MultiTask(replace(QUICK, heads=6)).fit(screen)
    prediction = model.predict(screen.conditions)
    assert prediction.draws.shape == (6, len(CHAINS), 2)
    assert len(model.fitted_.networks) == 1
    spread = prediction.draws.std(axis=0)
    assert (spread > 0).any(axis=0).all()
    assert np.abs(prediction.mean - screen.targets.dense()).mean() < 0.3 * LENGTH.std()
    np.testing.assert_allclose(prediction.draws.mean(axis=0), prediction.mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["squared", "tobit", "value", "drop"])
def test_what_bounds_teach(kind):
    """Above 0.5 only "< 3" is known: all treatments learn the exact half, and differ on the other."""
    conditions, y = numbers_screen(n=300)
    relation = np.where(y > 0.5, -1, 0).astype(np.int8)
    value = np.where(relation < 0, 3.0, y).astype(np.float32)[:, None]
    screen = make_screen(conditions, Targets(value, relation[:, None]), ["effect"])
    settings = replace(QUICK, hidden=(64,), epochs=30, censored=kind)
    mean = MultiTask(settings).fit(screen).predict(conditions).mean[:, 0]
    exact = relation == 0
    assert np.corrcoef(mean[exact], y[exact])[0, 1] > (0.5 if kind == "value" else 0.9)
    overshoot = np.abs(mean[~exact] - y[~exact]).mean()
    if kind == "value":
        assert overshoot > 1
    else:
        assert overshoot < 0.9


def test_tobit_learns_the_noise_of_each_task():
    conditions, y = numbers_screen(n=400)
    rng = np.random.default_rng(3)
    value = np.column_stack([y + rng.normal(0, 0.05, 400), y + rng.normal(0, 1.5, 400)]).astype(np.float32)
    settings = replace(QUICK, censored="tobit", epochs=60, dropout=0.0)
    model = MultiTask(settings).fit(make_screen(conditions, value, ["clean", "noisy"]))
    noise = model.fitted_.networks[0].log_noise.detach().exp().numpy() * model.fitted_.scaling.scale
    assert noise[0] < 0.5
    assert 0.9 < noise[1] < 2.0


def inverted_screen():
    """Two assays of one target; the labels of the second say 1 where its value is low."""
    label = np.column_stack([LENGTH > 8, LENGTH <= 8]).astype(np.float32)
    value = np.column_stack([LENGTH, LENGTH])
    tasks = pd.DataFrame(
        {
            "name": ["A", "B", "A label", "B label"],
            "kind": ["regression"] * 2 + ["classification"] * 2,
            "assay": ["a", "b", "a", "b"],
            "target": ["T"] * 4,
        }
    )
    return chain_screen(np.column_stack([value, label]), tasks)


def test_labels_that_run_against_values_are_turned_and_told(tmp_path):
    screen = inverted_screen()
    few = screen.targets.dense().copy()
    few[::2, 3] = np.nan
    screen = make_screen(screen.conditions, few, screen.tasks)
    model = MultiTask(replace(QUICK, batch_size=16, learning_rate=5e-3, epochs=40)).fit(screen)
    mean = model.predict(screen.conditions).mean
    assert np.corrcoef(mean[:, 2], LENGTH)[0, 1] > 0.7
    assert np.corrcoef(mean[:, 3], LENGTH)[0, 1] < -0.7
    assert model.fitted_.target.tolist() == [0, 0, 2, 2]
    assert model.fitted_.settled.regression_weight == 0.13
    assert MultiTask(replace(QUICK, epochs=1)).fit(chain_screen()).fitted_.settled.regression_weight == 0.5
    assert "labels beside values" in model.notes_[0]
    assert model.notes_[1].startswith("1 of 2 labels run against")
    cells = model.calibration_cells()
    known = {(task, value) for task, value in zip(cells.task, cells.value, strict=True) if task >= 2}
    assert known <= {(2, 0.0), (2, 1.0), (3, 0.0), (3, 1.0)}
    inverted = cells.task == 3
    assert np.mean((cells.mean > 0.5) == (cells.value > 0.5), where=inverted | (cells.task == 2)) > 0.7
    model.save(tmp_path)
    again = MultiTask.load(tmp_path)
    np.testing.assert_array_equal(again.predict(screen.conditions).mean, mean)
    assert again.notes_ == model.notes_


def test_an_auxiliary_task_teaches_and_does_not_judge(tmp_path):
    tasks = pd.DataFrame({"name": ["long", "noise"], "kind": ["regression"] * 2})
    rng = np.random.default_rng(0)
    value = np.column_stack([LENGTH, rng.normal(0, 5, len(LENGTH))]).astype(np.float32)
    lines = []
    for weight in (0.0, 1.0):
        screen = chain_screen(value, tasks.assign(aggregation_weight=[1.0, weight]))
        run = Run(tmp_path / str(weight))
        MultiTask(replace(QUICK, epochs=3, patience=5)).fit(screen, run=run)
        lines.append([(line["loss"], line["valid"]) for line in run.metrics() if "valid" in line])
    for (loss, alone), (same, both) in zip(*lines, strict=True):
        assert loss == same
        assert alone < both


def test_files_of_other_versions_are_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    path = tmp_path / "multitask.safetensors"
    tensors, head = read_checkpoint(path)
    write_checkpoint(path, tensors, {name: value for name, value in head.items() if name != "multitask"})
    with pytest.raises(ModelError, match=rf"another version of screenwise \(format 1, not {FORMAT}\). Fit it again"):
        MultiTask.load(tmp_path)


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
    with pytest.raises(ConfigError, match="use one of squared, tobit, value, drop"):
        MultiTaskConfig(censored="ignore")
    with pytest.raises(ConfigError, match="use some of morgan"):
        MultiTaskConfig(kinds=("ecfp",))
    with pytest.raises(ModelError, match="give the same, in the same order"):
        MultiTask(QUICK).fit(chain_screen(), valid=chain_screen(tasks=["short", "long"]))


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


def test_labels_alone_share_the_trunk_only():
    long = np.median(LENGTH) < LENGTH
    tasks = pd.DataFrame({"name": ["long", "short"], "kind": "classification", "target": "one"})
    screen = chain_screen(np.column_stack([long, ~long]).astype(np.float32), tasks)
    model = MultiTask(replace(QUICK, epochs=10)).fit(screen)
    assert "labels alone" in model.notes_[0]
    assert len(model.fitted_.networks) == 3
    assert not any("common" in name or "shared" in name for name, _ in model.fitted_.networks[0].named_parameters())
    probability = model.predict(screen.conditions).mean
    assert probability[long, 0].mean() > 0.5 > probability[long, 1].mean()


def test_after_the_calibration_labels_are_learned_anew_from_all_conditions():
    rng = np.random.default_rng(0)
    conditions = pd.DataFrame(rng.normal(size=(120, 40)), columns=[f"feature:x{j}" for j in range(40)])
    coin = rng.integers(0, 2, (120, 1)).astype(np.float32)  # nothing to learn but by heart
    tasks = pd.DataFrame({"name": ["coin"], "kind": "classification"})
    screen = make_screen(conditions.assign(gene=[f"G{i}" for i in range(120)]), Targets(coin), tasks)
    model = MultiTask(replace(QUICK, hidden=(128,), dropout=0.0, epochs=60, members=1, held_out=0.3)).fit(screen)
    cells, row = model.calibration_cells(), screen.conditions["condition_id"].isin(model.held_out_ids_).to_numpy()
    assert np.mean((cells.mean > 0.5) == cells.value) < 0.75
    assert np.mean((model.predict(screen.conditions[row]).mean > 0.5) == coin[row]) > 0.95


@pytest.mark.parametrize(("rows", "members"), [(200_000, 3), (200_001, 1)])
def test_large_screens_of_labels_have_one_network(rows, members):
    settled = settle(MultiTaskConfig(), rows, labels="beside")
    assert (settled.members, settled.anew) == (members, members > 1)
    assert settle(MultiTaskConfig(members=2), rows, labels="beside").members == 2
