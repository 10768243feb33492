"""Thresholds and labels, by the rules written down."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenwise.data.thresholds import class_labels, label_cells, make_tasks
from screenwise.data.tune_settings import QuorumRules, ThresholdRules
from screenwise.data.tuner_tables import EXPERT


def assay(kind, *expert, direction="", binary=False):
    columns = dict.fromkeys(EXPERT, np.nan) | dict(zip(EXPERT, expert, strict=False))
    return {"assay_type": kind, "is_binary": binary, "direction": direction} | columns


FEW = QuorumRules(actives=2, inactives=2)


def tasks_of(values, *assays, relation=None):
    """Return [(threshold, method), ...] of the first assay, whose cells have these values."""
    cells = pd.DataFrame({"assay": 0, "value": values, "relation": 0 if relation is None else relation})
    tasks = make_tasks(cells, pd.DataFrame(list(assays)), ThresholdRules(), FEW)
    return [(round(row.threshold, 6), row.threshold_method) for row in tasks.itertuples()], tasks


@pytest.mark.parametrize(
    ("expert", "expected"),
    [
        ((6.0,), [(5.5, "aux_low"), (6.0, "expert"), (6.5, "aux_high")]),
        ((7.0, 5.0), [(4.5, "aux_low"), (5.0, "expert"), (7.0, "expert"), (7.5, "aux_high")]),
        ((6.0, 6.0), [(5.5, "aux_low"), (6.0, "expert"), (6.5, "aux_high")]),
        ((5.0, 6.0, 7.0, 8.0), [(5.0, "expert"), (6.0, "expert"), (7.0, "expert"), (8.0, "expert")]),
    ],
)
def test_experts_and_the_auxiliary_ones_around_them(expert, expected):
    found, tasks = tasks_of([5.0, 6.0], assay("OTHER", *expert))
    assert found == expected
    assert tasks["is_auxiliary"].tolist() == [method.startswith("aux") for _, method in expected]


def test_the_first_automatic_threshold_with_enough():
    # at 8 one active (too few), at 7 two of ten (20 %), so 7
    found, _ = tasks_of([8.5, 7.5, *[5.5] * 8], assay("OTHER"))
    assert found == [(6.5, "aux_low"), (7.0, "fixed_adaptive"), (7.5, "aux_high")]
    # at 7 two of eleven (18 %): 6 gives the same two; 5 gives all eleven active, no inactive; the median is left
    found, _ = tasks_of([8.5, 7.5, *[5.5] * 9], assay("OTHER"))
    assert found[1] == (5.5, "median")
    # a value that may be on either side counts on neither: ">6" is no inactive at 7
    assert tasks_of([7.5, 7.5, 6.0, 6.5], assay("OTHER"), relation=0)[0][1] == (7.0, "fixed_adaptive")
    assert tasks_of([7.5, 7.5, 6.0, 6.5], assay("OTHER"), relation=[0, 0, 1, 0])[0][1] == (7.0, "median")


def test_the_median_moves_bounds_by_log10_2():
    found, _ = tasks_of([5.0, 5.2, 5.2], assay("OTHER"), relation=[-1, 0, 1])
    assert found[1] == (5.2, "median")
    found, _ = tasks_of([5.0, 5.0], assay("OTHER"), relation=[-1, -1])
    assert found[1] == (round(5.0 - np.log10(2), 6), "median")
    found, _ = tasks_of([5.0, 5.0], assay("OTHER"), relation=[1, 1])
    assert found[1] == (round(5.0 + np.log10(2), 6), "median")


@pytest.mark.parametrize(
    ("values", "relation", "direction", "expected"),
    [
        ([1, 2, 3, 4, 5], 0, "high", [(3.0, "median"), (4.0, "quartile")]),
        ([1, 2, 3, 4, 5], 0, "low", [(2.0, "quartile"), (3.0, "median")]),
        ([1, 2, 3, 4], 0, "", [(2.5, "median"), (3.25, "quartile")]),
        ([1, 3, 3, 3], 0, "high", [(3.0, "median")]),
        ([1, 2, 3, 90, 90], [0, 0, 0, 1, 1], "high", [(2.0, "median"), (2.5, "quartile")]),
        ([1, 90], [0, 1], "high", []),
    ],
)
def test_adme(values, relation, direction, expected):
    found, _ = tasks_of(np.array(values, float), assay("ADME", direction=direction), relation=relation)
    assert found == expected
    found, _ = tasks_of(np.array(values, float), assay("ADME", 7.0, direction=direction), relation=relation)
    assert found == [(7.0, "expert")]


def test_other_types():
    assert tasks_of([1.0], assay("CATALOG-PANEL", 6.0, 7.0))[0] == [(6.0, "expert"), (7.0, "expert")]
    found, tasks = tasks_of([1.0], assay("AUX_HTS"))
    assert found == [(3.0, "fixed")]
    assert tasks["is_auxiliary"].all()
    assert tasks_of([1.0], assay("AUX_HTS", direction="low"))[0] == [(-3.0, "fixed")]
    _, tasks = tasks_of([1.0, -1.0], assay("AUX_PL", binary=True), assay("OTHER"))
    assert tasks["threshold_method"].tolist() == ["binary"]  # and the assay without cells has no task
    assert tasks["threshold"].isna().all()


@pytest.mark.parametrize(
    ("value", "relation", "high", "low"),
    [
        (7.0, 0, 1, -1),
        (6.0, 0, 1, 1),
        (5.0, 0, -1, 1),
        (7.0, 1, 1, -1),  # low is the mirror image: ">7" is above 6 for sure
        (6.0, 1, 1, -1),
        (5.0, 1, 0, 0),
        (7.0, -1, 0, 0),
        (6.0, -1, -1, 1),
        (5.0, -1, -1, 1),
    ],
)
def test_labels_under_qualifiers_at_threshold_6(value, relation, high, low):
    assert class_labels([value], [relation], 6.0).tolist() == [high]
    assert class_labels([value], [relation], 6.0, low=True).tolist() == [low]


@given(st.floats(-5, 15), st.sampled_from([-1, 0, 1]), st.floats(-5, 15))
def test_low_is_the_mirror_image_of_high(value, relation, threshold):
    assert class_labels([value], [relation], threshold, low=True) == class_labels([-value], [-relation], -threshold)


def test_cells_get_a_label_in_each_task_of_their_assay():
    assays = pd.DataFrame([assay("OTHER", 6.0), assay("AUX_HTS", direction="low"), assay("AUX_PL", binary=True)])
    cells = pd.DataFrame({"assay": [0, 1, 0, 2, 1], "value": [6.2, -3.5, 5.8, -1.0, 4.0], "relation": [0, 0, -1, 0, 0]})
    tasks = make_tasks(cells, assays, ThresholdRules(), QuorumRules())
    labels = label_cells(cells, tasks, assays)
    assert tasks["assay"].tolist() == [0, 0, 0, 1, 2]
    assert labels["task"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert labels["cell"].tolist() == [0, 2, 0, 2, 0, 2, 1, 4, 3]
    # "<5.8" may be on either side of 5.5, and is below 6 and 6.5
    assert labels["label"].tolist() == [1, 0, 1, -1, -1, -1, 1, -1, -1]
