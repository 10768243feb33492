"""SparseChem's train: its files and options in, its results out."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from screenwise.data.sparsechem import (
    SparseChemFiles,
    SparseChemLabels,
    choose_folds,
    fold_inputs,
    read_labels,
    read_matrix,
)
from screenwise.errors import ConfigError, DataError
from screenwise.models.multitask_cells import CellTable
from screenwise.models.multitask_network import MultiTaskNetwork
from screenwise.models.sparsechem import (
    FoldedRows,
    SparseChemTraining,
    Statistics,
    StepLoss,
    first_network,
    learn_statistics,
    learned_table,
    make_sparsechem_optimisers,
    sparsechem_cells,
)
from screenwise.models.sparsechem_judge import Judging, SparseChemScores, aggregation_weights, score_rows
from screenwise.models.sparsechem_network import SparseChemTasks, network_shape, to_sparsechem
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.sparsechem_settings import (
    SparseChemData,
    SparseChemFit,
    SparseChemNet,
    SparseChemScoring,
    check_options,
)
from screenwise.run import Run, write_json
from screenwise.train.checkpoint import write_checkpoint
from screenwise.train.device import choose_device
from screenwise.train.loop import Job
from screenwise.train.loop import train as run_loop
from screenwise.train.sparse_store import MappedRows

NAME = "sparsechem"
"""Names the fit in metrics and checkpoints."""
TOLD = (
    "roc_auc_score",
    "auc_pr",
    "auc_pr_cal",
    "f1_max",
    "kappa",
    "brier",
    "rmse",
    "rmse_uncen",
    "rsquared",
    "corrcoef",
)
"""Scores in the table of the outcome."""


def train(
    data: SparseChemData,
    net: SparseChemNet,
    fit: SparseChemFit | None = None,
    scoring: SparseChemScoring | None = None,
    *,
    progress: Progress = silent,
) -> Outcome:
    """Train SparseChem's network and write ``<output_dir>/<run_name>.safetensors`` and ``.json``.

    A killed call goes on where it was when it is made again; a finished one begins anew, as in SparseChem.

    Parameters
    ----------
    data
        Files and folds.
    net
        Layers and heads.
    fit
        Loss and optimiser.
    scoring
        What is scored, and where results go.
    progress
        Called while it works.
    """
    fit, scoring = fit or SparseChemFit(), scoring or SparseChemScoring()
    check_options(data, net, fit, scoring)
    net = _same_lengths(net)
    device, notes = pick_device(scoring.dev)
    training = _training(fit, device, notes)
    x = read_features(data.x, data.fold_inputs, data.input_transform)
    labels = read_labels(_files(data), x.shape[0])
    learn, judge = _split(data, labels)
    tasks = _outputs(net, labels, notes)
    conf = _conf((data, net, fit, scoring), x.shape[1], tasks)
    name = scoring.run_name or _run_name(conf)
    statistics = learn_statistics(labels.take(learn)) if fit.normalize_regression else None
    table = sparsechem_cells(x, labels, tasks, statistics, fit.regression_weight)
    weights = aggregation_weights(labels, scoring.min_samples_class, scoring.min_samples_regr)
    notes += _unlearnable(labels.take(learn)) + _unscored(weights, scoring)
    scaled = None if fit.normalize_regr_va else statistics
    how = Judging(tasks, scaled, *weights, scoring.pi_zero, scoring.num_bins)
    network = first_network(x.shape[1], tasks, network_shape(conf), fit.seed).to(device)
    run = Run(scoring.output_dir / name, progress if scoring.verbose > 1 else None)
    every = scoring.eval_frequency if scoring.eval_frequency > 0 else fit.epochs
    study = Study(network, table, (learn, judge), training, how)
    validation = study.run(run, every, fit.seed)
    scored = score_rows(network, table, learn, how) if scoring.eval_train else None
    files = _write(scoring.output_dir / name, conf, statistics, (validation, scored))
    if scoring.save_model:
        path = scoring.output_dir / f"{name}.safetensors"
        write_checkpoint(path, to_sparsechem(network, tasks), {"conf": files["results"].name})
        files["model"] = path
    shutil.rmtree(run.checkpoint_folder, ignore_errors=True)
    if not scoring.verbose:
        return Outcome()
    facts = {
        "run": name,
        "device": str(device),
        "rows learned from": len(learn),
        "validation rows": len(judge),
        "features": x.shape[1],
        "classes": f"{tasks.classes}, of which {int((weights[0] > 0).sum())} count in the means",
        "regression tasks": f"{tasks.values}, of which {int((weights[1] > 0).sum())} count in the means",
    }
    return Outcome(facts, _table(validation), notes, {what: str(path) for what, path in files.items()})


@dataclass(frozen=True)
class Study:
    """A network, what it learns from, and how it is judged."""

    network: MultiTaskNetwork
    table: CellTable
    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Rows of the table that are learned from, and those that judge."""
    training: SparseChemTraining
    how: Judging

    def run(self, run: Run, every: int, seed: int) -> SparseChemScores:
        """Train the network in place and return its scores on the rows that judge."""
        learn, judge = self.rows
        last: list[SparseChemScores] = []

        def validate() -> Mapping[str, float]:
            last[:] = [score_rows(self.network, self.table, judge, self.how)]
            return last[0].line()

        learned = learned_table(self.table, self.training)
        key = f"{learned.digest(learn, judge)} {self.training} {self.network.shape} {every}"
        if not run.checkpoint_folder.exists():
            (run.folder / "metrics.jsonl").unlink(missing_ok=True)
        job = Job(
            self.network,
            StepLoss(self.network, learned, learn, self.training),
            rows=len(learn),
            validate=validate,
            name=NAME,
            key=key,
            validate_every=every,
            optimisers=lambda network: make_sparsechem_optimisers(network, self.training),
        )
        run_loop(job, self.training.loop(len(learn)), seed=seed, run=run)
        if not last or self.training.best_epoch:
            validate()
        return last[0]


def read_features(path: Path, columns: int | None, transform: str) -> Any:
    """Return features, folded and transformed: CSR, or rows on disk where `path` is a folder of them."""
    if columns is not None and columns < 1:
        message = f"--fold_inputs is {columns}; it must be at least 1."
        raise ConfigError(message)
    if Path(path).is_dir():
        rows = MappedRows.open(path)
        return rows if columns is None and transform == "none" else FoldedRows(rows, columns, transform)
    return fold_inputs(read_matrix(path, repeats=True), columns, transform)


def pick_device(name: str) -> tuple[torch.device, list[str]]:
    """Return the device of a name; the CPU, and a note, where there is no accelerator."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        return torch.device("cpu"), [f"There is no {name} here; the CPU does the work."]
    return choose_device(name), []


def _same_lengths(net: SparseChemNet) -> SparseChemNet:
    """Check that layers and dropouts go together, and spell out what both heads share."""
    if net.last_hidden_sizes is not None:
        if net.last_hidden_sizes_class is not None or net.last_hidden_sizes_reg is not None:
            message = "Say --last_hidden_sizes for both heads, or --last_hidden_sizes_class and _reg; not both."
            raise ConfigError(message)
        net = replace(net, last_hidden_sizes_class=net.last_hidden_sizes, last_hidden_sizes_reg=net.last_hidden_sizes)
    for layers, dropouts in (
        ("hidden_sizes", "dropouts_trunk"),
        ("last_hidden_sizes_class", "dropouts_class"),
        ("last_hidden_sizes_reg", "dropouts_reg"),
    ):
        sizes = getattr(net, layers)
        if sizes is not None and len(sizes) != len(getattr(net, dropouts)):
            message = (
                f"--{layers} has {len(sizes)} layers, --{dropouts} {len(getattr(net, dropouts))} numbers; "
                "give one dropout for each layer."
            )
            raise ConfigError(message)
    return net


def _training(fit: SparseChemFit, device: torch.device, notes: list[str]) -> SparseChemTraining:
    mixed = bool(fit.mixed_precision) and device.type != "cpu"
    if fit.mixed_precision and not mixed:
        notes.append("--mixed_precision 1 works on an accelerator; single precision is used.")
    if fit.weight_decay and fit.optimizer.lower() == "adam":
        notes.append(
            "Adam's own weight decay moves every weight in every step. --optimizer AdamW decays them apart from the "
            "gradient, and costs only the columns in use."
        )
    if fit.normalize_regression:
        notes.append(
            "Mean and variance of values come from exact values of the training folds; SparseChem takes bounds too."
        )
    given: dict[str, Any] = {name: getattr(fit, name) for name in SparseChemTraining.__dataclass_fields__}
    flags = {"censored_loss": bool(fit.censored_loss), "best_epoch": bool(fit.best_epoch), "mixed_precision": mixed}
    return SparseChemTraining(**given | flags | {"optimizer": fit.optimizer.lower()})


def _files(data: SparseChemData) -> SparseChemFiles:
    return SparseChemFiles(**{name: getattr(data, name) for name in SparseChemFiles.__dataclass_fields__})


def _split(data: SparseChemData, labels: SparseChemLabels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that are learned from, and those that judge."""
    left_out = [fold for fold in data.fold_te if fold >= 0]
    both = sorted(set(left_out) & set(data.fold_va))
    if both:
        message = f"Fold {both[0]} is in --fold_va and --fold_te; a fold validates or is left out."
        raise ConfigError(message)
    judge = choose_folds(labels.folding, data.fold_va, "--fold_va")
    learn = ~judge & ~choose_folds(labels.folding, left_out, "--fold_te")
    if not learn.any():
        message = f"No row is left to learn from: {data.folding} has only the folds of --fold_va and --fold_te."
        raise DataError(message)
    return np.flatnonzero(learn), np.flatnonzero(judge)


def _outputs(net: SparseChemNet, labels: SparseChemLabels, notes: list[str]) -> SparseChemTasks:
    names = labels.class_tasks.catalogue
    shared = np.flatnonzero(names != "") if names is not None else np.zeros(0, np.int64)
    if net.enable_cat_fusion and not len(shared):
        message = "--enable_cat_fusion 1 needs --weights_class with names in its column catalog_id."
        raise ConfigError(message)
    if len(shared) and not net.enable_cat_fusion:
        notes.append(f"{len(shared)} classes have a catalog_id; --enable_cat_fusion 1 gives them a head of their own.")
    shared = shared if net.enable_cat_fusion else shared[:0]
    return SparseChemTasks(labels.y_class.shape[1], labels.y_regr.shape[1], shared)


def _unlearnable(labels: SparseChemLabels) -> list[str]:
    """Say of which tasks the training rows show one side only."""
    classes, values = labels.y_class.shape[1], labels.y_regr.shape[1]
    active = np.bincount(labels.y_class.indices[labels.y_class.data > 0], minlength=classes)
    inactive = np.bincount(labels.y_class.indices[labels.y_class.data < 0], minlength=classes)
    one_sided = np.flatnonzero((active == 0) | (inactive == 0))
    exact = np.bincount(labels.y_regr.indices[labels.y_censor.data == 0], minlength=values)
    no_exact = np.flatnonzero(exact == 0)
    return [
        f"{len(tasks)} of {count} {kind} have {lack} in the training folds (the first: {tasks[0]}); do not rely on "
        "what is predicted of them."
        for tasks, count, kind, lack in (
            (one_sided, classes, "classes", "labels of one kind or none"),
            (no_exact, values, "regression tasks", "no exact value"),
        )
        if len(tasks)
    ]


def _unscored(weights: tuple[NDArray[np.float64], NDArray[np.float64]], scoring: SparseChemScoring) -> list[str]:
    """Say where no task counts in the means."""
    least = f"{scoring.min_samples_class} positives and negatives", f"{scoring.min_samples_regr} exact values"
    options = "--min_samples_class", "--min_samples_regr"
    return [
        f"No {kind} has {number} in every fold, so their means are empty. Lower {option}."
        for kind, weight, number, option in zip(("class", "regression task"), weights, least, options, strict=True)
        if len(weight) and not weight.any()
    ]


def _conf(options: tuple[Any, ...], columns: int, tasks: SparseChemTasks) -> dict[str, Any]:
    """Return SparseChem's conf: all options by name, and the sizes."""
    conf = {name: value for one in options for name, value in asdict(one).items()}
    conf = {name: str(value) if isinstance(value, Path) else value for name, value in conf.items()}
    for name in ("fold_va", "fold_te"):
        folds = list(conf[name])
        conf[name] = folds if len(folds) > 1 else (folds or [None])[0]
    for name in ("class_feature_size", "regression_feature_size"):
        conf[name] = conf["hidden_sizes"][-1] if conf[name] == -1 else conf[name]
    return conf | {
        "optimizer": conf["optimizer"].lower(),
        "input_size": columns,
        "output_size": tasks.classes + tasks.values,
        "class_output_size": tasks.classes,
        "regr_output_size": tasks.values,
        "cat_id_size": len(tasks.catalogue),
    }


def _run_name(conf: dict[str, Any]) -> str:
    """Return SparseChem's name of a run."""

    def joined(value: Any) -> str:
        return ".".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    ends = {
        "adam": "".join(
            f"_{name}{value}" for name, value in zip(("Adam_1b", "2b", "eps"), conf["optimizer_params"], strict=False)
        ),
        "sgd": "_sgd" + "".join(f"_m{value}" for value in conf["optimizer_params"]),
        "adamw": "_adamw",
    }
    name = f"sc_{conf['prefix']}_h{joined(conf['hidden_sizes'])}_ldo_r{joined(conf['dropouts_reg'])}"
    name += f"_wd{conf['weight_decay']}_lr{conf['lr']}_lrsteps{joined(conf['lr_steps'])}_ep{conf['epochs']}"
    name += f"_fva{joined(conf['fold_va'])}_fte{joined(conf['fold_te'])}{ends[conf['optimizer']]}"
    return name + ("_mixed_precision" if conf["mixed_precision"] else "")


def _write(
    place: Path,
    conf: dict[str, Any],
    statistics: Statistics | None,
    scores: tuple[SparseChemScores, SparseChemScores | None],
) -> dict[str, Path]:
    out: dict[str, Any] = {"conf": conf}
    if statistics is not None:
        out["stats"] = {"mean": statistics.mean.tolist(), "var": statistics.variance.tolist()}
    for name, scored in zip(("validation", "training"), scores, strict=True):
        out |= {} if scored is None else {name: scored.to_json()}
    path = place.with_name(f"{place.name}.json")
    write_json(path, json.loads(json.dumps(out)))
    return {"results": path}


def _table(scores: SparseChemScores) -> list[dict[str, Any]]:
    rows = []
    for robust in (scores.classification_robust, scores.regression_robust):
        for name, row in robust.iterrows():
            if name in TOLD and row["tasks"]:
                rows.append(
                    {
                        "score": name,
                        "mean": float(row["mean"]),
                        "median": float(row["median"]),
                        "mean of large tasks": float(row["quorum_mean"]),
                        "tasks": int(row["tasks"]),
                        "large tasks": int(row["quorum_tasks"]),
                    }
                )
    return rows
