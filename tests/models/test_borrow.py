import numpy as np
import pytest

from screenwise.models.borrow import MOST_KNOWN, borrow, group_residuals, learn_borrowing, residual_correlation


def test_shift_is_that_of_a_joint_normal():
    """Four tasks, three known on one condition: conditional mean and variance by hand."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    covariance = root @ root.T + np.eye(4)
    size = np.sqrt(np.diag(covariance))
    joint = covariance / np.outer(size, size)
    u = rng.normal(size=3)
    cells = group_residuals(np.zeros(3, int), np.array([0, 1, 3]), u, 1)
    shift, factor = borrow(cells, joint, np.array([0]), np.array([2]))
    others = [0, 1, 3]
    weight = joint[2, others] @ np.linalg.inv(joint[np.ix_(others, others)])
    assert shift[0] == pytest.approx(weight @ u)
    assert factor[0] ** 2 == pytest.approx(1 - weight @ joint[others, 2])


def test_the_cell_itself_is_never_used():
    joint = np.array([[1.0, 0.5], [0.5, 1.0]])
    with_own = group_residuals(np.array([0, 0]), np.array([0, 1]), np.array([9.0, 1.0]), 1)
    without = group_residuals(np.array([0]), np.array([1]), np.array([1.0]), 1)
    asked = np.array([0]), np.array([0])
    assert borrow(with_own, joint, *asked)[0] == borrow(without, joint, *asked)[0] == 0.5


def test_correlation_is_found_shrunk_and_positive_definite():
    rng = np.random.default_rng(1)
    joint = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    u = rng.multivariate_normal(np.zeros(3), joint, 2000)
    cells = group_residuals(np.repeat(np.arange(2000), 3), np.tile(np.arange(3), 2000), u.ravel(), 2000)
    np.testing.assert_allclose(residual_correlation(cells, 3), joint, atol=0.05)
    few = group_residuals(np.repeat(np.arange(5), 2), np.tile([0, 1], 5), np.ones(10), 5)
    assert residual_correlation(few, 2)[0, 1] == pytest.approx(5 / 25)
    assert residual_correlation(few, 4)[2, 3] == 0.0
    many = np.tile(rng.normal(size=(50, 1)), 6)
    dense = group_residuals(np.repeat(np.arange(50), 6), np.tile(np.arange(6), 50), many.ravel(), 50)
    assert np.linalg.eigvalsh(residual_correlation(dense, 6)).min() > 0.03


def test_borrowing_gains_where_residuals_go_together():
    rng = np.random.default_rng(2)
    u = rng.multivariate_normal(np.zeros(2), [[1, 0.9], [0.9, 1]], 400)
    train = group_residuals(np.repeat(np.arange(400), 2), np.tile([0, 1], 400), u.ravel(), 400)
    shift, factor = borrow(train, residual_correlation(train, 2), np.arange(400), np.zeros(400, int))
    assert np.std(u[:, 0] - shift) < 0.5
    assert factor.max() < 0.55


def test_many_known_tasks_use_the_most_correlated():
    tasks = MOST_KNOWN + 10
    joint = np.eye(tasks)
    joint[0, -1] = joint[-1, 0] = 0.7
    cells = group_residuals(np.zeros(tasks - 1, int), np.arange(1, tasks), np.ones(tasks - 1), 1)
    shift, _ = borrow(cells, joint, np.array([0]), np.array([0]))
    assert shift[0] == pytest.approx(0.7)


def test_conditions_are_found_by_id_and_unknown_ones_left_alone():
    ids = np.array(["b", "a", "b"])
    known = learn_borrowing(ids, np.arange(3), np.array([0, 0, 1]), np.array([0.3, np.nan, 1.0]), 2)
    code = known.codes(np.array(["a", "b", "c"]))
    assert code.tolist() == [1, 0, -1]
    assert known.measured(code, np.zeros(3, int)).tolist() == [False, True, False]
    mean, std = known.correct(np.array([-1]), np.array([0]), np.array([2.0]), np.array([0.5]))
    assert (mean[0], std[0]) == (2.0, 0.5)


def test_nothing_known_at_all():
    empty = group_residuals(np.zeros(0, int), np.zeros(0, int), np.zeros(0), 3)
    shift, factor = borrow(empty, np.eye(2), np.array([0, 1]), np.array([0, 1]))
    assert not shift.any()
    assert (factor == 1).all()
