"""A replay answers what was measured, one round at a time, and counts hits rightly."""

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError, ConfigError, DataError, DesignError
from screenwise.protocols import Oracle
from screenwise.screen import make_screen
from screenwise.simulate.replay import (
    CURVE_COLUMNS,
    Replay,
    ReplaySettings,
    choose_at_random,
    mark_hits,
    run_replay,
)
from screenwise.simulate.start import start_rows


def screen(size=200, tasks=2):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(size, tasks)).astype(np.float32)
    values[::7, 0] = np.nan
    return make_screen(pd.DataFrame({"gene": [f"G{place}" for place in range(size)]}), values, ["a", "b"][:tasks])


def oracle_policy(measured, pool, turn, *, best):
    """A policy that knows the answer."""
    rank = pool["condition_id"].map(best).to_numpy(float)
    rank[pool["condition_id"].isin(measured.conditions["condition_id"])] = -np.inf
    return np.argsort(-rank)[: turn.wells]


def perfect(data, sign=1.0):
    values = sign * data.targets.dense()[:, 0]
    return partial(oracle_policy, best=dict(zip(data.conditions["condition_id"], values, strict=True)))


def test_the_oracle_answers_one_round_at_a_time():
    data = screen()
    oracle = Replay(data)
    assert isinstance(oracle, Oracle)
    asked = data.conditions.iloc[[5, 3, 0]]
    ticket = oracle.submit(asked)
    with pytest.raises(DesignError, match="round-1 is not taken"):
        oracle.submit(asked)
    assert oracle.results("round-7") is None
    answer = oracle.results(ticket)
    assert answer["condition_id"].tolist() == asked["condition_id"].tolist()
    np.testing.assert_array_equal(answer[["a", "b"]].to_numpy(np.float32), data.targets.dense()[[5, 3, 0]])
    assert oracle.results(ticket) is None
    assert oracle.submit(asked) == "round-2"


def test_the_oracle_refuses_strangers_and_doubles():
    data = screen()
    with pytest.raises(DesignError, match="nobody"):
        Replay(data).submit(pd.DataFrame({"condition_id": ["nobody"]}))
    with pytest.raises(DataError, match="stands twice"):
        Replay(data.take(np.array([1, 1, 2])))
    with pytest.raises(ColumnError, match="nothing"):
        Replay(data, ["nothing"])


def test_curves_have_the_promised_columns_and_count_what_is_found():
    data = screen()
    settings = ReplaySettings("a", rounds=4, wells=10, start=20, seeds=(0, 1, 2))
    curves = run_replay({"random": choose_at_random, "perfect": perfect(data)}, data, settings)
    assert curves.columns.tolist() == CURVE_COLUMNS
    assert len(curves) == 2 * 3 * 5
    assert curves["measured"].tolist() == [20, 30, 40, 50, 60] * 6
    values = data.targets.dense()[:, 0]
    values = values[~np.isnan(values)]
    for _, one in curves.groupby(["policy", "seed"]):
        assert one["round"].tolist() == [0, 1, 2, 3, 4]
        assert (one["hits"].diff().dropna() >= 0).all()
        np.testing.assert_allclose(one["hit_fraction"], one["hits"] / round(0.05 * len(values)))
    top = curves[(curves["policy"] == "perfect") & (curves["round"] == 1)]
    assert (top["hit_fraction"] == 1).all()
    assert (top["best"] == values.max()).all()


def test_all_policies_of_a_seed_begin_alike_and_seeds_differ():
    data = screen()
    settings = ReplaySettings("a", rounds=1, wells=5, start=20, seeds=(0, 1))
    curves = run_replay({"random": choose_at_random, "perfect": perfect(data)}, data, settings)
    start = curves[curves["round"] == 0].pivot(index="seed", columns="policy", values="best")
    assert (start["random"] == start["perfect"]).all()
    rows = [set(start_rows(data.conditions, 20, seed).tolist()) for seed in (0, 1)]
    assert rows[0] != rows[1]
    order = np.random.default_rng(0).permutation(200)
    moved = data.conditions.iloc[order].reset_index(drop=True)
    assert {int(order[row]) for row in start_rows(moved, 20, 0)} == rows[0]


def test_random_finds_what_chance_finds():
    settings = ReplaySettings("b", rounds=3, wells=20, start=20, seeds=tuple(range(60)))
    curves = run_replay({"random": choose_at_random}, screen(), settings)
    assert curves[curves["round"] == 3]["hit_fraction"].mean() == pytest.approx(80 / 200, abs=0.05)


def test_utility_turns_the_task_round():
    data = screen()
    settings = ReplaySettings("a", utility=np.negative, rounds=1, wells=10, start=5, seeds=(0,))
    curves = run_replay({"lowest": perfect(data, -1.0)}, data, settings)
    assert curves["hit_fraction"].iloc[-1] == 1.0
    assert curves["best"].iloc[-1] == np.nanmin(data.targets.dense()[:, 0])


def test_a_pool_that_ends_is_measured_to_the_last():
    settings = ReplaySettings("b", rounds=5, wells=60, start=20, seeds=(0,))
    curves = run_replay({"random": choose_at_random}, screen(), settings)
    assert curves["measured"].tolist() == [20, 80, 140, 200, 200, 200]
    assert curves["hit_fraction"].iloc[-1] == 1.0


def test_a_policy_that_cheats_is_stopped():
    def again(measured, pool, turn):
        return np.zeros(turn.wells, np.int64)

    with pytest.raises(DesignError, match="twice"):
        run_replay({"again": again}, screen(), ReplaySettings("b", rounds=1, wells=3, start=5, seeds=(0,)))


def test_too_small_a_pool_is_refused():
    with pytest.raises(DataError, match="start of 200"):
        run_replay({"random": choose_at_random}, screen(), ReplaySettings("a", start=200))


def test_processes_give_the_same_curves():
    data, told = screen(), []
    settings = ReplaySettings("a", rounds=2, wells=10, start=10, seeds=(0, 1))
    here = run_replay({"random": choose_at_random}, data, settings, progress=lambda *said: told.append(said))
    there = run_replay({"random": choose_at_random}, data, settings, jobs=2)
    pd.testing.assert_frame_equal(here, there)
    assert told == [("Replays", done, 2) for done in range(3)]
    with pytest.raises(ConfigError, match="The policy 'mine' cannot be sent"):
        run_replay({"mine": lambda *turn: None}, data, settings, jobs=2)


@dataclass(frozen=True)
class Best:
    """A policy that tells its settings, counts its calls, and is interrupted at one of them."""

    sign: float = 1.0
    calls: list = field(default_factory=list, repr=False)
    stop_at: int = field(default=-1, repr=False)

    def __call__(self, measured, pool, turn):
        if len(self.calls) == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append(turn.seed)
        known = pool["condition_id"].isin(measured.conditions["condition_id"]).to_numpy()
        rank = self.sign * pool["gene"].str[1:].astype(float).to_numpy()
        return np.argsort(np.where(known, np.inf, -rank), kind="stable")[: turn.wells]


def test_an_interrupted_replay_goes_on_and_gives_the_same(tmp_path):
    data = screen()
    settings = ReplaySettings("a", rounds=3, wells=10, start=10, seeds=(0, 1))
    whole = run_replay({"random": choose_at_random, "best": Best()}, data, settings)
    with pytest.raises(KeyboardInterrupt):
        run_replay({"best": Best(stop_at=4)}, data, settings, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1, "the first seed is finished, the second is not"
    again = Best()
    curves = run_replay({"random": choose_at_random, "best": again}, data, settings, folder=tmp_path)
    pd.testing.assert_frame_equal(curves, whole)
    assert len(again.calls) == 3
    third = Best()
    pd.testing.assert_frame_equal(
        run_replay({"random": choose_at_random, "best": third}, data, settings, folder=tmp_path), whole
    )
    assert third.calls == []


@pytest.mark.parametrize(
    "changed",
    [
        {"rounds": 2},
        {"wells": 9},
        {"start": 11},
        {"hits": 0.1},
        {"utility": np.negative},
        {"task": "b"},
        {"policy": Best(-1.0)},
        {"name": "other"},
        {"value": 2.0},
        {"gene": "H0"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_other_settings_or_data_run_again(tmp_path, changed):
    data, settings = screen(), ReplaySettings("a", rounds=3, wells=10, start=10, seeds=(0,))
    run_replay({"best": Best()}, data, settings, folder=tmp_path)
    value, conditions = data.targets.dense().copy(), data.conditions.drop(columns="condition_id")
    value[1] *= changed.get("value", 1.0)
    conditions.loc[1, "gene"] = changed.get("gene", "G1")
    policy, name = changed.get("policy", Best()), changed.get("name", "best")
    other = replace(settings, **{key: changed[key] for key in changed if hasattr(settings, key)})
    run_replay({name: policy}, make_screen(conditions, value, ["a", "b"]), other, folder=tmp_path)
    assert len(policy.calls) == other.rounds


def test_more_seeds_use_those_that_are_there_and_a_nameless_policy_is_never_kept(tmp_path):
    data, policy = screen(), Best()
    settings = ReplaySettings("a", rounds=2, wells=10, start=10, seeds=(0, 1))
    run_replay({"best": Best()}, data, settings, folder=tmp_path)
    run_replay({"best": policy}, data, replace(settings, seeds=(0, 1, 2)), folder=tmp_path)
    assert len(policy.calls) == 2
    kept = sorted(tmp_path.iterdir())
    for _ in range(2):
        nameless = Best()
        run_replay({"best": lambda *turn, chosen=nameless: chosen(*turn)}, data, settings, folder=tmp_path)
        assert len(nameless.calls) == 4
    assert sorted(tmp_path.iterdir()) == kept
    kept[0].write_bytes(b"torn")
    with pytest.raises(DataError, match=kept[0].name):
        run_replay({"best": Best()}, data, replace(settings, seeds=(0, 1, 2)), folder=tmp_path)


def test_hits_include_ties_at_the_edge():
    assert mark_hits(np.array([1.0, 1.0, 1.0, 0.0]), 0.25).tolist() == [True, True, True, False]
    assert mark_hits(np.arange(1000.0), 0.05).sum() == 50


@pytest.mark.parametrize(
    "wrong", [{"wells": 0}, {"rounds": -1}, {"start": 0}, {"seeds": ()}, {"hits": 0.0}, {"hits": 2.0}], ids=str
)
def test_a_replay_without_sense_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ReplaySettings("a", **wrong)
