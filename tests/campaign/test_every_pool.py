"""One loop for every kind of pool: new, propose, export, ingest, propose, verify, replay, under rules of its own."""

import itertools

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.design.constraints import Constraints
from screenwise.design.plate import PlateRules

WELLS = 8


def numbers(names, column, width=3):
    rng = np.random.default_rng(0)
    values = {f"feature:x{place}": rng.normal(size=len(names)) for place in range(width)}
    return pd.DataFrame({column: list(names)} | values)


def compounds():
    tails = ["O", "N", "Cl", "C(=O)O", "c1ccccc1", "c1ccncc1"]
    return pd.DataFrame({"smiles": ["C" * size + tail for size in range(1, 9) for tail in tails]})


def genes():
    return numbers([f"G{number}" for number in range(40)], "gene").assign(pathway=lambda one: one.index % 5)


def gene_pairs():
    names = [f"G{number}" for number in range(11)]
    return pd.DataFrame(list(itertools.combinations(names, 2)), columns=["gene_a", "gene_b"])


def drug_pairs():
    drugs = ["CCO", "CCN", "c1ccccc1O", "CC(=O)O", "CCCCl"]
    rows = [
        (a, dose, b, 1.0, line)
        for a, b in itertools.combinations(drugs, 2)
        for dose in (0.1, 10.0)
        for line in ("A549", "MCF7", "786-0")
    ]
    return pd.DataFrame(rows, columns=["smiles_a", "dose_um_a", "smiles_b", "dose_um_b", "cell_line"])


def variants():
    return pd.DataFrame({"variant": ["".join(one) for one in itertools.product("ACD", "EF", "GHIK", "LM")]})


def reactions():
    rows = list(itertools.product(["K2CO3", "DBU", "Et3N"], ["XPhos", "SPhos", "dppf", "PPh3"], [40, 60, 80, 100]))
    table = pd.DataFrame(rows, columns=["base", "ligand", "temperature_c"])
    shown = pd.get_dummies(table[["base", "ligand"]], dtype=float).add_prefix("feature:")
    return pd.concat([table.assign(entity=table["base"] + " | " + table["ligand"]), shown], axis=1)


def custom():
    return numbers([f"alloy {number}" for number in range(40)], "entity", 5).assign(price=np.arange(40) % 4 + 1.0)


POOLS = {
    "compounds": (compounds, Constraints(caps={"scaffold": 3})),
    "genes": (genes, Constraints(caps={"pathway": 2})),
    "gene pairs": (gene_pairs, Constraints(caps={"gene": 3}, cost_of_new={"gene": 5.0}, budget=60.0)),
    "drug pairs with doses": (drug_pairs, Constraints(one_per_plate=("cell_line",), caps={"smiles": 6})),
    "variants": (variants, Constraints(must_exclude=("AEGL",))),
    "reaction conditions": (reactions, Constraints(one_per_plate=("temperature_c",))),
    "custom table": (custom, Constraints(cost="price", budget=18.0)),
}


def truth(pool):
    """A number per condition that depends on what it is, in every kind of pool."""
    wide = pool.select_dtypes("number").fillna(0).to_numpy(float)
    text = pool.drop(columns="condition_id").select_dtypes(exclude="number").astype(str).agg(" ".join, axis=1)
    value = text.str.len().to_numpy(float) / 10 + (wide @ np.arange(1, wide.shape[1] + 1) / 50 if wide.size else 0)
    return pd.Series(value, pool["condition_id"])


@pytest.mark.parametrize("kind", list(POOLS))
def test_the_loop_is_the_same(kind, tmp_path):
    make, constraints = POOLS[kind]
    plate = PlateRules(positive=3, negative=3, replicates=2)
    settings = CampaignSettings("maximize:y", wells=WELLS, threshold=1.0, plate=plate, constraints=constraints)
    campaign = Campaign.create(tmp_path / "c", make(), settings)
    pool = campaign.pool()
    value, chosen = truth(pool), []
    for turn in range(2):
        proposal = campaign.propose()
        own = pool.set_index("condition_id").loc[proposal["condition_id"]]
        assert 1 <= len(proposal) <= WELLS
        assert (proposal["reason"] != "").all()
        assert turn == 0 or np.isfinite(proposal[["mean", "std", "hit"]]).all(axis=None)
        assert not set(proposal["condition_id"]) & set(chosen)
        chosen += proposal["condition_id"].tolist()
        check_rules(own, constraints, proposal)
        sheet = campaign.export(tmp_path / "plate.csv")
        read = sheet["condition_id"].map(value).astype(float)
        read = read.where(read.notna(), np.where(sheet["role"] == "positive", 50.0, 0.0) + np.arange(len(sheet)) % 3)
        sheet.assign(y=read).to_csv(tmp_path / "results.csv", index=False)
        assert campaign.ingest(tmp_path / "results.csv")["quarantined"] == 0
    assert len(campaign.measured()) == len(chosen)
    campaign.propose()
    wells, prices = campaign.explain()
    assert len(wells) >= 1
    assert prices["rule"].tolist()[-1:] == ["all rules"]
    assert campaign.verify()["ok"]
    assert campaign.replay()["ok"]


def check_rules(own, constraints, proposal):
    for name, cap in constraints.caps.items():
        columns = [name] if name in own else [f"{name}_a", f"{name}_b"]
        values = pd.concat([own[one] for one in columns])
        assert values[values != ""].value_counts().max() <= cap or (values == "").all()
    for name in constraints.one_per_plate:
        assert own[name].nunique() == 1
    if constraints.budget is not None:
        assert proposal["cost"].sum() <= constraints.budget
