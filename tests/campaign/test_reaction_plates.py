"""Checks of plates on real yields: 4,599 Buchwald-Hartwig wells (Ahneman et al., Science 2018) in 1536-well layouts."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.qc import check_plates
from screenwise.data.datasets import load_dataset
from screenwise.design.plate import SHAPES, PlateRules, layout, well_names

DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (DATA / "active_learning").exists(), reason="the public data folder (SCREENWISE_DATA) is not here"
)
LINE = r"^([A-Z]+)"


@pytest.fixture(scope="module")
def reactions():
    """Conditions, yields, and what an additive model says of each half from the other."""
    data = load_dataset("buchwald")
    value = data.screen.targets.dense()[:, 0].astype(float)
    numbers = data.screen.conditions.filter(like="feature:").to_numpy(float)
    numbers = np.column_stack([numbers, np.ones(len(numbers))])
    half = np.random.default_rng(0).integers(0, 2, len(value))
    guess = np.empty(len(value))
    for side in (0, 1):
        own, other = numbers[half != side], value[half != side]
        weights = np.linalg.solve(own.T @ own + np.eye(own.shape[1]), own.T @ other)
        guess[half == side] = numbers[half == side] @ weights
    return data, pd.DataFrame({"condition_id": data.screen.conditions["condition_id"], "value": value, "guess": guess})


def plates(table, rules, seed):
    """Wells of a round and what is read in them: the yield, with the noise of an analysis."""
    rng = np.random.default_rng(seed)
    wells = layout(table[["condition_id"]], rules, seed).assign(round=1)
    value = wells["condition_id"].map(table.set_index("condition_id")["value"]).astype(float)
    value = value.where(value.notna(), np.where(wells["role"] == "positive", 80.0, 2.0)) + rng.normal(0, 2, len(wells))
    return wells, wells[["plate", "well"]].assign(task="yield", value=value, failed=False)


def failed(wells, readings, table=None, seed=0):
    told = None if table is None else {(1, one): guess for one, guess in zip(table["condition_id"], table["guess"])}  # noqa: B905
    checks = check_plates(wells, readings, seed=seed, expected=told)
    bad = checks[checks["ok"].eq(False).fillna(False).to_numpy(bool)]
    return set(zip(bad["plate"], bad["check"], strict=True))


LARGE = PlateRules(1536, positive=16, negative=16, replicates=32, positive_id="a", negative_id="b", plate_name="R1P")
SMALL = PlateRules(96, plate_name="R1P")


def test_the_published_plates_and_ours_are_legal(reactions):
    data, table = reactions
    assert data.cells["row"].between(1, 32).all()
    assert data.cells["col"].between(1, 48).all()
    assert not data.cells.duplicated(["plate", "row", "col"]).any()
    wells, _ = plates(table, LARGE, 0)
    assert SHAPES[1536] == (32, 48)
    assert set(wells["well"]) <= set(well_names(1536))
    assert not wells.duplicated(["plate", "well"]).any()
    assert sorted(wells.loc[wells["role"] == "sample", "condition_id"]) == sorted(table["condition_id"])
    counts = wells.groupby(["plate", "role"]).size().unstack()
    assert (counts[["positive", "negative", "replicate"]] == [16, 16, 32]).all(axis=None)
    assert np.ptp(counts["sample"]) <= 1


@pytest.mark.parametrize("predicted", [False, True])
def test_clean_plates_are_not_flagged(reactions, predicted):
    table = reactions[1]
    for seed in range(2):
        assert failed(*plates(table, LARGE, seed), table if predicted else None, seed) == set()
    some = table.sample(84 * 6, random_state=0)
    found = [failed(*plates(some, SMALL, seed), some if predicted else None, seed) for seed in range(5)]
    # 30 plates with some ten checks each: a flag or two is chance, but none puts a plate aside
    assert sum(map(len, found)) <= 2
    assert not any(check in ("z prime", "plate order", "row order") for one in found for _, check in one)


def test_an_edge_that_dries_out_is_found_and_found_sooner_with_predictions(reactions):
    table = reactions[1]
    wells, readings = plates(table, LARGE, 1)
    line, column = wells["well"].str.extract(LINE)[0], wells["well"].str.extract(r"(\d+)$")[0].astype(int)
    edge = (line.isin(["A", "AF"]) | column.isin([1, 48])) & (wells["plate"] == "R1P2")
    half = readings.assign(value=readings["value"] * np.where(edge, 0.5, 1.0))
    assert ("R1P2", "edge effect") in failed(wells, half)
    third = readings.assign(value=readings["value"] * np.where(edge, 0.7, 1.0))
    assert ("R1P2", "edge effect") in failed(wells, third, table)
    assert not any(plate != "R1P2" for plate, _ in failed(wells, third, table))


@pytest.mark.parametrize("rules", [LARGE, SMALL], ids=["1536", "96"])
def test_swapped_plates_and_swapped_rows_are_found(reactions, rules):
    table = reactions[1] if rules is LARGE else reactions[1].sample(84 * 4, random_state=1)
    wells, readings = plates(table, rules, 2)
    swapped = readings.assign(plate=readings["plate"].replace({"R1P1": "R1P3", "R1P3": "R1P1"}))
    found = failed(wells, swapped, table)
    assert {("R1P1", "plate order"), ("R1P3", "plate order")} <= found
    assert {plate for plate, check in found if check == "plate order"} == {"R1P1", "R1P3"}
    if rules is LARGE:  # controls and replicates alone tell it too
        assert {("R1P1", "plate order"), ("R1P3", "plate order")} <= failed(wells, swapped)
    line = wells["well"].str.extract(LINE)[0]
    line = line.mask(wells["plate"] == "R1P2", line.replace({"C": "D", "D": "C"}))
    rows = readings.assign(well=line + wells["well"].str.extract(r"(\d+)$")[0])
    found = failed(wells, rows, table)
    assert {one for one in found if "order" in one[1]} == {("R1P2", "row order")}
