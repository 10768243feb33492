"""A campaign as a user begins it: plates with named controls, several readouts, the same bits again."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.state import CampaignSettings
from screenwise.data.columns import Columns
from screenwise.design.constraints import Constraints
from screenwise.design.plate import PlateRules
from screenwise.design.stop import StopRules
from screenwise.errors import CampaignError, ConfigError, ScreenwiseError
from screenwise.recipes import campaigns
from screenwise.recipes.campaign_rules import CampaignRules, read_rules
from screenwise.recipes.reporting import report
from screenwise.recipes.settings import CampaignOptions, Reading

GENES = 400
IN_FILE = ("plate", "constraints", "stop")
"""Settings of which the rules file holds some or all."""


@pytest.fixture
def pool(tmp_path):
    rng = np.random.default_rng(0)
    genes = [f"GENE{number}" for number in range(GENES)]
    numbers = {f"x{place}": rng.normal(size=GENES) for place in range(3)}
    pd.DataFrame({"gene": genes}).to_csv(tmp_path / "pool.csv", index=False)
    pd.DataFrame({"gene": genes} | numbers).to_csv(tmp_path / "features.csv", index=False)
    return str(tmp_path / "pool.csv"), Reading(features=tmp_path / "features.csv")


def test_options_are_the_settings_of_a_campaign_and_of_its_plates():
    offered = {field.name: field.default for field in fields(CampaignOptions)}
    settings = {field.name: field.default for field in fields(CampaignSettings) if field.name not in IN_FILE}
    plate = {field.name: field.default for field in fields(PlateRules) if field.name != "plate_name"}
    plate["plate_format"] = plate.pop("format")
    assert offered == settings | plate


def fill(plate, tasks):
    table = pd.read_csv(plate)
    rng = np.random.default_rng(1)
    level = table["role"].map({"positive": 10.0, "negative": 0.0})
    worth = table["gene"].fillna("GENE0").str.removeprefix("GENE").astype(float) / GENES * 5
    for task in tasks:
        table[task] = level.fillna(worth) + rng.normal(0, 0.1, len(table))
    table.to_csv(plate, index=False)


def test_a_plate_with_named_controls_goes_out_and_comes_back(tmp_path, pool):
    options = CampaignOptions(
        "maximize:growth", wells=150, start=60, threshold=4.0, readouts=("viability",), plate_format=384, positive=12,
        negative=8, positive_id="bortezomib", negative_id="DMSO", replicates=6, copies=2, edge="empty", rounds=3,
    )  # fmt: skip
    begun = campaigns.new(tmp_path / "hits", pool[0], options, pool[1])
    assert begun.facts["plates of a round"] == "2 of 384 wells, each with up to 141 candidates"
    assert "--wells 282 would" in begun.notes[0]
    campaigns.propose(tmp_path / "hits")
    out = campaigns.export(tmp_path / "hits", tmp_path / "plate.csv")
    assert "the columns growth, viability" in out.notes[0]
    plate = pd.read_csv(tmp_path / "plate.csv")
    assert plate["role"].value_counts().to_dict() == {"sample": 60, "replicate": 66, "positive": 12, "negative": 8}
    controls = plate[plate["role"].isin(["positive", "negative"])]
    assert set(zip(controls["role"], controls["condition_id"], strict=True)) == {
        ("positive", "bortezomib"),
        ("negative", "DMSO"),
    }
    assert not plate["well"].str.contains(r"^A|^P|01$|24$").any(), "outer wells stay empty"
    assert list(plate.columns[-2:]) == ["growth", "viability"]
    fill(tmp_path / "plate.csv", ["growth", "viability"])
    taken = campaigns.ingest(tmp_path / "hits", tmp_path / "plate.csv").facts
    assert (taken["new"], taken["quarantined"]) == (2 * 146, 0)
    status = campaigns.status(tmp_path / "hits").facts
    samples = plate.loc[plate["role"] == "sample", "gene"].str.removeprefix("GENE").astype(int)
    assert status["threshold"] == 4.0
    assert abs(status["hits"] - (samples / GENES * 5 >= 4).sum()) <= 2
    campaigns.propose(tmp_path / "hits")
    assert campaigns.export(tmp_path / "hits", tmp_path / "second.csv").facts["plates"] == 2
    assert campaigns.verify(tmp_path / "hits").facts["ok"]
    assert campaigns.replay(tmp_path / "hits").facts["rounds the same bit for bit"] == 2


RULES = """
[constraints]
cost = "price"
cost_per_plate = 20.0
budget = 130.0
one_per_plate = ["cell_line"]
must_include = ["GENE7"]
[constraints.caps]
family = 12
[plate]
format = 96
positive = 6
replicates = 2
[stop]
recall = 0.999
rounds = 3
"""


def test_a_file_of_rules_goes_through_the_whole_campaign(tmp_path, pool):
    table = pd.read_csv(pool[0])
    number = np.arange(GENES)
    table["cell_line"], table["family"] = np.where(number % 3 == 0, "A549", "MCF7"), number % 7
    table["price"] = 0.5 + number % 4
    table.to_csv(tmp_path / "pool.csv", index=False)
    (tmp_path / "rules.toml").write_text(RULES)
    folder = tmp_path / "hits"
    options = CampaignOptions("maximize:growth", wells=40, threshold=4.5, negative=3)
    campaigns.new(folder, str(tmp_path / "pool.csv"), options, pool[1], constraints=tmp_path / "rules.toml")
    for turn in range(2):
        said = campaigns.propose(folder).facts
        assert said["plates"] == 1
        assert 0 < said["cost"] <= 130.0
        campaigns.export(folder, tmp_path / "plate.csv")
        plate = pd.read_csv(tmp_path / "plate.csv")
        assert plate["role"].value_counts()[["positive", "negative", "replicate"]].tolist() == [6, 3, 2]
        samples = plate[plate["role"] == "sample"]
        assert samples["cell_line"].nunique() == 1
        assert samples["family"].value_counts().max() <= 12
        assert ("GENE7" in set(samples["gene"])) == (turn == 0)
        fill(tmp_path / "plate.csv", ["growth"])
        campaigns.ingest(folder, tmp_path / "plate.csv")
    shown = campaigns.explain(folder, out=tmp_path / "why.csv")
    prices = {line["rule"]: line["hits"] for line in shown.details["prices"]}
    assert set(prices) == {"at most 12 of one family", "budget 130", "one cell_line per plate", "all rules"}
    assert prices["all rules"] >= 0
    why = pd.read_csv(tmp_path / "why.csv")
    assert {"reason", "score", "mean", "std", "hit", "in_domain", "domain", "cost", "cell_line", "family"} <= set(why)
    assert 20.0 < why["cost"].sum() <= 130.0
    assert (tmp_path / "why_rules.csv").exists()
    status = campaigns.status(folder)
    assert "stop rule recall" in status.facts
    campaigns.propose(folder)
    campaigns.export(folder, tmp_path / "plate.csv")
    fill(tmp_path / "plate.csv", ["growth"])
    campaigns.ingest(folder, tmp_path / "plate.csv")
    with pytest.raises(CampaignError, match="rounds: 3 rounds are done"):
        campaigns.propose(folder)
    status = campaigns.status(folder)
    assert (status.facts["state"], status.facts["stop rule rounds"]) == ("stopped", "3, limit 3: stops")
    rounds = {line["round"] for line in status.details["rules"]}
    assert rounds == {1, 2, 3, 4}
    page = report(folder).files["report"]
    text = Path(page).read_text(encoding="utf-8")
    for words in ("3 rounds are done", "one cell_line per plate", "Stop rules", "loo_rank_correlation"):
        assert words in text
    campaigns.resume(folder, "one more")
    assert campaigns.propose(folder).facts["round"] == 4
    assert campaigns.verify(folder).facts["ok"]
    assert campaigns.replay(folder).facts["rounds the same bit for bit"] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[constraints]\nbudgte = 3", "budget"),
        ("budget = 3", r"section \[constraints\]"),
        ("[plate]\nformat = 97", r"rules.toml: plate\.format is 97; it must be one of 96, 384"),
        ("[stop]\nrecal = 0.5", "recall"),
        ("[stop]\nrecall = 0.5", "threshold"),
        ("[constraints.caps]\npathway = 3", "rules name the column 'pathway', which the pool lacks; it has gene"),
        ("[constraints]\ncaps = 3", "caps must be a table such as"),
        ("[constraints]\nstock = 'wells_left'", "stock must be a table such as"),
        ("[constraints]\nmust_include = ['NOBODY']", "NOBODY"),
        ("no toml", "campaign rules"),
    ],
    ids=str,
)
def test_wrong_rules_are_named_and_nothing_is_made(tmp_path, pool, text, said):
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(ScreenwiseError, match=said):
        campaigns.new(
            tmp_path / "hits", pool[0], CampaignOptions("maximize:y"), pool[1], constraints=tmp_path / "rules.toml"
        )
    assert not (tmp_path / "hits").exists()


def test_the_example_of_rules_is_what_is_read(tmp_path):
    campaigns.rules(tmp_path / "rules.toml")
    assert read_rules(tmp_path / "rules.toml") == CampaignRules()
    text = (tmp_path / "rules.toml").read_text()
    for cls in (Constraints, PlateRules, StopRules):
        assert all(f"{one.name} =" in text for one in fields(cls))
    with pytest.raises(ConfigError, match="exists already"):
        campaigns.rules(tmp_path / "rules.toml")


def test_a_check_that_fails_names_its_task(tmp_path, pool):
    options = CampaignOptions("maximize:growth", wells=60, readouts=("viability",))
    campaigns.new(tmp_path / "hits", pool[0], options, pool[1])
    campaigns.propose(tmp_path / "hits")
    campaigns.export(tmp_path / "hits", tmp_path / "plate.csv")
    fill(tmp_path / "plate.csv", ["growth"])
    table = pd.read_csv(tmp_path / "plate.csv")
    table["viability"] = np.random.default_rng(0).normal(size=len(table))
    table.to_csv(tmp_path / "plate.csv", index=False)
    campaigns.ingest(tmp_path / "hits", tmp_path / "plate.csv")
    assert any(note.startswith("R1P1, viability, z prime") for note in campaigns.status(tmp_path / "hits").notes)


def test_what_the_user_should_know_of_the_plates_is_said(tmp_path, pool):
    plain = CampaignOptions("maximize:growth")
    notes = campaigns.new(tmp_path / "a", pool[0], plain, pool[1]).notes
    assert "--wells 168 would, and 84 would need a plate less" in notes[0]
    assert "--positive-id" in notes[1]
    named = replace(plain, wells=84, positive_id="a", negative=0)
    assert len(campaigns.new(tmp_path / "b", pool[0], named, pool[1]).notes) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"plate_format": 100}, "--plate-format is 100; it must be one of 96, 384, 1536"),
        ({"edge": "round"}, "--edge is 'round'"),
        ({"copies": 0}, "--copies is 0; it must be at least 1"),
        ({"acquisition": "k_center"}, "k_center needs an embedding .* --model forest in a campaign"),
        ({"acquisition": "hits_per_cost"}, "hits_per_cost needs costs"),
        ({"start": 0}, "start"),
        ({"threshold": float("nan")}, "threshold of a campaign is nan"),
        ({"positive": 96}, "no well left"),
        ({"readouts": ("well",)}, "well"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_and_nothing_is_made(tmp_path, pool, wrong, said):
    with pytest.raises(ConfigError, match=said):
        campaigns.new(tmp_path / "hits", pool[0], CampaignOptions("maximize:growth", **wrong), pool[1])
    assert not (tmp_path / "hits").exists()


def test_a_budget_below_every_candidate_is_said_to_be_so(tmp_path, pool):
    pd.read_csv(pool[0]).assign(price=9.0).to_csv(tmp_path / "priced.csv", index=False)
    (tmp_path / "rules.toml").write_text("[constraints]\ncost = 'price'\nbudget = 5.0")
    options = CampaignOptions("maximize:growth")
    campaigns.new(tmp_path / "hits", str(tmp_path / "priced.csv"), options, constraints=tmp_path / "rules.toml")
    with pytest.raises(CampaignError, match=r"No open candidate fits the rules .* budget"):
        campaigns.propose(tmp_path / "hits")
    with pytest.raises(CampaignError, match="no round 0 to explain: no round is proposed"):
        campaigns.explain(tmp_path / "hits")


def test_a_price_that_is_none_names_the_candidate_and_the_column(tmp_path, pool):
    table = pd.read_csv(pool[0]).assign(price=9.0)
    table.loc[7, "price"] = -1.0
    table.to_csv(tmp_path / "priced.csv", index=False)
    (tmp_path / "rules.toml").write_text("[constraints]\ncost = 'price'")
    with pytest.raises(ScreenwiseError, match=r"\(first: gene GENE7, price '-1.0'\)"):
        campaigns.new(
            tmp_path / "hits", str(tmp_path / "priced.csv"), CampaignOptions("maximize:y"),
            constraints=tmp_path / "rules.toml",
        )  # fmt: skip


def test_proposals_are_shown_by_the_names_of_the_user_and_one_reason_once(tmp_path, pool):
    table = pd.read_csv(pool[0])
    table.insert(0, "family", "kinase")
    table.to_csv(tmp_path / "pool.csv", index=False)
    options = CampaignOptions("maximize:growth", wells=20)
    campaigns.new(tmp_path / "hits", str(tmp_path / "pool.csv"), options, pool[1])
    for outcome in (campaigns.propose(tmp_path / "hits"), campaigns.explain(tmp_path / "hits")):
        assert all(line["gene"].startswith("GENE") for line in outcome.table)
        assert not {"condition_id", "reason"} & set(outcome.table[0])
        assert "at random" in outcome.facts["reason of every well"]
        assert "note" not in outcome.facts
        assert outcome.facts["learned from"] == "0 conditions"


def test_rows_that_are_one_condition_by_what_is_read_say_what_tells_them_apart(tmp_path):
    reagents = {"ligand": ["a", "a", "b"], "base": ["K", "Na", "K"], "batch": [1, 1, 1]}
    pd.DataFrame({"smiles": ["CCO", "CCO", "CCN"]} | reagents).to_csv(tmp_path / "pool.csv", index=False)
    begun = campaigns.new(tmp_path / "hits", str(tmp_path / "pool.csv"), CampaignOptions("maximize:yield", wells=2))
    assert begun.facts["left out, the same condition twice"] == 1
    assert begun.facts["plates of a round"].startswith("1 of")
    assert "differ in base, which is no part of a condition" in begun.notes[0]


def test_plates_of_a_round_may_be_more_than_its_wells_need(tmp_path, pool):
    table = pd.read_csv(pool[0])
    lines = pd.concat([table.assign(cell_line=line) for line in ("A549", "MCF7", "HeLa")])
    lines.to_csv(tmp_path / "lines.csv", index=False)
    rules, text = tmp_path / "rules.toml", "[constraints]\none_per_plate = ['cell_line']\n{}\n[plate]\nformat = 1536\n"
    options = CampaignOptions("maximize:growth", wells=60)

    def begin(more):
        rules.write_text(text.format(more))
        folder = tmp_path / f"c{more[-1:]}"
        begun = campaigns.new(folder, str(tmp_path / "lines.csv"), options, constraints=rules)
        campaigns.propose(folder)
        campaigns.export(folder, tmp_path / "plate.csv")
        return begun, pd.read_csv(tmp_path / "plate.csv").groupby("plate")["cell_line"].agg(
            lambda one: one.dropna().nunique()
        )

    begun, held = begin("")
    assert begun.facts["plates of a round"].startswith("1 of 1536 wells")
    assert "has one cell_line; the rule plates = 3" in begun.notes[0]
    assert held.tolist() == [1]
    begun, held = begin("plates = 2")
    assert begun.facts["plates of a round"].startswith("2 of 1536 wells")
    assert not [note for note in begun.notes if "fill" in note or "rule plates" in note]
    assert held.tolist() == [1, 1]
    rules.write_text("[constraints]\nplates = 2")
    with pytest.raises(ConfigError, match="one_per_plate"):
        campaigns.new(tmp_path / "none", pool[0], options, constraints=rules)


def test_a_round_that_the_rules_make_smaller_says_so(tmp_path, pool):
    pd.read_csv(pool[0]).assign(family="one").to_csv(tmp_path / "family.csv", index=False)
    (tmp_path / "rules.toml").write_text("[constraints]\ncaps = {family = 7}")
    options = CampaignOptions("maximize:growth", wells=20)
    campaigns.new(tmp_path / "a", str(tmp_path / "family.csv"), options, constraints=tmp_path / "rules.toml")
    assert campaigns.propose(tmp_path / "a").notes[0].startswith("7 of 20 wells: no further candidate fits")
    campaigns.new(tmp_path / "b", pool[0], options)
    assert len(campaigns.propose(tmp_path / "b").notes) == 1


def test_candidates_of_several_parts_are_shown_by_all_that_tell_them_apart(tmp_path):
    parts = pd.MultiIndex.from_product(
        [["K", "Na"], ["a", "b", "c"], [25.5, 60.5]], names=["base", "ligand", "temperature"]
    )
    parts.to_frame(index=False).to_csv(tmp_path / "pool.csv", index=False)
    reading = Reading(columns=Columns(components=("base", "ligand", "temperature")))
    campaigns.new(tmp_path / "a", str(tmp_path / "pool.csv"), CampaignOptions("maximize:yield", wells=12), reading)
    genes = [f"G{place}" for place in range(6)]
    pairs = pd.DataFrame([(a, b) for a in genes for b in genes if a < b], columns=["gene_a", "gene_b"])
    pairs.assign(price=np.arange(15) / 7).to_csv(tmp_path / "pairs.csv", index=False)
    campaigns.new(tmp_path / "b", str(tmp_path / "pairs.csv"), CampaignOptions("absolute:gi", wells=15))
    for folder, names in (("a", ["base", "ligand", "temperature"]), ("b", ["gene_a", "gene_b"])):
        for outcome in (campaigns.propose(tmp_path / folder), campaigns.explain(tmp_path / folder)):
            shown = pd.DataFrame(outcome.table).drop(columns="place", errors="ignore")
            assert list(shown.columns[: len(names)]) == names
            assert "price" not in shown
            assert not shown[names].duplicated().any()


def test_numbers_that_no_model_reads_and_classes_that_it_wants_are_said(tmp_path, pool):
    def notes(table, reading=Reading(), **options):
        table.to_csv(tmp_path / "pool.csv", index=False)
        folder = tmp_path / f"c{len(list(tmp_path.iterdir()))}"
        begun = campaigns.new(
            folder, str(tmp_path / "pool.csv"), CampaignOptions("maximize:growth", wells=5, **options), reading
        )
        return " ".join(begun.notes)

    names = pd.DataFrame({"sample": [f"s{place}" for place in range(9)], "growth": np.arange(9.0)})
    own = Reading(columns=Columns(id="sample"))
    numbers = {"ph": np.linspace(3, 9, 9), "salt": np.arange(9)}
    said = notes(names.assign(**numbers), own)
    assert "The numbers ph, salt go onto the plate map and are not learned from" in said
    assert "not learned" not in notes(names, own), "measured values are none of them"
    assert "not learned" not in notes(names.assign(**{f"feature:{name}": one for name, one in numbers.items()}), own)
    assert "not learned" not in notes(pd.DataFrame({"smiles": ["C" * (1 + place) for place in range(9)]} | numbers))
    assert "must be 0 and 1" in notes(names, own, acquisition="entropy")
    assert "must be 0 and 1" not in said


def test_plates_that_count_and_look_odd_are_named_when_they_come_back(tmp_path, pool):
    campaigns.new(tmp_path / "hits", pool[0], CampaignOptions("maximize:growth", wells=80, seed=1), pool[1])
    campaigns.propose(tmp_path / "hits")
    campaigns.export(tmp_path / "hits", tmp_path / "plate.csv")
    fill(tmp_path / "plate.csv", ["growth"])
    table = pd.read_csv(tmp_path / "plate.csv")
    taken = campaigns.ingest(tmp_path / "hits", tmp_path / "plate.csv")
    assert taken.details["flagged"] == {}
    assert taken.notes == []
    table["growth"] += 4.0 * np.random.default_rng(0).normal(size=len(table)) * table["role"].eq("replicate")
    table.to_csv(tmp_path / "noisy.csv", index=False)
    taken = campaigns.ingest(tmp_path / "hits", tmp_path / "noisy.csv")
    assert taken.facts["plates to look at"] == 1
    assert taken.facts["plates rejected"] == 0
    assert "Plate R1P1: look at replicate agreement" in taken.notes[0]
    assert {line["check"] for line in campaigns.status(tmp_path / "hits").details["flagged"]} == set(
        taken.details["flagged"]["R1P1"]
    )


def test_a_command_that_is_told_can_be_typed_and_a_file_that_is_missing_is_said_to_be(tmp_path, pool):
    folder = tmp_path / "my hits"
    assert f"propose '{folder}'" in campaigns.new(folder, pool[0], CampaignOptions("maximize:growth")).notes[-1]
    assert f"export '{folder}' --out" in campaigns.propose(folder).notes[-1]
    assert f"ingest '{folder}' '{tmp_path}/a b.csv'" in campaigns.export(folder, tmp_path / "a b.csv").notes[-1]
    with pytest.raises(
        ConfigError, match=r"none\.toml cannot be read: No such file or directory\. .*RULES\.toml. writes"
    ):
        read_rules(tmp_path / "none.toml")


def test_a_task_is_not_what_was_applied(tmp_path, pool):
    with pytest.raises(ConfigError, match="'gene' is a column that says what is applied"):
        campaigns.new(tmp_path / "hits", pool[0], CampaignOptions("maximize:gene"))
    assert not (tmp_path / "hits").exists()
