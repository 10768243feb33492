import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.errors import CampaignError, ColumnError, DataError


@pytest.fixture
def campaign(lab):
    campaign = lab.begin()
    campaign.propose()
    return campaign


def samples(plate):
    return plate.index[plate["role"] == "sample"]


def values(campaign):
    """Gene -> measured value."""
    screen = campaign.measured()
    return dict(zip(screen.conditions["gene"], screen.targets.dense()[:, 0].round(3).tolist(), strict=True))


def test_a_filled_plate_is_taken_in_and_controls_stay_out_of_the_screen(campaign, lab):
    plate = lab.export(campaign)
    said = campaign.ingest(lab.write(lab.fill(plate)))
    assert said["new"] == len(plate) == 31
    assert said["state"] == "ingested"
    known = values(campaign)
    assert len(known) == 20
    assert all(value == pytest.approx(int(gene[1:]) / 10, abs=1e-4) for gene, value in known.items())
    assert set(campaign.results()["role"]) == {"sample", "replicate", "positive", "negative"}


def test_partial_then_late_results(campaign, lab):
    filled = lab.fill(lab.export(campaign))
    rows = samples(filled)
    said = campaign.ingest(lab.write(filled.loc[rows[:5]], "first.csv"))
    assert (said["new"], said["state"]) == (5, "partially_ingested")
    assert len(campaign.pending()) == 15
    said = campaign.ingest(lab.write(filled, "rest.csv"))
    assert (said["new"], said["unchanged"], said["state"]) == (26, 5, "ingested")
    assert campaign.pending().empty


def test_the_same_file_and_the_same_content_change_nothing(campaign, lab):
    filled = lab.fill(lab.export(campaign))
    campaign.ingest(lab.write(filled))
    head = campaign.status()["head"]
    assert campaign.ingest(lab.write(filled))["repeated"]
    other = filled.iloc[::-1].assign(well=filled["well"].str.lower(), plate=filled["plate"].str.lower())
    said = campaign.ingest(lab.write(other.rename(columns={"growth": "Growth"}), "again.csv"))
    assert (said["repeated"], said["new"], said["corrected"], said["unchanged"]) == (False, 0, 0, 31)
    assert campaign.status()["head"] == head


def test_a_correction_supersedes_and_the_history_stays(campaign, lab):
    filled = lab.fill(lab.export(campaign))
    first = lab.write(filled, "first.csv")
    campaign.ingest(first)
    row = samples(filled)[0]
    gene = filled.loc[row, "gene"]
    if (filled["gene"] == gene).sum() > 1:
        filled = filled.drop(index=filled.index[(filled["gene"] == gene) & (filled["role"] == "replicate")])
    corrected = filled.copy()
    corrected.loc[filled["gene"] == gene, "growth"] = "77.5"
    said = campaign.ingest(lab.write(corrected, "second.csv"))
    assert (said["new"], said["corrected"]) == (0, 1)
    history = campaign.results(history=True)
    history = history[(history["gene"] == gene) & (history["role"] == "sample")]
    assert history["value"].tolist() == [float(filled.loc[row, "growth"]), 77.5]
    assert history["file"].tolist() == ["first.csv", "second.csv"]
    # The first file once more is old news, no correction back.
    said = campaign.ingest(first)
    assert (said["repeated"], said["corrected"]) == (True, 0)
    current = campaign.results()
    assert current.loc[(current["gene"] == gene) & (current["role"] == "sample"), "value"].tolist() == [77.5]


def test_replicates_become_their_median(campaign, lab):
    filled = lab.fill(lab.export(campaign))
    gene = filled.loc[filled["role"] == "replicate", "gene"].iloc[0]
    filled.loc[filled["gene"] == gene, "growth"] = ["1.0", "2.0"]
    campaign.ingest(lab.write(filled))
    assert values(campaign)[gene] == 1.5


def test_qualifiers_in_the_cell_or_in_a_column_are_kept(campaign, lab):
    filled = lab.fill(lab.export(campaign))
    rows = samples(filled)
    genes = [filled.loc[row, "gene"] for row in rows]
    single = [row for row, gene in zip(rows, genes, strict=True) if (filled["gene"] == gene).sum() == 1][:3]
    filled.loc[single, "growth"] = [">10", "< 0.5", "3.0"]
    filled["relation"] = ""
    filled.loc[single[2], "relation"] = "<="
    campaign.ingest(lab.write(filled))
    screen = campaign.measured()
    place = [screen.conditions["gene"].tolist().index(filled.loc[row, "gene"]) for row in single]
    assert screen.targets.relation[place, 0].tolist() == [1, -1, -1]
    assert screen.targets.value[place, 0].tolist() == [10.0, 0.5, 3.0]


def test_failed_wells_are_kept_as_failed_and_their_conditions_may_come_again(campaign, lab):
    filled = lab.fill(lab.export(campaign)).assign(failed="", note="")
    lone = [row for row in samples(filled) if (filled["gene"] == filled.loc[row, "gene"]).sum() == 1]
    filled.loc[lone[0], "growth"] = ""
    filled.loc[lone[1], "failed"] = "yes"
    filled.loc[lone[2], ["growth", "note"]] = ["n/a", "bubble"]
    said = campaign.ingest(lab.write(filled))
    assert (said["failed"], said["state"]) == (3, "ingested")
    status = campaign.status()
    assert (status["measured"], status["failed"], status["candidates"]) == (17, 3, 103)
    readings = campaign.results()
    assert readings.loc[readings["note"] == "bubble", "failed"].tolist() == [True]
    lost = set(filled.loc[lone[:3], "condition_id"])
    measured = set(filled["condition_id"]) - lost
    again = set(campaign.propose()["condition_id"])
    assert not again & measured


def test_an_empty_cell_never_takes_the_place_of_a_value_but_failed_does(campaign, lab):
    filled = lab.fill(lab.export(campaign))
    campaign.ingest(lab.write(filled, "first.csv"))
    lone = next(row for row in samples(filled) if (filled["gene"] == filled.loc[row, "gene"]).sum() == 1)
    emptied = filled.copy()
    emptied.loc[lone, "growth"] = ""
    assert campaign.ingest(lab.write(emptied, "second.csv"))["failed"] == 0
    assert len(values(campaign)) == 20
    assert campaign.ingest(lab.write(emptied.assign(failed=np.where(emptied.index == lone, "x", "")), "third.csv"))[
        "failed"
    ]
    assert len(values(campaign)) == 19
    assert campaign.ingest(lab.write(filled.assign(note="read again"), "fourth.csv"))["corrected"] == 1
    assert len(values(campaign)) == 20


def test_a_plate_that_was_not_read_yet_says_nothing(lab):
    campaign = lab.begin(wells=100)
    campaign.propose()
    filled = lab.fill(lab.export(campaign))
    assert filled["plate"].nunique() == 2
    half = filled.assign(growth=filled["growth"].where(filled["plate"] == "R1P1", ""))
    said = campaign.ingest(lab.write(half, "half.csv"))
    assert (said["failed"], said["state"]) == (0, "partially_ingested")
    assert campaign.ingest(lab.write(filled, "all.csv"))["state"] == "ingested"


@pytest.mark.parametrize("column", ["condition_id", "id", "gene", "catalogue"])
def test_a_plain_table_of_id_and_value(campaign, lab, column):
    plate = lab.export(campaign)
    chosen = plate.loc[samples(plate)]
    ids = chosen["gene" if column == "id" else column]
    table = pd.DataFrame({column: ids, "value": [f"{place}.5" for place in range(20)]})
    said = campaign.ingest(lab.write(table))
    assert (said["new"], said["quarantined"], said["state"]) == (20, 0, "ingested")
    assert sorted(values(campaign).values()) == [place + 0.5 for place in range(20)]


def test_repeated_ids_are_replicates_and_a_condition_without_value_failed_everywhere(campaign, lab):
    plate = lab.export(campaign)
    twice = plate.loc[plate["role"] == "replicate", "gene"].iloc[0]
    lone = plate.loc[
        next(row for row in samples(plate) if (plate["gene"] == plate.loc[row, "gene"]).sum() == 1), "gene"
    ]
    lost = plate.loc[plate["role"] == "replicate", "gene"].iloc[1]
    table = pd.DataFrame({"gene": [twice, twice, twice, lone, lone, lost], "growth": [1, 2, 9, 4, 5, ""]})
    said = campaign.ingest(lab.write(table))
    assert (said["new"], said["failed"]) == (5, 2)
    assert values(campaign) == {twice: 2.0, lone: 4.5}
    assert campaign.status()["failed"] == 1


def test_rows_of_no_exported_well_are_quarantined_with_the_reason(campaign, lab):
    plate = lab.fill(lab.export(campaign))
    genes = sorted(set(campaign.pool()["gene"]) - set(plate["gene"]))
    rows = samples(plate)
    wrong = plate.loc[rows[:4]].copy()
    wrong["well"] = [plate.loc[rows[1], "well"], "H12", "Z9", ""]
    wrong["plate"] = ["R1P1", "R1P1", "R1P1", ""]
    wrong.loc[rows[3], ["condition_id", "gene", "catalogue"]] = ["", genes[0], ""]
    said = campaign.ingest(lab.write(wrong))
    assert (said["new"], said["quarantined"]) == (0, 4)
    table = campaign.quarantined()
    assert table["row"].tolist() == [1, 2, 3, 4]
    assert table["reason"].tolist()[0].startswith("the well holds")
    assert "no exported well H12 on plate R1P1" in table["reason"].tolist()[1]
    assert "Z09" in table["reason"].tolist()[2]
    assert "never on an exported plate" in table["reason"].tolist()[3]
    assert genes[0] in table["content"].tolist()[3]
    # once more, in another file: still four
    campaign.ingest(lab.write(wrong.assign(extra="x").drop(columns="extra").iloc[:3], "again.csv"))
    assert campaign.status()["quarantined"] == 4
    assert campaign.verify()["ok"]


def test_a_name_that_fits_several_conditions_is_not_guessed(lab, tmp_path):
    pool = pd.DataFrame({"gene_a": ["A", "A", "B"], "gene_b": ["B", "C", "C"]})
    campaign = Campaign.create(
        tmp_path / "c", pool, CampaignSettings("absolute:gi", wells=3), proposer=lambda *_: lab.plain([0, 1, 2])
    )
    campaign.propose()
    campaign.export(tmp_path / "plate.csv")
    # the other order inside the pair is the same condition
    pd.DataFrame({"gene_a": ["B", "A"], "gene_b": ["A", "C"], "value": [1, -2]}).to_csv(tmp_path / "r.csv", index=False)
    assert campaign.ingest(tmp_path / "r.csv")["new"] == 2
    assert campaign.measured().targets.value[:, 0].tolist() == [1.0, -2.0]
    pd.DataFrame({"gene_a": ["A"], "gi": [1]}).to_csv(tmp_path / "r2.csv", index=False)
    campaign.ingest(tmp_path / "r2.csv")
    assert "several conditions" in campaign.quarantined()["reason"].iloc[0]


def test_further_readouts_have_their_own_column(lab):
    campaign = lab.begin(readouts=("viability",))
    campaign.propose()
    plate = lab.export(campaign)
    assert list(plate.columns[-2:]) == ["growth", "viability"]
    filled = lab.fill(plate)
    assert campaign.ingest(lab.write(filled, "growth.csv"))["failed"] == 0
    filled = lab.fill(filled, "viability")
    assert campaign.ingest(lab.write(filled, "both.csv"))["new"] == 31
    assert campaign.measured().task_names == ["growth", "viability"]
    assert not np.isnan(campaign.measured().targets.value).any()
    with pytest.raises(ColumnError, match="of which task"):
        campaign.ingest(lab.write(pd.DataFrame({"gene": ["G001"], "value": [1]}), "long.csv"))
    long = pd.DataFrame(
        {"gene": filled.loc[samples(filled)[:2], "gene"], "task": ["viability", "odd"], "value": [0.5, 1]}
    )
    said = campaign.ingest(lab.write(long, "long.csv"))
    assert (said["corrected"], said["reasons"]) == (1, {"task odd is none of growth, viability": 1})


def cell(text):
    def spoil(filled):
        filled.loc[samples(filled)[2], "growth"] = text
        return filled

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cell("ten"), r"row \d+, column 'growth': 'ten' is not a number"),
        (cell("1,5"), "decimal comma"),
        (cell("inf"), "infinite"),
        (cell("10 nM"), "has a unit"),
        (cell("=>3"), "not a qualifier"),
        (lambda filled: filled.assign(growth=">3", relation="<"), "contradicts"),
        (lambda filled: filled.assign(failed="perhaps"), r"row 1, column 'failed': 'perhaps'"),
        (lambda filled: filled.drop(columns="growth"), "Name one 'growth'"),
        (lambda filled: filled.assign(growth=""), "holds no result"),
        (lambda filled: pd.concat([filled, filled.iloc[[0]].assign(growth="99")]), "rows 1 and 32"),
        (lambda filled: filled.rename(columns={"gene": "GROWTH", "growth": "Growth"}), "all mean 'growth'"),
        (lambda filled: filled.iloc[:0], "no rows"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(campaign, lab, spoil, said):
    filled = lab.fill(lab.export(campaign))
    head = campaign.status()["head"]
    objects = sorted((campaign.folder / "objects").iterdir())
    with pytest.raises(DataError, match=said) as error:
        campaign.ingest(lab.write(spoil(filled)))
    assert "results.csv" in str(error.value)
    assert campaign.status()["head"] == head
    assert sorted((campaign.folder / "objects").iterdir()) == objects


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text(""), lambda path: None])
def test_no_table_is_a_clear_error(campaign, lab, make):
    lab.export(campaign)
    make(lab.folder / "results.csv")
    with pytest.raises(DataError, match=r"results\.csv"):
        campaign.ingest(lab.folder / "results.csv")


def test_results_before_an_export_are_refused(campaign, lab):
    with pytest.raises(CampaignError, match="No round was exported"):
        campaign.ingest(lab.write(pd.DataFrame({"id": ["G001"], "value": [1]})))


def test_what_a_spreadsheet_makes_of_it_is_read(campaign, lab):
    filled = lab.fill(lab.export(campaign))
    path = lab.folder / "excel.csv"
    path.write_text("\ufeff" + filled.to_csv(sep=";", index=False, lineterminator="\r\n"), encoding="utf-8")
    assert campaign.ingest(path)["state"] == "ingested"
    filled.assign(growth=filled["growth"].astype(float)).to_parquet(lab.folder / "again.parquet")
    assert campaign.ingest(lab.folder / "again.parquet")["unchanged"] == 31
