"""Other libraries' models as a `Model`: scikit-learn estimators, torch modules, JAX and Keras functions.

`Forest` and `SupportVector` are two of them with their settings, and can be saved: as arrays, without pickle.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.config import from_mapping, to_mapping
from screenwise.errors import ConfigError, ModelError
from screenwise.models.feature_store import part_of, read_arrays
from screenwise.models.inputs import CHUNK, Given, Inputs, dense_chunks
from screenwise.models.learners import (
    MOST_DRAWS,
    Answer,
    DrawsFunctions,
    EmbedsNumbers,
    Learner,
    Lesson,
    as_learner,
    check_answer,
)
from screenwise.models.measured import Measured, cell_std, measured, missing_note, unexplained_std
from screenwise.models.neighbourhood import Neighbourhood
from screenwise.models.support import SupportLearner
from screenwise.models.trees import ForestLearner
from screenwise.prediction import Prediction
from screenwise.protocols import Representation
from screenwise.represent.fingerprint import Fingerprint
from screenwise.rng import derive_seed, stream
from screenwise.run import Run, atomic_path, read_json, write_json
from screenwise.screen import EXACT, Screen

COUNTS = Fingerprint("morgan", radius=2, fold=2048)
"""What an estimator reads of compounds when nothing else is said: ECFP4 counts."""
LEAST_SPREAD = 0.1
"""Least std of a prediction, as a share of the task's spread: trees may agree, measurements never do."""


@dataclass(frozen=True)
class AdapterConfig:
    """Settings of an adapted estimator that does not know how sure it is."""

    folds: int = 5
    """Parts of a task's rows, held out in turn to learn the spread of errors."""
    held_out_rows: int = 200
    """Enough held-out rows: no further part is held out once so many were."""
    bounds: str = "value"
    """What "<5" means to an estimator that knows no bounds: "value" (5), or "drop" (no measurement)."""
    draws: int = 64
    """Most functions of an ensemble that `Prediction.draws` holds, always the first ones; 0 = none."""

    def __post_init__(self) -> None:
        if self.bounds not in ("value", "drop") or self.folds < 2:  # noqa: PLR2004
            message = (
                f'Adapter: bounds is {self.bounds!r} and folds {self.folds}; they must be "value" or "drop", and >= 2.'
            )
            raise ConfigError(message)


@dataclass(frozen=True)
class Learned:
    """What `Adapter.fit` learned."""

    tasks: pd.DataFrame
    """(t,) name, kind."""
    inputs: Inputs | Given
    spread: NDArray[np.float64]
    """(t,) standard deviation of a task's values."""
    std: NDArray[np.float64]
    """(t,) spread of held-out errors beyond that of draws; NaN where the learner itself says how sure it is."""
    parts: dict[int, Any]
    """Task -> what was learned of it; of a joint learner the same for all measured tasks."""
    domain: Neighbourhood


class Adapter:
    """An estimator, torch module or program of functions as a model of a whole screen.

    Parameters
    ----------
    estimator
        Anything with scikit-learn's ``fit`` and ``predict``, or a learner: `screenwise.models.learners.Functions`
        (JAX, Keras) and `TorchNetwork`, `screenwise.models.torch_members.TorchEnsemble` and `DropoutNetwork`,
        `screenwise.models.bootstrap.Bootstrap` of any of them. See `screenwise.models.joint` for joint posteriors.
    representation
        What it reads, dense; None = ECFP4 counts of ``smiles`` folded to 2,048 and numbers ``feature:<name>``.
    config
        How it learns the spread of its errors.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene": ["A", "B", "C"], "feature:x": [1.0, 2.0, 3.0]})
    >>> screen = make_screen(genes, np.array([[1.0], [2.0], [3.0]]), ["growth"])
    >>> Adapter(LinearRegression()).fit(screen).predict(genes).mean.round(2).ravel().tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(
        self, estimator: Any, representation: Representation | None = None, config: AdapterConfig | None = None
    ) -> None:
        self.learner: Learner = as_learner(estimator)
        self.settings = config or AdapterConfig()
        self.inputs: Inputs | Given = Given(representation)
        if representation is None or isinstance(representation, Fingerprint):
            self.inputs = Inputs(representation or COUNTS)
        self.learned_: Learned | None = None

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Fit each task on its measured rows, or all at once where the learner is joint."""
        if self.settings.bounds == "drop":
            screen = screen.where(screen.targets.cells().relation == EXACT)
        inputs = self.inputs.fit(screen.conditions)
        rows = inputs.transform(screen.conditions)
        screen = screen.take(rows.readable)
        data = measured(screen)
        x, weight = rows.x[rows.readable], screen.targets.weight
        std = np.full(len(data.tasks), np.nan)
        spread = np.full(len(data.tasks), np.nan)
        spread[list(data.rows)] = [one.std() or data.spread for one in data.value.values()]
        if self.learner.joint:
            parts = self._fit_joint(screen, data, x, std, seed)
        else:
            parts = {}
            for done, (task, mine) in enumerate(data.rows.items()):
                lesson = Lesson(
                    x[mine].toarray(),
                    data.value[task],
                    None if weight is None else weight[mine].astype(np.float64),
                    data.tasks["kind"][task] == "classification",
                    str(data.tasks["name"][task]),
                    derive_seed(seed, "adapter", task),
                )
                parts[task] = self.learner.fit(lesson)
                std[task] = self._held_out_std(lesson, parts[task], data.spread)
                if run is not None and run.progress is not None:
                    run.progress("fitting tasks", done + 1, len(data.rows))
        self.learned_ = Learned(data.tasks, inputs, spread, std, parts, Neighbourhood(screen, seed=seed))
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks, in chunks."""
        learned = self._state()
        rows = learned.inputs.transform(conditions)
        shape = (len(conditions), len(learned.tasks))
        mean, std = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        draws: NDArray[np.float32] | None = None
        for part, x in dense_chunks(rows):
            for task, answer, each in self._answers(x, list(learned.parts)):
                mean[part, task], std[part, task] = self._finish(task, answer, each)
                if each is not None:
                    if draws is None:
                        draws = np.full((min(len(each), self.settings.draws), *shape), np.nan, np.float32)
                    draws[:, part, task] = self._kept(each, task)
        there = missing_note(learned.tasks, set(learned.parts))
        note = np.where(rows.readable, there, rows.note).astype(object)
        return Prediction(mean, std, draws, learned.domain.inside(conditions), note)

    def embed(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, h): what the learner makes of its inputs, else the inputs themselves; NaN where unreadable.

        Dense: 2,048 folded substructures of 100,000 compounds take 0.8 GB.
        """
        learned = self._state()
        rows, part = learned.inputs.transform(conditions), next(iter(learned.parts.values()))
        found = np.full((len(conditions), 0), np.nan, np.float32)
        for place, x in dense_chunks(rows):
            own = self.learner.embed(part, x) if isinstance(self.learner, EmbedsNumbers) else None
            numbers = x if own is None else own
            if not found.size:
                found = np.full((len(conditions), numbers.shape[1]), np.nan, np.float32)
            found[place] = numbers
        return found

    def predict_cells(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict some cells only: mean and std, (m,) each, of conditions `row` and tasks `task`."""
        learned = self._state()
        row, task = np.asarray(row), np.asarray(task)
        mean, std = np.full(len(row), np.nan, np.float32), np.full(len(row), np.nan, np.float32)
        asked, place = np.unique(row, return_inverse=True)
        rows = learned.inputs.transform(conditions.iloc[asked])
        groups = [list(learned.parts)] if self.learner.joint else [[one] for one in learned.parts]
        for tasks in groups:
            wanted = np.flatnonzero(np.isin(task, tasks) & rows.readable[place])
            for some in np.split(wanted, range(CHUNK, len(wanted), CHUNK)):
                for one, answer, each in self._answers(rows.x[place[some]].toarray(), tasks) if len(some) else ():
                    mine = task[some] == one
                    found = self._finish(one, answer, each)
                    mean[some[mine]], std[some[mine]] = found[0][mine], found[1][mine]
        return mean, std

    def save(self, folder: Path) -> None:
        """Write ``adapter.json``, ``adapter.npz`` and the domain's files, where the learner is one of our own."""
        pack = getattr(self.learner, "pack", None)
        if pack is None:
            message = (
                f"A {type(self.learner).__name__} of another library cannot be saved without pickle. Save it with its "
                "library's own means and fit the adapter again, or use --model forest or --model svr."
            )
            raise ModelError(message)
        learned = self._state()
        if not isinstance(learned.inputs, Inputs):
            message = "An adapter with a representation of its own cannot be saved."
            raise ModelError(message)
        facts, words = learned.inputs.to_state()
        arrays: dict[str, Any] = {f"inputs.{name}": array for name, array in words.items()}
        for task, part in learned.parts.items():
            arrays |= {f"{task}.{name}": array for name, array in pack(part).items()}
        with atomic_path(Path(folder) / "adapter.npz") as draft:
            np.savez(draft, spread=learned.spread, std=learned.std, **arrays)
        head = {"config": to_mapping(self.config), "tasks": learned.tasks.to_dict("list"), "inputs": facts}  # type: ignore[attr-defined]
        write_json(Path(folder) / "adapter.json", head | {"parts": list(learned.parts)})
        learned.domain.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        head = read_json(Path(folder) / "adapter.json")
        config = getattr(cls, "Config", None)
        if config is None:
            message = "An adapter of another library's estimator is not saved, so it cannot be loaded; fit it again."
            raise ModelError(message)
        model = cls(from_mapping(config, head["config"], str(folder)))
        arrays = read_arrays(Path(folder) / "adapter.npz")
        parts = {int(task): model.learner.unpack(part_of(arrays, f"{task}.")) for task in head["parts"]}  # type: ignore[attr-defined]
        inputs = Inputs.from_state(head["inputs"], part_of(arrays, "inputs."))
        tasks, domain = pd.DataFrame(head["tasks"]), Neighbourhood.load(folder)
        model.learned_ = Learned(tasks, inputs, arrays["spread"], arrays["std"], parts, domain)
        return model

    def _state(self) -> Learned:
        if self.learned_ is None:
            message = "This model is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.learned_

    def _fit_joint(
        self, screen: Screen, data: Measured, x: csr_array, std: NDArray[np.float64], seed: int
    ) -> dict[int, Any]:
        weight = screen.targets.weight
        rows = np.unique(np.concatenate(list(data.rows.values())))
        y = screen.targets.dense()[rows].astype(np.float64)
        own = None if weight is None else weight[rows].astype(np.float64)
        classes = set(data.tasks["kind"]) == {"classification"}
        part = self.learner.fit(lesson := Lesson(x[rows].toarray(), y, own, classes, seed=derive_seed(seed, "adapter")))
        held = None if classes else self._held_out(lesson, part)
        for task in data.rows:
            std[task] = np.nan if held is None else unexplained_std(held[0][:, task], held[1][:, task], data.spread)
        return dict.fromkeys(data.rows, part)

    def _held_out_std(self, lesson: Lesson, part: Any, otherwise: float) -> float:
        held = None if lesson.classes else self._held_out(lesson, part)
        return np.nan if held is None else unexplained_std(*held, otherwise)

    def _held_out(self, lesson: Lesson, part: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return held-out residuals and the spread of their draws; None where the learner knows its spread."""
        if self.learner.predict(part, lesson.x[:1])[1] is not None:
            return None
        residual, spread = np.full(lesson.y.shape, np.nan), np.zeros(lesson.y.shape)
        folds = min(self.settings.folds, len(lesson.x))
        if folds < 2:  # noqa: PLR2004 - one row cannot be held out
            return residual, spread
        order = stream(lesson.seed, "held out").permutation(len(lesson.x))
        for fold in range(folds):
            out = order[fold::folds]
            rest = np.setdiff1d(order, out)
            weight = None if lesson.weight is None else lesson.weight[rest]
            some = Lesson(lesson.x[rest], lesson.y[rest], weight, lesson.classes, lesson.task, lesson.seed)
            (mean, _), each = self._ask(self.learner.fit(some), lesson.x[out])
            residual[out] = mean - lesson.y[out]
            spread[out] = 0.0 if each is None else each.std(axis=0)
            if (fold + 1) * len(lesson.x) >= folds * self.settings.held_out_rows:
                break
        return residual, spread

    def _ask(self, part: Any, x: NDArray[np.float32]) -> tuple[Answer, NDArray[Any] | None]:
        if self.settings.draws and isinstance(self.learner, DrawsFunctions):
            return self.learner.predict_draws(part, x)
        return self.learner.predict(part, x), None

    def _answers(self, x: NDArray[np.float32], tasks: list[int]) -> Iterator[tuple[int, Answer, NDArray[Any] | None]]:
        """Yield each task's answer and (s, n) draws."""
        parts = self._state().parts
        if not self.learner.joint:
            for task in tasks:
                yield task, *self._ask(parts[task], x)
            return
        (mean, std), each = self._ask(parts[tasks[0]], x)
        for task in tasks:
            answer = (mean[:, task], None if std is None else std[:, task])
            yield task, answer, None if each is None else each[:, :, task]

    def _finish(
        self, task: int, answer: Answer, each: NDArray[Any] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        learned = self._state()
        mean, own = answer
        check_answer(answer, type(self.learner).__name__, str(learned.tasks["name"][task]))
        if learned.tasks["kind"][task] == "classification":
            mean = np.clip(mean, 0.0, 1.0)
            std = cell_std(learned.tasks, task, mean, 0.0)
        elif own is None:
            std = np.sqrt(learned.std[task] ** 2 + (np.zeros(len(mean)) if each is None else each.var(axis=0)))
        else:
            std = own
        std = np.maximum(std, LEAST_SPREAD * learned.spread[task])
        return mean.astype(np.float32), std.astype(np.float32)

    def _kept(self, each: NDArray[Any], task: int) -> NDArray[Any]:
        kept = each[: self.settings.draws]
        return np.clip(kept, 0.0, 1.0) if self._state().tasks["kind"][task] == "classification" else kept


@dataclass(frozen=True)
class ForestConfig:
    """Settings of the random forest."""

    trees: int = 200
    """Trees of each task."""
    max_features: float = 0.1
    """Share of the numbers that a node may choose from."""
    min_leaf: int = 1
    """Least training rows of a leaf."""
    radius: int = 2
    """Bonds around an atom that a substructure reaches (2 = ECFP4)."""
    fold: int = 2048
    """Columns onto which substructure counts are folded."""
    jobs: int = 1
    """Threads that grow trees."""


class Forest(Adapter):
    """Random forest per task (Breiman 2001) on folded substructure counts, or on numbers.

    The spread of the trees is the std, scaled so that mean +- 1.645 std holds 90 % of the out-of-bag values.
    """

    Config = ForestConfig

    def __init__(self, config: ForestConfig | None = None) -> None:
        self.config = config or ForestConfig()
        learner = ForestLearner(
            self.config.trees, self.config.max_features, self.config.min_leaf, jobs=self.config.jobs
        )
        super().__init__(learner, Fingerprint("morgan", radius=self.config.radius, fold=self.config.fold))

    def functions(self, conditions: pd.DataFrame, task: int = 0) -> NDArray[np.float32]:
        """Return (s, n) answers of the first trees, 64 at most; NaN where a condition cannot be read."""
        learned = self._state()
        trees = learned.parts[task].first(MOST_DRAWS)
        found = np.full((len(trees.root), len(conditions)), np.nan, np.float32)
        for part, x in dense_chunks(learned.inputs.transform(conditions)):
            found[:, part] = trees.each(x).T
        return found


PUBLISHED_C = {"CHEMBL2034_Ki": 100.0, "CHEMBL262_Ki": 100.0, "CHEMBL2835_Ki": 10_000.0}
"""MoleculeACE 3.0.0 (MIT), SVM_ECFP.yml of the 30 tasks: gamma 0.01, epsilon 0.1 and C 10 but these."""


@dataclass(frozen=True)
class SupportVectorConfig:
    """Settings of the support vector regression; as they are, those published for the tasks of chembl30."""

    c: float | None = None
    """Cost of an error; None = what was published for a task of chembl30, else 10."""
    gamma: float = 0.01
    """Of the kernel exp(-gamma |x - x'|^2)."""
    epsilon: float = 0.1
    """Errors up to this, in the unit of the task, cost nothing."""
    radius: int = 2
    """Bonds around an atom that a substructure reaches (2 = ECFP4)."""
    fold: int = 1024
    """Bits onto which substructures are folded."""


class SupportVector(Adapter):
    """Support vector regression on ECFP bits: the best published method on activity cliffs.

    van Tilborg et al., J. Chem. Inf. Model. 62, 5938 (2022). One std per task, from held-out rows.
    """

    Config = SupportVectorConfig

    def __init__(self, config: SupportVectorConfig | None = None) -> None:
        self.config = config or SupportVectorConfig()
        costs = PUBLISHED_C | {"": 10.0} if self.config.c is None else {"": self.config.c}
        bits = Fingerprint("morgan", radius=self.config.radius, counts=False, fold=self.config.fold)
        super().__init__(SupportLearner(costs, self.config.gamma, self.config.epsilon), bits)
