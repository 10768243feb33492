"""Gene pairs with a profile and drug pairs with doses go through fit, compare and a campaign like compounds do.

The sketches of docs/shapes.md, run on small screens that a known rule made.
"""

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.data.split import make_folds
from screenwise.evaluate.compare import compare
from screenwise.models import make_model
from screenwise.screen import make_screen

GENES = [f"G{number}" for number in range(12)]
DRUGS = ["CCO", "CCN", "c1ccccc1O", "CC(=O)O", "CCCCl", "c1ccncc1", "CCS", "OCCO"]


def gene_pairs():
    """Transcriptomes (5 genes read) of singles and pairs: additive, with noise."""
    rng = np.random.default_rng(0)
    effect = rng.normal(size=(len(GENES), 5))
    rows = [(a, b) for place, a in enumerate(GENES) for b in ["ctrl", *GENES[place + 1 :]]]
    conditions = pd.DataFrame(rows, columns=["gene_a", "gene_b"])
    single = {gene: effect[place] for place, gene in enumerate(GENES)} | {"ctrl": np.zeros(5)}
    value = np.array([single[a] + single[b] for a, b in rows]) + rng.normal(0, 0.1, (len(rows), 5))
    return make_screen(conditions, value.astype(np.float32), [f"reads {number}" for number in range(5)])


def drug_pairs():
    """Growth of two cell lines under pairs of drugs at two doses each."""
    rng = np.random.default_rng(1)
    potency = dict(zip(DRUGS, rng.normal(size=len(DRUGS)), strict=True))
    rows = [
        (a, dose, b, 1.0, line)
        for place, a in enumerate(DRUGS)
        for b in DRUGS[place + 1 :]
        for dose in (0.1, 10.0)
        for line in ("A549", "786-0")
    ]
    conditions = pd.DataFrame(rows, columns=["smiles_a", "dose_um_a", "smiles_b", "dose_um_b", "cell_line"])
    value = [potency[a] * np.log10(dose) + potency[b] + (line == "A549") for a, dose, b, _, line in rows]
    value = np.array(value, np.float32)[:, None] + rng.normal(0, 0.1, (len(rows), 1)).astype(np.float32)
    return make_screen(conditions, value, ["growth"])


SCREENS = {"gene pairs": gene_pairs, "drug pairs": drug_pairs}


@pytest.fixture(params=list(SCREENS))
def screen(request):
    return SCREENS[request.param]()


def swapped(conditions):
    names = {name: name[:-1] + "ab"[name.endswith("_a")] for name in conditions.columns if name[-2:] in ("_a", "_b")}
    return conditions.drop(columns="condition_id").rename(columns=names)


@pytest.mark.parametrize("name", ["mean", "neighbours", "gp"])
def test_fit_and_predict_do_not_depend_on_the_order_inside_a_pair(screen, name):
    model = make_model(name).fit(screen)
    prediction = model.predict(screen.conditions)
    assert prediction.mean.shape == screen.targets.shape
    np.testing.assert_allclose(model.predict(swapped(screen.conditions)).mean, prediction.mean, rtol=1e-4, atol=1e-4)


def test_compare_shows_what_is_learnt_beside_the_baselines(screen):
    folds = {"random": make_folds("random", screen, folds=3)}
    models = {name: lambda name=name: make_model(name) for name in ("mean", "neighbours", "gp")}
    scores = compare(screen, models, folds).scores
    rmse = scores[scores["metric"] == "rmse"].groupby("model")["value"].mean()
    assert rmse["gp"] < 0.6 * rmse["mean"]


def test_campaign_with_a_baseline_model(screen, tmp_path):
    screen = screen.take_tasks([0])
    settings = CampaignSettings(objective=f"maximize:{screen.task_names[0]}", model="neighbours", wells=8, start=8)
    campaign = Campaign.create(tmp_path / "campaign", screen.conditions, settings)
    truth = dict(zip(screen.conditions["condition_id"], screen.targets.dense()[:, 0], strict=True))
    asked = []
    for round_number in range(3):
        campaign.propose()
        plate = tmp_path / f"plate{round_number}.csv"
        campaign.export(plate)
        filled = pd.read_csv(plate)
        filled[screen.task_names[0]] = filled["condition_id"].map(truth)
        filled.to_csv(plate, index=False)
        campaign.ingest(plate)
        asked += filled.loc[filled["role"] == "sample", "condition_id"].tolist()
    assert len(set(asked)) == len(asked) == 24
    assert campaign.verify()["ok"]
    assert campaign.replay()["ok"]
