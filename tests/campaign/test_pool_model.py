"""The process over a pool: quick means, and variances of those only that can win."""

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.pool_model import PoolModelSettings, fit_pool_model, prepare_pool
from screenwise.models import gp_factored

RNG = np.random.default_rng(3)
LETTERS = list("ACDEFGHIKL")
GENES = [f"{family}{number}" for family in ("PSM", "RPL", "NDU") for number in range(1, 9)]


def variants():
    grid = [one + two + three for one in LETTERS for two in LETTERS for three in LETTERS]
    value = np.array([2.0 * (text[0] in "AC") + (text[1] == "D") * (text[2] in "EF") for text in grid])
    return pd.DataFrame({"variant": grid}), value


def pairs():
    first, second = np.triu_indices(len(GENES), 1)
    table = pd.DataFrame({"gene_a": np.array(GENES)[first], "gene_b": np.array(GENES)[second]})
    return table, (table["gene_a"].str[:3] == table["gene_b"].str[:3]).to_numpy(float)


def numbers():
    x = RNG.uniform(-2, 2, (600, 3))
    table = pd.DataFrame({"gene": [f"G{place}" for place in range(600)]})
    return table.assign(**{f"feature:x{place}": x[:, place] for place in range(3)}), np.sin(2 * x[:, 0])


POOLS = {"variants": variants, "pairs": pairs, "numbers": numbers}


@pytest.fixture(scope="module", params=list(POOLS))
def fitted(request):
    conditions, value = POOLS[request.param]()
    conditions.insert(0, "condition_id", [f"c{place}" for place in range(len(conditions))])
    value = value + 0.1 * RNG.normal(size=len(value))
    rows = RNG.permutation(len(value))[:150]
    return conditions, rows, (value[rows] - value[rows].mean()) / value[rows].std()


def fit(fitted):
    conditions, rows, target = fitted
    return fit_pool_model(prepare_pool(conditions), rows, target, PoolModelSettings(), 0)


@pytest.mark.parametrize("kappa", [0.0, 0.2, 1.0, 3.0])
def test_those_that_may_win_have_their_variance_and_all_that_win_are_among_them(fitted, kappa, monkeypatch):
    monkeypatch.setattr("screenwise.campaign.pool_model.BLOCK", 150 * 256)
    monkeypatch.setattr("screenwise.campaign.pool_model.FIRST_ROWS", 16)
    model, rows = fit(fitted), np.arange(len(fitted[0]))
    mean, variance = model.moments(rows)
    quick, some = model.leading(rows, kappa, 20)
    np.testing.assert_allclose(quick, mean, atol=1e-4)
    known = ~np.isnan(some)
    np.testing.assert_allclose(some[known], variance[known], rtol=1e-3, atol=1e-5)
    if kappa == 0:
        assert not known.any()
        return
    bound = mean + kappa * np.sqrt(variance)
    assert known[bound >= np.sort(mean)[-20]].all()
    assert known[np.argsort(-bound)[:20]].all()
    assert not known.all() or kappa > 1


def test_fewer_rows_leave_more_variance_and_the_same_mean(fitted):
    model, rows = fit(fitted), np.arange(len(fitted[0]))
    mean, variance = model.moments(rows)
    for given in (150, 40, 7):
        same, more = model.moments(rows, given=given)
        np.testing.assert_array_equal(same, mean)
        assert (more >= variance - 1e-6).all()
        variance = more
    assert variance.mean() > 1.05 * model.moments(rows)[1].mean()


def test_what_cannot_be_read_stays_unknown(fitted):
    model = fit(fitted)
    mean, variance = model.leading(np.array([3, -1, 5]), 1.0, 2)
    assert np.isnan(mean).tolist() == np.isnan(variance).tolist() == [False, True, False]


def test_fewer_candidates_than_wells_are_all_known(fitted):
    _, variance = fit(fitted).leading(np.arange(5), 1.0, 20)
    assert np.isfinite(variance).all()


def test_tables_of_parts_change_nothing(fitted, monkeypatch):
    quick = fit(fitted)
    assert isinstance(quick.pool.training, gp_factored.FactoredKernels) == ("gene" not in fitted[0].columns)
    monkeypatch.setattr(gp_factored, "factor_kernels", lambda *_: None)
    plain = fit(fitted)
    rows = np.arange(len(fitted[0]))
    np.testing.assert_allclose(quick.pool.training.scale, plain.pool.training.scale, rtol=1e-5)
    for one, other in zip(quick.moments(rows), plain.moments(rows), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
    # the search for weights stops at a hair's breadth
    assert quick.evidence()["loo_rmse"] == pytest.approx(plain.evidence()["loo_rmse"], rel=1e-3)
    posterior, expected = quick.posterior(rows[:40]), plain.posterior(rows[:40])
    np.testing.assert_allclose(posterior.covariance(7), expected.covariance(7), atol=2e-3)
    np.testing.assert_array_equal(quick.in_domain(rows), plain.in_domain(rows))
