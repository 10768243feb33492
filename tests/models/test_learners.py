"""Programs of JAX and Keras as functions; skipped where these are not installed."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ConfigError, ModelError
from screenwise.models.adapter import Adapter, AdapterConfig
from screenwise.models.learners import Functions, Lesson, as_learner
from screenwise.screen import make_screen

MEMBERS = 4


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

    return Functions(fit, draws_function=draws, embed_function=embed)


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

    train_all = jax.jit(jax.vmap(train, (0, None, None)))

    def fit(x, y, seed):
        return train_all(jax.random.split(jax.random.key(seed), MEMBERS), x, y)

    draws = jax.jit(jax.vmap(apply, (0, None)))

    def embed(learned, x):
        return hidden(jax.tree.map(lambda weight: weight[0], learned), x)

    return Functions(fit, draws_function=draws, embed_function=embed)


def keras_program():
    """A functional model with one output per member, and a model that ends at its last hidden layer."""
    import keras  # noqa: PLC0415

    def fit(x, y, seed):
        keras.utils.set_random_seed(seed)
        start = keras.Input((x.shape[1],))
        last = keras.layers.Dense(24, activation="tanh")(start)
        model = keras.Model(start, keras.layers.Dense(MEMBERS)(last))
        model.compile(keras.optimizers.Adam(0.02), "mse")
        model.fit(x, np.repeat(y[:, None], MEMBERS, axis=1), epochs=30, batch_size=16, verbose=0)
        return model, keras.Model(start, last)

    def draws(learned, x):
        return learned[0].predict(x, verbose=0).T

    def embed(learned, x):
        return learned[1].predict(x, verbose=0)

    return Functions(fit, draws_function=draws, embed_function=embed)


def check(program):
    def fitted(seed):
        return Adapter(program, config=AdapterConfig(folds=2)).fit(screen().take(np.arange(60)), seed=seed)

    model = fitted(1)
    conditions = screen().conditions
    whole, part = model.predict(conditions), model.predict(conditions.iloc[70:].reset_index(drop=True))
    assert np.corrcoef(whole.mean[60:, 0], screen().targets.dense()[60:, 0])[0, 1] > 0.9
    assert whole.draws.shape == (MEMBERS, 80, 1)
    np.testing.assert_allclose(part.draws, whole.draws[:, 70:], rtol=1e-4, atol=1e-5)
    embedding = model.embed(conditions)
    assert embedding.shape in ((80, 24), (80, 16))
    np.testing.assert_allclose(model.embed(conditions.iloc[3:5]), embedding[3:5], rtol=1e-4, atol=1e-5)
    again = fitted(1).predict(conditions)
    np.testing.assert_allclose(again.draws, whole.draws, atol=1e-5)
    other = fitted(2).predict(conditions)
    assert not np.allclose(other.draws, whole.draws, atol=1e-5)


def test_a_program_is_a_model_with_draws_and_embedding():
    check(numpy_program())


@pytest.mark.parametrize("name", ["jax", "keras"])
def test_programs_of_other_libraries_are_models_too(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; `make test` installs it, and so does the dependency group frameworks")
    # a process of its own: JAX keeps threads that other tests' forks must not meet, and Keras seeds all of torch
    command, surroundings = [sys.executable, __file__, name], os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_prediction_of_its_own_the_mean_of_the_draws_is_one_and_draws_are_asked_for_once():
    asked = []

    def draws(learned, x):
        asked.append(len(x))
        return learned + np.arange(3.0)[:, None] * x[:, 0]

    program = Functions(lambda x, y, seed: seed, draws_function=draws)
    x = np.array([[1.0], [4.0]], np.float32)
    learned = program.fit(Lesson(x, np.zeros(2), seed=2**40 + 7))
    assert learned == 7  # libraries take seeds of 32 bits
    (mean, std), each = program.predict_draws(learned, x)
    assert (mean.tolist(), std, each.shape) == ([8.0, 11.0], None, (3, 2))
    assert program.predict(learned, x)[0].tolist() == [8.0, 11.0]
    assert asked == [2, 2]
    with pytest.raises(ConfigError, match="draws_function or both"):
        Functions(lambda x, y, seed: seed)


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


if __name__ == "__main__":
    check({"jax": jax_program, "keras": keras_program}[sys.argv[1]]())
