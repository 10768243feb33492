import functools
import importlib
import multiprocessing
import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from screenwise.data.split import Fold
from screenwise.errors import ConfigError, DataError, ModelError, ProcessError
from screenwise.evaluate import compare as module
from screenwise.evaluate.compare import Contender, compare, score_cells, write_comparison
from screenwise.evaluate.metrics import METRICS
from screenwise.prediction import Prediction
from screenwise.rng import stream
from screenwise.screen import Targets, make_screen, targets_from_cells

NUMBER, TASKS = 60, 7


def toy_screen():
    rng = np.random.default_rng(0)
    x = rng.normal(size=NUMBER)
    value = (x[:, None] * np.arange(1, TASKS + 1) + rng.normal(0, 0.3, (NUMBER, TASKS))).astype(np.float32)
    value[rng.random(value.shape) < 0.4] = np.nan
    relation = np.zeros(value.shape, np.int8)
    relation[:5] = -1
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(NUMBER)], "x": x})
    return make_screen(conditions, Targets(value, relation), [f"task{t}" for t in range(TASKS)])


def toy_folds(screen, folds=3):
    part = screen.targets.cells().row % folds
    return [Fold(part != f, part == f) for f in range(folds)]


class Middle:
    """The mean of each task."""

    random = False
    fitted = 0

    def fit(self, screen, *, valid=None, run=None, seed=0):
        type(self).fitted += 1
        value = screen.targets.dense()
        number = np.isfinite(value).sum(axis=0)
        self.mean_ = np.where(number > 0, np.nansum(value, axis=0) / np.maximum(number, 1), np.nan)
        self.seen_ = set(screen.conditions["condition_id"])
        return self

    def predict(self, conditions):
        assert not self.seen_ & set(conditions["condition_id"]), "test conditions must not be seen"
        return Prediction(np.tile(self.mean_, (len(conditions), 1)).astype(np.float32))


@dataclass(frozen=True)
class Settings:
    noise: float = 0.0


class Line(Middle):
    """Knows the truth, but for noise that the seed draws; says its spread and its domain."""

    random = None

    def __init__(self, config=Settings()):
        self.config = config

    def fit(self, screen, *, valid=None, run=None, seed=0):
        super().fit(screen)
        self.rng_ = stream(seed, "line")
        return self

    def predict(self, conditions):
        x = conditions["x"].to_numpy()
        mean = np.outer(x, np.arange(1, len(self.mean_) + 1))
        mean += self.config.noise * self.rng_.normal(size=mean.shape)
        return Prediction(mean.astype(np.float32), np.full(mean.shape, 0.3, np.float32), in_domain=np.abs(x) < 1)

    def worse(self):
        other = Line(Settings(1.0))
        other.mean_, other.seen_, other.rng_ = self.mean_, self.seen_, self.rng_
        return other


class CellLine(Line):
    """Predicts cells, and must not be asked for whole rows."""

    def predict_cells(self, conditions, row, task):
        x = conditions["x"].to_numpy()[row]
        return x * (task + 1), np.full(len(row), 0.3), np.abs(x) < 1

    def predict(self, conditions):
        raise AssertionError


def noisy():
    return Line(Settings(0.5))


@pytest.fixture(scope="module")
def screen():
    return toy_screen()


@pytest.fixture(scope="module")
def found(screen):
    folds = {"random": toy_folds(screen), "halves": toy_folds(screen, 2)}
    cells = pd.DataFrame({"cliff": np.arange(len(screen.targets.cells())) % 4 == 0, "year": 2000})
    models = {"mean": Middle, "line": Line, "noisy": noisy}
    return compare(screen, models, folds, seeds=(0, 1, 2), cells=cells)


def test_scores_have_the_promised_columns_and_every_combination(found):
    assert list(found.scores.columns) == ["model", "split", "seed", "fold", "task", "metric", "value"]
    rmse = found.scores.query("metric == 'rmse'")
    assert rmse.groupby(["model", "split"]).size().unstack().to_dict("index") == {
        "mean": {"random": 3 * TASKS, "halves": 2 * TASKS},
        "line": {"random": 3 * TASKS, "halves": 2 * TASKS},
        "noisy": {"random": 9 * TASKS, "halves": 6 * TASKS},
    }
    assert found.scores["value"].notna().all()


def test_a_score_is_the_metric_of_its_predictions(found, screen):
    cells = screen.targets.cells()
    row = found.scores.query("model == 'noisy' and seed == 2 and fold == 1 and metric == 'rmse' and task == 'task3'")
    row = row[row["split"] == "random"].iloc[0]
    own = found.predictions.query("model == 'noisy' and seed == 2 and fold == 1 and split == 'random'")
    keep = (cells.task[own["cell"]] == 3) & (cells.relation[own["cell"]] == 0)
    error = own["mean"].to_numpy()[keep] - cells.value[own["cell"]][keep]
    assert row["value"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)


def test_a_model_that_the_seed_does_not_change_is_fitted_once_and_said_so(found):
    seeds = found.fits.groupby("model")["seed"].unique().apply(sorted).to_dict()
    assert seeds == {"line": [0], "mean": [0], "noisy": [0, 1, 2]}
    assert found.notes == ("The seed does not change mean, line: fitted once, with seed 0.",)


def test_summary_pools_folds_and_pairs_with_the_best_baseline(found, screen):
    table = found.summary(["rmse", "coverage", "rmse_cliff", "rmse_in_domain", "rmse_out_of_domain"], replicates=100)
    rows = table.set_index(["split", "model", "metric"])
    pooled = found.task_scores().query("split == 'random' and model == 'noisy' and metric == 'rmse'")["value"]
    row = rows.loc["random", "noisy", "rmse"]
    assert row["mean"] == pytest.approx(pooled.mean())
    assert row["lower"] < row["mean"] < row["upper"]
    assert row["baseline"] == "mean"
    assert row["difference"] == pytest.approx(row["mean"] - rows.loc["random", "mean", "rmse"]["mean"])
    assert row["difference_upper"] < 0
    assert row["tasks_won"] == TASKS
    assert row["test"] == "wilcoxon"
    assert row["p_value"] == pytest.approx(2 / 2**TASKS)
    assert row["cells"] == len(screen.targets.cells())
    assert rows.loc["random", "mean", "rmse"]["baseline"] == ""
    assert rows.loc["random", "line", "coverage"]["baseline"] == ""
    assert rows.loc["random", "line", "rmse_cliff"]["cells"] == -(-len(screen.targets.cells()) // 4)
    assert ("random", "mean", "coverage") not in rows.index
    inside, outside = (rows.loc["random", "noisy", f"rmse_{part}"]["cells"] for part in ("in_domain", "out_of_domain"))
    assert inside + outside == len(screen.targets.cells())


def test_summary_is_repeatable_and_can_be_against_any_model(found):
    one, other = (found.summary(["rmse"], replicates=50) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    against = found.summary(["rmse"], against="line", replicates=50).set_index(["split", "model"])
    assert (against["baseline"].drop("line", level=1) == "line").all()
    assert (against.loc[("random", "noisy"), "difference"]) > 0
    with pytest.raises(ConfigError, match="rmsd"):
        found.summary(["rmsd"])


def test_every_metric_of_the_kind_is_there(found):
    names = set(found.scores["metric"])
    assert {name for name, metric in METRICS.items() if metric.kind == "regression"} < names
    assert {"coverage", "width", "nll", "rmse_cliff", "coverage_cliff", "count_out_of_domain"} < names


def test_cells_predicted_directly_equal_those_of_whole_rows(screen):
    folds = {"random": toy_folds(screen)}
    found = compare(screen, {"mean": Middle, "rows": Line, "cells": CellLine}, folds)
    rows, cells = (found.predictions.query(f"model == '{name}'") for name in ("rows", "cells"))
    np.testing.assert_allclose(cells["mean"].to_numpy(), rows["mean"].to_numpy(), rtol=1e-6)
    np.testing.assert_array_equal(cells["in_domain"].to_numpy(), rows["in_domain"].to_numpy())


def test_further_rows_from_one_fit_and_a_subset_of_tasks(screen):
    folds = {"random": toy_folds(screen)}
    slow = Contender(Line, tasks=("task5", "task2"))
    Line.fitted = 0
    found = compare(
        screen, {"mean": Middle, "line": Contender(Line, also={"line, worse": "worse"}), "slow": slow}, folds
    )
    assert Line.fitted == 2 * 3, "one fit per fold of each contender"
    table = found.summary(["rmse"], replicates=50).set_index("model")
    assert list(table.index) == ["mean", "line", "line, worse", "slow"]
    assert table.loc["slow", ["tasks", "tasks_compared"]].tolist() == [2, 2]
    assert table.loc["line, worse", "mean"] > table.loc["line", "mean"]
    scores = found.task_scores().query("metric == 'rmse'").pivot_table(index="task", columns="model", values="value")
    expected = (scores["slow"] - scores["mean"]).mean()
    assert table.loc["slow", "difference"] == pytest.approx(expected)
    assert found.notes == ("slow was fitted on 2 tasks only: task5, task2.",)


def test_difference_is_taken_on_the_cells_that_both_predict(screen):
    class Half(Line):
        def predict(self, conditions):
            prediction = super().predict(conditions)
            prediction.mean[::2] = np.nan
            return prediction

    found = compare(screen, {"mean": Middle, "half": Half}, {"random": toy_folds(screen)})
    table = found.summary(["rmse"], replicates=50).set_index("model")
    half, mean = (found.predictions.query(f"model == '{name}'").reset_index() for name in ("half", "mean"))
    both = half["mean"].notna().to_numpy()
    masked = mean["mean"].where(both).to_numpy()
    cells, at = screen.targets.cells(), mean["cell"].to_numpy()
    keep = cells.relation[at] == 0
    expected = METRICS["rmse"].function(cells.value[at][keep], masked[keep], cells.task[at][keep], TASKS).mean()
    assert table.loc["half", "mean"] - table.loc["half", "difference"] == pytest.approx(expected, rel=1e-6)
    assert table.loc["half", "cells"] == both.sum()


def test_interrupted_comparison_goes_on_and_gives_the_same(screen, tmp_path):
    folds = {"random": toy_folds(screen)}
    models = {"mean": Middle, "noisy": noisy}
    whole = compare(screen, models, folds, seeds=(0, 1))

    def stop(what, done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(screen, models, folds, seeds=(0, 1), folder=tmp_path, progress=stop)
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == 4
    Middle.fitted = Line.fitted = 0
    again = compare(screen, models, folds, seeds=(0, 1), folder=tmp_path)
    assert Middle.fitted + Line.fitted == len(list(tmp_path.iterdir())) - 4
    pd.testing.assert_frame_equal(again.predictions, whole.predictions)
    Middle.fitted = Line.fitted = 0
    compare(screen, models, folds, seeds=(0, 1), folder=tmp_path)
    assert Middle.fitted + Line.fitted == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_counts_the_fits_that_there_are(screen, tmp_path, monkeypatch, jobs):
    (tmp_path / "importable_noise.py").write_text(IMPORTABLE)
    monkeypatch.syspath_prepend(tmp_path)
    noise = importlib.import_module("importable_noise").Noise
    folds = {"random": toy_folds(screen), "halves": toy_folds(screen, 2)}
    ticks = []
    models = {
        "mean": Contender(noise, random=False),
        "same": functools.partial(noise, fixed=True),
        "other": noise,
        "said": Contender(noise, random=True),
    }
    compare(screen, models, folds, seeds=(0, 1, 2), jobs=jobs, progress=lambda *tick: ticks.append(tick))
    done, totals = zip(*[tick[1:] for tick in ticks], strict=True)
    # 5 folds: once for mean, once and the trial of a second seed for same, three seeds for the others
    number = 5 + 6 + 15 + 15
    assert done == tuple(range(number + 1))
    assert set(totals) == {number - 9, number}
    assert list(totals) == sorted(totals)
    assert jobs > 1 or totals.index(number) <= 4


def test_other_settings_data_or_folds_do_not_use_what_was_kept(screen, tmp_path):
    folds = toy_folds(screen)
    models = {"mean": Middle, "line": functools.partial(Line, Settings(0.1))}
    compare(screen, models, {"random": folds}, folder=tmp_path)
    number = len(list(tmp_path.iterdir()))
    compare(screen, models | {"line": functools.partial(Line, Settings(0.2))}, {"random": folds}, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == number + 3
    compare(screen, models, {"random": folds[::-1]}, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == number + 3 + 4, "the middle fold is the same"
    changed = make_screen(screen.conditions, Targets(screen.targets.value + 1, screen.targets.relation), screen.tasks)
    compare(changed, models, {"random": folds}, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == number + 3 + 4 + 6


def test_a_damaged_file_is_named(screen, tmp_path):
    compare(screen, {"mean": Middle}, {"random": toy_folds(screen)}, folder=tmp_path)
    path = min(tmp_path.iterdir())
    path.write_bytes(b"torn")
    with pytest.raises(DataError, match=path.name):
        compare(screen, {"mean": Middle}, {"random": toy_folds(screen)}, folder=tmp_path)


IMPORTABLE = """
import numpy as np
from screenwise.prediction import Prediction


class Noise:
    def __init__(self, fixed=False):
        self.fixed = fixed

    def fit(self, screen, *, valid=None, run=None, seed=0):
        self.tasks_, self.rng_ = len(screen.tasks), np.random.default_rng(0 if self.fixed else seed)
        return self

    def predict(self, conditions):
        return Prediction(self.rng_.normal(size=(len(conditions), self.tasks_)).astype(np.float32))
"""
"""A model that another process can import, which a test's own class is not."""


def test_processes_give_the_same_as_none(screen, tmp_path, monkeypatch):
    (tmp_path / "importable_noise.py").write_text(IMPORTABLE)
    monkeypatch.syspath_prepend(tmp_path)
    noise = importlib.import_module("importable_noise").Noise
    folds, ticks = {"random": toy_folds(screen)}, []
    one = compare(screen, {"mean": noise}, folds, seeds=(0, 1))
    two = compare(screen, {"mean": noise}, folds, seeds=(0, 1), jobs=2, progress=lambda *tick: ticks.append(tick))
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    assert ticks[-1][1] == ticks[-1][2]
    with pytest.raises(ConfigError, match="cannot be sent"):
        compare(screen, {"mean": lambda: Line(Settings(0.1))}, folds, jobs=2)


def test_a_process_that_dies_is_our_error_and_leaves_none_behind(screen):
    before = set(multiprocessing.active_children())
    killed = Contender(functools.partial(os._exit, 3), random=False)
    with pytest.raises(ProcessError, match="ended without an answer"):
        compare(screen, {"mean": killed}, {"random": toy_folds(screen)}, jobs=2)
    assert set(multiprocessing.active_children()) <= before


def test_classification_and_regression_side_by_side():
    rng = np.random.default_rng(0)
    value = np.column_stack([rng.normal(size=40), rng.integers(0, 2, 40)]).astype(np.float32)
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(40)], "x": value[:, 0]})
    screen = make_screen(
        conditions, value, pd.DataFrame({"name": ["a", "b"], "kind": ["regression", "classification"]})
    )
    found = compare(screen, {"mean": Middle}, {"random": toy_folds(screen)})
    names = found.scores.groupby("task")["metric"].unique().to_dict()
    assert "rmse" in names["a"]
    assert "rmse" not in names["b"]
    assert "roc_auc" in names["b"]
    assert found.summary(replicates=20).set_index("metric").loc["brier", "tasks"] == 1


def test_sparse_targets_are_scored_like_dense_ones(screen):
    cells = screen.targets.cells()
    sparse = make_screen(screen.conditions, targets_from_cells(cells, screen.targets.shape, sparse=True), screen.tasks)
    models, folds = {"mean": Middle, "noisy": noisy}, {"random": toy_folds(screen)}
    one, other = (compare(data, models, folds, seeds=(0, 1)) for data in (screen, sparse))
    pd.testing.assert_frame_equal(one.scores, other.scores)


def test_written_tables_read_back(found, tmp_path):
    summary = write_comparison(found, tmp_path, found.summary(["rmse"], replicates=20))
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert list(scores.columns) == module.SCORE_COLUMNS
    np.testing.assert_allclose(scores["value"], found.scores["value"], rtol=1e-6)
    assert list(pd.read_csv(tmp_path / "summary.csv").columns) == list(summary.columns)
    told = pd.read_parquet(tmp_path / "predictions.parquet")
    assert {"condition_id", "task", "value", "relation", "mean", "std"} < set(told.columns)
    assert "fitted once" in (tmp_path / "comparison.json").read_text()


def test_score_cells_is_the_same_score(found, screen):
    own = found.predictions.query("model == 'line' and split == 'halves'").sort_values("cell")
    scores = score_cells(screen, own["mean"], own["std"], in_domain=own["in_domain"])
    pooled = found.task_scores().query("model == 'line' and split == 'halves'")
    joined = scores.merge(pooled, on=["task", "metric"], suffixes=("", "_pooled"))
    assert len(joined) == len(scores)
    np.testing.assert_allclose(joined["value"], joined["value_pooled"])


def test_what_cannot_be_compared_is_refused(screen):
    folds = {"random": toy_folds(screen)}
    with pytest.raises(ConfigError, match="mean"):
        compare(screen, {"line": Line}, folds)
    with pytest.raises(ConfigError, match="seed"):
        compare(screen, {"mean": Middle}, folds, seeds=())
    with pytest.raises(ConfigError, match="twice"):
        compare(screen, {"mean": Contender(Middle, also={"mean": "x"})}, folds)
    with pytest.raises(DataError, match="measured cells"):
        compare(screen, {"mean": Middle}, {"random": [Fold(np.ones(3, bool), np.zeros(3, bool))]})
    everything = np.ones(len(screen.targets.cells()), bool)
    with pytest.raises(DataError, match="trains on"):
        compare(screen, {"mean": Middle}, {"random": [Fold(everything, everything)]})
    with pytest.raises(DataError, match="rows"):
        compare(screen, {"mean": Middle}, folds, cells=pd.DataFrame({"cliff": [True]}))


def test_a_model_that_fails_is_named_with_its_fold(screen):
    class Broken(Middle):
        def fit(self, screen, *, valid=None, run=None, seed=0):
            message = "no descriptors."
            raise ModelError(message)

    with pytest.raises(ModelError, match="broken on the split random, fold 0, seed 0: no descriptors"):
        compare(screen, {"mean": Middle, "broken": Broken}, {"random": toy_folds(screen)})
