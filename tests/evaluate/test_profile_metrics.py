"""Scores of profiles: one condition at a time with other libraries, invariances, gaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from screenwise.errors import DataError
from screenwise.evaluate import profile_metrics as metrics
from screenwise.evaluate.profile_metrics import PROFILE_METRICS, profile_scores
from screenwise.evaluate.profile_ranks import cosine_logfc_rank, discrimination_score_l1, rmse_rank


def profiles(seed, conditions=6, features=120):
    rng = np.random.default_rng(seed)
    control = rng.gamma(2.0, size=features)
    truth = control + rng.normal(size=(conditions, features))
    prediction = truth + rng.normal(size=truth.shape)
    additive = control + rng.normal(size=truth.shape)
    reference = truth.mean(axis=0) + rng.normal(size=features)
    return truth, prediction, control, additive, reference


def one_by_one(truth, prediction, control, additive, reference):
    """Every score of one condition, by other libraries or by hand."""
    found = {name: [] for name in PROFILE_METRICS if "rank" not in name and name != "discrimination_score_l1"}
    for y, guess, added in zip(truth, prediction, additive, strict=True):
        change, told = y - control, guess - control
        top = sorted(range(len(y)), key=lambda k, c=change: -abs(c[k]))
        told_top = sorted(range(len(y)), key=lambda k, c=told: -abs(c[k]))
        high = sorted(range(len(y)), key=lambda k: -control[k])[:1000]
        right = np.sign(change) == np.sign(told)
        found["l2"].append(np.linalg.norm(y - guess))
        found["l2_top1000"].append(np.linalg.norm((y - guess)[high]))
        found["mse_top20_de"].append(np.mean((y - guess)[top[:20]] ** 2))
        found["rmse"].append(np.sqrt(np.mean((y - guess) ** 2)))
        found["mae"].append(np.mean(np.abs(y - guess)))
        found["pearson_delta"].append(stats.pearsonr(change, told)[0])
        found["pearson_delta_perturbed_ref"].append(stats.pearsonr(y - reference, guess - reference)[0])
        found["cosine_logfc"].append(1 - distance.cosine(change, told))
        found["overlap_at_50"].append(len(set(top[:50]) & set(told_top[:50])) / 50)
        found["sign_accuracy"].append(right.mean())
        found["sign_accuracy_top50"].append(right[top[:50]].mean())
        found["departure_cosine"].append(1 - distance.cosine(y - added, guess - added))
    return found


@given(st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_scores_equal_those_of_one_condition_at_a_time(seed):
    truth, prediction, control, additive, reference = profiles(seed)
    table = profile_scores(truth, prediction, control, additive, reference=reference)
    assert set(table["metric"]) == set(PROFILE_METRICS)
    for name, expected in one_by_one(truth, prediction, control, additive, reference).items():
        np.testing.assert_allclose(table.loc[table["metric"] == name, "value"], expected, rtol=1e-9, err_msg=name)


def test_only_the_most_expressed_features_count():
    truth, prediction, control, _, _ = profiles(3, features=1500)
    high = np.argsort(-control)[:1000]
    expected = np.linalg.norm((truth - prediction)[:, high], axis=1)
    np.testing.assert_allclose(metrics.l2_top1000(truth, prediction, control), expected)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=15, deadline=None)
def test_ranks_equal_counting(seed, ties):
    rng = np.random.default_rng(seed)
    truth, guess = rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    if ties:
        truth, guess = truth.round(), guess.round()
        guess[1] = guess[0]
    control = np.zeros(5)

    def rank(matrix):
        return [
            sum((row[j] < row[i]) + (row[j] == row[i]) / 2 for j in range(7) if j != i) for i, row in enumerate(matrix)
        ]

    l1 = distance.cdist(guess, truth, "cityblock")
    np.testing.assert_allclose(discrimination_score_l1(truth, guess), 1 - np.array(rank(l1)) / 7)
    squared = np.array([[np.sum((y - told) ** 2) for told in guess] for y in truth])
    np.testing.assert_allclose(rmse_rank(truth, guess), np.array(rank(squared)) / 7)
    unit = [np.array([one / np.linalg.norm(one) if one.any() else one for one in both]) for both in (truth, guess)]
    similarity = (unit[0] @ unit[1].T).round(12)
    np.testing.assert_allclose(cosine_logfc_rank(truth, guess, control), np.array(rank(-similarity)) / 7)


def test_own_genes_can_be_left_out_of_the_discrimination():
    rng = np.random.default_rng(2)
    truth, guess, excluded = rng.normal(size=(5, 8)), rng.normal(size=(5, 8)), np.eye(5, 8, dtype=bool)
    expected = []
    for row in range(5):
        far = [np.abs(guess[row] - other)[~excluded[row]].sum() for other in truth]
        expected.append(1 - sum(one < far[row] for one in far) / 5)
    np.testing.assert_allclose(discrimination_score_l1(truth, guess, excluded), expected)


def test_a_perfect_prediction_and_no_change():
    truth, _, control, additive, reference = profiles(7)
    best = profile_scores(truth, truth, control, additive, reference=reference).groupby("metric")["value"].mean()
    for name, higher in PROFILE_METRICS.items():
        assert best[name] == pytest.approx(1.0 if higher else 0.0, abs=1e-12), name
    # as a screen holds it: 32-bit numbers, so that "no change" differs from the control by rounding only
    none = np.tile(control.astype(np.float32), (len(truth), 1))
    flat = profile_scores(truth, none, control, additive, reference=reference).groupby("metric")["value"].mean()
    assert np.isnan(flat["pearson_delta"])
    assert np.isnan(flat["cosine_logfc"])
    assert flat["sign_accuracy"] == 0
    assert flat["overlap_at_50"] == 0
    assert flat["rmse_rank"] == pytest.approx(5 / 12)
    assert flat["cosine_logfc_rank"] == pytest.approx(5 / 12)
    same = profile_scores(truth, additive.astype(np.float32), control, additive, metrics=["departure_cosine"])
    assert (same["value"] == 0).all()


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_the_order_of_features_and_conditions_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    truth, prediction, control, additive, reference = profiles(seed)
    rows, columns = rng.permutation(len(truth)), rng.permutation(len(control))
    straight = profile_scores(truth, prediction, control, additive, reference=reference)
    turned = profile_scores(
        *(one[rows][:, columns] for one in (truth, prediction)),
        control[columns],
        additive[rows][:, columns],
        reference=reference[columns],
        conditions=[str(row) for row in rows],
    )
    merged = straight.merge(turned, on=["condition", "metric"])
    assert len(merged) == len(straight)
    np.testing.assert_allclose(merged["value_x"], merged["value_y"], rtol=1e-9, atol=1e-12)


def test_gaps_leave_features_out_and_a_missing_prediction_has_no_score():
    truth, prediction, control, additive, reference = profiles(9)
    gaps = prediction.copy()
    gaps[2] = np.nan
    gaps[0, :20] = np.nan
    added = additive.copy()
    added[4] = np.nan
    table = profile_scores(truth, gaps, control, added, reference=reference)
    others = [0, 1, 3, 4, 5]
    expected = profile_scores(
        truth[others, 20:], prediction[others, 20:], control[20:], added[others, 20:], reference=reference[20:]
    )
    assert table.loc[table["condition"] == "2", "value"].isna().all()
    kept = table[table["condition"] != "2"].reset_index(drop=True)
    np.testing.assert_allclose(kept["value"], expected["value"])
    lost = kept[(kept["metric"] == "departure_cosine") & (kept["condition"] == "4")]
    assert lost["value"].isna().all()


def test_wrong_shapes_and_names_are_told():
    truth, prediction, control, additive, _ = profiles(1)
    with pytest.raises(DataError, match="must be \\(conditions, features\\)"):
        profile_scores(truth, prediction[:2], control)
    with pytest.raises(DataError, match="must agree"):
        profile_scores(truth, prediction, control[:5])
    with pytest.raises(DataError, match="must agree"):
        profile_scores(truth, prediction, control, additive[:1])
    with pytest.raises(DataError, match="'r2'"):
        profile_scores(truth, prediction, control, metrics=["r2"])
    with pytest.raises(DataError, match="labels"):
        profile_scores(truth, prediction, control, conditions=["a"])
    with pytest.raises(DataError, match="gaps"):
        profile_scores(truth, np.full_like(truth, np.nan), control)
