"""A replay from the command line: several policies, interrupted and gone on with."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from screenwise.data.columns import Columns
from screenwise.data.datasets import POOLS
from screenwise.errors import ConfigError, DataError, DesignError, ScreenwiseError
from screenwise.recipes import simulation
from screenwise.recipes.reporting import report
from screenwise.recipes.settings import Reading, SimulateSettings

SMALL = SimulateSettings("thompson, probability_of_hit", rounds=2, wells=5, seeds=2, start=10, hits=0.1)


@pytest.fixture
def pool(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    table = pd.DataFrame({"gene": [f"G{place}" for place in range(60)], "growth": x[:, 0] + 0.3 * x[:, 1]})
    table.assign(**{"feature:a": x[:, 0], "feature:b": x[:, 1]}).to_csv(tmp_path / "pool.csv", index=False)
    return str(tmp_path / "pool.csv")


def test_interrupted_it_goes_on_and_ends_with_the_same_curves(tmp_path, pool):
    told = []

    def stop(what, done, total):
        told.append((what, done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulation.simulate(pool, tmp_path / "out", SMALL, progress=stop)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "replays").iterdir()}
    assert told[-1] == ("Replays", 3, 8)
    assert len(kept) == 3
    assert not (tmp_path / "out" / "curves.csv").exists()
    simulation.simulate(pool, tmp_path / "out", SMALL)
    simulation.simulate(pool, tmp_path / "straight", SMALL)
    assert (tmp_path / "out" / "curves.csv").read_bytes() == (tmp_path / "straight" / "curves.csv").read_bytes()
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "replays").iterdir()}
    assert len(after) == 8
    assert kept.items() <= after.items()


def test_without_resume_all_is_run_again(tmp_path, pool, monkeypatch):
    simulation.simulate(pool, tmp_path / "out", SMALL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "replays").iterdir()}
    first = (tmp_path / "out" / "curves.csv").read_bytes()
    monkeypatch.setattr(simulation, "ALWAYS", ())
    simulation.simulate(pool, tmp_path / "out", SimulateSettings(**{**vars(SMALL), "resume": False}))
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "replays").iterdir()}
    assert len(after) == 4
    assert all(after[path] > before[path] for path in after)
    assert first.startswith((tmp_path / "out" / "curves.csv").read_bytes())


def test_policies_are_a_list_and_chance_is_always_there(tmp_path, pool):
    outcome = simulation.simulate(pool, tmp_path / "out", SMALL)
    assert [row["policy"] for row in outcome.table] == ["thompson", "probability_of_hit", "random", "greedy"]
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    assert list(curves.columns) == ["pool", "policy", "seed", "round", "measured", "hits", "hit_fraction", "best"]
    assert len(curves) == 4 * 2 * 3


def test_several_pools_are_one_table_and_go_on_after_a_stop(tmp_path, pool):
    settings = SimulateSettings("ei", rounds=2, wells=5, seeds=2, start=10, hits=0.1)

    def stop(what, done, total):
        if what == "Replays" and done == 8:
            assert total == 12
            raise KeyboardInterrupt

    both = f"{pool}, diabetes"
    with pytest.raises(KeyboardInterrupt):
        simulation.simulate(both, tmp_path / "out", settings, progress=stop)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "replays").iterdir()}
    assert len(kept) == 8
    outcome = simulation.simulate(both, tmp_path / "out", settings)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "replays").iterdir()}
    assert len(after) == 12
    assert kept.items() <= after.items()
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary[["pool", "policy"]].to_numpy().tolist() == [
        [one, policy] for one in ("pool", "diabetes") for policy in ("ei", "random", "greedy")
    ]
    assert [row["pool"] for row in outcome.table] == ["pool"] * 3 + ["diabetes"] * 3
    alone = simulation.simulate("diabetes", tmp_path / "alone", settings)
    assert alone.table[0].items() <= outcome.table[3].items()
    for name in ("curves_pool.svg", "curves_diabetes.svg", "mean_curves.csv", "report.html"):
        assert (tmp_path / "out" / name).exists()
    assert report(tmp_path / "out", tmp_path / "again.html").facts["about"] == "Replay out"
    assert "Replay of diabetes" in (tmp_path / "again.html").read_text()


def test_the_summary_is_of_the_curves(tmp_path, pool):
    simulation.simulate(pool, tmp_path, SMALL)
    curves, summary = pd.read_csv(tmp_path / "curves.csv"), pd.read_csv(tmp_path / "summary.csv").set_index("policy")
    ends = curves[curves["round"] == 2].pivot(index="seed", columns="policy", values="hit_fraction")
    for policy in ends:
        assert summary.loc[policy, "hit_fraction"] == pytest.approx(ends[policy].mean())
        assert summary.loc[policy, "over_greedy"] == pytest.approx((ends[policy] - ends["greedy"]).mean())


@pytest.mark.parametrize("policy", ["forest:entropy", "bald", "badge", "batch_bald", "margin"])
@pytest.mark.parametrize("start", ["cold", "no_hits"])
def test_classes_are_looked_for_even_from_a_start_of_one_class(tmp_path, policy, start):
    settings = SimulateSettings(policy, rounds=2, wells=6, seeds=1, start=6, start_with=start)
    simulation.simulate("breast_cancer", tmp_path, settings)
    assert pd.read_csv(tmp_path / "summary.csv")["measured"][0] == {"cold": 14, "no_hits": 18}[start]
    first = pd.read_csv(tmp_path / "curves.csv").query("round == 0")
    assert (first["hits"] == {"cold": 1, "no_hits": 0}[start]).all()


def test_a_policy_that_cannot_be_served_stops_before_any_replay(tmp_path, pool):
    for name, says in {
        "entropy": "class probabilities",
        "forest:maxdet": "joint posterior",
        "nope": "k_center",
    }.items():
        with pytest.raises(ConfigError, match=says):
            simulation.simulate(f"diabetes,{pool}", tmp_path / "out", SimulateSettings(f"auto,{name}"))
    with pytest.raises(ConfigError, match="'diabetes' twice"):
        simulation.simulate("diabetes,diabetes", tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_a_condition_that_stands_twice_is_one_candidate_and_one_hit(tmp_path):
    table = pd.DataFrame({"gene": [f"G{place % 50}" for place in range(60)], "feature:x": np.arange(60) % 50})
    active = np.zeros(60)
    active[[13, 17, 51]] = 1.0  # G1 says no, then yes
    table.assign(active=active).to_csv(tmp_path / "pool.csv", index=False)
    settings = SimulateSettings("auto", rounds=2, wells=5, seeds=1, start_with="cold", hits=3 / 50)
    simulation.simulate(str(tmp_path / "pool.csv"), tmp_path / "out", settings)
    curves = pd.read_csv(tmp_path / "out" / "curves.csv").query("round == 0")
    assert (curves["measured"] == 2).all()
    assert curves["hit_fraction"].round(6).eq(round(1 / 3, 6)).all()


def test_what_makes_no_sense_is_refused(tmp_path, pool):
    with pytest.raises(ConfigError, match="no policy 'gredy'"):
        simulation.simulate(pool, tmp_path / "out", SimulateSettings("auto,gredy"))
    with pytest.raises(ConfigError, match="--jobs is 0"):
        simulation.simulate(pool, tmp_path / "out", SimulateSettings(jobs=0))
    with pytest.raises(DataError, match="is a file"):
        simulation.simulate(pool, tmp_path / "pool.csv", SMALL)
    assert not (tmp_path / "out").exists()


def test_a_named_pool_brings_its_budget_and_hits_unless_told_otherwise(tmp_path):
    own = simulation.simulate("diabetes", tmp_path / "own", SimulateSettings("random", seeds=1))
    assert own.facts["budget"] == "8 at random + 5 x 8"
    assert own.facts["objective"] == POOLS["diabetes"].pool.objective
    told = simulation.simulate("diabetes", tmp_path / "told", SimulateSettings("random", seeds=1, rounds=2, hits=0.2))
    assert (told.facts["budget"], told.facts["hits"]) == ("8 at random + 2 x 8", "best 20 %")
    assert pd.read_csv(tmp_path / "told" / "curves.csv")["measured"].max() == 24


def test_genes_in_the_order_of_how_much_they_are_studied(tmp_path, monkeypatch):
    monkeypatch.setenv("SCREENWISE_DATA", str(tmp_path / "nowhere"))
    genes = pd.DataFrame({"gene": [f"G{place}" for place in range(60)], "growth": np.arange(60.0)})
    genes.to_csv(tmp_path / "pool.csv", index=False)
    rows = [(gene, f"S{one}") for place, gene in enumerate(genes["gene"]) for one in range(place // 6)]
    pd.DataFrame(rows, columns=["gene", "gene_set"]).to_csv(tmp_path / "sets.csv", index=False)
    settings, pool = SimulateSettings("studied", rounds=2, wells=6, seeds=1, start=6, hits=0.1), tmp_path / "pool.csv"
    with pytest.raises(DesignError, match=r"--features SETS\.csv"):
        simulation.simulate(str(pool), tmp_path / "out", settings)
    with pytest.raises(DesignError, match="no column gene"):
        simulation.simulate("diabetes", tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()
    played = simulation.simulate(str(pool), tmp_path / "out", settings, Reading(features=tmp_path / "sets.csv"))
    assert played.table[0]["policy"] == "studied"
    assert played.table[0]["hit_fraction"] == 1.0
    reading = Reading(features=tmp_path / "sets.csv")
    beside = simulation.simulate(str(pool), tmp_path / "out", replace(settings, policy="ucb"), reading)
    assert [line["policy"] for line in beside.table] == ["ucb", "studied", "random", "greedy"]
    alone = simulation.simulate(str(pool), tmp_path / "alone", replace(settings, policy="auto"))
    assert [line["policy"] for line in alone.table] == ["auto", "random", "greedy"]
    assert "--features gene_sets" in alone.notes[-1]


PRICED = """
[constraints]
cost = "price"
cost_per_plate = 10.0
cost_of_new = {supplier = 30.0}
caps = {supplier = 4}
budget = 60.0
[plate]
positive = 0
negative = 0
replicates = 0
"""


def test_rules_of_a_campaign_hold_in_a_replay_and_costs_are_told(tmp_path, pool):
    table = pd.read_csv(pool)
    table["price"], table["supplier"] = 1.0 + np.arange(60) % 5 * 4, np.where(np.arange(60) % 2, "S1", "S2")
    table.to_csv(tmp_path / "priced.csv", index=False)
    rules, priced = tmp_path / "rules.toml", str(tmp_path / "priced.csv")
    rules.write_text(PRICED)
    settings = SimulateSettings("hits_per_cost", rounds=2, wells=10, seeds=2, start=10, hits=0.1)
    with pytest.raises(ConfigError, match=r"costs of the candidates .*--constraints RULES\.toml"):
        simulation.simulate(priced, tmp_path / "out", settings)
    told = simulation.simulate(priced, tmp_path / "out", settings, constraints=rules)
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    rounds = curves.groupby(["policy", "seed"])[["measured", "cost"]].diff().dropna()
    assert rounds["measured"].between(1, 8).all(), "four of each of two suppliers"
    assert (rounds["cost"] <= 60.0).all()
    first = curves[curves["round"] == 0]
    assert first["cost"].between(10 + 60 + 10, 10 + 60 + 10 * 17).all(), "a plate, both suppliers, ten candidates"
    assert first.groupby("seed")["cost"].nunique().eq(1).all()
    line = told.table[0]
    summary = pd.read_csv(tmp_path / "out" / "summary.csv").set_index("policy").loc["hits_per_cost"]
    last = curves[(curves["policy"] == "hits_per_cost") & (curves["round"] == 2)]
    assert line["hits_per_cost"] == summary["hits_per_cost"] == pytest.approx((last["hits"] / last["cost"]).mean())
    assert line["cost"] == pytest.approx(last["cost"].mean())
    mean = pd.read_csv(tmp_path / "out" / "mean_curves.csv").query("policy == 'hits_per_cost' and round == 2")
    assert mean["cost"].iloc[0] == pytest.approx(last["cost"].mean())
    rules.write_text(
        PRICED.replace("budget = 60.0", "budget = 30.0").replace("[plate]", 'must_include = ["G7"]\n[plate]')
    )
    again = simulation.simulate(priced, tmp_path / "out", replace(settings, policy="random"), constraints=rules)
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    assert (curves.groupby(["policy", "seed"])["cost"].diff().dropna() <= 30.0).all(), "other rules, other replays"
    assert len(again.table) == 2
    rules.write_text(PRICED.replace('"price"', '"prices"'))
    with pytest.raises(ScreenwiseError, match="Did you mean 'price'"):
        simulation.simulate(priced, tmp_path / "none", settings, constraints=rules)


def test_a_pool_used_up_by_its_rules_ends_without_an_error(tmp_path, pool):
    (tmp_path / "rules.toml").write_text("[constraints]\nstock = {family = 'left'}")
    table = pd.read_csv(pool).assign(family="one", left=16)
    table.to_csv(tmp_path / "stock.csv", index=False)
    settings = SimulateSettings("greedy", rounds=3, wells=5, seeds=1, start=8, hits=0.1)
    simulation.simulate(str(tmp_path / "stock.csv"), tmp_path / "out", settings, constraints=tmp_path / "rules.toml")
    curves = pd.read_csv(tmp_path / "out" / "curves.csv").query("policy == 'greedy'")
    assert curves["measured"].tolist() == [8, 13, 16, 16]
    assert "cost" not in curves
    said = json.loads((tmp_path / "out" / "replay.json").read_text())["stock"]
    assert said["rules"]["constraints"]["stock"] == {"family": "left"}


def test_conditions_that_are_mere_names_are_said_to_be_so(tmp_path):
    numbers = np.random.default_rng(0).normal(size=40)
    table = pd.DataFrame({"sample": [f"s{place}" for place in range(40)], "ph": numbers, "growth": numbers})
    settings = SimulateSettings("random", rounds=1, wells=5, seeds=1, start=8, objective="maximize:growth")
    reading = Reading(columns=Columns(id="sample", tasks=("growth",)))
    for column, said in (("ph", True), ("feature:ph", False)):
        table.rename(columns={"ph": column}).to_csv(tmp_path / "pool.csv", index=False)
        told = simulation.simulate(str(tmp_path / "pool.csv"), tmp_path / column[:2], settings, reading)
        assert any("by their names alone" in note for note in told.notes) == said


def test_what_must_be_in_is_looked_for_among_what_is_replayed(tmp_path, pool):
    table = pd.read_csv(pool).assign(other=1.0)
    table.loc[7, "growth"] = np.nan
    table.to_csv(tmp_path / "two.csv", index=False)
    (tmp_path / "rules.toml").write_text('[constraints]\nmust_include = ["G7"]')
    settings = SimulateSettings("random", rounds=1, wells=5, seeds=1, start=8, objective="maximize:growth")
    with pytest.raises(ScreenwiseError, match=r"must_include.*'G7' is not in the pool"):
        simulation.simulate(str(tmp_path / "two.csv"), tmp_path / "out", settings, constraints=tmp_path / "rules.toml")
    assert not (tmp_path / "out").exists()
