"""Pools: what a hit is and the budget, against counts of the measured screens."""

import re

import numpy as np
import pandas as pd
import pytest

from screenwise.data import fetch
from screenwise.data.catalogue import DATASETS, POOLS, Pool
from screenwise.data.datasets import load_dataset

HAVE = any((folder / "active_learning").is_dir() for folder in fetch.data_folders())
FILES = {info.files[0].path for info in POOLS.values()}


def test_every_pool_of_the_folder_and_of_scikit_learn_is_named():
    assert sum(path.startswith("active_learning/") for path in FILES) == 20
    assert "embedded/ifng.parquet" in FILES  # the folder's twenty-first
    assert sum(path.startswith("sklearn:") for path in FILES) == 4


@pytest.mark.parametrize("name", list(POOLS))
def test_a_pool_names_one_of_its_tasks(name):
    info = POOLS[name]
    assert info.pool.task in ({name} | set(info.tasks.values()))
    assert info.pool.direction in ("maximize", "minimize", "absolute")
    assert info.pool.start == info.pool.wells > 0
    assert info.licence
    wells = info.pool.start + info.pool.rounds * info.pool.wells
    size = int(re.match(r"[\d,]+", info.size)[0].replace(",", ""))
    assert wells <= 0.2 * size


def test_rules_in_words():
    assert Pool("tau", "absolute").rule == "highest 5 % of |tau|"
    assert Pool("docking", "minimize", 0.01).rule == "lowest 1 % of docking"
    assert Pool("active", threshold=1.0).rule == "active >= 1"
    assert Pool("docking", "minimize", threshold=9.0).rule == "docking <= -9"


@pytest.mark.parametrize("direction", ["maximize", "minimize", "absolute"])
def test_utility_is_higher_for_what_is_wanted(direction):
    values = np.array([-3.0, 1.0, 2.0])
    best = {"maximize": 2.0, "minimize": -3.0, "absolute": -3.0}[direction]
    assert values[np.argmax(Pool("a", direction).utility(values))] == best


def test_a_threshold_counts_what_reaches_it():
    assert Pool("a", "minimize", threshold=2.0).hit_share(np.array([-3.0, -2.0, -1.0, 5.0])) == 0.5
    assert Pool("a", hits=0.03).hit_share(np.arange(10.0)) == 0.03


@pytest.mark.skipif(not HAVE, reason="the public data folder is not here")
@pytest.mark.parametrize(
    ("name", "ceiling"), [("gb1", 0.386), ("horlbeck", 0.597)]
)  # shares of the hits that the budget can reach at most, as measured when it was set
def test_budgets_reach_the_stated_share_of_the_hits(name, ceiling):
    screen, pool = load_dataset(name).screen, DATASETS[name].pool
    value = screen.targets.dense()[:, screen.task_index(pool.task)]
    wells = pool.start + pool.rounds * pool.wells
    assert abs(wells / (pool.hit_share(value) * len(value)) - ceiling) < 5e-4


@pytest.mark.skipif(not HAVE, reason="the public data folder is not here")
def test_hits_of_classes_are_the_actives():
    screen, pool = load_dataset("hiv").screen, DATASETS["hiv"].pool
    value = screen.targets.dense()[:, 0]
    frame = pd.read_parquet(next(f for f in map(_hiv, fetch.data_folders()) if f.exists()))
    assert round(pool.hit_share(value) * len(value)) == int(frame["activity"].isin(["CA", "CM"]).sum())


def _hiv(folder):
    return folder / DATASETS["hiv"].files[0].path


@pytest.mark.skipif(not HAVE, reason="the public data folder is not here")
def test_the_embedded_screen_is_the_one_of_the_folder():
    folder = next(one for one in fetch.data_folders() if (one / "active_learning").is_dir())
    other = pd.read_parquet(folder / "active_learning" / "crispr_schmidt2021_ifng.parquet")
    other = other[other["gene"] != "NO-TARGET"].set_index("gene")["phenotype"]
    screen = load_dataset("ifng").screen
    value = pd.Series(screen.targets.dense()[:, 0], index=screen.conditions["gene"])
    np.testing.assert_allclose(value, other.loc[value.index], atol=1e-6)
    assert len(value) == len(other)
