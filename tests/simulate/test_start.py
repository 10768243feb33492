"""What a replay knows before its first round."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

from screenwise.campaign.policy import POLICIES, Objective, SimulatedPolicy
from screenwise.errors import ConfigError, DataError
from screenwise.screen import Screen, make_screen
from screenwise.simulate import start
from screenwise.simulate.replay import ReplaySettings, mark_hits, run_replay
from screenwise.simulate.start import STARTS, begin, farthest_pair


def numbers(size=120, classes=False):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(size, 3))
    value = (x[:, :1] > 0.8).astype(float) if classes else x[:, :1]
    table = pd.DataFrame(x, columns=["feature:a", "feature:b", "feature:c"])
    table.insert(0, "gene", [f"G{place}" for place in range(size)])
    screen = make_screen(table, value, ["t"])
    kind = "classification" if classes else "regression"
    return Screen(screen.conditions, screen.tasks.assign(kind=kind), screen.targets)


def hits_of(screen, share=0.1):
    return mark_hits(screen.targets.dense()[:, 0], share)


@pytest.mark.parametrize("how", STARTS)
@pytest.mark.parametrize("classes", [False, True])
def test_a_start_belongs_to_the_seed_and_not_to_the_order_of_the_pool(how, classes):
    screen = numbers(classes=classes)
    order = np.random.default_rng(0).permutation(len(screen))
    moved, hit = screen.take(order), hits_of(screen)
    rows, again = begin(screen, hit, how, 9, 4), begin(moved, hit[order], how, 9, 4)
    assert len(set(rows.tolist())) == len(rows)
    ids = [set(one.conditions["condition_id"].iloc[some]) for one, some in ((screen, rows), (moved, again))]
    assert ids[0] == ids[1]
    if how in ("random", "no_hits", "region"):
        assert len(rows) == 9
        assert set(begin(screen, hit, how, 9, 5).tolist()) != set(rows.tolist())


def test_a_warm_start_is_a_tenth_and_a_cold_one_what_the_peer_calls_so(monkeypatch):
    screen = numbers()
    assert len(begin(screen, hits_of(screen), "warm", 9, 0)) == 12
    x = screen.conditions.filter(like="feature:").to_numpy()
    distance = squareform(pdist(x / x.std(axis=0)))
    farthest = tuple(int(place) for place in np.unravel_index(distance.argmax(), distance.shape))
    assert tuple(begin(screen, hits_of(screen), "cold", 9, 0)) == tuple(sorted(farthest))
    monkeypatch.setattr(start, "MOST_PAIRS", 10)  # by sweeps: at least half the diameter
    assert distance[farthest_pair(screen.conditions)] >= distance.max() / 2
    binary = numbers(classes=True)
    rows = begin(binary, hits_of(binary), "cold", 9, 0)
    assert sorted(binary.targets.dense()[rows, 0].tolist()) == [0.0, 1.0]


def test_without_hits_there_are_none_and_a_region_is_what_lies_nearest():
    screen = numbers()
    hit = hits_of(screen, 0.4)
    assert not hit[begin(screen, hit, "no_hits", 60, 0)].any()
    with pytest.raises(DataError, match="72 conditions are no hits; a start of 73"):
        begin(screen, hit, "no_hits", 73, 0)
    rows = begin(screen, hit, "region", 10, 0)
    x = screen.conditions.filter(like="feature:").to_numpy()
    distance = np.linalg.norm((x - x[rows[0]]) / x.std(axis=0), axis=1)
    assert set(rows.tolist()) == set(np.argsort(distance)[:10].tolist())


def test_structures_that_cannot_be_read_lie_nowhere():
    smiles = ["CCO", "C1CC", "CCCO", "c1ccccc1", "CCCCO", "c1ccncc1"]
    table = pd.DataFrame({"smiles": smiles, "condition_id": list("abcdef")})
    assert 1 not in farthest_pair(table)
    screen = make_screen(table, np.arange(6.0)[:, None], ["t"])
    for seed in range(5):
        assert 1 not in begin(screen, np.zeros(6, bool), "region", 4, seed)


@pytest.mark.parametrize("how", STARTS)
def test_a_replay_begins_as_it_is_told_and_keeps_its_budget(how, tmp_path):
    screen = numbers(classes=True)
    settings = ReplaySettings("t", rounds=2, wells=5, start=7, seeds=(0,), hits=0.1, start_with=how)
    policies = {"random": SimulatedPolicy(POLICIES["random"], Objective("maximize", "t"))}
    curves = run_replay(policies, screen, settings, folder=tmp_path)
    first = {"warm": 12, "cold": 2}.get(how, 7)
    assert curves["measured"].tolist() == [first, first + 5, first + 10]
    assert len(list(tmp_path.iterdir())) == 1
    run_replay(policies, screen, replace(settings, start_with="random"), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == (1 if how == "random" else 2)


def test_another_word_is_refused():
    with pytest.raises(ConfigError, match="start with 'hot'; it may start with random, warm, cold, no_hits, region"):
        ReplaySettings("t", start_with="hot")
