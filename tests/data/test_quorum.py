"""Quorums and weights, by the rules written down."""

import numpy as np
import pandas as pd
import pytest

from screenwise.data.quorum import censored_weights, judge_classes, judge_values
from screenwise.data.tune_settings import QuorumRules, WeightRules


def table_of(*kinds, binary=False, regression=True):
    size = len(kinds)
    return pd.DataFrame(
        {
            "input_assay_id": [f"A{place}" for place in range(size)],
            "assay_type": kinds,
            "use_in_regression": regression,
            "is_binary": binary,
            "direction": "",
            "catalog_assay_id": ["C7" if kind == "CATALOG-PANEL" else "" for kind in kinds],
            "parent_assay_id": "",
        }
    )


def classes(kinds, assay, counts, auxiliary=None):
    """Judge tasks with (actives, inactives) spread evenly over 5 folds."""
    tasks = pd.DataFrame({"assay": assay, "threshold": 6.0 + np.arange(len(assay)), "threshold_method": "expert"})
    tasks["is_auxiliary"] = False if auxiliary is None else auxiliary
    parts = [
        {"task": task, "label": label, "fold": place % 5}
        for task, pair in enumerate(counts)
        for label, count in zip((1, -1), pair, strict=True)
        for place in range(count)
    ]
    return judge_classes(tasks, pd.DataFrame(parts), table_of(*kinds), 5, QuorumRules(), WeightRules())


def test_classes_need_25_of_each_and_10_of_each_in_every_fold_to_be_scored():
    found = classes(["OTHER"] * 4, [0, 1, 2, 3], [(25, 25), (24, 400), (50, 50), (50, 49)])
    assert found["training_quorum_OK"].tolist() == [True, False, True, True]
    assert found["evaluation_quorum_OK"].tolist() == [False, False, True, False]
    assert found["aggregation_weight"].tolist() == [0, 0, 1, 0]
    assert found["weight"].tolist() == [1, 0, 1, 1]
    assert found["cont_classification_task_id"].tolist() == [0, -1, 1, 2]
    assert found["num_fold_min_inactives"].tolist() == [5, 80, 10, 9]
    assert found["reason"].tolist()[1] == "24 actives and 400 inactives; at least 25 and 25 are needed"


def test_trained_tasks_of_an_assay_share_its_weight_and_auxiliary_ones_are_never_scored():
    found = classes(["OTHER"], [0, 0, 0, 0], [(60, 60), (60, 60), (60, 60), (9, 60)], [False, True, True, False])
    np.testing.assert_allclose(found["weight"], [1 / 3, 1 / 3, 1 / 3, 0])
    assert found["aggregation_weight"].tolist() == [1, 0, 0, 0]


def test_auxiliary_types_need_10_and_10000_and_weigh_a_tenth():
    found = classes(["AUX_HTS", "AUX_PL"], [0, 1], [(10, 10_000), (25, 9_999)], [True, True])
    assert found["training_quorum_OK"].tolist() == [True, False]
    assert found["weight"].tolist() == [0.1, 0]


def test_catalogue_tasks_need_400_labels_in_all_or_are_judged_as_a_panel():
    found = classes(["CATALOG-PANEL"] * 3, [0, 1, 2], [(5, 395), (60, 60), (5, 60)])
    assert found["training_quorum_OK"].tolist() == [True, True, False]
    assert found["evaluation_quorum_OK"].tolist() == [False, True, False]
    assert found["assay_type"].tolist() == ["CATALOG-PANEL", "NON-CATALOG-PANEL", "NON-CATALOG-PANEL"]
    assert found["catalog_task_id"].tolist() == ["C7_6", "", ""]


def values(kind, exact, bounds, *, spread=1.0, **more):
    """Judge one assay with exact values (alternating, standard deviation about `spread`) and bounds over 5 folds."""
    value = np.concatenate([np.tile([-spread] * 5 + [spread] * 5, exact)[:exact], np.zeros(bounds)])
    fold = np.concatenate([np.arange(exact) % 5, np.arange(bounds) % 5])
    relation = np.concatenate([np.zeros(exact), -np.ones(bounds)]).astype(int)
    cells = pd.DataFrame({"assay": 0, "value": value, "relation": relation, "fold": fold})
    return judge_values(cells, table_of(kind, **more), 5, QuorumRules(), WeightRules()).iloc[0]


def test_regression_needs_50_values_25_exact_and_25_exact_in_every_fold_to_be_scored():
    assert values("OTHER", 25, 25)["cont_regression_task_id"] == 0
    assert values("OTHER", 25, 25)["aggregation_weight"] == 0
    assert values("OTHER", 24, 100)["cont_regression_task_id"] == -1
    assert values("OTHER", 49, 0)["reason"] == "49 values, 49 exact; at least 50 and 25 are needed"
    assert values("OTHER", 125, 0)["aggregation_weight"] == 1
    assert values("OTHER", 124, 100)["aggregation_weight"] == 0


def test_regression_is_scored_where_exact_values_spread_by_half_a_unit_or_it_is_adme():
    # alternating -s and +s, 26 in a fold: standard deviation s * sqrt(26 / 25)
    edge = 0.5 / np.sqrt(26 / 25)
    assert values("OTHER", 130, 0, spread=edge * 1.001)["aggregation_weight"] == 1
    assert values("OTHER", 130, 0, spread=edge * 0.999)["aggregation_weight"] == 0
    assert values("ADME", 130, 0, spread=edge * 0.1)["aggregation_weight"] == 1


def test_what_is_not_for_regression():
    assert values("OTHER", 200, 0, regression=False)["reason"] == "not for regression"
    assert values("OTHER", 200, 0, binary=True)["cont_regression_task_id"] == -1
    assert values("AUX_HTS", 200, 0)[["weight", "aggregation_weight"]].tolist() == [0.1, 0]


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0, 1), (0.05, 1), (0.1, 0.05 * 0.9 / (0.1 * 0.95)), (0.5, 0.05 / 0.95), (1, 0)]
)
def test_bounds_weigh_together_no_more_than_a_twentieth(fraction, expected):
    weight = censored_weights([fraction])[0]
    assert weight == pytest.approx(expected)
    if 0.05 < fraction < 1:
        assert weight * fraction / (weight * fraction + 1 - fraction) == pytest.approx(0.05)


def test_censored_weight_of_a_task():
    task = values("OTHER", 50, 50)
    assert task["fraction_censored"] == 0.5
    assert task["censored_weight"] == pytest.approx(0.05 / 0.95)
