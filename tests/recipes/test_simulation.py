"""A replay from the command line: several policies, interrupted and gone on with."""

import numpy as np
import pandas as pd
import pytest

from screenwise.data.datasets import POOLS
from screenwise.errors import ConfigError, DataError
from screenwise.recipes import simulation
from screenwise.recipes.settings import SimulateSettings

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
    assert list(curves.columns) == ["policy", "seed", "round", "measured", "hits", "hit_fraction", "best"]
    assert len(curves) == 4 * 2 * 3


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
