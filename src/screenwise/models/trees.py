"""Decision trees as flat arrays: a forest that is saved without pickle and asked without scikit-learn."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.evaluate.calibration import limited_factor
from screenwise.models.learners import Answer, Lesson, Numbers
from screenwise.rng import derive_seed, stream
from screenwise.train.threads import in_parts

CALIBRATION_ROWS = 2000
"""Rows whose out-of-bag predictions say how wide intervals must be."""


@dataclass(frozen=True)
class Trees:
    """k trees over d numbers, nodes joined end to end.

    At an inner node a row goes left if its number is at most the threshold.
    """

    root: NDArray[np.int32]
    """(k,) first node of each tree."""
    feature: NDArray[np.int32]
    """(nodes,) number asked; -1 = a leaf."""
    threshold: NDArray[np.float32]
    """(nodes,) as scikit-learn's, rounded down to float32: inputs are float32, so no answer changes."""
    left: NDArray[np.int32]
    """(nodes,) next node; the right one likewise."""
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    """(nodes,) mean of the training values that end there."""
    factor: NDArray[np.float64]
    """(1,) makes mean +- 1.645 spread hold 90 % of out-of-bag values."""

    def each(self, x: Numbers) -> NDArray[np.float64]:
        """Return (n, k) answers of every tree for (n, d) inputs, rows shared out among threads."""
        out = np.empty((len(x), len(self.root)))
        rows = np.ascontiguousarray(x, np.float32)
        in_parts(_descend, rows, self._parts(), out, work=np.arange(len(x) + 1))
        return out

    def first(self, count: int) -> "Trees":
        """Return the first trees alone."""
        return replace(self, root=self.root[:count])

    def _parts(self) -> Any:
        return self.root, self.feature, self.threshold, self.left, self.right, self.value


@njit(cache=True, nogil=True)
def _descend(x: Any, parts: Any, out: Any, rows: Any) -> None:  # pragma: no cover
    root, feature, threshold, left, right, value = parts
    for tree in range(len(root)):
        for row in range(rows[0], rows[1]):
            node = root[tree]
            while feature[node] >= 0:
                node = left[node] if x[row, feature[node]] <= threshold[node] else right[node]
            out[row, tree] = value[node]


def flatten_trees(forest: Any) -> Trees:
    """Return a fitted scikit-learn forest (regressor, or classifier of 0 and 1) as arrays."""
    counts = [tree.tree_.node_count for tree in forest.estimators_]
    root = np.concatenate([[0], np.cumsum(counts)[:-1]])
    values = [_leaf_means(forest, tree.tree_) for tree in forest.estimators_]

    def joined(name: str) -> Any:
        return np.concatenate([getattr(tree.tree_, name) for tree in forest.estimators_])

    def shifted(name: str) -> Any:
        return np.concatenate(
            [getattr(tree.tree_, name) + first for tree, first in zip(forest.estimators_, root, strict=True)]
        )

    inner = joined("children_left") >= 0
    exact = joined("threshold")
    rounded = exact.astype(np.float32)
    rounded = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return Trees(
        root.astype(np.int32),
        np.where(inner, joined("feature"), -1).astype(np.int32),
        rounded.astype(np.float32),
        np.where(inner, shifted("children_left"), 0).astype(np.int32),
        np.where(inner, shifted("children_right"), 0).astype(np.int32),
        np.concatenate(values),
        np.ones(1),
    )


def _leaf_means(forest: Any, tree: Any) -> NDArray[np.float64]:
    if not hasattr(forest, "classes_"):
        return np.asarray(tree.value[:, 0, 0], np.float64)
    classes = list(forest.classes_)
    shares = tree.value[:, 0, :] / tree.value[:, 0, :].sum(axis=1, keepdims=True)
    return np.asarray(shares[:, classes.index(1)] if 1 in classes else np.zeros(len(shares)), np.float64)


@dataclass(frozen=True)
class ForestLearner:
    """Random forest of one task; its spread is that of the trees, scaled on out-of-bag rows."""

    trees: int
    max_features: float
    min_leaf: int
    jobs: int
    joint: bool = False

    def fit(self, lesson: Lesson) -> Trees:
        """Grow the trees and keep their arrays."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor  # noqa: PLC0415 - slow to import

        forest = (RandomForestClassifier if lesson.classes else RandomForestRegressor)(
            n_estimators=self.trees,
            max_features=self.max_features,
            min_samples_leaf=self.min_leaf,
            n_jobs=self.jobs,
            random_state=derive_seed(lesson.seed, "forest") % 2**32,
        )
        y = lesson.y.astype(np.int64) if lesson.classes else lesson.y
        forest.fit(lesson.x, y, sample_weight=lesson.weight)
        found = flatten_trees(forest)
        factor = 1.0 if lesson.classes else _out_of_bag_factor(forest, found, lesson)
        return Trees(**vars(found) | {"factor": np.array([factor])})

    def predict(self, learned: Trees, x: Numbers) -> Answer:
        """Return the mean of the trees and their scaled spread."""
        each = learned.each(x)
        return each.mean(axis=1), each.std(axis=1) * learned.factor[0]

    def pack(self, learned: Trees) -> dict[str, NDArray[Any]]:
        """Return arrays for a file."""
        return dict(vars(learned))

    def unpack(self, arrays: dict[str, NDArray[Any]]) -> Trees:
        """Read what `pack` gave."""
        return Trees(**arrays)


def _out_of_bag_factor(forest: Any, found: Trees, lesson: Lesson) -> float:
    """Compare values with the trees that did not see them."""
    rows = np.arange(len(lesson.x))
    if len(rows) > CALIBRATION_ROWS:
        rows = np.sort(stream(lesson.seed, "out of bag").permutation(rows)[:CALIBRATION_ROWS])
    each = found.each(lesson.x[rows])
    unseen = np.ones((len(lesson.x), len(found.root)), bool)
    for tree, drawn in enumerate(forest.estimators_samples_):
        unseen[drawn, tree] = False
    each = np.where(unseen[rows], each, np.nan)
    enough = unseen[rows].sum(axis=1) > 1
    each = each[enough]
    spread = np.maximum(np.nanstd(each, axis=1), 1e-9)
    return limited_factor((lesson.y[rows][enough] - np.nanmean(each, axis=1)) / spread)
