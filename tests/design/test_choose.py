"""Every acquisition by name."""

from dataclasses import replace

import numpy as np
import pytest

from screenwise.design.acquisition import ACQUISITIONS
from screenwise.design.batch import LinearPosterior
from screenwise.design.choose import BATCHES, Ask, Candidates, choose, usable
from screenwise.errors import ConfigError, DataError
from screenwise.prediction import Prediction

SIZE = 40


def candidates(seed=0):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(SIZE, 1)).astype(np.float32)
    embedding = rng.normal(size=(SIZE, 4)).astype(np.float32)
    return Candidates(
        rng.integers(2**63, size=SIZE).astype(np.uint64),
        Prediction(mean, rng.uniform(0.1, 1, (SIZE, 1)).astype(np.float32)),
        mean[:, 0] + rng.normal(size=(30, SIZE)),
        LinearPosterior.of(embedding, noise=0.2),
        rng.dirichlet([1, 1, 1], size=SIZE),
        rng.dirichlet([1, 1, 1], size=(6, SIZE)),
        embedding,
        rng.normal(size=(5, 4)),
        rng.uniform(1, 9, SIZE),
    )


def moved(known, order):
    posterior = LinearPosterior.of(known.embedding[order], noise=0.2)
    return Candidates(
        known.keys[order],
        known.prediction.take(order),
        known.draws[:, order],
        posterior,
        known.probability[order],
        known.class_draws[:, order],
        known.embedding[order],
        known.measured,
        known.cost[order],
    )


@pytest.mark.parametrize("name", list(BATCHES))
def test_every_acquisition_picks_by_the_rules_in_any_order(name):
    known, order = candidates(), np.random.default_rng(9).permutation(SIZE)
    mask, place = np.arange(SIZE) % 7 != 0, np.argsort(order)
    rows, score = choose(name, known, Ask(8, budget=60.0, allowed=mask, first=(7,), rng=np.random.default_rng(1)))
    assert rows[0] == 7
    assert len(set(rows.tolist())) == 8
    assert mask[rows[1:]].all()
    assert score is None or score.shape == (SIZE,)
    ask = Ask(8, budget=60.0, allowed=mask[order], first=(int(place[7]),), rng=np.random.default_rng(1))
    again, _ = choose(name, moved(known, order), ask)
    assert rows.tolist() == order[again].tolist()


@pytest.mark.parametrize("name", [name for name, batch in BATCHES.items() if batch.needs])
def test_what_is_lacking_is_told_with_what_would_do(name):
    bare = Candidates(candidates().keys)
    with pytest.raises(DataError, match=rf"{name} needs .*Use random"):
        choose(name, bare, Ask(3))
    assert name not in usable(bare)
    assert name in usable(candidates())


def test_a_prediction_without_spread_allows_greedy():
    known = candidates()
    flat = Candidates(known.keys, Prediction(known.prediction.mean))
    assert usable(flat) == ["random", "greedy"]
    assert usable(replace(flat, embedding=known.embedding))[-1] == "bait"


def test_names_are_one_list():
    assert set(ACQUISITIONS) <= set(BATCHES)
    with pytest.raises(ConfigError, match="no acquisition 'best'"):
        choose("best", candidates(), Ask(1))
