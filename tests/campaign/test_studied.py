"""The order of genes by how much is known of them."""

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.objective import Objective
from screenwise.campaign.policy import POLICIES, Request, SimulatedPolicy, propose_round
from screenwise.campaign.studied import how_studied
from screenwise.design.constraints import Constraints
from screenwise.errors import DesignError
from screenwise.represent.features import join_features
from screenwise.screen import make_screen
from screenwise.simulate.replay import ReplaySettings, run_replay

GROWTH = Objective("maximize", "growth")
GENES = [f"G{place}" for place in range(40)]
SETS = pd.DataFrame([(gene, f"S{one}") for place, gene in enumerate(GENES) for one in range(place // 4)])
SETS.columns = ["gene", "gene_set"]


def screen():
    conditions = join_features(pd.DataFrame({"gene": GENES}), SETS, "gene").assign(family=np.arange(40) % 3)
    return make_screen(conditions, np.arange(40.0)[:, None], ["growth"])


def propose(data, wells=8, **given):
    return propose_round(POLICIES["studied"], data.take(np.arange(2)), data.conditions, Request(GROWTH, wells, **given))


def test_genes_in_most_sets_come_first_and_no_model_is_asked():
    found = propose(screen())
    assert sorted(found.rows.tolist()) == list(range(32, 40))
    assert set(found.reason) == {"most studied"}
    assert np.isnan(found.mean).all()
    assert found.evidence["policy"] == "studied"
    again, other = propose(screen(), 2, seed=0), [propose(screen(), 2, seed=seed).rows.tolist() for seed in range(9)]
    assert again.rows.tolist() == propose(screen(), 2, seed=0).rows.tolist()
    assert len({tuple(rows) for rows in other}) > 1, "equal ones in random order"


def test_rules_hold():
    forced = screen().conditions["condition_id"].iloc[5]
    found = propose(screen(), constraints=Constraints({"family": 2}, must_include=(forced,)))
    assert found.rows[0] == 5
    assert np.bincount(found.rows % 3).max() <= 2


def test_counts_may_stand_in_tables_of_descriptors_and_pairs_are_summed():
    counts = pd.DataFrame({"gene": ["A", "B"], "n_sets": [3.0, 1.0], "other": [0.5, 0.1]})
    genes = join_features(pd.DataFrame({"gene": ["B", "A", "new"]}), counts, "gene")
    np.testing.assert_allclose(how_studied(genes), np.log1p([1, 3, 0]))
    pairs = join_features(pd.DataFrame({"gene_a": ["A", "A"], "gene_b": ["B", "new"]}), counts, "gene")
    np.testing.assert_allclose(how_studied(pairs), [np.log(4) + np.log(2), np.log(4)])
    two = pd.DataFrame({"gene": ["A"], "sets:go": ["x|y"], "sets:kegg": ["z"]})
    np.testing.assert_allclose(how_studied(two), np.log1p([3]))


def test_without_sets_it_says_what_to_join():
    data = make_screen(pd.DataFrame({"gene": GENES}), np.arange(40.0)[:, None], ["growth"])
    with pytest.raises(DesignError, match="--features"):
        propose(data)


def test_it_stands_in_replays():
    settings = ReplaySettings("growth", rounds=2, wells=8, start=4, hits=0.2, seeds=(0, 1))
    curves = run_replay({"studied": SimulatedPolicy(POLICIES["studied"], GROWTH)}, screen(), settings)
    assert (curves.groupby("seed")["hit_fraction"].last() == 1.0).all()
