"""Measurements through every step, on a table small enough to follow by hand."""

import numpy as np
import pandas as pd

from screenwise.config import from_mapping
from screenwise.data.tune_settings import TuneSettings
from screenwise.data.tuned_assays import named_cells, tune_assays
from screenwise.data.tuner_tables import EXPERT, TunerTables

SETTINGS = from_mapping(
    TuneSettings,
    {
        "folds": {"folds": 2},
        "quorum": {"actives": 2, "inactives": 2, "values": 4, "exact_values": 3, "fold_actives": 1},
    },
)


def tables(readings):
    """Readings are (compound, value, relation) of one assay of the type OTHER with the threshold 6."""
    assays = pd.DataFrame({"input_assay_id": ["a"], "assay_type": ["OTHER"], "use_in_regression": [True]})
    assays = assays.assign(is_binary=False, direction="", catalog_assay_id="", parent_assay_id="P")
    assays[list(EXPERT)] = np.nan
    assays["expert_threshold_1"] = 6.0
    compound, value, relation = zip(*readings, strict=True)
    activities = pd.DataFrame({"compound": compound, "value": value, "relation": relation, "assay": 0, "reason": ""})
    activities["input_compound_id"], activities["input_assay_id"] = activities["compound"].map(str), "a"
    activities["standard_qualifier"], activities["standard_value"] = "=", activities["value"].map(str)
    structures = pd.DataFrame({"input_compound_id": [str(place) for place in range(6)], "smiles": "C"})
    return TunerTables(assays, activities, structures)


def test_every_step():
    read = tables(
        [(0, 5.0, 0), (0, 7.0, 0), (1, 5.0, 0), (2, 8.0, 0), (3, 6.5, -1), (4, 5.5, -1), (5, 5.0, 0), (1, 99.0, 0)]
    )
    # structure 5 was rejected; 3 and 4 have the descriptors 3 and 4; folds alternate
    row_of, why = np.array([0, 1, 2, 3, 4, -1]), np.array(["", "", "", "", "", "too large"], dtype=object)
    tuned = tune_assays(read, row_of, why, np.array([0, 0, 1, 1, 1]), SETTINGS)
    assert tuned.rejected["activities"][["row", "reason"]].to_numpy().tolist() == [
        [7, "structure rejected: too large"],
        [8, "99 is outside 3 to 10"],
    ]
    cells = named_cells(tuned)
    assert cells["standard_value"].tolist() == [7.0, 5.0, 8.0, 6.5, 5.5]
    assert cells["standard_qualifier"].tolist() == ["=", "=", "=", "<", "<"]
    assert cells["replicates"].tolist() == [2, 1, 1, 1, 1]
    # thresholds 5.5, 6, 6.5; at 5.5 and 6 "<6.5" may be on either side
    assert tuned.classes["threshold"].tolist() == [5.5, 6.0, 6.5]
    assert tuned.rejected["labels"]["threshold"].tolist() == [5.5, 6.0]
    assert tuned.classes["num_total_actives"].tolist() == [2, 2, 2]
    assert tuned.classes["num_total_inactives"].tolist() == [2, 2, 3]
    assert tuned.labels["label"].tolist() == [1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, -1]
    assert tuned.values[["num_total", "num_uncensored_total", "cont_regression_task_id"]].to_numpy().tolist() == [
        [5, 3, 0]
    ]
    assert tuned.regression_cells()["task"].tolist() == [0] * 5
    assert tuned.classes["parent_assay_id"].tolist() == ["P"] * 3


def test_an_assay_whose_values_are_the_same_in_a_fold_is_left_out():
    read = tables([(0, 5.0, 0), (1, 5.0, 0), (2, 8.0, 0), (3, 6.5, 0)])
    tuned = tune_assays(read, np.arange(6), np.full(6, "", dtype=object), np.array([0, 0, 1, 1, 0, 0]), SETTINGS)
    assert tuned.rejected["assays"]["input_assay_id"].tolist() == ["a"]
    assert len(tuned.cells) == len(tuned.classes) == len(tuned.values) == len(tuned.labels) == 0
