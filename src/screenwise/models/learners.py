"""Other libraries' estimators as learners of one task (or of all at once): fit on numbers, predict numbers."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from screenwise.errors import ConfigError, ModelError
from screenwise.rng import derive_seed
from screenwise.train.device import choose_device, seeded
from screenwise.train.loop import Job, Training, train

Numbers = NDArray[np.float32]
MOST_DRAWS = 64
"""Members of a scikit-learn ensemble whose answers are kept as draws; always the first ones."""
Answer = tuple[NDArray[np.float64], NDArray[np.float64] | None]
"""Mean and standard deviation; None = the learner does not know how sure it is."""


@dataclass(frozen=True)
class Lesson:
    """What a learner is given."""

    x: Numbers
    """(m, d) inputs."""
    y: NDArray[np.float64]
    """(m,) values of one task; (m, t) with NaN where not measured, for a joint learner."""
    weight: NDArray[np.float64] | None = None
    """(m,) weights of rows."""
    classes: bool = False
    """Whether the values are classes 0 and 1, those of all tasks of a joint learner."""
    task: str = ""
    """Name of the task."""
    seed: int = 0


class Learner(Protocol):
    """Fits one task at a time, or all together if `joint`."""

    @property
    def joint(self) -> bool:
        """Whether all tasks are learned together."""
        ...

    def fit(self, lesson: Lesson) -> Any:
        """Return what was learned."""
        ...

    def predict(self, learned: Any, x: Numbers) -> Answer:
        """Return mean and std, (n,) each, or (n, t) of a joint learner."""
        ...


@runtime_checkable
class DrawsFunctions(Protocol):
    """A learner that knows several functions which the data allow."""

    def predict_draws(self, learned: Any, x: Numbers) -> "tuple[Answer, NDArray[Any] | None]":
        """Return what `predict` does, and (s, n) draws, (s, n, t) of a joint learner; None = this one knows none.

        Draw s is one function, whatever rows are asked.
        """
        ...


@runtime_checkable
class EmbedsNumbers(Protocol):
    """A learner that makes numbers of its own of what it reads."""

    def embed(self, learned: Any, x: Numbers) -> NDArray[Any] | None:
        """Return (n, h) numbers; None = none but its inputs."""
        ...


@dataclass(frozen=True)
class Estimator:
    """Any object with scikit-learn's ``fit`` and ``predict``; each task gets a fresh copy.

    The standard deviation is that of ``predict(X, return_std=True)`` if there is one, else unknown. A
    classifier's mean is ``predict_proba`` of class 1. Draws are the first `MOST_DRAWS` of ``estimators_``,
    where each answers the whole question (forests, bagging).

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> ridge = Estimator(Ridge(alpha=1e-6))
    >>> x = np.arange(4, dtype=np.float32)[:, None]
    >>> mean, std = ridge.predict(ridge.fit(Lesson(x, 2.0 * x[:, 0])), x)
    >>> mean.round(3).tolist(), std
    ([0.0, 2.0, 4.0, 6.0], None)
    """

    estimator: Any
    joint: bool = False

    def fit(self, lesson: Lesson) -> Any:
        """Return a fitted copy, its random numbers seeded."""
        from sklearn.base import clone, is_classifier  # noqa: PLC0415 - slow to import
        from sklearn.dummy import DummyClassifier  # noqa: PLC0415
        from sklearn.utils.validation import has_fit_parameter  # noqa: PLC0415

        known = hasattr(self.estimator, "get_params")
        fresh = clone(self.estimator) if known else copy.deepcopy(self.estimator)
        if known:
            names = [name for name in fresh.get_params() if name.split("__")[-1] == "random_state"]
            fresh.set_params(**{name: derive_seed(lesson.seed, name) % 2**32 for name in names})
        y = lesson.y.astype(np.int64) if known and is_classifier(fresh) else lesson.y
        if known and is_classifier(fresh) and len(np.unique(y)) == 1:
            fresh = DummyClassifier(strategy="most_frequent")  # most classifiers refuse a single class
        if lesson.weight is None:
            fresh.fit(lesson.x, y)
            return fresh
        if not has_fit_parameter(fresh, "sample_weight"):
            message = (
                f"{type(fresh).__name__}.fit takes no weights, and the screen has some. Take another or drop them."
            )
            raise ModelError(message)
        fresh.fit(lesson.x, y, sample_weight=lesson.weight)
        return fresh

    def predict(self, learned: Any, x: Numbers) -> Answer:
        """Return what the fitted copy says of (n, d) inputs."""
        if hasattr(learned, "predict_proba"):
            chances = np.asarray(learned.predict_proba(x), np.float64)
            classes = list(learned.classes_)
            return (chances[:, classes.index(1)] if 1 in classes else np.zeros(len(x))), None
        if "return_std" in inspect.signature(learned.predict).parameters:
            mean, std = learned.predict(x, return_std=True)
            return _flat(mean), _flat(std)
        return _flat(learned.predict(x)), None

    def predict_draws(self, learned: Any, x: Numbers) -> tuple[Answer, NDArray[np.float64] | None]:
        """Return what the fitted copy says, and its members; probabilities of class 1 from classifiers."""
        answer, members = self.predict(learned, x), _members(learned)[:MOST_DRAWS]
        if not members or answer[1] is not None:
            return answer, None
        if hasattr(learned, "predict_proba"):
            return answer, np.stack([_chance(learned, one, x[:, own]) for one, own in members])
        # how far members lie apart says nothing of noise: the adapter adds what held-out rows show
        return answer, np.stack([_flat(one.predict(x[:, own])) for one, own in members])


def _members(learned: Any) -> list[tuple[Any, Any]]:
    """Return members that each answer the whole question, with their columns; those of boosting add up."""
    if hasattr(learned, "learning_rate"):
        return []
    members = [
        one for one in np.ravel(np.asarray(getattr(learned, "estimators_", []), object)) if hasattr(one, "predict")
    ]
    columns = getattr(learned, "estimators_features_", [slice(None)] * len(members))
    return list(zip(members, columns, strict=True)) if len(members) > 1 else []


def _chance(learned: Any, member: Any, x: Numbers) -> NDArray[np.float64]:
    """Return a member's probability of class 1; members number the classes of the whole, and may lack some."""
    number = list(learned.classes_).index(1) if 1 in learned.classes_ else -1
    there = [int(one) for one in member.classes_]
    chances = np.asarray(member.predict_proba(x), np.float64)
    return chances[:, there.index(number)] if number in there else np.zeros(len(x))


@dataclass(frozen=True)
class Functions:
    """A program as functions, as those of JAX and Keras are: fit, and predict or draws.

    Examples
    --------
    >>> line = Functions(lambda x, y, seed: np.linalg.lstsq(x, y)[0], lambda w, x: x @ w)
    >>> x = np.arange(1, 4, dtype=np.float32)[:, None]
    >>> line.predict(line.fit(Lesson(x, 2.0 * x[:, 0])), x)[0].round(3).tolist()
    [2.0, 4.0, 6.0]
    """

    fit_function: Callable[[Numbers, NDArray[np.float64], int], Any]
    """``fit(X (m, d), y (m,), seed) -> learned``, y (m, t) with NaN if `joint`; the seed is below 2**32, so that
    any library takes it."""
    predict_function: Callable[[Any, Numbers], Any] | None = None
    """``predict(learned, X (n, d)) -> (n,)``, or a pair of mean and standard deviation; None = the mean of draws."""
    joint: bool = False
    draws_function: Callable[[Any, Numbers], Any] | None = None
    """``draws(learned, X) -> (s, n)``, (s, n, t) if `joint`: members of an ensemble, the same for any rows."""
    embed_function: Callable[[Any, Numbers], Any] | None = None
    """``embed(learned, X) -> (n, h)``: what the last layer reads."""

    def __post_init__(self) -> None:
        if self.predict_function is None and self.draws_function is None:
            message = "Functions that only fit cannot predict; give predict_function, draws_function or both."
            raise ConfigError(message)

    def fit(self, lesson: Lesson) -> Any:
        """Call the first function."""
        if lesson.weight is not None:
            message = "Functions take no weights, and the screen has some. Drop them, or give an object with fit."
            raise ModelError(message)
        return self.fit_function(lesson.x, lesson.y, lesson.seed % 2**32)

    def predict(self, learned: Any, x: Numbers) -> Answer:
        """Call the second function, or return the mean of the draws."""
        return self._answer(learned, x, self._draws(learned, x) if self.predict_function is None else None)

    def predict_draws(self, learned: Any, x: Numbers) -> tuple[Answer, NDArray[np.float32] | None]:
        """Return what `predict` does and the draws, if there are such, which are asked for once."""
        each = self._draws(learned, x)
        return self._answer(learned, x, each), each

    def embed(self, learned: Any, x: Numbers) -> NDArray[np.float32] | None:
        """Call the function of the embedding, if there is one."""
        return None if self.embed_function is None else np.asarray(self.embed_function(learned, x), np.float32)

    def _draws(self, learned: Any, x: Numbers) -> NDArray[np.float32] | None:
        return None if self.draws_function is None else np.asarray(self.draws_function(learned, x), np.float32)

    def _answer(self, learned: Any, x: Numbers, each: NDArray[np.float32] | None) -> Answer:
        if self.predict_function is None:
            return np.asarray(each, np.float64).mean(axis=0), None
        answer = self.predict_function(learned, x)
        mean, std = answer if isinstance(answer, tuple) else (answer, None)
        return self._shaped(mean), None if std is None else self._shaped(std)

    def _shaped(self, array: Any) -> NDArray[np.float64]:
        return np.asarray(array, np.float64) if self.joint else _flat(array)


@dataclass(frozen=True)
class Units:
    """From what a network gives to the units of the tasks."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    """(t,) each."""
    classes: bool = False
    """Whether a network gives log odds of classes."""

    def back(self, output: torch.Tensor) -> NDArray[np.float64]:
        """Return (..., t) values, or probabilities of class 1."""
        if self.classes:
            return torch.sigmoid(output).cpu().numpy().astype(np.float64)
        return output.cpu().numpy() * self.scale + self.centre


@dataclass(frozen=True)
class TorchTable:
    """A joint lesson as tensors, values standardised unless they are classes."""

    x: torch.Tensor
    """(m, d)"""
    y: torch.Tensor
    """(m, t) 0 where not measured."""
    weight: torch.Tensor
    """(m, t) 0 where not measured."""
    units: Units

    @classmethod
    def of(cls, lesson: Lesson, device: torch.device) -> "TorchTable":
        """Standardise a lesson and move it to a device."""
        measured = ~np.isnan(lesson.y)
        centre, scale = np.zeros(lesson.y.shape[1]), np.ones(lesson.y.shape[1])
        if not lesson.classes:
            count = np.maximum(measured.sum(axis=0), 1)
            centre = np.where(measured, lesson.y, 0).sum(axis=0) / count
            scale = np.sqrt(np.where(measured, (lesson.y - centre) ** 2, 0).sum(axis=0) / count)
            scale = np.where(scale > 0, scale, 1.0)
        x = torch.from_numpy(np.ascontiguousarray(lesson.x)).to(device)
        y = torch.from_numpy(np.nan_to_num((lesson.y - centre) / scale).astype(np.float32)).to(device)
        weight = measured if lesson.weight is None else measured * lesson.weight[:, None]
        weights = torch.from_numpy(weight.astype(np.float32)).to(device)
        return cls(x, y, weights, Units(centre, scale, lesson.classes))

    def loss(self, output: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the summed error of (..., b, t) outputs for some rows, (b,) or (..., b): squared, of classes log."""
        if self.units.classes:
            each = nn.functional.binary_cross_entropy_with_logits(output, self.y[rows], reduction="none")
        else:
            each = (output - self.y[rows]).square()
        return (each * self.weight[rows]).sum()


@dataclass(frozen=True)
class TorchNetwork:
    """A torch module over dense inputs, one output per task, trained by `screenwise.train.loop`.

    Targets are standardised; the loss is the squared error of measured cells, and the log loss where all tasks are
    classes, whose log odds the module then gives.

    Examples
    --------
    >>> network = TorchNetwork(nn.Linear, Training(epochs=100, batch_size=4, learning_rate=0.05))
    >>> x = np.linspace(-1, 1, 16, dtype=np.float32)[:, None]
    >>> mean, _ = network.predict(network.fit(Lesson(x, 3.0 * x.astype(float))), x)
    >>> bool(np.abs(mean - 3 * x).max() < 0.1)
    True
    """

    build: Callable[[int, int], nn.Module]
    """``build(d, t)`` returns a new module from (b, d) to (b, t)."""
    training: Training = Training()  # noqa: RUF009 - frozen, so that one default serves all
    device: str = "auto"
    joint: bool = True

    def fit(self, lesson: Lesson) -> Any:
        """Build a module and train it on all tasks."""
        device = choose_device(self.device)
        table = TorchTable.of(lesson, device)
        with seeded(lesson.seed, torch.device("cpu")):
            network = self.build(lesson.x.shape[1], lesson.y.shape[1]).to(device)

        def loss(rows: NDArray[np.int64]) -> torch.Tensor:
            some = torch.from_numpy(rows).to(device)
            return table.loss(network(table.x[some]), some) / len(rows)

        train(Job(network, loss, rows=len(table.x)), self.training, seed=lesson.seed)
        return network, table.units

    def predict(self, learned: Any, x: Numbers) -> Answer:
        """Return (n, t) outputs in the units of the tasks."""
        network, units = learned
        device = choose_device(self.device)
        with torch.no_grad():
            return units.back(network(torch.from_numpy(np.ascontiguousarray(x)).to(device))), None


def as_learner(thing: Any) -> Learner:
    """Return a learner: what is one already, or an estimator with ``fit`` and ``predict``."""
    if isinstance(thing, Functions | TorchNetwork | Estimator) or hasattr(thing, "joint"):
        return thing
    if not (callable(getattr(thing, "fit", None)) and callable(getattr(thing, "predict", None))):
        message = f"A {type(thing).__name__} has no fit and predict. Give an estimator, Functions or a TorchNetwork."
        raise ModelError(message)
    return Estimator(thing)


def check_answer(answer: Answer, who: str, task: str) -> None:
    """Raise where a learner answers no number; what it was asked could be read, so the fault is its own."""
    mean, std = answer
    bad = ~np.isfinite(mean if std is None else mean + std)
    if bad.any():
        message = (
            f"{who} answers NaN or infinity for {bad.sum()} of {len(bad)} conditions of {task}. If its training "
            "diverged, lower the learning rate; else look at what it makes of its inputs."
        )
        raise ModelError(message)


def _flat(array: Any) -> NDArray[np.float64]:
    """Estimators of one output answer (n,) or (n, 1)."""
    found = np.asarray(array, np.float64)
    return found.reshape(len(found)) if found.ndim > 1 and found.size == len(found) else found
