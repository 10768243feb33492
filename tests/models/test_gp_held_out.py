"""Calibration cells of the Gaussian process: what it says of a training cell without the cell's scaffold."""

import numpy as np
import pandas as pd
import pytest

from screenwise.data.split import scaffolds
from screenwise.models import load_model, save_model
from screenwise.models.gp import GaussianProcess, GaussianProcessConfig
from screenwise.screen import Targets, make_screen

RINGS = ("c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccsc1", "C1CCNCC1")
SMILES = [f"{'C' * length}{ring}" for ring in RINGS for length in range(1, 9)]


def screen_of(seed=0):
    rng = np.random.default_rng(seed)
    length = np.array([text.count("C") for text in SMILES], np.float32)
    value = np.column_stack([length + rng.normal(0, 0.3, len(SMILES)), length > 6]).astype(np.float32)
    value[::5, 0] = np.nan
    relation = np.zeros(value.shape, np.int8)
    relation[1::5, 0] = -1
    tasks = pd.DataFrame({"name": ["size", "large"], "kind": ["regression", "classification"]})
    return make_screen(pd.DataFrame({"smiles": SMILES}), Targets(value, relation), tasks)


@pytest.fixture(scope="module")
def fitted():
    return GaussianProcess().fit(screen_of())


def test_cells_are_the_measured_ones_with_their_relations(fitted):
    cells, known = fitted.calibration_cells(), screen_of().targets
    for task in range(2):
        mine, truth = cells.take(cells.task == task), known.task(task)
        np.testing.assert_allclose(mine.value, truth.value, atol=1e-5)
        np.testing.assert_array_equal(mine.relation, truth.relation)
    assert (cells.std > 0).all()
    chance = cells.mean[cells.task == 1]
    assert ((chance >= 0) & (chance <= 1)).all()


def test_a_cell_is_predicted_as_by_a_process_without_its_scaffold(fitted):
    """Same weights: the process that never saw one ring's compounds predicts them as the calibration cells say."""
    screen, cells = screen_of(), fitted.calibration_cells()
    scaffold = np.asarray(scaffolds(SMILES), object)
    rows = screen.targets.task(0).row
    own = cells.take(cells.task == 0)
    fit = fitted.fitted_.fits[0]
    for ring in np.unique(scaffold):
        out = scaffold[rows] == ring
        covariance = fitted.fitted_.training.covariance(fit.rows, fit.weights.kernel) + fitted.config.offset
        noisy = covariance + np.diag(fit.weights.noise * fit.noise)
        weights = np.linalg.solve(noisy[np.ix_(~out, ~out)], covariance[np.ix_(~out, out)])
        mean = fit.mean + fit.sd * (weights.T @ fit.y[~out])
        variance = np.diag(noisy)[out] - np.einsum("ij,ij->j", weights, covariance[np.ix_(~out, out)])
        np.testing.assert_allclose(own.mean[out], mean, rtol=1e-4)
        np.testing.assert_allclose(own.std[out], fit.calibration * fit.sd * np.sqrt(variance), rtol=1e-4)


def test_leaving_out_one_row_gives_the_leave_one_out_predictions():
    model = GaussianProcess(GaussianProcessConfig(leave_out="one", borrow=False)).fit(screen_of())
    mean, std = model.leave_one_out()
    cells, known = model.calibration_cells(), ~np.isnan(mean)
    order = np.lexsort((np.nonzero(known)[0], np.nonzero(known)[1]))
    np.testing.assert_array_equal(cells.mean, mean[known][order])
    np.testing.assert_array_equal(cells.std, std[known][order])


def test_saved_with_the_model(fitted, tmp_path):
    save_model(fitted, "gp", tmp_path)
    before, after = fitted.calibration_cells(), load_model(tmp_path).calibration_cells()
    for name, array in vars(before).items():
        np.testing.assert_array_equal(getattr(after, name), array)


def test_a_series_of_one_scaffold_is_calibrated_row_by_row():
    """Without its only scaffold every row would get the mean of none, and no label would ever look strange."""
    rng = np.random.default_rng(0)
    series = [f"{'C' * length}c1ccc({tail})cc1" for length in range(1, 13) for tail in ("F", "Cl", "Br", "O", "N")]
    conditions = pd.DataFrame({"smiles": series})
    label = (rng.random(len(series)) < 0.5).astype(float)[:, None]
    tasks = pd.DataFrame({"name": ["chance"], "kind": ["classification"]})
    model = GaussianProcess().fit(make_screen(conditions, label, tasks))
    cells, (held, _) = model.without_borrowing().calibration_cells(), model.leave_one_out()
    np.testing.assert_allclose(cells.mean, np.clip(held[:, 0], 0, 1), atol=1e-5)
