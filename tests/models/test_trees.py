import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from screenwise.models.learners import Lesson
from screenwise.models.trees import ForestLearner, flatten_trees


def data(n=400, d=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (n, d)).astype(np.float32) + rng.choice([0, 0.1], (n, d)).astype(np.float32)
    return x, x[:, 0] - x[:, 1] + rng.normal(0, 0.5, n)


def test_flat_trees_answer_exactly_as_scikit_learn():
    x, y = data()
    forest = RandomForestRegressor(20, random_state=0).fit(x, y)
    each = flatten_trees(forest).each(x)
    np.testing.assert_array_equal(each, np.stack([tree.predict(x) for tree in forest.estimators_], axis=1))


def test_flat_classifiers_answer_probabilities():
    x, y = data()
    forest = RandomForestClassifier(20, max_depth=4, random_state=0).fit(x, (y > 0).astype(int))
    np.testing.assert_allclose(flatten_trees(forest).each(x).mean(axis=1), forest.predict_proba(x)[:, 1], atol=1e-12)
    constant = RandomForestClassifier(3, random_state=0).fit(x, np.zeros(len(x), int))
    assert (flatten_trees(constant).each(x) == 0).all()


def test_intervals_hold_what_they_say_on_new_rows():
    x, y = data(1500)
    learner = ForestLearner(100, 0.5, 1, jobs=1)
    learned = learner.fit(Lesson(x[:1000], y[:1000]))
    mean, std = learner.predict(learned, x[1000:])
    assert (np.abs(mean - y[1000:]) < 1.645 * std).mean() == pytest.approx(0.9, abs=0.04)
