"""Programs of JAX and Keras as pairs of functions; skipped where these are not installed."""

import importlib.util
import os

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ModelError
from screenwise.models.adapter import Adapter
from screenwise.models.learners import Functions, as_learner
from screenwise.screen import make_screen

MEMBERS = 4
# theirs, of their own dependencies
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def screen(n=80):
    x = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    return make_screen(conditions, x[:, :1] - 0.5 * x[:, 1:], ["growth"])


def numpy_program():
    """Random features and least squares, one set per member."""

    def features(weights, x):
        return np.tanh(np.einsum("nd,sdh->snh", x, weights))

    def fit(x, y, seed):
        weights = np.random.default_rng(seed).normal(size=(MEMBERS, x.shape[1], 24))
        return weights, np.stack([np.linalg.lstsq(one, y, rcond=None)[0] for one in features(weights, x)])

    def draws(learned, x):
        return np.einsum("snh,sh->sn", features(learned[0], x), learned[1])

    def embed(learned, x):
        return features(learned[0], x)[0]

    return Functions(fit, lambda learned, x: draws(learned, x).mean(axis=0), False, draws, embed)


def jax_program():
    """A small network: `apply` and parameters, members in one `vmap`."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    def hidden(parameters, x):
        return jnp.tanh(x @ parameters["first"])

    def apply(parameters, x):
        return hidden(parameters, x) @ parameters["last"]

    def start(key):
        one, two = jax.random.split(key)
        return {"first": jax.random.normal(one, (2, 16)), "last": jax.random.normal(two, (16,)) / 4}

    def train(key, x, y):
        step = jax.grad(lambda parameters: jnp.mean((apply(parameters, x) - y) ** 2))

        def descend(_, parameters):
            return jax.tree.map(lambda weight, slope: weight - 0.1 * slope, parameters, step(parameters))

        return jax.lax.fori_loop(0, 300, descend, start(key))

    def fit(x, y, seed):
        keys = jax.random.split(jax.random.key(seed % 2**32), MEMBERS)
        return jax.vmap(train, (0, None, None))(keys, x, y)

    def draws(learned, x):
        return jax.vmap(apply, (0, None))(learned, x)

    def embed(learned, x):
        return hidden(jax.tree.map(lambda weight: weight[0], learned), x)

    return Functions(fit, lambda learned, x: draws(learned, x).mean(axis=0), False, draws, embed)


def keras_program():
    """A functional model with one output per member, and a model that ends at its last hidden layer."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras  # noqa: PLC0415

    def fit(x, y, seed):
        keras.utils.set_random_seed(seed % 2**32)
        start = keras.Input((x.shape[1],))
        last = keras.layers.Dense(24, activation="tanh")(start)
        model = keras.Model(start, keras.layers.Dense(MEMBERS)(last))
        model.compile(keras.optimizers.Adam(0.02), "mse")
        model.fit(x, np.repeat(y[:, None], MEMBERS, axis=1), epochs=40, batch_size=16, verbose=0)
        return model, keras.Model(start, last)

    def draws(learned, x):
        return learned[0].predict(x, verbose=0).T

    def embed(learned, x):
        return learned[1].predict(x, verbose=0)

    return Functions(fit, lambda learned, x: draws(learned, x).mean(axis=0), False, draws, embed)


def skip_without(name):
    missing = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not installed, and no extra asks for it: pip install {name}")


@pytest.mark.parametrize(
    "make",
    [
        numpy_program,
        pytest.param(jax_program, marks=skip_without("jax")),
        pytest.param(keras_program, marks=skip_without("keras")),
    ],
)
def test_a_program_is_a_model_with_draws_and_embedding(make):
    model = Adapter(make()).fit(screen().take(np.arange(60)), seed=1)
    conditions = screen().conditions
    whole, part = model.predict(conditions), model.predict(conditions.iloc[70:].reset_index(drop=True))
    assert np.corrcoef(whole.mean[60:, 0], screen().targets.dense()[60:, 0])[0, 1] > 0.9
    assert whole.draws.shape == (MEMBERS, 80, 1)
    np.testing.assert_allclose(part.draws, whole.draws[:, 70:], rtol=1e-4, atol=1e-5)
    embedding = model.embed(conditions)
    assert embedding.shape in ((80, 24), (80, 16))
    np.testing.assert_allclose(model.embed(conditions.iloc[3:5]), embedding[3:5], rtol=1e-4, atol=1e-5)
    again = Adapter(make()).fit(screen().take(np.arange(60)), seed=1).predict(conditions)
    np.testing.assert_allclose(again.draws, whole.draws, atol=1e-5)
    other = Adapter(make()).fit(screen().take(np.arange(60)), seed=2).predict(conditions)
    assert not np.allclose(other.draws, whole.draws, atol=1e-5)


def test_without_own_numbers_the_inputs_are_the_embedding():
    holes = screen().conditions.copy()
    holes.loc[2, "feature:a"] = np.nan
    model = Adapter(Functions(lambda x, y, seed: 0.0, lambda learned, x: np.zeros(len(x)))).fit(screen())
    embedding = model.embed(holes)
    assert embedding.shape == (80, 2)
    assert np.flatnonzero(np.isnan(embedding).any(axis=1)).tolist() == [2]
    np.testing.assert_allclose(np.nanstd(model.embed(screen().conditions), axis=0), 1.0, rtol=1e-5)
    assert model.predict(holes).draws is None


def test_what_is_no_learner_is_said():
    with pytest.raises(ModelError, match="no fit and predict"):
        as_learner(object())
