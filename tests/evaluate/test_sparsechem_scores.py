import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit.ML.Scoring.Scoring import CalcBEDROC
from sklearn import metrics as reference

from screenwise.errors import ConfigError, DataError
from screenwise.evaluate.sparsechem_scores import (
    CLASSIFICATION_FIELDS,
    MORE_CLASSIFICATION_FIELDS,
    MORE_REGRESSION_FIELDS,
    REGRESSION_FIELDS,
    Quorum,
    aggregate,
    classification_scores,
    regression_scores,
)

TASKS = 6
PRIOR = 0.1


def calibration_error(label, chance, groups):
    """Error and spread over given groups of cells, one loop step per bin."""
    gap, spread = 0.0, 0.0
    for own in groups:
        if len(own):
            p = label[own].sum()
            n = len(own) - p
            gap += abs(label[own].mean() - chance[own].mean()) * len(own)
            spread += p * n / ((p + n) * (p + n + 1))
    return gap / len(label), np.sqrt(spread)


def bedroc(label, chance):
    order = np.argsort(-chance)
    return CalcBEDROC([[one] for one in label[order]], 0, 20.0)


def one_task(label, chance, bins=10):
    """SparseChem's definitions with scikit-learn, a threshold at a time."""
    precision, recall, thresholds = reference.precision_recall_curve(label, chance)
    rate = min(label.mean(), 0.99)
    k = rate * (1 - PRIOR) / (PRIOR * (1 - rate))
    with np.errstate(divide="ignore"):
        calibrated = 1 / ((1 / precision - 1) * k + 1)
    f1 = np.array([reference.f1_score(label, chance >= cut) for cut in thresholds])
    kappas = np.array([reference.cohen_kappa_score(label, chance >= cut) for cut in thresholds])
    called = chance >= 0.5
    bounds = np.linspace(0, 1, bins + 1)
    wide = [np.flatnonzero((chance > low) & (chance <= high)) for low, high in itertools.pairwise(bounds)]
    ece, std_ece = calibration_error(label, chance, wide)
    ace, std_ace = calibration_error(label, chance, np.array_split(np.argsort(chance), bins))
    return {
        "roc_auc_score": reference.roc_auc_score(label, chance),
        "auc_pr": reference.auc(recall, precision),
        "avg_prec_score": reference.average_precision_score(label, chance),
        "f1_max": f1.max(),
        "kappa": reference.cohen_kappa_score(label, called),
        "kappa_max": max(0.0, kappas.max()),
        "bceloss": reference.log_loss(label, chance, labels=[0, 1]),
        "auc_pr_cal": reference.auc(recall, calibrated),
        "ece": ece,
        "ace": ace,
        "std_ece": std_ece,
        "std_ace": std_ace,
        "brier": reference.brier_score_loss(label, chance),
        "num_pos": label.sum(),
        "num_neg": (1 - label).sum(),
        "bedroc": bedroc(label, chance),
        "tp": (called & (label == 1)).sum(),
        "fp": (called & (label == 0)).sum(),
        "tn": (~called & (label == 0)).sum(),
        "fn": (~called & (label == 1)).sum(),
    }


@st.composite
def classified(draw, least=0):
    """Labels and probabilities of a few tasks; coarse probabilities make ties and sit on the bins' bounds."""
    number = draw(st.integers(least, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    label = (rng.random(number) < draw(st.sampled_from([0.05, 0.4, 0.9]))).astype(float)
    chance = np.clip(rng.random(number) * 0.7 + 0.25 * label, 0.001, 0.999)
    decimals = draw(st.sampled_from([1, 2, None]))
    return (
        label,
        chance if decimals is None else np.maximum(chance.round(decimals), 0.1),
        rng.integers(0, TASKS, number),
    )


@settings(max_examples=60, deadline=None)
@given(cells=classified())
def test_classification_equals_scikit_learn_and_rdkit(cells):
    label, chance, task = cells
    scores = classification_scores(label, chance, task, TASKS, prior=PRIOR)
    assert tuple(scores) == CLASSIFICATION_FIELDS + MORE_CLASSIFICATION_FIELDS
    for t in range(TASKS):
        y, p = label[task == t], chance[task == t]
        if len(set(y)) < 2:
            assert scores.loc[t, ["num_pos", "num_neg"]].tolist() == [y.sum(), (1 - y).sum()]
            assert scores.loc[t].drop(["num_pos", "num_neg"]).isna().all()
            continue
        wanted = one_task(y, p)
        if len(set(p)) < len(p):  # these references depend on the order of tied cells
            wanted = {name: one for name, one in wanted.items() if name not in ("ace", "std_ace", "bedroc")}
        for name, one in wanted.items():
            assert scores.loc[t, name] == pytest.approx(one, abs=1e-9), name


@settings(max_examples=40, deadline=None)
@given(cells=classified(least=4))
def test_thresholds_are_where_the_best_is(cells):
    label, chance, task = cells
    scores = classification_scores(label, chance, task, TASKS)
    for t, row in scores.iterrows():
        y, p = label[task == t], chance[task == t]
        if np.isnan(row["f1_max"]):
            continue
        assert reference.f1_score(y, p >= row["p_f1_max"]) == pytest.approx(row["f1_max"], abs=1e-9)
        best = 0.0 if row["p_kappa_max"] == 1 else reference.cohen_kappa_score(y, p >= row["p_kappa_max"])
        assert best == pytest.approx(row["kappa_max"], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(cells=classified(), seed=st.integers(0, 1000))
def test_order_of_cells_does_not_matter_even_with_ties(cells, seed):
    order = np.random.default_rng(seed).permutation(len(cells[0]))
    straight = classification_scores(*cells, TASKS)
    shuffled = classification_scores(*(array[order] for array in cells), TASKS)
    pd.testing.assert_frame_equal(straight, shuffled, rtol=1e-12)


def test_ties_count_as_the_mean_over_orders():
    label, chance = np.array([1.0, 0, 0, 1, 0, 1]), np.array([0.9, 0.6, 0.6, 0.6, 0.6, 0.2])
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(4000):
        order = rng.permutation(6)
        drawn.append(bedroc(label[order], chance[order]))
    ours = classification_scores(label, chance, np.zeros(6, int), 1)["bedroc"][0]
    assert ours == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 60)


def test_published_cases_of_the_calibration_errors():
    """Cases 1 and 3 of SparseChem's own sparsechem/test_calibration.py (case 2 has a tie)."""
    one = classification_scores([1, 0, 1, 1, 0], [0.12, 0.41, 0.61, 0.71, 0.94], [0] * 5, 1)
    assert one.loc[0, ["ece", "ace"]].tolist() == pytest.approx([2.91 / 5, 2.91 / 5])
    three = classification_scores([0, 1, 0, 1], [0.41, 0.56, 0.67, 0.90], [0] * 4, 1)
    assert three.loc[0, ["ece", "ace"]].tolist() == pytest.approx([0.405, 0.405])


def test_labels_of_minus_one_and_a_share_of_positives_above_the_limit():
    chance = np.linspace(0.05, 0.95, 200)
    label = np.where(np.arange(200) == 7, -1.0, 1.0)
    ours = classification_scores(label, chance, np.zeros(200, int), 1)
    wanted = one_task((label > 0).astype(float), chance)
    assert ours["auc_pr_cal"][0] == pytest.approx(wanted["auc_pr_cal"], abs=1e-9)


def test_wrong_probabilities_priors_and_lengths_are_refused():
    with pytest.raises(DataError, match="sigmoid"):
        classification_scores([1, 0], [2.5, -1.0], [0, 0], 1)
    with pytest.raises(ConfigError, match="prior"):
        classification_scores([1, 0], [0.5, 0.1], [0, 0], 1, prior=1.0)
    with pytest.raises(DataError, match="relations"):
        regression_scores([1.0, 2.0], [1.0, 2.0], [0], [0, 0], 1)
    with pytest.raises(DataError, match="aggregation weights"):
        aggregate(pd.DataFrame({"rmse": [1.0, 2.0]}), [1.0])


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 80), seed=st.integers(0, 2**32))
def test_regression_equals_a_loop_over_tasks(number, seed):
    rng = np.random.default_rng(seed)
    value, task = rng.integers(0, 6, number) / 2.0, rng.integers(0, TASKS, number)
    prediction, relation = value + rng.normal(size=number), rng.integers(-1, 2, number)
    scores = regression_scores(value, prediction, relation, task, TASKS)
    assert tuple(scores) == REGRESSION_FIELDS + MORE_REGRESSION_FIELDS
    for t in range(TASKS):
        y, p, c = (array[task == t] for array in (value, prediction, relation))
        assert scores.loc[t, ["num_samples", "num_exact"]].tolist() == [len(y), (c == 0).sum()]
        if len(y) < 2:
            assert scores.loc[t, list(REGRESSION_FIELDS[:4])].isna().all()
            continue
        loss = np.where(c == 0, (y - p) ** 2, np.maximum(c * (y - p), 0) ** 2)
        assert scores.loc[t, "rmse"] == pytest.approx(np.sqrt(loss.mean()), abs=1e-9)
        y, p = y[c == 0], p[c == 0]
        exact = np.sqrt(np.mean((y - p) ** 2)) if len(y) else np.nan
        assert scores.loc[t, "rmse_uncen"] == pytest.approx(exact, abs=1e-9, nan_ok=True)
        varied = len(set(y)) > 1
        r2 = reference.r2_score(y, p) if varied else np.nan
        assert scores.loc[t, "rsquared"] == pytest.approx(r2, rel=1e-9, abs=1e-9, nan_ok=True)
        correlation = np.corrcoef(y, p)[0, 1] if varied else np.nan
        assert scores.loc[t, "corrcoef"] == pytest.approx(correlation, abs=1e-9, nan_ok=True)


def test_the_mean_is_weighted_and_the_rest_is_robust():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"rsquared": rng.uniform(0.2, 0.4, 50), "rmse": 1.0, "num_exact": 30, "std_exact": 1.0})
    table.loc[49, ["rsquared", "std_exact"]] = [-8.4e7, 1e-4]
    table.loc[48, ["rsquared", "num_exact"]] = [-5.0, 3]
    found = aggregate(table)
    assert list(found.index) == ["rsquared", "rmse"]
    assert found.loc["rsquared", "mean"] < -1e6
    assert 0.2 < found.loc["rsquared", "median"] < 0.4
    assert found.loc["rsquared", "quorum_mean"] == pytest.approx(table["rsquared"][:48].mean())
    assert found.loc["rsquared", ["tasks", "quorum_tasks"]].tolist() == [50, 48]
    assert found.loc["rmse", "quorum_tasks"] == 49
    weight = np.r_[np.ones(10), np.zeros(40)]
    assert aggregate(table, weight).loc["rsquared", "mean"] == pytest.approx(table["rsquared"][:10].mean())


def test_the_quorum_of_classification_asks_for_both_classes():
    table = pd.DataFrame({"auc_pr": [0.1, 0.9, 0.5], "num_pos": [4, 5, 90], "num_neg": [90, 5, 4]})
    assert aggregate(table).loc["auc_pr", "quorum_mean"] == 0.9
    assert aggregate(table, quorum=Quorum(positives=4)).loc["auc_pr", "quorum_tasks"] == 3
    assert np.isnan(aggregate(table, np.zeros(3)).loc["auc_pr", "mean"])
