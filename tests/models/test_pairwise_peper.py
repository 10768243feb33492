"""The network form of Peper: untrained it is the scaled sum; it learns, is symmetric; the choice among models."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch

from screenwise.errors import ConfigError
from screenwise.models.pairwise import ScaledSalt
from screenwise.models.pairwise_choice import choose_pairwise
from screenwise.models.pairwise_network import PairNetwork
from screenwise.models.pairwise_peper import NetworkRule, Peper, PeperConfig, judged, withheld_rows
from screenwise.models.pairwise_views import Pairs
from screenwise.screen import make_screen

GENES = [f"G{place:02d}" for place in range(14)]
PAIRS = list(combinations(range(14), 2))


@pytest.fixture(scope="module")
def toy():
    """Two classes of genes, told by their singles; effects add, and pairs of unlike genes do something more."""
    rng = np.random.default_rng(5)
    group, extra = np.where(np.arange(14) % 2, 1.0, -1.0), np.array([0, 0, 0, 0, 2.0, -2.0, 1.0, 1.0])
    single = 0.5 * rng.normal(size=(14, 8)) + 1.5 * group[:, None] * np.eye(8)[0]
    effect = np.array([0.8 * (single[a] + single[b]) + (group[a] != group[b]) * extra for a, b in PAIRS])
    names = [("", ""), *((gene, "") for gene in GENES), *((GENES[a], GENES[b]) for a, b in PAIRS)]
    order = [*range(15), *(15 + rng.permutation(len(PAIRS)))]
    level = np.vstack([np.zeros(8), single, effect])[order]
    conditions = pd.DataFrame([names[row] for row in order], columns=["gene_a", "gene_b"])
    features = list("abcdefgh")
    return make_screen(conditions[:75], level[:75], features), conditions[75:], level[75:]


@pytest.fixture(scope="module")
def fitted(toy):
    return Peper(PeperConfig(members=4, hidden=32, epochs=80)).fit(toy[0], seed=3)


def test_an_untrained_network_is_the_scaled_sum(toy, fitted):
    rule = fitted.rule_
    assert isinstance(rule, NetworkRule)
    fresh = PairNetwork(8, rule.axes.shape[1], 32, dropout=0.0).eval()
    untrained = NetworkRule(
        rule.scale, rule.metric, rule.axes, rule.unit, (fresh,), rule.strength, 1.0, rule.held_error, rule.held_size
    )
    pairs = Pairs(fitted.singles_.single, np.array([[0, 5], [3, 7]]))
    summed = rule.scale.predict(pairs.total(), np.array([2, 2]))
    np.testing.assert_array_equal(untrained.predict(pairs).mean, summed)


def test_it_learns_beyond_the_scaled_sum_and_knows_its_error(toy, fitted):
    train, asked, level = toy
    found = fitted.predict_profile(asked)
    distance = np.linalg.norm(found.prediction.mean - level, axis=1)
    scaled = np.linalg.norm(ScaledSalt().fit(train).predict(asked).mean - level, axis=1)
    assert distance.mean() < 0.6 * scaled.mean()
    assert (distance <= 1.645 * found.profile_std).mean() > 0.7


def test_the_network_is_symmetric():
    network = PairNetwork(5, 3, 16, dropout=0.0).eval()
    with torch.no_grad():
        network.last.weight.normal_(generator=torch.Generator().manual_seed(0))
    first, second = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(first, second), network(second, first), rtol=0, atol=1e-6)


def test_every_pair_is_withheld_by_some_member():
    held = withheld_rows(33, PeperConfig(members=8, withheld=0.25), seed=0)
    assert ((held == 1).sum(axis=0) == 1).all()
    assert ((held == 2).sum(axis=0) == 1).all()
    assert (held == 0).any(axis=1).all()
    few = judged(withheld_rows(33, PeperConfig(members=2), seed=0))
    np.testing.assert_allclose(few.sum(axis=0), 1.0)


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="withheld"):
        PeperConfig(withheld=1.0)


def test_the_choice_takes_the_sum_where_effects_add(toy):
    learnt = choose_pairwise(toy[0])
    assert learnt.name == "peper_gp"
    assert [row["model"] for row in learnt.scores] == ["peper_gp", "scaled_salt", "salt"]
    rng = np.random.default_rng(6)
    single = rng.normal(size=(14, 30))
    additive = np.vstack([np.zeros(30), single, *((single[a] + single[b])[None] for a, b in PAIRS[:40])])
    names = [("", ""), *((gene, "") for gene in GENES), *((GENES[a], GENES[b]) for a, b in PAIRS[:40])]
    conditions = pd.DataFrame(names, columns=["gene_a", "gene_b"])
    screen = make_screen(conditions, additive, [f"f{one}" for one in range(30)])
    choice = choose_pairwise(screen)
    assert choice.name == "salt"
    assert "each predicted from all others" in choice.reason
    np.testing.assert_allclose(choice.model.predict(conditions[-3:]).mean, additive[-3:], atol=1e-5)
