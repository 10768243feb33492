"""Growth of gene pairs as a scalar screen: what a pair does beyond its two singles, and pairs nobody measured."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.condition import CONTEXT
from screenwise.config import from_mapping, to_mapping
from screenwise.data.labels import is_control
from screenwise.errors import ColumnError, ConfigError, ModelError
from screenwise.models.growth_fit import Pairs, curve_terms
from screenwise.models.growth_levels import (
    FEWEST_PARTNERS,
    LEVELS,
    GrowthInteractionConfig,
    GrowthTables,
    fit_growth,
)
from screenwise.models.measured import load_baseline, measured, missing_note, save_baseline
from screenwise.prediction import Prediction
from screenwise.run import Run
from screenwise.screen import Screen

_TABLES = ("mean", "std", "curve", "single", "partners")
_PAIR, _WIDEST = 2, "abcde"


class GrowthInteraction:
    """Fitness, growth or any other number of gene pairs, from the singles and the pairs that were measured.

    Conditions have columns gene_a and gene_b; "" (or a control's name) in one of them makes a single, in both
    the control. Without a control row effects are the values themselves, as for log growth rates relative to
    it. Levels, each tested on held-out pairs before it is believed: addition; a curve of the two singles; a
    number per gene; a low-rank table; a Gaussian process over pairs. Exact in the order of a pair.

    A measured single is returned as it was measured. Of a gene that no pair holds only the curve is known; the
    row is then out of the domain and says so.

    After `fit`: ``tables_`` (task -> `GrowthTables`).

    References
    ----------
    Horlbeck et al., Cell 2018, 174, 953 and Norman et al., Science 2019, 365, 786 (growth interactions as
    departures from a curve of the singles). The process over pairs: Bonilla, Chai and Williams, NIPS 2007
    (products of kernels), symmetrised over the order of a pair.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene_a": ["A", "B", "A"], "gene_b": ["", "", "B"]})
    >>> model = GrowthInteraction().fit(make_screen(genes, np.array([[-0.1], [-0.2], [-0.5]]), ["growth"]))
    >>> model.predict(pd.DataFrame({"gene_a": ["B", "B"], "gene_b": ["A", ""]})).mean.ravel().round(2)
    array([-0.3, -0.2], dtype=float32)
    """

    Config = GrowthInteractionConfig

    def __init__(self, config: GrowthInteractionConfig | None = None) -> None:
        self.config = config or GrowthInteractionConfig()
        if self.config.level != "auto" and self.config.level not in LEVELS:
            message = f"level is {self.config.level!r}; it must be auto or one of {', '.join(LEVELS)}."
            raise ConfigError(message)
        if not self.config.noises or min(self.config.noises) <= 0 or self.config.rank < 1:
            message = f"noises are {self.config.noises} and rank {self.config.rank}; all must be above 0."
            raise ConfigError(message)

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Learn each task from its measured singles and pairs; rows of one condition are averaged."""
        _one_context(screen.conditions)
        members = read_members(screen.conditions)
        data = measured(screen)
        classes = data.tasks["name"][data.tasks["kind"] == "classification"].tolist()
        if classes:
            message = f"{', '.join(classes)} are classes; the growth of pairs is a number. Leave these tasks out."
            raise ModelError(message)
        self.task_table_ = data.tasks
        kept = np.zeros(len(screen), bool)
        for rows in data.rows.values():
            kept[rows] = True
        self.genes_ = np.unique(members.names[kept]) if kept.any() else np.array([], str)
        self.genes_ = self.genes_[self.genes_ != ""].astype(str)
        place = members.places(self.genes_)
        self.tables_: dict[int, GrowthTables] = {}
        self.control_: dict[int, float] = {}
        self.measured_: dict[int, NDArray[np.float64]] = {}
        for task, rows in data.rows.items():
            value, size = data.value[task], members.size[rows]
            control = value[size == 0]
            self.control_[task] = float(control.mean()) if len(control) else 0.0
            effect = value - self.control_[task]
            own = place[rows]
            self.measured_[task] = _mean_by(own[size == 1, 0], effect[size == 1], len(self.genes_))
            pairs = _pairs(own[size == _PAIR], effect[size == _PAIR], len(self.genes_))
            self.tables_[task] = fit_growth(pairs, self.measured_[task], self.config, seed)
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks for (n,) conditions; three genes, or one gene twice, have no prediction."""
        members = read_members(conditions)
        place = members.places(self.genes_)
        shape = (len(conditions), len(self.task_table_))
        mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
        inside, note = np.ones(len(conditions), bool), np.full(len(conditions), "", object)
        for task, tables in self.tables_.items():
            mean[:, task], std[:, task], known = self._ask(task, tables, members.size, place)
            inside &= known
        note[:] = missing_note(self.task_table_, set(self.tables_))
        self._tell(note, members, place, inside)
        return Prediction(mean.astype(np.float32), std.astype(np.float32), in_domain=inside, note=note)

    def _ask(self, task: int, tables: GrowthTables, size: NDArray[np.int64], place: NDArray[np.int64]) -> tuple:
        """Return (n,) means and standard deviations of a task, and which rows its pairs speak for."""
        padded = np.append(tables.single, tables.single.mean() if len(tables.single) else 0.0)
        single = np.append(self.measured_[task], np.nan)
        partners = np.append(tables.partners, 0)
        a, b = place[:, 0], place[:, 1]
        both = (size == _PAIR) & (partners[a] > 0) & (partners[b] > 0)
        mean = curve_terms(padded[a], padded[b]) @ tables.curve
        std = np.full(len(size), tables.far_std)
        mean[both], std[both] = tables.mean[a[both], b[both]], tables.std[a[both], b[both]]
        alone = size == 1
        mean[alone] = np.where(np.isnan(single[a[alone]]), padded[a[alone]], single[a[alone]])
        mean[size == 0] = 0.0
        mean[size > _PAIR], std[size > _PAIR] = np.nan, np.nan
        enough = np.minimum(partners[a], partners[b]) >= FEWEST_PARTNERS
        known = np.where(size == _PAIR, enough, np.where(alone, ~np.isnan(single[a]), size == 0))
        return mean + self.control_[task], std, known

    def _tell(
        self, note: NDArray[Any], members: "Members", place: NDArray[np.int64], inside: NDArray[np.bool_]
    ) -> None:
        """Write into `note` what to know of each row, the weightiest last."""
        fewest = min((np.sum(one.partners) // 2 for one in self.tables_.values()), default=0)
        pair = members.size == _PAIR
        if fewest == 0:
            note[pair] = "prior only: no pair was measured, this is the sum of the singles"
        else:
            note[pair & ~inside] = "a gene with few measured pairs: little beyond the curve of the singles is known"
        new = np.flatnonzero((members.size > 0) & (members.size <= _PAIR) & (place[:, :_PAIR] == -1).any(axis=1))
        for row in new.tolist():
            absent = [name for name, at in zip(members.names[row], place[row], strict=True) if name and at == -1]
            if absent:
                note[row] = f"{' and '.join(absent)} was never measured: the mean single stands in"
        note[members.size > _PAIR] = "no prediction: more than two genes, or one gene twice"

    def save(self, folder: Path) -> None:
        """Write ``baseline.json`` and ``baseline.npz``."""
        head = {"config": to_mapping(self.config), "tasks": self.task_table_.to_dict("list"), "fits": []}
        arrays: dict[str, Any] = {"genes": self.genes_}
        for task, tables in self.tables_.items():
            plain = {key: value for key, value in asdict(tables).items() if key not in _TABLES}
            plain["noise"] = None if np.isnan(tables.noise) else tables.noise
            head["fits"].append(plain | {"task": task, "control": self.control_[task]})
            arrays |= {f"{name}{task}": getattr(tables, name) for name in _TABLES}
            arrays[f"measured{task}"] = self.measured_[task]
        save_baseline(folder, head, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        head, arrays = load_baseline(folder)
        model = cls(from_mapping(GrowthInteractionConfig, head["config"]))
        model.task_table_, model.genes_ = pd.DataFrame(head["tasks"]), arrays["genes"].astype(str)
        model.tables_, model.control_, model.measured_ = {}, {}, {}
        for plain in head["fits"]:
            task = plain.pop("task")
            model.control_[task] = plain.pop("control")
            model.measured_[task] = arrays[f"measured{task}"]
            plain["noise"] = float("nan") if plain["noise"] is None else plain["noise"]
            model.tables_[task] = GrowthTables(**plain, **{name: arrays[f"{name}{task}"] for name in _TABLES})
        return model


class Members:
    """Genes of (n,) conditions, sorted within a row, "" last."""

    def __init__(self, names: NDArray[Any]) -> None:
        self.names = names
        filled = names != ""
        twice = filled[:, 1:] & (names[:, 1:] == names[:, :-1])
        # one gene twice is neither a single nor a pair: it counts as a condition that is not modelled
        self.size = filled.sum(axis=1) + _PAIR * twice.any(axis=1)

    def places(self, genes: NDArray[Any]) -> NDArray[np.int64]:
        """Return (n, w) positions among sorted genes; -1 where unknown or empty."""
        flat = pd.Index(genes.astype(object)).get_indexer(self.names.ravel())
        return np.asarray(flat, np.int64).reshape(self.names.shape)


def read_members(conditions: pd.DataFrame) -> Members:
    """Return the genes of (n,) conditions from gene_a, gene_b, ...; controls count as empty.

    Raises
    ------
    ColumnError
        Without columns gene_a and gene_b.

    Examples
    --------
    >>> members = read_members(pd.DataFrame({"gene_a": ["B", "ctrl"], "gene_b": ["A", "C"]}))
    >>> members.names.tolist(), members.size.tolist()
    ([['A', 'B'], ['C', '']], [2, 1])
    """
    columns = [f"gene_{letter}" for letter in _WIDEST if f"gene_{letter}" in conditions.columns]
    if columns[:2] != ["gene_a", "gene_b"]:
        message = (
            f"Gene pairs need the columns gene_a and gene_b; found {list(map(str, conditions.columns[:20]))}. Put the "
            "two genes there, and an empty text in gene_b of a single."
        )
        raise ColumnError(message)
    codes, distinct = pd.factorize(pd.concat([conditions[name].astype("string").fillna("") for name in columns]))
    plain = [str(name).strip() for name in distinct]
    texts = np.array(["" if is_control(name) else name for name in plain] or [""], dtype=str)
    names = texts[codes].reshape(len(columns), len(conditions)).T
    # sorted, with empty ones last
    order = np.lexsort((names, names == ""), axis=1)
    return Members(np.take_along_axis(names, order, axis=1))


def _one_context(conditions: pd.DataFrame) -> None:
    for column in CONTEXT:
        if column in conditions.columns and conditions[column].nunique(dropna=False) > 1:
            message = (
                f"Column {column!r} has {conditions[column].nunique()} values; this model knows one context. Fit one "
                f"model for each value of {column}."
            )
            raise ModelError(message)


def _mean_by(place: NDArray[np.int64], value: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    number = np.bincount(place, minlength=size)
    total = np.bincount(place, value, size)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _pairs(place: NDArray[np.int64], value: NDArray[np.float64], size: int) -> Pairs:
    """Return the pairs with both orders and repeats of a pair averaged."""
    key, group = np.unique(place[:, 0] * max(size, 1) + place[:, 1], return_inverse=True)
    return Pairs(key // max(size, 1), key % max(size, 1), _mean_by(group, value, len(key)), size)
