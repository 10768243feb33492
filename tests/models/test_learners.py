import numpy as np
import pytest
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from screenwise.errors import ModelError
from screenwise.models.learners import Estimator, Functions, Lesson, TorchNetwork, as_learner
from screenwise.train.loop import Training

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = X[:, 0].astype(float)


@pytest.mark.parametrize(
    ("estimator", "knows"),
    [
        (RandomForestRegressor(5), True),
        (BaggingRegressor(Ridge(), n_estimators=5), True),
        (GradientBoostingRegressor(n_estimators=5), False),
        (AdaBoostRegressor(n_estimators=5), False),
        (Ridge(), False),
        (make_pipeline(StandardScaler(), Ridge()), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_independent_members_say_how_sure_they_are(estimator, knows):
    learner = Estimator(estimator)
    mean, std = learner.predict(learner.fit(Lesson(X, Y)), X)
    assert mean.shape == (60,)
    assert (std is not None) == knows


def test_objects_that_only_fit_and_predict():
    class Keras:
        def fit(self, x, y):
            self.mean = y.mean()

        def predict(self, x):
            return np.full((len(x), 1), self.mean)

    original = Keras()
    learner = as_learner(original)
    mean, _ = learner.predict(learner.fit(Lesson(X, Y)), X)
    assert mean == pytest.approx(np.full(60, Y.mean()))
    assert not hasattr(original, "mean")


def test_what_takes_no_weights_says_so():
    class Plain:
        def fit(self, x, y):
            """Learn nothing."""

        def predict(self, x):
            return np.zeros(len(x))

    with pytest.raises(ModelError, match="takes no weights"):
        Estimator(Plain()).fit(Lesson(X, Y, weight=np.ones(60)))
    with pytest.raises(ModelError, match="take no weights"):
        Functions(lambda x, y, seed: None, lambda learned, x: x[:, 0]).fit(Lesson(X, Y, weight=np.ones(60)))


def test_things_that_are_no_model_are_refused():
    with pytest.raises(ModelError, match="fit"):
        as_learner(object())


def test_a_function_may_say_how_sure_it_is():
    learner = Functions(lambda x, y, seed: y.mean(), lambda mean, x: (np.full(len(x), mean), np.ones(len(x))))
    mean, std = learner.predict(learner.fit(Lesson(X, Y)), X)
    assert mean.shape == std.shape == (60,)


def test_torch_leaves_missing_cells_out():
    y = np.column_stack([Y, np.where(np.arange(60) < 30, Y, np.nan)])
    learner = TorchNetwork(nn.Linear, Training(epochs=150, batch_size=10, learning_rate=0.05))
    mean, _ = learner.predict(learner.fit(Lesson(X, y)), X)
    assert np.abs(mean - Y[:, None]).max() < 0.1
