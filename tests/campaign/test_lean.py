"""How rounds lean to well-studied genes, beside what that alone would have found."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.campaign.lean import how_it_leans, lean_by_round, lean_of, most_studied
from screenwise.campaign.studied import how_studied
from screenwise.design.plate import PlateRules

SIZE = 120


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(1, 12), st.integers(0, 99))
def test_chances_to_be_among_the_most_studied_are_those_of_drawing_equals(scores, wells, seed):
    score = np.array(scores, float)
    chance = most_studied(score, wells)
    assert chance.sum() == pytest.approx(min(wells, len(score)))
    rng = np.random.default_rng(seed)
    top = np.argsort(-(score + rng.uniform(0, 0.5, len(score))))[:wells]
    assert (chance[top] > 0).all()
    assert (score[chance == 1].min(initial=9) >= score[chance < 1].max(initial=-9)) or (chance == 1).all()


def genes(size=SIZE):
    sets = ["|".join(f"s{one}" for one in range(place // 6)) for place in range(size)]
    return pd.DataFrame({"gene": [f"G{place:03d}" for place in range(size)], "sets:go": sets})


def test_a_choice_of_the_most_studied_leans_all_the_way():
    pool = genes()
    studied, left = how_studied(pool), np.ones(SIZE, bool)
    top = lean_of(studied, np.arange(SIZE - 12, SIZE), left)
    assert (top.overlap, top.wells, top.chance) == (12, 12, pytest.approx(1.2))
    assert top.chosen == pytest.approx(0.95)
    assert top.left == pytest.approx(0.5)
    assert lean_of(studied, np.arange(12), left).overlap == 0
    assert "0.95 on average, the pool 0.50; 12 of the 12 most studied are chosen, 1.2 at random" in str(top)
    columns, facts = how_it_leans(pool, np.arange(3), np.zeros(SIZE, bool))
    assert columns["studied"].tolist() == studied.share[:3].tolist()
    assert facts["studied"].startswith("0.03 on average")


def test_other_pools_have_neither_column_nor_fact(tmp_path, monkeypatch):
    smiles = pd.DataFrame({"smiles": ["C", "CC"]})
    assert how_it_leans(smiles, np.array([0]), np.ones(2, bool)) == ({}, {})
    monkeypatch.setenv("SCREENWISE_DATA", str(tmp_path))
    columns, facts = how_it_leans(genes().drop(columns="sets:go"), np.array([0]), np.ones(SIZE, bool))
    assert columns == {}
    assert "--features" in facts["studied"]


def test_round_by_round_beside_the_most_studied(tmp_path):
    pool = genes()
    settings = CampaignSettings("maximize:growth", wells=20, threshold=70.0, plate=PlateRules(replicates=0))
    campaign = Campaign.create(tmp_path / "c", pool, settings)
    truth = {gene: 100.0 - abs(place - 80) for place, gene in enumerate(pool["gene"])}
    empty = lean_by_round(campaign.state(), campaign.pool(), how_studied(pool))
    assert empty.empty
    for number in (1, 2):
        campaign.propose()
        sheet = campaign.export(tmp_path / "plate.csv")
        value = sheet["gene"].map(truth).fillna(sheet["role"].map({"positive": 200.0, "negative": 0.0}))
        jitter = np.arange(len(sheet)) % 5 / 100
        sheet.assign(growth=value + jitter).to_csv(tmp_path / "plate.csv", index=False)
        campaign.ingest(tmp_path / "plate.csv")
        assert campaign.state().round == number
    state, studied = campaign.state(), how_studied(campaign.pool())
    table = lean_by_round(state, campaign.pool(), studied).set_index("round")
    cells = state.cells().set_index("condition_id")["value"]
    rounds = state.proposals.set_index("condition_id")["round"]
    score = pd.Series(studied.score, campaign.pool()["condition_id"])[cells.index]
    hit = cells >= 70
    assert table["hits"].tolist() == [int(hit[rounds[hit.index] == number].sum()) for number in (1, 2)]
    assert table["hits so far"].tolist() == table["hits"].cumsum().tolist()
    assert table.loc[2, "auroc"] == pytest.approx(roc_auc_score(hit, score))
    assert np.isnan(table.loc[1, "hits at random"]), "the round is all that is measured"
    assert table.loc[2, "hits at random"] == hit.sum() * table.loc[2, "wells"] / len(hit)
    chance = most_studied(score.to_numpy(), int(table.loc[2, "wells"]))
    assert table.loc[2, "hits of the most studied"] == pytest.approx(chance @ hit.to_numpy())
