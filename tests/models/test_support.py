import numpy as np
import pytest
from sklearn.svm import SVR

from screenwise.models import support
from screenwise.models.learners import Lesson
from screenwise.models.support import SupportLearner


@pytest.mark.parametrize("whole", [0, 10_000])
def test_it_is_the_machine_of_scikit_learn(monkeypatch, whole):
    monkeypatch.setattr(support, "WHOLE_KERNEL_ROWS", whole)
    rng = np.random.default_rng(0)
    x = (rng.random((200, 64)) < 0.2).astype(np.float32)
    y = x[:, :5].sum(axis=1) + rng.normal(0, 0.1, 200)
    learner = SupportLearner({"": 10.0, "other": 1.0}, 0.05, 0.1)
    for task, cost in (("", 10.0), ("other", 1.0), ("unknown", 10.0)):
        mean, std = learner.predict(learner.fit(Lesson(x[:150], y[:150], task=task)), x[150:])
        theirs = SVR(C=cost, gamma=0.05, epsilon=0.1).fit(x[:150], y[:150]).predict(x[150:])
        np.testing.assert_allclose(mean, theirs, atol=2e-3)
        assert std is None


def test_without_support_vectors_it_is_a_constant():
    learner = SupportLearner({"": 1.0}, 0.1, 10.0)
    mean, _ = learner.predict(learner.fit(Lesson(np.eye(3, dtype=np.float32), np.array([1.0, 1.1, 0.9]))), np.eye(3))
    assert len(set(mean.tolist())) == 1
