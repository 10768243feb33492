"""Layouts: legal, balanced, randomised, and readable after a spreadsheet had them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.plate import PlateRules, layout, read_plate, well_names, write_plate
from screenwise.errors import ColumnError, ConfigError, DataError, DesignError

SHAPES = {96: (8, 12), 384: (16, 24), 1536: (32, 48)}


def candidates(count):
    return pd.DataFrame(
        {
            "condition_id": [f"id{place:04d}" for place in range(count)],
            "vendor": np.arange(count) + 100,
            "smiles": "CCO, with a comma",
            "plate": "an old plate",
        }
    )


def places(table, size):
    names = {name: place for place, name in enumerate(well_names(size))}
    return np.divmod(table["well"].map(names).to_numpy(), SHAPES[size][1])


RULES = st.builds(
    PlateRules,
    format=st.sampled_from([96, 384, 1536]),
    positive=st.integers(0, 12),
    negative=st.integers(0, 12),
    copies=st.integers(1, 3),
    replicates=st.integers(0, 10),
    edge=st.sampled_from(["any", "controls", "empty"]),
)


@settings(max_examples=60, deadline=None)
@given(RULES, st.integers(1, 200), st.integers(0, 5))
def test_every_layout_keeps_its_rules(rules, count, seed):
    chosen = candidates(count)
    table = layout(chosen, rules, seed)
    plates = table["plate"].unique().tolist()
    assert plates == [f"P{number + 1}" for number in range(-(-count // rules.capacity))]
    assert not table.duplicated(["plate", "well"]).any()
    assert (table["role"] == "sample").sum() == count
    assert sorted(table.loc[table["role"] == "sample", "condition_id"]) == chosen["condition_id"].tolist()
    rows, columns = SHAPES[rules.format]
    row, column = places(table, rules.format)
    edge = (row == 0) | (column == 0) | (row == rows - 1) | (column == columns - 1)
    samples = table["role"].isin(["sample", "replicate"]).to_numpy()
    if rules.edge == "empty":
        assert not edge.any()
    if rules.edge == "controls":
        assert not edge[samples].any()
        assert edge[~samples].all() or rules.positive + rules.negative > 2 * (rows + columns) - 4
    for _, plate in table.groupby("plate"):
        roles = plate["role"].value_counts()
        inside = int(roles["sample"])
        assert roles.get("positive", 0) == rules.positive
        assert roles.get("negative", 0) == rules.negative
        assert roles.get("replicate", 0) == (rules.copies - 1) * inside + min(rules.replicates, inside)
        assert plate.loc[samples[plate.index], "condition_id"].value_counts().max() <= rules.copies + 1
        assert set(plate.loc[plate["role"] == "replicate", "condition_id"]) <= set(
            plate.loc[plate["role"] == "sample", "condition_id"]
        )


@pytest.mark.parametrize("size", [96, 384, 1536])
def test_capacity_is_exact(size):
    rules = PlateRules(size, positive=3, negative=5, replicates=6, copies=2)
    assert layout(candidates(rules.capacity), rules)["plate"].nunique() == 1
    assert layout(candidates(rules.capacity + 1), rules)["plate"].nunique() == 2


def test_controls_are_spread_over_rows_columns_and_quarters():
    for seed in range(5):
        table = layout(candidates(300), PlateRules(384, positive=16, negative=16), seed)
        for role in ("positive", "negative"):
            own = table[table["role"] == role]
            row, column = places(own, 384)
            used = places(table, 384)[1].max() + 1
            assert np.bincount(row, minlength=16).max() <= 2
            assert np.bincount(column).max() <= 2
            quarter = (row >= 8) * 2 + (column >= used / 2)
            assert np.bincount(quarter, minlength=4).min() >= 2


def test_no_control_stands_beside_one_of_its_kind():
    table = layout(candidates(80), PlateRules(96, positive=4, negative=4, replicates=4))
    for role in ("positive", "negative"):
        row, column = places(table[table["role"] == role], 96)
        apart = np.maximum(np.abs(row[:, None] - row), np.abs(column[:, None] - column))
        assert apart[~np.eye(4, dtype=bool)].min() > 1


def test_plates_differ_in_their_controls_so_that_swapped_ones_are_seen():
    table = layout(candidates(400), PlateRules(96))
    patterns = [
        tuple(plate.loc[plate["role"] == "positive", "well"]) for _, plate in table.groupby("plate", sort=False)
    ]
    assert len(set(patterns)) == len(patterns) == 5


def test_replicates_share_neither_row_nor_column_with_their_sample():
    table = layout(candidates(40), PlateRules(96, replicates=8, copies=2))
    row, column = places(table, 96)
    samples = table["role"].isin(["sample", "replicate"])
    for _, places_of in table[samples].groupby("condition_id").groups.items():
        own = np.asarray(places_of)
        assert len(set(row[own])) == len(own)
        assert len(set(column[own])) == len(own)


def test_seed_decides_and_order_of_samples_is_random():
    rules = PlateRules(96)
    first, again, other = (layout(candidates(80), rules, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert (first["condition_id"] != other["condition_id"]).mean() > 0.5
    samples = first[first["role"] == "sample"]["vendor"].astype(int)
    assert abs(np.corrcoef(samples, np.arange(len(samples)))[0, 1]) < 0.4


def test_large_plates_have_the_names_of_the_lab():
    names = well_names(1536)
    assert [names[0], names[25 * 48], names[26 * 48], names[-1]] == ["A01", "Z01", "AA01", "AF48"]
    assert len(set(names)) == 1536


def test_file_is_as_promised_and_comes_back_filled(tmp_path):
    rules = PlateRules(positive_id="DMSO+", negative_id="DMSO")
    table = layout(candidates(20), rules)
    path = tmp_path / "plate.csv"
    write_plate(table, path, ["pIC50", "tox"])
    header = path.read_text().splitlines()[0]
    assert header == "well,plate,role,condition_id,vendor,smiles,pool_plate,pIC50,tox"
    read = read_plate(path, ["pIC50", "tox"])
    assert read["condition_id"].tolist() == table["condition_id"].tolist()
    assert (read[["pIC50", "tox"]] == "").all(axis=None)
    assert read.loc[read["role"] == "sample", "vendor"].str.fullmatch(r"\d+").all()
    assert set(read.loc[read["role"] == "positive", "condition_id"]) == {"DMSO+"}
    read["pIC50"] = "<5.2"
    for separator, encoding in ((";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8")):
        read.to_csv(path, index=False, sep=separator, encoding=encoding)
        pd.testing.assert_frame_equal(read_plate(path, ["pIC50"]), read)


def test_values_known_beforehand_are_not_written(tmp_path):
    table = layout(candidates(5).assign(pIC50=7.0), PlateRules(positive=0, negative=0, replicates=0))
    write_plate(table, tmp_path / "plate.csv", ["pIC50"])
    assert (read_plate(tmp_path / "plate.csv")["pIC50"] == "").all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a table"),
        ("well,plate\nA01,P1\n", "role, condition_id"),
        ("well,plate,role,condition_id\nA01,P1,boss,c\n", "line 2: role is 'boss'"),
        ("well,plate,role,condition_id\nA01,P1,sample,c\nA01,P1,sample,d\n", "well A01 of plate P1 stands twice"),
        ("well,plate,role,condition_id\nA01,P1,sample,c,5,6\nA02,P1,sample,c,5,6,7,8\n", "not a table"),
    ],
)
def test_bad_files_are_named_with_line_and_cure(tmp_path, text, said):
    path = tmp_path / "plate.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as error:
        read_plate(path)
    assert "plate.csv" in str(error.value)
    with pytest.raises(DataError, match=r"none\.csv"):
        read_plate(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "wrong",
    [{"format": 97}, {"edge": "none"}, {"copies": 0}, {"positive": -1}, {"positive": 50, "negative": 50}],
)
def test_impossible_rules_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"plate\.|plate of"):
        PlateRules(**wrong)


def test_bad_candidates_are_refused():
    with pytest.raises(ColumnError, match="condition_id"):
        layout(pd.DataFrame({"id": ["a"]}), PlateRules())
    with pytest.raises(DesignError, match="stands twice"):
        layout(pd.DataFrame({"condition_id": ["a", "a"]}), PlateRules())
    with pytest.raises(DesignError, match="no candidate"):
        layout(pd.DataFrame({"condition_id": []}), PlateRules())
