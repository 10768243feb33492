"""The pooled process: against its own definition in dense algebra, and on small tables with known answers."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from screenwise.errors import ColumnError, ConfigError, ModelError
from screenwise.evaluate.metrics import roc_auc
from screenwise.models import load_model, save_model
from screenwise.models.pooled import PooledProcess, PooledProcessConfig
from screenwise.protocols import HasCalibration, LeavesOneOut
from screenwise.represent.fingerprint import Fingerprint
from screenwise.represent.similarity import count_tanimoto
from screenwise.screen import Targets, make_screen

TAILS = ("O", "N", "Cl", "c1ccccc1", "C(=O)O", "S", "C#N")
SMILES = [("C" * length) + tail for length in range(1, 13) for tail in TAILS]
LENGTH = np.array([text.count("C") for text in SMILES], float)
BRANCH = np.array([("O" in text) + 2 * ("N" in text) for text in SMILES], float)


def kernel(smiles, others):
    """Return the kernel of the recipe, from the fingerprints themselves."""
    kinds = [
        Fingerprint("morgan", radius=2, cap=8),
        Fingerprint("feature_morgan", radius=2, cap=8),
        Fingerprint("torsion", cap=8),
        Fingerprint("atom_pair", fold=8192, cap=8),
    ]
    one, two = (pd.DataFrame({"smiles": texts}) for texts in (smiles, others))
    return np.mean([count_tanimoto(kind.transform(one), kind.transform(two)) for kind in kinds], axis=0) ** 2


def two_assays(rng=None, relation=None):
    """Two assays of one target, each with a value and a label; the second assay's label runs against its value."""
    rng = np.random.default_rng(0) if rng is None else rng
    value = np.column_stack([LENGTH / 4 + 0.3 * BRANCH, 5 - LENGTH / 5]) + rng.normal(0, 0.05, (len(SMILES), 2))
    value[::3, 0] = np.nan
    value[1::3, 1] = np.nan
    label = np.where(np.isnan(value), np.nan, value > np.nanmedian(value, axis=0))
    label[:, 1] = 1 - label[:, 1]
    tasks = pd.DataFrame(
        {
            "name": ["a", "b", "a active", "b active"],
            "kind": ["regression"] * 2 + ["classification"] * 2,
            "assay": ["a", "b"] * 2,
            "target": "EGFR",
        }
    )
    whole = np.hstack([value, label]).astype(np.float32)
    side = None if relation is None else np.hstack([relation, 0 * relation]).astype(np.int8)
    return make_screen(pd.DataFrame({"smiles": SMILES}), Targets(whole, side), tasks)


def standard(x):
    return (x - x.mean()) / x.std()


@pytest.fixture(scope="module")
def fitted():
    return PooledProcess(PooledProcessConfig(threads=1)).fit(two_assays())


def test_scores_are_those_of_the_covariance_written_out(fitted):
    screen = two_assays()
    dense = screen.targets.dense().astype(float)
    row, assay = np.nonzero(~np.isnan(dense[:, :2]))
    target = np.empty(len(row))
    for one in (0, 1):
        mine = assay == one
        sign = 1 if one == 0 else -1
        label = sign * standard(dense[row[mine], 2 + one])
        target[mine] = standard(0.5 * standard(dense[row[mine], one]) + 0.5 * label)
    new = ["CCCCCCO", "CCc1ccncc1", "CCCCBr"]
    texts = np.array(SMILES, object)[row].tolist()
    same = assay[:, None] == assay
    covariance = kernel(texts, texts) * np.where(same, 1, 0.75) + 0.2 * same + 0.3 * np.eye(len(row))
    alpha = np.linalg.solve(covariance, target)
    prediction = fitted.predict(pd.DataFrame({"smiles": new}))
    for one in (0, 1):
        cross = kernel(new, texts) * np.where(assay == one, 1, 0.75) + 0.2 * (assay == one)
        sign = 1 if one == 0 else -1
        curves = fitted.fitted_.curves
        expected = expit(curves.level[2 + one] + curves.slope[2 + one] * sign * (cross @ alpha))
        np.testing.assert_allclose(prediction.mean[:, 2 + one], expected, rtol=1e-4)


def test_left_out_cells_are_those_of_a_fit_without_the_compound(fitted):
    screen = two_assays()
    held, _ = fitted.leave_one_out()
    for row in (4, 20):
        rest = np.setdiff1d(np.arange(len(screen)), row)
        again = PooledProcess(PooledProcessConfig(threads=1)).fit(screen.take(rest)).predict(screen.conditions)
        measured = np.flatnonzero(np.isfinite(held[row, :2]))
        # means and deviations of the values are those of one compound fewer
        np.testing.assert_allclose(again.mean[row, measured], held[row, measured], atol=0.05)


def test_calibration_cells_are_those_of_a_fit_without_the_scaffold(fitted):
    """All compounds with a benzene ring are one scaffold; without a ring each is its own, as is its compound."""
    screen, cells = two_assays(), fitted.calibration_cells()
    every = screen.targets.cells()
    np.testing.assert_array_equal(cells.value, every.value)
    ring = np.array(["c1" in text for text in SMILES])
    again = PooledProcess(PooledProcessConfig(threads=1)).fit(screen.take(~ring)).predict(screen.conditions)
    held = fitted.leave_one_out()[0][every.row, every.task]
    values, out = cells.task < 2, ring[every.row]
    expected = again.mean[every.row, every.task]
    np.testing.assert_allclose(cells.mean[values & out], expected[values & out], atol=0.1)
    assert np.abs(held - expected)[values & out].mean() > 3 * np.abs(cells.mean - expected)[values & out].mean()
    np.testing.assert_allclose(cells.mean[~out], held[~out], rtol=1e-5)
    assert (cells.std[values & out] > fitted.leave_one_out()[1][every.row, every.task][values & out]).all()


def test_a_series_of_one_scaffold_is_calibrated_compound_by_compound():
    smiles = [f"{'C' * length}{tail}" for length in range(1, 15) for tail in ("c1ccccc1", "c1ccc(F)cc1")]
    value = np.arange(len(smiles), dtype=float)
    active = (value > 12).astype(float)
    tasks = pd.DataFrame({"name": ["a", "b"], "kind": ["regression", "classification"], "assay": "a"})
    model = PooledProcess(PooledProcessConfig(threads=1)).fit(
        make_screen(pd.DataFrame({"smiles": smiles}), np.column_stack([value, active]), tasks)
    )
    cells, (held, _) = model.calibration_cells(), model.leave_one_out()
    np.testing.assert_array_equal(cells.mean[cells.task == 1], held[:, 1])
    assert roc_auc(active, cells.mean[cells.task == 1], np.zeros(len(smiles), int), 1)[0] > 0.9


def test_a_label_that_runs_against_the_values_is_turned_and_told(fitted):
    assert fitted.fitted_.signs.tolist() == [1, 1, 1, -1]
    assert "1 of 2 labels run against their values" in fitted.reason_
    screen = two_assays()
    probability = fitted.predict(screen.conditions).mean[:, 3]
    label = screen.targets.dense()[:, 3]
    assert probability[label == 1].mean() > 0.6
    assert probability[label == 0].mean() < 0.4


def test_assays_of_one_target_teach_each_other():
    screen = two_assays()
    few = screen.targets.dense().copy()
    few[12:, 0] = np.nan
    few[12:, 2] = np.nan
    tasks = screen.tasks.copy()
    train = make_screen(screen.conditions[["smiles"]], few, tasks)
    alone = make_screen(screen.conditions[["smiles"]], few, tasks.assign(target=""))
    truth = screen.targets.dense()[:, 0]
    error = [
        np.nanmean((PooledProcess().fit(one).predict(screen.conditions).mean[:, 0] - truth)[12:] ** 2)
        for one in (train, alone)
    ]
    assert error[0] != error[1]
    assert PooledProcess().fit(alone).fitted_.start.tolist() == [0, 8, 64]


def test_one_compound_is_predicted_as_among_many(fitted):
    conditions = two_assays().conditions
    whole = fitted.predict(conditions)
    alone = fitted.predict(conditions.iloc[[7]].reset_index(drop=True))
    np.testing.assert_allclose(alone.mean[0], whole.mean[7], rtol=1e-5)
    row, task = np.array([7, 3, 7]), np.array([0, 1, 3])
    mean, std = fitted.predict_cells(conditions, row, task)
    np.testing.assert_allclose(mean, whole.mean[row, task], rtol=1e-5)
    np.testing.assert_allclose(std, whole.std[row, task], rtol=1e-4)


def test_repeated_structures_are_one_compound():
    screen = two_assays()
    doubled = make_screen(
        pd.DataFrame({"smiles": [*SMILES, *SMILES], "cell_line": ["A"] * len(SMILES) + ["B"] * len(SMILES)}),
        np.vstack([screen.targets.dense()] * 2),
        screen.tasks,
    )
    model = PooledProcess(PooledProcessConfig(threads=1)).fit(doubled)
    assert len(model.fitted_.counts) == len(SMILES)
    held = model.leave_one_out()[0]
    # neither of the two knows the other
    np.testing.assert_allclose(held[: len(SMILES), 0], held[len(SMILES) :, 0], rtol=1e-4)


def bounded_screen():
    screen = two_assays()
    value = screen.targets.dense().copy()
    relation = np.zeros((len(SMILES), 2))
    low = LENGTH < 5
    relation[low, 0] = -1
    value[low & np.isfinite(value[:, 0]), 0] = np.where(LENGTH < 3, 2.5, 1.3)[low & np.isfinite(value[:, 0])]
    relation[np.isnan(value[:, :2])] = 0
    sides = np.hstack([relation, 0 * relation]).astype(np.int8)
    return make_screen(screen.conditions[["smiles"]], Targets(value.astype(np.float32), sides), screen.tasks), low


@pytest.fixture(scope="module")
def bounded():
    screen, low = bounded_screen()
    models = {
        name: PooledProcess(PooledProcessConfig(censored=name, threads=1)).fit(screen)
        for name in ("hurdle", "tobit", "squared", "value", "drop")
    }
    return screen, low, models


def test_bounds_are_learned_from_as_was_asked(bounded):
    screen, low, models = bounded
    below = {name: model.predict(screen.conditions).mean[low, 0].mean() for name, model in models.items()}
    assert below["tobit"] < below["squared"] < below["value"] < below["drop"]
    assert below["tobit"] < below["hurdle"] < below["drop"]


def test_a_hurdle_comes_apart(bounded):
    screen, low, models = bounded
    row, task = np.arange(len(SMILES)), np.zeros(len(SMILES), int)
    parts = models["hurdle"].predict_hurdle(screen.conditions, row, task)
    mean, _ = models["hurdle"].predict_cells(screen.conditions, row, task)
    np.testing.assert_allclose(parts.point, mean, rtol=1e-5)
    assert parts.below[low].mean() > 0.6
    assert parts.below[~low].mean() < 0.3
    assert parts.above.max() < 0.1
    dropped, _ = models["drop"].predict_cells(screen.conditions, row, task)
    np.testing.assert_allclose(parts.exact, dropped, rtol=1e-4)
    with pytest.raises(ModelError, match="predict_hurdle is of values"):
        models["hurdle"].predict_hurdle(screen.conditions, np.array([0]), np.array([2]))


def test_landmarks_come_near_the_exact_process_and_say_how_near():
    screen = two_assays()
    exact = PooledProcess(PooledProcessConfig(threads=1)).fit(screen)
    rough, all_rows = (
        PooledProcess(PooledProcessConfig(exact_rows=10, landmarks=landmarks, threads=1)).fit(screen)
        for landmarks in (20, 1000)
    )
    new = pd.DataFrame({"smiles": ["CCCCCCBr", "CCOCC", "CC(C)CCCN"]})
    truth = exact.predict(new)
    np.testing.assert_allclose(all_rows.predict(new).mean, truth.mean, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(all_rows.predict(new).std, truth.std, rtol=2e-2)
    np.testing.assert_allclose(all_rows.leave_one_out()[0], exact.leave_one_out()[0], rtol=5e-3, atol=5e-3)
    assert all_rows.fitted_.unexplained[0] < 1e-4 < rough.fitted_.unexplained[0] < 0.9
    assert "landmarks" in rough.reason_
    assert np.abs(rough.predict(new).mean - truth.mean).max() < 1.0


def test_kept_and_read_again(bounded, tmp_path):
    screen, _, models = bounded
    save_model(models["hurdle"], "pooled_gp", tmp_path / "model")
    again = load_model(tmp_path / "model")
    before, after = (model.predict(screen.conditions) for model in (models["hurdle"], again))
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.std, before.std)
    assert again.reason_ == models["hurdle"].reason_
    assert again.evidence() == models["hurdle"].evidence()


def test_calibration_cells_are_all_cells_with_their_bounds(bounded):
    screen, _, models = bounded
    model = models["hurdle"]
    assert isinstance(model, HasCalibration)
    assert isinstance(model, LeavesOneOut)
    cells, known = model.calibration_cells(), screen.targets.cells()
    np.testing.assert_array_equal(cells.value, known.value)
    np.testing.assert_array_equal(cells.relation, known.relation)
    label = cells.task >= 2
    assert ((cells.mean[label] > 0) & (cells.mean[label] <= 1)).all()


def test_several_labels_and_a_label_without_values():
    screen = two_assays()
    dense = screen.targets.dense()
    strict = np.where(np.isnan(dense[:, [0]]), np.nan, dense[:, [0]] > np.nanquantile(dense[:, 0], 0.8))
    tasks = pd.DataFrame(
        {
            "name": ["a", "a active", "a very", "only a label"],
            "kind": ["regression", *["classification"] * 3],
            "assay": ["a", "a", "a", ""],
            "target": ["EGFR", "EGFR", "EGFR", ""],
        }
    )
    whole = np.hstack([dense[:, [0, 2]], strict, dense[:, [3]]])
    model = PooledProcess().fit(make_screen(screen.conditions[["smiles"]], whole, tasks))
    mean = model.predict(screen.conditions).mean
    assert np.nanmean(mean[:, 2]) < np.nanmean(mean[:, 1]) - 0.1
    assert np.isfinite(mean[:, 3]).all()
    assert "labels run against" not in model.reason_


def test_constant_and_single_tasks_and_weight_zero():
    value = np.full((len(SMILES), 3), np.nan, np.float32)
    value[:, 0] = 2.0
    value[3, 1] = 1.0
    value[:, 2] = LENGTH
    weight = np.ones(len(SMILES), np.float32)
    weight[:10] = 0.0
    screen = make_screen(pd.DataFrame({"smiles": SMILES}), Targets(value, None, weight), ["same", "one", "length"])
    model = PooledProcess().fit(screen)
    prediction = model.predict(screen.conditions)
    np.testing.assert_allclose(prediction.mean[:, 0], 2.0, atol=0.7)
    assert np.isnan(prediction.mean[:, 1]).all(), "its only value has weight 0"
    assert np.isfinite(prediction.mean[:, 2]).all()
    assert "nothing was measured of one" in prediction.note[0]


def test_what_cannot_be_done_is_said():
    with pytest.raises(ConfigError, match="hurdle, tobit"):
        PooledProcessConfig(censored="ignore")
    with pytest.raises(ColumnError, match="smiles"):
        PooledProcess().fit(make_screen(pd.DataFrame({"gene": ["A", "B"]}), np.ones((2, 1)), ["x"]))
    with pytest.raises(ModelError, match="not fitted"):
        PooledProcess().predict(pd.DataFrame({"smiles": ["CCO"]}))
    with pytest.raises(ModelError, match="nothing to learn from"):
        PooledProcess().fit(make_screen(pd.DataFrame({"smiles": ["C1CC", ""]}), np.ones((2, 1)), ["x"]))
