from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from screenwise.errors import ColumnError, ConfigError, DataError, ModelError
from screenwise.models.gp import Config, GaussianProcess
from screenwise.models.gp_kernels import chunks
from screenwise.models.gp_task import refactor
from screenwise.protocols import HasPosterior, LeavesOneOut, Model
from screenwise.run import Run
from screenwise.screen import Targets, make_screen

TAILS = ("O", "N", "C(=O)O", "Cl", "c1ccccc1", "C1CCNCC1", "S(=O)(=O)N", "C#N")
SMILES = [("C" * length) + tail for length in range(1, 13) for tail in TAILS]


def truth(smiles):
    length = np.array([text.count("C") for text in smiles], float)
    aromatic = np.array(["c" in text for text in smiles], float)
    return np.column_stack([length / 4 + aromatic, -length / 5 + 2 * aromatic])


def screen_of(rows, *, missing=True, seed=0):
    rng = np.random.default_rng(seed)
    smiles = [SMILES[row] for row in rows]
    value = truth(smiles) + rng.normal(0, 0.05, (len(rows), 2))
    if missing:
        value[rng.random(value.shape) < 0.3] = np.nan
    return make_screen(pd.DataFrame({"smiles": smiles}), value, ["potency", "clearance"])


ORDER = np.random.default_rng(1).permutation(len(SMILES))
TRAIN, TEST = ORDER[:70], ORDER[70:]


@pytest.fixture(scope="module")
def fitted():
    return GaussianProcess().fit(screen_of(TRAIN))


@pytest.fixture(scope="module")
def pool():
    return screen_of(TEST, missing=False).conditions


def test_offers_what_others_look_for(fitted):
    for protocol in (Model, HasPosterior, LeavesOneOut):
        assert isinstance(fitted, protocol)


def test_learns_and_knows_how_well(fitted, pool):
    prediction = fitted.predict(pool)
    expected = truth([SMILES[row] for row in TEST])
    error = prediction.mean - expected
    assert np.sqrt(np.mean(error**2)) < 0.3 * expected.std()
    assert np.mean(np.abs(error) <= 1.645 * prediction.std) > 0.75
    assert prediction.in_domain.shape == error.shape
    assert prediction.in_domain.mean() > 0.7


def test_std_of_what_was_measured_holds_the_noise_of_measuring_it_again():
    rng = np.random.default_rng(4)
    conditions = pd.DataFrame({"gene": "G", "feature:x": np.linspace(0, 6, 120), "feature:y": rng.normal(size=120)})
    conditions["gene"] += conditions.index.astype(str)
    latent = np.sin(conditions["feature:x"].to_numpy())[:, None]
    screen = make_screen(conditions, (latent + rng.normal(0, 0.3, latent.shape)).astype(np.float32), ["growth"])
    model = GaussianProcess().fit(screen)
    prediction, posterior = model.predict(conditions), model.posterior(conditions)
    np.testing.assert_allclose(prediction.std[:, 0], np.sqrt(posterior.variance + posterior.noise), rtol=1e-4)
    assert (prediction.std[:, 0] > np.sqrt(posterior.noise)).all()
    lower, upper = prediction.interval()
    again = latent + rng.normal(0, 0.3, latent.shape)
    assert 0.8 < np.mean((lower <= again) & (again <= upper)) <= 1


def test_domain_excludes_what_is_unlike_everything(fitted):
    odd = pd.DataFrame({"smiles": ["[Au+].[Cl-].F[P-](F)(F)(F)(F)F", SMILES[TRAIN[0]]]})
    assert fitted.predict(odd).in_domain.tolist() == [[False, False], [True, True]]


def test_cells_are_the_same_as_the_whole_table(fitted, pool):
    whole = fitted.predict(pool)
    row, task = np.array([5, 0, 5, 19]), np.array([1, 0, 0, 1])
    mean, std, inside = fitted.predict_cells(pool, row, task)
    np.testing.assert_allclose(mean, whole.mean[row, task], rtol=1e-5)
    np.testing.assert_allclose(std, whole.std[row, task], rtol=1e-4)
    np.testing.assert_array_equal(inside, whole.in_domain[row, task])


def test_chunks_do_not_matter(fitted, pool, monkeypatch):
    whole = fitted.predict(pool)
    monkeypatch.setattr("screenwise.models.gp.chunks", lambda rows, columns, **_: chunks(rows, columns, budget=2000))
    parts = fitted.predict(pool)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parts.std, whole.std, rtol=1e-4)
    np.testing.assert_array_equal(parts.in_domain, whole.in_domain)


def test_leave_one_out_is_a_refit_at_the_same_weights():
    """One task, borrowing off: exact against dropping the row and factorising again."""
    screen = screen_of(TRAIN[:40], missing=False).take_tasks([0])
    model = GaussianProcess(Config(conformal=False)).fit(screen)
    mean, std = model.leave_one_out()
    fit, training, offset = model.fitted_.fits[0], model.fitted_.training, model.config.offset
    for row in (0, 7, 39):
        keep = np.delete(np.arange(40), row)
        smaller = replace(fit, rows=fit.rows[keep], y=fit.y[keep], noise=fit.noise[keep])
        factor = refactor(training, smaller, offset)
        cross = training.cross(training.take(np.array([row])), smaller.rows, fit.weights.kernel) + np.float32(offset)
        expected = fit.mean + fit.sd * float(cross[0].astype(float) @ factor.alpha)
        left = fit.own[row] + offset - float(np.sum((factor.inverse @ cross[0]) ** 2)) + fit.weights.noise
        assert mean[row, 0] == pytest.approx(expected, abs=1e-4)
        assert std[row, 0] == pytest.approx(fit.sd * np.sqrt(left), rel=1e-3)


def test_leave_one_out_stands_where_it_was_measured():
    screen = screen_of(TRAIN)
    mean, std = GaussianProcess().fit(screen).leave_one_out()
    known = ~np.isnan(screen.targets.dense())
    np.testing.assert_array_equal(np.isfinite(mean), known)
    np.testing.assert_array_equal(np.isfinite(std), known)


def test_borrowing_helps_a_condition_measured_elsewhere_only():
    """Two tasks with the same unexplained part; half of the second is to be predicted."""
    rng = np.random.default_rng(5)
    hidden = rng.normal(0, 1, len(SMILES))
    value = truth(SMILES)[:, [0, 0]] + hidden[:, None] + rng.normal(0, 0.1, (len(SMILES), 2))
    asked = np.arange(0, len(SMILES), 3)
    given = value.copy()
    given[asked, 1] = np.nan
    screen = make_screen(pd.DataFrame({"smiles": SMILES}), given, ["a", "b"])
    model = GaussianProcess().fit(screen)
    alone = model.without_borrowing()
    conditions = screen.conditions.iloc[asked]
    error = [np.std(each.predict(conditions).mean[:, 1] - value[asked, 1]) for each in (model, alone)]
    assert error[0] < 0.6 * error[1]
    assert model.predict(conditions).std[:, 1].mean() < 0.9 * alone.predict(conditions).std[:, 1].mean()
    unseen = pd.DataFrame({"smiles": ["CCOCC", "c1ccncc1"]})
    np.testing.assert_array_equal(model.predict(unseen).mean, alone.predict(unseen).mean)


def test_posterior_agrees_with_predict_and_with_itself(fitted, pool):
    posterior = fitted.posterior(pool, 0)
    alone = fitted.without_borrowing().predict(pool)
    np.testing.assert_allclose(posterior.mean, alone.mean[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(posterior.variance + posterior.noise), alone.std[:, 0], rtol=1e-3)
    column = posterior.covariance(3)
    assert column[3] == pytest.approx(posterior.variance[3], rel=1e-3, abs=1e-5)
    assert posterior.covariance(8)[3] == pytest.approx(column[8], rel=1e-3, abs=1e-6)
    whole = np.column_stack([posterior.covariance(one) for one in range(len(pool))])
    assert np.linalg.eigvalsh((whole + whole.T) / 2).min() > -1e-4


def test_posterior_of_a_pool_with_an_unreadable_candidate(fitted, pool):
    broken = pd.concat([pool.iloc[:3], pd.DataFrame({"smiles": ["C1CC", ""]})], ignore_index=True)
    posterior = fitted.posterior(broken)
    assert np.isfinite(posterior.mean[:3]).all()
    assert np.isnan(posterior.mean[3:]).all()
    assert np.isfinite(posterior.covariance(1)[:3]).all()


def test_notes_say_what_cannot_be_read(fitted):
    prediction = fitted.predict(pd.DataFrame({"smiles": ["CCO", "not a structure", ""]}))
    assert np.isfinite(prediction.mean[0]).all()
    assert np.isnan(prediction.mean[1:]).all()
    assert "smiles" in prediction.note[1]
    assert prediction.note[0] == ""
    mean, _, _ = fitted.predict_cells(pd.DataFrame({"smiles": ["C1CC", "CCO"]}), np.array([0, 1]), np.array([0, 0]))
    assert np.isnan(mean[0])
    assert np.isfinite(mean[1])


def test_saved_and_loaded_is_the_same_to_the_bit(fitted, pool, tmp_path):
    fitted.save(tmp_path)
    loaded = GaussianProcess.load(tmp_path)
    before, after = fitted.predict(pool), loaded.predict(pool)
    for name in ("mean", "std", "in_domain"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_array_equal(loaded.leave_one_out()[0], fitted.leave_one_out()[0])
    assert loaded.config == fitted.config
    assert loaded.evidence()["weights"] == fitted.evidence()["weights"]


def test_damaged_or_missing_files_are_our_errors(fitted, tmp_path):
    with pytest.raises(DataError, match=r"gp\.json"):
        GaussianProcess.load(tmp_path)
    fitted.save(tmp_path)
    (tmp_path / "gp.npz").write_bytes(b"broken")
    with pytest.raises(ModelError, match="Fit again"):
        GaussianProcess.load(tmp_path)


def test_odd_tasks():
    """Never measured, one row, constant, two rows: finite where anything is known."""
    value = np.full((20, 5), np.nan)
    value[:, 0] = truth(SMILES[:20])[:, 0]
    value[3, 2], value[:, 3], value[[0, 19], 4] = 7.0, 2.5, [1.0, 2.0]
    names = ["usual", "never", "single", "constant", "two"]
    screen = make_screen(pd.DataFrame({"smiles": SMILES[:20]}), value, names)
    model = GaussianProcess().fit(screen)
    prediction = model.predict(screen.conditions)
    assert np.isnan(prediction.mean[:, 1]).all()
    assert np.isfinite(prediction.mean[:, [0, 2, 3, 4]]).all()
    assert (prediction.std[:, [0, 2, 3, 4]] > 0).all()
    np.testing.assert_allclose(prediction.mean[:, 2], 7.0)
    np.testing.assert_allclose(prediction.mean[:, 3], 2.5)
    assert "never" in prediction.note[0]
    assert model.evidence()["task"] == ["usual", "single", "constant", "two"]
    with pytest.raises(ModelError, match="never"):
        model.posterior(screen.conditions, 1)


def test_sparse_targets_are_dense_targets():
    screen = screen_of(TRAIN)
    dense = screen.targets.dense()
    rows, tasks = np.nonzero(~np.isnan(dense))
    sparse = csr_array((dense[rows, tasks], (rows, tasks)), shape=dense.shape)
    other = make_screen(screen.conditions, Targets(sparse), screen.tasks)
    conditions = screen.conditions.iloc[:9]
    np.testing.assert_array_equal(
        GaussianProcess().fit(other).predict(conditions).mean, GaussianProcess().fit(screen).predict(conditions).mean
    )


def test_weights_of_conditions_count():
    """A row of small weight hardly pulls; a row of weight 0 is as good as not there."""
    smiles = [*SMILES[:40], "CCOCC"]
    value = np.append(truth(SMILES[:40])[:, 0], 50.0)[:, None]

    def at_outlier(weight):
        weights = np.append(np.ones(40), weight).astype(np.float32)
        screen = make_screen(pd.DataFrame({"smiles": smiles}), Targets(value, weight=weights), ["t"])
        return float(GaussianProcess().fit(screen).predict(screen.conditions.iloc[[40]]).mean[0, 0])

    assert at_outlier(1e-6) < 10 < at_outlier(1.0)
    assert at_outlier(0.0) < 5


def test_classification_is_a_probability():
    label = (truth(SMILES)[:, [0]] > 2).astype(np.float32)
    tasks = pd.DataFrame({"name": ["active"], "kind": ["classification"]})
    model = GaussianProcess().fit(make_screen(pd.DataFrame({"smiles": SMILES}), label, tasks))
    mean = model.predict(pd.DataFrame({"smiles": SMILES})).mean[:, 0]
    assert ((mean >= 0) & (mean <= 1)).all()
    assert mean[label[:, 0] == 1].min() > mean[label[:, 0] == 0].max() - 0.5


def test_seed_decides_only_the_rows_that_learn_weights(pool):
    screen = screen_of(TRAIN)
    few = Config(rows_for_weights=20)
    first = GaussianProcess(few).fit(screen, seed=1).predict(pool).mean
    np.testing.assert_array_equal(GaussianProcess(few).fit(screen, seed=1).predict(pool).mean, first)
    assert not np.array_equal(GaussianProcess(few).fit(screen, seed=2).predict(pool).mean, first)


def test_kernels_can_be_named(pool):
    screen = screen_of(TRAIN)
    one = GaussianProcess(Config(kernels=("torsions",))).fit(screen)
    assert list(one.evidence()["weights"][0]) == ["torsions"]
    with pytest.raises(ConfigError, match="torsions"):
        GaussianProcess(Config(kernels=("wishes",))).fit(screen)


def test_a_run_is_told(tmp_path):
    said = []
    run = Run(tmp_path, progress=lambda what, done, total: said.append((what, done, total)))
    GaussianProcess().fit(screen_of(TRAIN), run=run)
    assert said == [("fitting tasks", 1, 2), ("fitting tasks", 2, 2)]
    assert [line["task"] for line in run.metrics()] == ["potency", "clearance"]


def test_evidence_tells_signal_from_none():
    rng = np.random.default_rng(6)
    value = np.column_stack([truth(SMILES)[:, 0], rng.normal(size=len(SMILES))])
    evidence = GaussianProcess().fit(make_screen(pd.DataFrame({"smiles": SMILES}), value, ["real", "noise"])).evidence()
    assert evidence["loo_rank_correlation"][0] > 0.9
    assert evidence["loo_rank_correlation"][1] < 0.3


def test_errors_say_what_to_do():
    screen = screen_of(TRAIN)
    with pytest.raises(ModelError, match="multitask"):
        GaussianProcess(Config(max_rows=10)).fit(screen)
    with pytest.raises(ModelError, match="nothing to learn"):
        GaussianProcess().fit(make_screen(screen.conditions, np.full((70, 1), np.nan), ["t"]))
    with pytest.raises(ModelError, match="not fitted"):
        GaussianProcess().predict(screen.conditions)
    with pytest.raises(ConfigError, match="leave_out"):
        GaussianProcess(Config(leave_out="fold"))
    with pytest.raises(ColumnError, match="smiles"):
        GaussianProcess().fit(screen).predict(pd.DataFrame({"gene": ["TP53"]}))


def test_nothing_to_predict(fitted):
    empty = fitted.predict(pd.DataFrame({"smiles": pd.Series([], dtype=str)}))
    assert empty.mean.shape == (0, 2)


def test_pairs_with_doses_and_cell_lines_are_the_same_model(tmp_path):
    """What the file says of compounds holds of pairs: learns, ignores the order inside, comes back from disk."""
    rng = np.random.default_rng(8)
    first, second = rng.integers(0, 12, 150), rng.integers(0, 12, 150)
    dose, line = 10 ** rng.uniform(-2, 1, (150, 2)), rng.integers(0, 2, 150)
    effect = rng.normal(size=12)
    value = effect[first] * np.log10(dose[:, 0]) + effect[second] * np.log10(dose[:, 1]) + line
    members = {
        "smiles_a": np.array(SMILES)[first],
        "smiles_b": np.array(SMILES)[second],
        "dose_um_a": dose[:, 0],
        "dose_um_b": dose[:, 1],
    }
    screen = make_screen(pd.DataFrame(members | {"cell_line": np.array(["A", "B"])[line]}), value[:, None], ["effect"])
    model = GaussianProcess().fit(screen.take(np.arange(110)))
    rest = screen.take(np.arange(110, 150))
    prediction = model.predict(rest.conditions)
    assert np.std(prediction.mean - rest.targets.dense()) < 0.5 * np.std(rest.targets.dense())
    turned = {name: name[:-1] + ("b" if name.endswith("a") else "a") for name in members}
    np.testing.assert_allclose(model.predict(rest.conditions.rename(columns=turned)).mean, prediction.mean, atol=1e-5)
    model.save(tmp_path)
    np.testing.assert_array_equal(GaussianProcess.load(tmp_path).predict(rest.conditions).mean, prediction.mean)
