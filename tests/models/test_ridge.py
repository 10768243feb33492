import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge as PeerRidge

from screenwise.models import ridge_fit
from screenwise.models.feature_table import learn_columns
from screenwise.models.ridge import Ridge
from screenwise.models.ridge_fit import fit_logistic, fit_ridge, probability
from screenwise.screen import make_screen

TAILS = ("O", "N", "C(=O)O", "Cl", "c1ccccc1", "C1CCNCC1")
SMILES = [("C" * length) + tail for length in range(1, 13) for tail in TAILS]
LENGTH = np.array([text.count("C") for text in SMILES], float)


def problem(n=60, d=20, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.poisson(1.0, (n, d)).astype(float)
    return x, x @ rng.normal(size=d) + rng.normal(0, 1, n) + 5, rng


def test_agrees_with_scikit_learn_dense_and_sparse():
    x, y, _ = problem()
    for features in (x, csr_array(x)):
        fit = fit_ridge(features, y, np.random.default_rng(0))
        peer = PeerRidge(alpha=fit.penalty).fit(x, y)
        np.testing.assert_allclose(fit.weight, peer.coef_, atol=1e-8)
        assert fit.constant == pytest.approx(peer.intercept_)


def test_leave_one_out_is_a_refit():
    x, y, rng = problem(n=25)
    fit = fit_ridge(x, y, rng)
    for row in range(25):
        keep = np.delete(np.arange(25), row)
        peer = PeerRidge(alpha=fit.penalty).fit(x[keep], y[keep])
        assert fit.held_mean[row] == pytest.approx(peer.predict(x[[row]])[0], abs=1e-7)


def test_many_rows_take_the_other_way_to_the_same_answer(monkeypatch):
    x, y, _ = problem(n=200)
    dual = fit_ridge(csr_array(x), y, np.random.default_rng(0))
    monkeypatch.setattr(ridge_fit, "DUAL_ROWS", 100)
    primal = fit_ridge(csr_array(x), y, np.random.default_rng(0))
    np.testing.assert_allclose(primal.weight, dual.weight, atol=1e-8)
    np.testing.assert_allclose(primal.held_mean, dual.held_mean, atol=1e-7)


def test_logistic_is_calibrated():
    rng = np.random.default_rng(1)
    score = rng.normal(size=5000)
    label = (rng.random(5000) < 1 / (1 + np.exp(-(2 * score - 1)))).astype(float)
    slope, constant = fit_logistic(score, label)
    assert slope == pytest.approx(2, abs=0.15)
    assert constant == pytest.approx(-1, abs=0.15)
    one_class = probability(score, *fit_logistic(score, np.ones(5000)))
    assert (one_class > 0.99).all()


def test_columns_keep_frequent_features_and_standardise_numbers():
    table = csr_array(np.array([[1, 0, 2], [1, 1, 0], [3, 0, 0]]))
    kept = learn_columns(table, 2).transform(table).toarray().ravel()
    np.testing.assert_allclose(kept / kept[0], np.log([2, 2, 4]) / np.log(2))
    assert np.mean(kept**2) == pytest.approx(1)
    dense = np.array([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_allclose(learn_columns(dense, 2).transform(dense), [[-1, 0], [1, 0]])


def test_structures_and_numbers_stand_side_by_side():
    rng = np.random.default_rng(2)
    number = rng.normal(size=len(SMILES))
    conditions = pd.DataFrame({"smiles": SMILES, "feature:x": number})
    screen = make_screen(conditions, (LENGTH / 3 + number)[:, None], ["t"])
    order = rng.permutation(len(SMILES))
    fitted = Ridge().fit(screen.take(order[:50]))
    rest = screen.take(order[50:])
    error = fitted.predict(rest.conditions).mean - rest.targets.dense()
    assert np.std(error) < 0.5 * np.std(rest.targets.dense())


def test_pairs_are_additive(tmp_path):
    rng = np.random.default_rng(3)
    genes = np.array([f"G{place}" for place in range(15)])
    effect = rng.normal(size=15)
    a, b = np.triu_indices(15, 1)
    screen = make_screen(
        pd.DataFrame({"gene_a": genes[a], "gene_b": genes[b]}), (effect[a] + effect[b])[:, None], ["t"]
    )
    fitted = Ridge().fit(screen)
    swapped = screen.conditions.rename(columns={"gene_a": "gene_b", "gene_b": "gene_a"})
    mean = fitted.predict(swapped).mean
    assert np.abs(mean - screen.targets.dense()).max() < 0.1
    fitted.save(tmp_path)
    np.testing.assert_array_equal(Ridge.load(tmp_path).predict(swapped).mean, mean)


def test_predicts_saves_and_loads(tmp_path):
    value = np.column_stack([LENGTH, np.where(LENGTH > 4, -LENGTH, np.nan), np.full(len(LENGTH), np.nan)])
    screen = make_screen(pd.DataFrame({"smiles": SMILES}), value, ["a", "b", "never"])
    fitted = Ridge().fit(screen)
    prediction = fitted.predict(screen.conditions)
    assert np.abs(prediction.mean[:, 0] - LENGTH).mean() < 0.3
    assert np.isnan(prediction.mean[:, 2]).all()
    fitted.save(tmp_path)
    np.testing.assert_array_equal(Ridge.load(tmp_path).predict(screen.conditions).mean, prediction.mean)


def test_classes_and_unreadable_structures():
    label = (LENGTH > 6).astype(float)[:, None]
    tasks = pd.DataFrame({"name": ["long"], "kind": ["classification"]})
    screen = make_screen(pd.DataFrame({"smiles": SMILES}), label, tasks)
    model = Ridge().fit(screen)
    mean = model.predict(screen.conditions).mean[:, 0]
    assert mean[label[:, 0] == 1].mean() > 0.8
    assert mean[label[:, 0] == 0].mean() < 0.2
    broken = model.predict(pd.DataFrame({"smiles": ["CCO", "C1CC"]}))
    assert np.isfinite(broken.mean[0, 0])
    assert np.isnan(broken.mean[1, 0])
    assert broken.note[1]


def test_one_row_task():
    value = np.full((len(SMILES), 1), np.nan)
    value[2] = 3.0
    screen = make_screen(pd.DataFrame({"smiles": SMILES}), value, ["t"])
    prediction = Ridge().fit(screen).predict(screen.conditions)
    np.testing.assert_allclose(prediction.mean, 3.0)
    assert (prediction.std > 0).all()
