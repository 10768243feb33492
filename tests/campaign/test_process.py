"""Rounds of the process in pools of every size."""

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign import process
from screenwise.campaign.objective import Objective
from screenwise.campaign.policy import POLICIES, Policy, Request, propose_round
from screenwise.campaign.process import affordable
from screenwise.design.constraints import Constraints
from screenwise.screen import make_screen

TASK = "growth"
MAXIMIZE = Objective("maximize", TASK)
RNG = np.random.default_rng(1)
SIZE = 500


def truth():
    x = RNG.uniform(-2, 2, (SIZE, 2))
    table = pd.DataFrame({"gene": [f"G{place}" for place in range(SIZE)], "feature:x0": x[:, 0], "feature:x1": x[:, 1]})
    return make_screen(table.assign(family=np.arange(SIZE) % 7), (np.sin(2 * x[:, 0]) + x[:, 1])[:, None], [TASK])


DATA = truth()
START = DATA.take(np.arange(0, SIZE, 8))


def choose(policy="auto", *, outlook=True, **given):
    request = Request(MAXIMIZE, 25, 0.3, 0, **given)
    return propose_round(POLICIES[policy], START, DATA.conditions, request, outlook=outlook)


def test_a_pool_too_big_for_spreads_is_chosen_by_means_and_says_so(monkeypatch):
    assert choose().evidence["policy"] == "gp, ucb"
    monkeypatch.setattr(process, "MOST_PRODUCTS", 10)
    found = choose()
    assert found.evidence["policy"] == "gp, greedy"
    assert found.evidence["kappa"] == 0
    assert "spreads of 437 candidates" in found.evidence["note"]
    assert set(found.reason) == {"best predicted, spreads aside"}
    assert (np.diff(found.mean) <= 1e-6).all()
    assert (found.std > 0).all()
    value = DATA.targets.dense()[:, 0]
    assert np.mean(value[found.rows]) > np.quantile(value, 0.9)
    for other in ("ei", "thompson"):
        assert choose(other).evidence["note"] == "", "what was asked for by name is given"


def test_rules_hold_for_means_alone(monkeypatch):
    monkeypatch.setattr(process, "MOST_PRODUCTS", 10)
    forced = (DATA.conditions["condition_id"].iloc[9],)
    found = choose(constraints=Constraints({"family": 3}, must_include=forced))
    assert found.rows[0] == 9
    assert found.reason[0] == "must be in"
    assert np.bincount(found.rows % 7).max() <= 3
    assert np.isfinite(found.mean).all()


def test_the_limit_grows_with_the_pool_and_the_square_of_what_is_measured():
    for candidates, measured, kept in ((10_000, 2_000, True), (1_000_000, 200, True), (1_000_000, 384, False)):
        assert (affordable(Policy(), candidates, measured)[0] == Policy()) == kept
    assert affordable(Policy(prior_sd=0.3), 10**6, 10**4)[0].prior_sd == 0.3
    assert affordable(POLICIES["greedy_gp"], 10**6, 10**4) == (POLICIES["greedy_gp"], "")


@pytest.mark.parametrize("policy", ["auto", "ucb", "greedy_gp"])
def test_candidates_left_out_early_change_no_choice(policy):
    whole, quick = choose(policy), choose(policy, outlook=False)
    assert quick.rows.tolist() == whole.rows.tolist()
    np.testing.assert_allclose(quick.score, whole.score, atol=1e-3)
    np.testing.assert_allclose(quick.std, whole.std, rtol=1e-3)
    assert quick.reason.tolist() == whole.reason.tolist()
    assert quick.outlook is None
    assert whole.outlook is not None


def test_the_outlook_of_a_large_pool_overrates_spreads_and_never_underrates_them(monkeypatch):
    exact = choose("greedy_gp").outlook
    monkeypatch.setattr(process, "MOST_PRODUCTS", 437 * 5**2)
    rough = choose("greedy_gp").outlook
    assert np.isfinite(rough.hit).sum() == np.isfinite(exact.hit).sum() == 437
    assert rough.improvement >= exact.improvement
    assert np.nansum(rough.hit) >= np.nansum(exact.hit)
    np.testing.assert_array_equal(rough.score, exact.score)


def test_the_score_is_of_the_round_before_its_own_picks():
    found = choose("ucb", constraints=Constraints(must_include=(DATA.conditions["condition_id"].iloc[9],)))
    assert np.isfinite(found.score).all(), "also of what had to be in"
    greedy = choose("greedy_gp")
    assert (np.diff(greedy.score) <= 0).all()
