"""Functions of torch that are run together: they are what they would be alone, on any chunk."""

import copy
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from screenwise.errors import ConfigError, ModelError
from screenwise.models import adapter
from screenwise.models.adapter import Adapter, AdapterConfig
from screenwise.models.learners import Lesson, TorchNetwork, TorchTable
from screenwise.models.torch_members import DropoutNetwork, StackedMembers, TorchEnsemble
from screenwise.screen import make_screen
from screenwise.train.loop import Job, Training, train

QUICK = Training(epochs=15, batch_size=16, learning_rate=0.02)


def small(d, t, drop=0.2):
    return nn.Sequential(nn.Linear(d, 16), nn.Tanh(), nn.Dropout(drop), nn.Linear(16, t))


def screen(n=90, kind="regression"):
    x = np.random.default_rng(0).normal(size=(n, 2))
    value = np.column_stack([x[:, 0], np.where(np.arange(n) % 3, -x[:, 1], np.nan)])
    value = np.where(np.isnan(value), np.nan, value > 0) if kind == "classification" else value
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    return make_screen(conditions, value, pd.DataFrame({"name": ["up", "down"], "kind": kind}))


LEARNERS = {"ensemble": partial(TorchEnsemble, small, 4, QUICK), "dropout": partial(DropoutNetwork, small, 6, QUICK)}


@pytest.fixture(scope="module", params=list(LEARNERS))
def learner(request):
    return LEARNERS[request.param]()


@pytest.fixture(scope="module")
def fitted(learner):
    return Adapter(learner).fit(screen(), seed=3)


def test_draws_on_chunks_are_the_draws_on_the_whole(fitted, monkeypatch):
    conditions = screen().conditions
    whole = fitted.predict(conditions)
    assert np.unique(np.round(whole.draws[:, 0, 0], 6)).size > 1
    for part in (np.arange(7), np.array([80]), np.random.default_rng(1).permutation(90)[:40]):
        asked = fitted.predict(conditions.iloc[part].reset_index(drop=True))
        np.testing.assert_allclose(asked.draws, whole.draws[:, part], rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(adapter, "CHUNK", 11)
    np.testing.assert_allclose(fitted.predict(conditions).draws, whole.draws, rtol=1e-4, atol=1e-5)


def test_the_seed_alone_decides_the_functions(learner, fitted):
    torch.manual_seed(77)
    again = Adapter(learner).fit(screen(), seed=3).predict(screen().conditions)
    other = Adapter(learner).fit(screen(), seed=4).predict(screen().conditions)
    np.testing.assert_array_equal(again.draws, fitted.predict(screen().conditions).draws)
    assert not np.array_equal(again.draws, other.draws)


def test_the_mean_is_that_of_the_draws_and_their_spread_is_in_the_std(fitted):
    found = fitted.predict(screen().conditions)
    np.testing.assert_allclose(found.mean, found.draws.mean(axis=0), atol=1e-5)
    variance = fitted.learned_.std**2 + found.draws.var(axis=0)
    floor = 0.1 * fitted.learned_.spread
    np.testing.assert_allclose(found.std, np.maximum(np.sqrt(variance), floor), rtol=1e-3)
    assert np.corrcoef(found.mean[:, 0], screen().targets.dense()[:, 0])[0, 1] > 0.9


def test_held_out_values_lie_in_the_intervals():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 2))
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(400)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    both = make_screen(conditions, (x[:, 0] + 0.3 * rng.normal(size=400))[:, None], ["up"])
    for learner in LEARNERS.values():
        lower, upper = Adapter(learner()).fit(both.take(np.arange(200))).predict(conditions.iloc[200:]).interval()
        value = both.targets.dense()[200:]
        assert 0.84 < np.mean((lower <= value) & (value <= upper)) < 0.99


def test_draws_of_classes_are_probabilities_and_can_be_left_out(learner):
    one = screen(kind="classification")
    draws = Adapter(learner).fit(one).predict(one.conditions).draws
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert Adapter(learner, config=AdapterConfig(draws=3)).fit(one).predict(one.conditions).draws.shape == (3, 90, 2)
    assert Adapter(learner, config=AdapterConfig(draws=0)).fit(one).predict(one.conditions).draws is None


def test_a_network_of_classes_learns_their_log_odds():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 2)).astype(np.float32)
    y = (rng.random(300) < 1 / (1 + np.exp(1.0 - 2 * x[:, 0]))).astype(float)
    network = TorchNetwork(nn.Linear, Training(epochs=300, batch_size=300, learning_rate=0.1), "cpu")
    mean, _ = network.predict(network.fit(Lesson(x, y[:, None], classes=True)), x)
    wanted = LogisticRegression(C=np.inf).fit(x, y).predict_proba(x)[:, 1]
    np.testing.assert_allclose(mean[:, 0], wanted, atol=0.01)


def test_draws_of_rare_classes_keep_to_probabilities_by_themselves(learner):
    x = np.random.default_rng(1).normal(size=(80, 2)).astype(np.float32)
    y = (x[:, :1] > 1.2).astype(float)
    draws = learner.predict_draws(learner.fit(Lesson(x, y, classes=True)), x)[1]
    assert 0 < draws.min() < draws.max() < 1
    assert abs(draws.mean() - y.mean()) < 0.1


def test_stacked_members_answer_as_each_does():
    modules = [small(3, 2).eval() for _ in range(5)]
    x = torch.randn(7, 3)
    with torch.no_grad():
        together = StackedMembers(modules).eval()(x)
        alone = torch.stack([one(x) for one in modules])
    torch.testing.assert_close(together, alone)


def test_members_learn_what_each_would_learn_alone():
    settings = Training(epochs=25, batch_size=64, learning_rate=0.02)  # one batch: the order of rows is no matter
    ensemble = TorchEnsemble(partial(small, drop=0.0), 3, settings, "cpu")
    one = screen(40)
    rows = one.conditions[["feature:a", "feature:b"]].to_numpy(np.float32)
    lesson = Lesson(rows, one.targets.dense().astype(float), seed=9)
    starts = [copy.deepcopy(ensemble._member(lesson, place)) for place in range(3)]
    together = ensemble.predict_draws(ensemble.fit(lesson), rows)[1]
    table = TorchTable.of(lesson, torch.device("cpu"))
    for place, network in enumerate(starts):

        def loss(some, network=network):
            picked = torch.from_numpy(some)
            return table.loss(network(table.x[picked]), picked) / len(some)

        train(Job(network, loss, rows=40), settings)
        with torch.no_grad():
            alone = table.units.back(network(table.x))
        np.testing.assert_allclose(together[place], alone, rtol=2e-3, atol=2e-3)


def test_masks_drop_whole_units_at_their_rate():
    network = DropoutNetwork(partial(small, drop=0.25), 400, Training(epochs=1))
    masks = network.fit(Lesson(np.ones((20, 2), np.float32), np.ones((20, 1))))[2]
    assert [tuple(mask.shape) for mask in masks.values()] == [(400, 16)]
    values, counts = np.unique(np.concatenate([mask.numpy().ravel() for mask in masks.values()]), return_counts=True)
    np.testing.assert_allclose(values, [0.0, 4 / 3])
    assert counts[0] / counts.sum() == pytest.approx(0.25, abs=0.03)


class Twice(nn.Module):
    def __init__(self, d, t):
        super().__init__()
        self.drop, self.first, self.last = nn.Dropout(0.1), nn.Linear(d, 8), nn.Linear(8, t)

    def forward(self, x):
        return self.last(self.drop(self.first(self.drop(x))))


def test_what_cannot_be_a_function_is_refused():
    lesson = Lesson(np.ones((8, 2), np.float32), np.ones((8, 1)))
    with pytest.raises(ModelError, match="LayerNorm"):
        TorchEnsemble(lambda d, t: nn.Sequential(nn.Linear(d, t), nn.BatchNorm1d(t))).fit(lesson)
    with pytest.raises(ModelError, match="TorchEnsemble"):
        DropoutNetwork(nn.Linear).fit(lesson)
    with pytest.raises(ModelError, match="each layer its own"):
        DropoutNetwork(Twice, training=QUICK).fit(lesson)
    with pytest.raises(ConfigError, match="at least 2"):
        TorchEnsemble(nn.Linear, members=1)
