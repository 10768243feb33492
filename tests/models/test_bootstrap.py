import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import BaggingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from screenwise.errors import ConfigError
from screenwise.models.adapter import Adapter
from screenwise.models.bootstrap import Bootstrap
from screenwise.models.learners import Functions, Lesson
from screenwise.screen import make_screen


def screen(kind="regression", n=120):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    value = x[:, 0] + 0.5 * rng.normal(size=n)
    value = value > 0 if kind == "classification" else value
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    return make_screen(conditions, value[:, None], pd.DataFrame({"name": ["up"], "kind": [kind]}))


def mean_of(mean, x):
    return np.full(len(x), mean)


THRICE = Functions(lambda x, y, seed: y.mean(), mean_of, draws_function=lambda mean, x: [mean_of(mean, x)] * 3)


def test_copies_scatter_as_the_estimates_do():
    found = Adapter(Bootstrap(LinearRegression(), 64)).fit(screen()).predict(screen().conditions)
    x = np.column_stack([np.ones(120), screen().conditions[["feature:a", "feature:b"]].to_numpy()])
    expected = 0.5 * np.sqrt(np.einsum("ij,jk,ik->i", x, np.linalg.inv(x.T @ x), x))  # of least squares, sigma 0.5
    assert np.median(found.draws[:, :, 0].std(axis=0) / expected) == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (Bootstrap(LinearRegression(), 5), "regression"),
        (Bootstrap(LogisticRegression(), 5), "classification"),
        (RandomForestRegressor(6), "regression"),
        (RandomForestClassifier(6), "classification"),
        (BaggingRegressor(LinearRegression(), 4, max_features=0.5), "regression"),
        (THRICE, "regression"),
    ],
)
def test_members_are_draws_the_same_on_any_chunk(estimator, kind):
    model = Adapter(estimator).fit(screen(kind), seed=2)
    whole = model.predict(screen(kind).conditions)
    np.testing.assert_allclose(model.predict(screen(kind).conditions.iloc[9:12]).draws, whole.draws[:, 9:12], rtol=1e-5)
    np.testing.assert_allclose(whole.draws.mean(axis=0), whole.mean, atol=1e-5)
    np.testing.assert_array_equal(
        Adapter(estimator).fit(screen(kind), seed=2).predict(screen(kind).conditions).draws, whole.draws
    )


def test_the_std_of_a_forest_holds_the_noise():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 2))
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(600)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    every = make_screen(conditions, (x[:, 0] + rng.normal(size=600))[:, None], ["up"])
    model = Adapter(RandomForestRegressor(30, min_samples_leaf=20)).fit(every.take(np.arange(300)))
    lower, upper = model.predict(conditions.iloc[300:]).interval()
    value = every.targets.dense()[300:]
    assert 0.85 < np.mean((lower <= value) & (value <= upper)) < 0.95


def test_members_of_a_forest_that_never_saw_class_one_say_zero():
    lopsided = make_screen(
        screen().conditions,
        (np.arange(120) < 2)[:, None].astype(float),
        pd.DataFrame({"name": ["up"], "kind": ["classification"]}),
    )
    draws = Adapter(RandomForestClassifier(20)).fit(lopsided).predict(lopsided.conditions).draws
    assert draws.min() == 0
    assert draws.max() <= 1


def test_weights_follow_their_rows():
    x = np.arange(10, dtype=np.float32)[:, None]
    seen = []

    class Keeps:
        joint = False

        def fit(self, lesson):
            seen.append(lesson)
            return 0.0

    Bootstrap(Keeps(), 2).fit(Lesson(x, x[:, 0].astype(float), x[:, 0].astype(float)))
    for lesson in seen:
        np.testing.assert_array_equal(lesson.weight, lesson.x[:, 0])
        np.testing.assert_array_equal(lesson.y, lesson.x[:, 0])
    assert not np.array_equal(seen[0].y, seen[1].y)
    with pytest.raises(ConfigError, match="at least 2"):
        Bootstrap(LinearRegression(), 1)
