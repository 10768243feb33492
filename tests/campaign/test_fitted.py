"""Rounds of any model by any acquisition that it knows enough for."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import Ridge

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.campaign.fitted import SimulatedModel
from screenwise.campaign.policy import Objective, Policy, Request, policy_for, propose_from, propose_round, propose_with
from screenwise.design.choose import BATCHES
from screenwise.design.constraints import Constraints
from screenwise.errors import ConfigError, DataError
from screenwise.models import make_model
from screenwise.models.adapter import Adapter
from screenwise.models.joint import JointAdapter
from screenwise.screen import make_screen
from screenwise.simulate.replay import ReplaySettings, run_replay

SIZE = 90
TASK = "growth"
MAXIMIZE = Objective("maximize", TASK)
EMBEDDING = ["k_center", "relative_distance", "k_means", "k_medoids", "typical", "badge", "lcmd", "bait"]
POSTERIOR = ["batch_ucb", "maxdet", "variance_reduction", "bald_regression"]
DRAWS = ["thompson", "probability_of_optimality", "hit_share"]
CLASSES = ["least_confidence", "margin", "ratio", "entropy", "bald", "power_bald", "soft_bald", "batch_bald"]


def truth(*, classes=False):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (SIZE, 2))
    value = np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] + 0.05 * rng.normal(size=SIZE)
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(SIZE)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    tasks = pd.DataFrame({"name": [TASK], "kind": ["classification" if classes else "regression"]})
    return make_screen(conditions, (value > 0 if classes else value)[:, None], tasks)


DATA = truth()
POOL = DATA.conditions
START = DATA.take(np.arange(0, SIZE, 3))


def process():
    return JointAdapter(GaussianProcessRegressor(RBF() + WhiteKernel(0.1), normalize_y=True))


def forest():
    return Adapter(RandomForestRegressor(16))


def classifier():
    return Adapter(RandomForestClassifier(16))


CASES = [(process, name) for name in (*POSTERIOR, *DRAWS, "k_center", "ucb", "ei")]
CASES += [(forest, name) for name in (*EMBEDDING, *DRAWS, "greedy")]
CASES += [(classifier, name) for name in (*CLASSES, "badge")]


def start_of(make):
    return truth(classes=True).take(np.arange(0, SIZE, 3)) if make is classifier else START


@pytest.mark.parametrize(("make", "name"), CASES)
def test_a_model_of_ones_own_chooses_by_what_it_knows_in_any_order(make, name):
    known = start_of(make)
    forced = POOL["condition_id"].iloc[1]
    waiting = tuple(POOL["condition_id"].iloc[[4, 7]])
    rules = Constraints({"family": 4}, "price", 9.0, (forced,))
    pool = POOL.assign(family=np.arange(SIZE) % 3, price=1.0)
    request = Request(MAXIMIZE, 8, 0.2, 5, waiting, rules)
    policy = Policy(acquisition=name)
    found = propose_with(make, policy, known, pool, request)
    chosen = POOL["condition_id"].to_numpy()[found.rows]
    assert len(set(chosen)) == 8
    assert chosen[0] == forced
    assert not set(chosen) & {*known.conditions["condition_id"], *waiting}
    assert np.bincount(found.rows % 3).max() <= 4
    assert found.evidence["policy"].startswith(("Adapter, ", "JointAdapter, "))
    assert np.isfinite(found.mean).all()
    order = np.random.default_rng(3).permutation(SIZE)
    shuffled = known.take(np.random.default_rng(4).permutation(len(known)))
    again = propose_with(make, policy, shuffled, pool.iloc[order].reset_index(drop=True), request)
    assert set(POOL["condition_id"].to_numpy()[order][again.rows]) == set(chosen)


@pytest.mark.parametrize("name", EMBEDDING)
def test_a_fitted_model_spreads_a_batch_away_from_what_is_measured(name):
    model = forest().fit(START)
    found = propose_from(model, 0, POOL, Request(MAXIMIZE, 10), policy=policy_for("auto", name), measured=START)
    x = model.embed(POOL)
    near = np.linalg.norm(x[:, None] - x[None, ::3], axis=2).min(axis=1)
    rest = np.setdiff1d(np.arange(SIZE), np.arange(0, SIZE, 3))
    if name in ("k_center", "relative_distance"):
        assert near[found.rows[0]] == near[rest].max()
    assert not set(found.rows.tolist()) & set(range(0, SIZE, 3))
    assert set(found.reason) == {f"chosen by {name}"}


def test_posteriors_are_of_the_utility():
    model = process().fit(START)
    for direction, sign in (("maximize", 1), ("minimize", -1)):
        request = Request(Objective(direction, TASK), 6)
        for name in ("batch_ucb", "hit_share", "probability_of_optimality"):
            policy = Policy(acquisition=name, kappa=0.1)
            found = propose_from(model, 0, POOL, request, policy=policy, measured=START)
            utility = sign * DATA.targets.dense()[found.rows, 0]
            assert utility[0] > 1.0
            # where two candidates hold all the probability of being best, the others are left to chance
            assert name == "probability_of_optimality" or utility.mean() > 0.8
    strong = Request(Objective("absolute", TASK), 6)
    found = propose_from(model, 0, POOL, strong, policy=Policy(acquisition="hit_share"), measured=START)
    assert np.abs(DATA.targets.dense()[found.rows, 0]).mean() > 0.8
    with pytest.raises(DataError, match="batch_ucb needs a joint posterior of the objective"):
        propose_from(model, 0, POOL, strong, policy=Policy(acquisition="batch_ucb"), measured=START)


def test_functions_are_drawn_exactly():
    model = process().fit(START)
    count = np.zeros(SIZE)
    for seed in range(30):
        request = Request(MAXIMIZE, 1, seed=seed)
        policy = Policy(acquisition="thompson")
        count[propose_from(model, 0, POOL, request, policy=policy, measured=START).rows[0]] += 1
    posterior = model.posterior(POOL)
    assert count.max() < 30
    assert (posterior.mean + 3 * np.sqrt(posterior.variance))[count > 0].min() > np.sort(posterior.mean)[-5]


def test_doubt_is_where_the_classes_meet():
    binary = truth(classes=True)
    known = binary.take(np.arange(0, SIZE, 3))
    for measured in (known, make_screen(known.conditions, known.targets, [TASK])):  # a campaign knows no kinds
        found = propose_with(classifier, Policy(acquisition="entropy"), measured, POOL, Request(MAXIMIZE, 6))
        assert (np.abs(found.mean - 0.5) < 0.3).all()
    low = Request(Objective("minimize", TASK), 6)
    assert set(propose_with(classifier, Policy(acquisition="entropy"), known, POOL, low).rows) == set(found.rows)
    model = classifier().fit(known)
    fitted = propose_from(model, 0, POOL, low, policy=Policy(acquisition="bald"), measured=known)
    assert ((fitted.mean >= 0) & (fitted.mean <= 1)).all()
    with pytest.raises(DataError, match="class probabilities"):
        propose_from(model, 0, POOL, low, policy=Policy(acquisition="bald"), measured=known.conditions["condition_id"])


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (partial(Adapter, Ridge()), "maxdet", "a joint posterior"),
        (partial(Adapter, Ridge()), "hit_share", "functions drawn"),
        (partial(Adapter, Ridge()), "entropy", "class probabilities"),
        (partial(make_model, "gp"), "k_center", "an embedding"),
        (forest, "hits_per_cost", "costs of the candidates"),
    ],
)
def test_what_a_model_does_not_know_is_said_with_what_would_do(make, name, said):
    with pytest.raises(DataError, match=rf"{name} needs .*{said}.* It allows random, greedy") as error:
        propose_with(make, Policy(acquisition=name), START, POOL, Request(MAXIMIZE, 4))
    allowed, _, other = str(error.value).split("It allows ")[1].partition(". ")
    assert name not in allowed.rstrip(".").replace(",", "").split()
    model = {"maxdet": "gp", "hit_share": "gp", "k_center": "forest"}.get(name)  # none gives classes or costs
    assert other == (f"Another model may: {model} is the usual one." if model else "")


def test_a_model_that_is_the_usual_one_is_not_told_to_be_another():
    absolute, policy = Request(Objective("absolute", TASK), 4), Policy(acquisition="batch_ucb")
    with pytest.raises(DataError, match="batch_ucb needs a joint posterior") as error:
        propose_from(make_model("gp").fit(START), 0, POOL, absolute, policy=policy, measured=START)
    assert "Another model" not in str(error.value)


def test_the_models_of_the_campaign_take_batches_by_name():
    for model, name in (("gp", "maxdet"), ("gp", "probability_of_optimality"), ("forest", "k_center")):
        found = propose_round(policy_for(model, name), START, POOL, Request(MAXIMIZE, 7))
        assert len(set(found.rows.tolist()) - set(range(0, SIZE, 3))) == 7
    pool = POOL.assign(price=np.where(np.arange(SIZE) % 2, 1.0, 50.0))
    cheap = Request(MAXIMIZE, 7, constraints=Constraints(cost="price", budget=20.0))
    assert (propose_round(policy_for("forest", "hits_per_cost"), START, pool, cheap).rows % 2 == 1).all()
    with pytest.raises(ConfigError, match="lcmd"):
        policy_for("gp", "lmcd")


@pytest.mark.parametrize(("name", "other"), [("maxdet", "gp"), ("batch_ucb", "gp"), ("k_center", "forest")])
def test_what_the_model_of_auto_cannot_serve_the_usual_one_does_and_says_so(name, other):
    heads = ["c1ccccc1", "c1ccncc1", "c1ccsc1", "C1CCCCC1", "c1ccoc1"]
    smiles = [f"OC(=O){'C' * size}{head}" for head in heads for size in range(1, 9)]
    tasks = pd.DataFrame({"name": [TASK], "target": ["EGFR"]})  # who names a target gets the process pooled by target
    value = np.array([len(text) + 3.0 * text.count("s") for text in smiles])
    data = make_screen(pd.DataFrame({"smiles": smiles}), value[:, None], tasks)
    request = Request(MAXIMIZE, 4, 0.5)
    start, pool = data.take(np.arange(0, len(data), 2)), data.conditions
    found = propose_round(Policy(model="auto", acquisition=name, scaled=False), start, pool, request)
    direct = propose_round(Policy(model=other, acquisition=name, scaled=other == "gp"), start, pool, request)
    np.testing.assert_array_equal(found.rows, direct.rows)
    assert f"{other} chose instead" in found.evidence["note"]
    assert found.evidence["policy"] == f"{other}, {name}"


def test_unreadable_candidates_are_left_out_and_forced_ones_stay():
    pool = POOL.copy()
    pool.loc[[1, 2, 5], "feature:a"] = np.nan
    rules = Constraints(must_include=(pool["condition_id"].iloc[2],))
    for make, name in ((forest, "k_center"), (process, "maxdet"), (process, "thompson")):
        request = Request(MAXIMIZE, 6, pending=(pool["condition_id"].iloc[5],), constraints=rules)
        rows = propose_with(make, Policy(acquisition=name), START, pool, request).rows
        assert len(set(rows.tolist())) == 6
        assert rows[0] == 2
        assert not {1, 5} & set(rows.tolist())


def test_a_campaign_and_a_replay_with_a_model_of_ones_own(tmp_path):
    settings = CampaignSettings(f"maximize:{TASK}", wells=6, acquisition="k_center")
    campaign = Campaign.create(tmp_path / "c", POOL, settings, proposer=partial(propose_with, forest))
    assert len(campaign.propose()) == 6
    policy = SimulatedModel(process, Policy(acquisition="batch_ucb"), MAXIMIZE)
    replay = ReplaySettings(TASK, rounds=2, wells=8, start=12, seeds=(0,), hits=0.1)
    curves = run_replay({"mine": policy}, DATA, replay)
    assert curves["hit_fraction"].iloc[-1] > 0.6


def test_every_acquisition_is_one_of_these():
    assert set(BATCHES) == {*EMBEDDING, *POSTERIOR, *DRAWS, *CLASSES} | {
        *("random", "greedy", "standard_deviation", "ucb", "ei", "log_ei", "pi", "probability_of_hit", "hits_per_cost")
    }
