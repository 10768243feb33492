"""Scores and predictions of SparseChem's network beside plain ones."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from screenwise.data.sparsechem import SparseChemLabels
from screenwise.data.sparsechem_tasks import TaskWeights
from screenwise.errors import ModelError
from screenwise.models.sparsechem import Statistics, first_network, sparsechem_cells
from screenwise.models.sparsechem_judge import Judging, aggregation_weights, score_rows
from screenwise.models.sparsechem_network import SparseChemTasks, network_shape
from screenwise.models.sparsechem_predict import Asked, predict_cells, predict_hidden, predict_outputs

ROWS, COLUMNS = 80, 15
TASKS = SparseChemTasks(4, 2, np.array([2, 0]))
MEAN, VARIANCE = np.array([5.0, -1.0]), np.array([4.0, 0.25])


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(4)
    x = csr_array(random_array((ROWS, COLUMNS), density=0.3, rng=rng, dtype=np.float32))
    y_class = csr_array(rng.choice([-1.0, 0.0, 1.0], (ROWS, 4)))
    y_class.eliminate_zeros()
    y_regr = csr_array(rng.normal(size=(ROWS, 2)) + MEAN)
    censor = csr_array((rng.integers(-1, 2, y_regr.nnz).astype(np.int8), y_regr.indices, y_regr.indptr), y_regr.shape)
    weights = TaskWeights(np.array([1.0, 0.2, 0.5, 1])), TaskWeights(np.array([1.0, 0.3]), censored=np.array([0.5, 1]))
    labels = SparseChemLabels(y_class, y_regr, censor, *weights, np.arange(ROWS) % 4)
    network = first_network(COLUMNS, TASKS, network_shape({"hidden_sizes": [6], "dropouts_trunk": [0.5]}), 1)
    return x, labels, network.eval()


def test_scores_are_of_the_head_that_speaks_in_the_units_of_the_file(study):
    x, labels, network = study
    statistics = Statistics(MEAN, VARIANCE)
    table = sparsechem_cells(x, labels, TASKS, statistics, 0.5)
    rows = np.flatnonzero(labels.folding == 1)
    asked = Asked(network, x)
    scores = score_rows(network, table, rows, Judging(TASKS, statistics, np.array([1.0, 0, 1, 1]), np.ones(2)))
    outputs = np.concatenate([part for _, part in predict_outputs(asked, np.arange(8))])[rows]
    labels_in = labels.y_class.toarray()[rows]
    speaker, weights, losses = [5, 1, 4, 3], [], []
    for task in range(4):
        own = labels_in[:, task] != 0
        label, p = labels_in[own, task] > 0, expit(outputs[own, speaker[task]].astype(float))
        np.testing.assert_allclose(scores.classification["roc_auc_score"][task], roc_auc_score(label, p))
        losses.append(log_loss(label, p) * own.sum())
        weights.append(own.sum() * 1.0)
    factor = [1.0, labels.class_tasks.training[1], 1.0, labels.class_tasks.training[3]]  # the catalogue's weigh 1
    wanted = np.dot(losses, factor) / np.dot(weights, factor)
    np.testing.assert_allclose(scores.classification_agg["logloss"], wanted, rtol=1e-5)
    counted = scores.classification["roc_auc_score"][[0, 2, 3]]
    np.testing.assert_allclose(scores.classification_agg["roc_auc_score"], counted.mean())
    assert scores.classification_agg["num_tasks_agg"] == 3
    value = labels.y_regr.toarray()[rows]
    predicted = outputs[:, 6:] * np.sqrt(VARIANCE) + MEAN
    exact = labels.y_censor.toarray()[rows] == 0
    for task in range(2):
        error = (value - predicted)[exact[:, task], task]
        np.testing.assert_allclose(scores.regression["rmse_uncen"][task], np.sqrt(np.mean(error**2)), rtol=1e-5)
    bound = labels.y_censor.toarray()[rows]
    error = np.where(bound == 0, value - predicted, np.maximum(bound * (value - predicted), 0)) ** 2
    weight = labels.regr_tasks.training * np.where(bound == 0, 1, labels.regr_tasks.censored)
    np.testing.assert_allclose(scores.regression_agg["mseloss"], np.average(error, weights=weight), rtol=1e-5)


def test_tasks_count_that_are_large_enough_in_every_fold(study):
    labels = study[1]
    classes, values = aggregation_weights(labels, 5, 6)
    dense, exact = labels.y_class.toarray(), labels.y_censor.toarray() == 0
    for task in range(4):
        counts = [(dense[labels.folding == fold, task] == sign).sum() for fold in range(4) for sign in (-1, 1)]
        assert classes[task] == (min(counts) >= 5)
    for task in range(2):
        assert values[task] == (min(exact[labels.folding == fold, task].sum() for fold in range(4)) >= 6)
    given = SparseChemLabels(
        labels.y_class,
        labels.y_regr,
        labels.y_censor,
        TaskWeights(np.ones(4), aggregation=np.array([0.0, 2, 1, 0])),
        labels.regr_tasks,
        labels.folding,
    )
    assert aggregation_weights(given, 5, 6)[0].tolist() == [0.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize("batch_size", [1, 7, 4000])
def test_cells_some_tasks_and_batches_give_the_same_outputs(study, batch_size):
    x, labels, network = study
    every = np.concatenate([part for _, part in predict_outputs(Asked(network, x), np.arange(8))])
    asked = Asked(network, x, batch_size)
    some = np.concatenate([part for _, part in predict_outputs(asked, np.array([7, 0, 3]))])
    np.testing.assert_allclose(some, every[:, [7, 0, 3]], atol=1e-5)
    pattern = labels.y_class
    row = np.repeat(np.arange(ROWS), np.diff(pattern.indptr))
    found = predict_cells(asked, pattern.indptr, pattern.indices)
    np.testing.assert_allclose(found, every[row, pattern.indices], atol=1e-5)
    hidden = np.concatenate([part for _, part in predict_hidden(asked)])
    wanted = x.toarray() @ network.first.weight.detach().numpy() + network.first.bias.detach().numpy()
    np.testing.assert_allclose(hidden, wanted, atol=1e-5)


def test_dropout_is_one_draw_of_the_generator(study):
    x, _, network = study

    def draw(seed, *, dropout):
        torch.manual_seed(seed)
        return next(predict_outputs(Asked(network, x, dropout=dropout), np.arange(8)))[1]

    with torch.random.fork_rng():
        assert (draw(0, dropout=True) == draw(0, dropout=True)).all()
        assert (draw(0, dropout=True) != draw(1, dropout=True)).any()
        assert (draw(0, dropout=False) == draw(1, dropout=False)).all()


def test_features_of_another_width_are_refused(study):
    x, _, network = study
    with pytest.raises(ModelError, match="X has 14 columns, the model reads 15"):
        Asked(network, x[:, :14])
