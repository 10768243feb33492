"""Fit, predict, evaluate: from a user's file to a run, a table of predictions or scores."""

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.campaign.studied import ABSENT, names_genes, studied_column
from screenwise.config import from_mapping, to_mapping
from screenwise.data.assay import Assay
from screenwise.data.auxiliary import with_auxiliary
from screenwise.data.split import Fold, make_folds
from screenwise.data.table import write_table
from screenwise.data.table_parts import write_parts
from screenwise.errors import ConfigError, DataError
from screenwise.evaluate.compare import score_cells
from screenwise.evaluate.scoring import DETAILS
from screenwise.evaluate.trial import predict_cells
from screenwise.models import make_model, model_class, save_model
from screenwise.processes import usual_jobs
from screenwise.recipes.fitted_run import (
    columns_of,
    conditions_for,
    open_run,
    own_cell_columns,
    own_columns,
    run_tasks,
    seen_by,
    task_table,
    with_run_features,
)
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.predictions import asked_tasks, cells_in_domain, long_table, predict_chunks, wide_table
from screenwise.recipes.settings import FitSettings, PredictSettings, Reading
from screenwise.recipes.tables import auxiliary, measured, read_features, without_features
from screenwise.represent.fingerprint_store import computing
from screenwise.run import Run, read_json, write_json
from screenwise.screen import Screen

TAUGHT = ("multitask", "gp_network")
"""Models that learn from auxiliary tasks: their tasks share a trunk."""


def fit(
    table: str, out: Path, settings: FitSettings, reading: Reading = Reading(), *, progress: Progress = silent
) -> Outcome:
    """Fit one model to one table and save it as a run.

    With a split, the model learns from the training part only and is scored, beside the mean and the
    nearest neighbours, on the held-out part; with ``split="none"`` it learns from everything.

    Raises
    ------
    ConfigError
        Auxiliary tasks are given to a model that learns nothing from them.
    DataError
        The table cannot be read, or `out` holds another run.
    """
    config = _model_config(settings)
    if reading.auxiliary is not None and settings.model not in TAUGHT:
        message = f"Auxiliary tasks teach {settings.model} nothing; use --model {' or '.join(TAUGHT)}."
        raise ConfigError(message)
    data = measured(table, reading, progress=progress)
    described = {
        "settings": to_mapping(settings),
        "columns": to_mapping(reading.columns),
        "data": fingerprint(data.screen),
    }
    extra = None if reading.auxiliary is None else auxiliary(reading.auxiliary, reading, progress=progress)
    if extra is not None:
        described["auxiliary"] = [fingerprint(extra), extra.tasks["weight"].tolist()]
    if is_finished(out, described):
        scores = read_json(out / "metrics.json")["held_out"]
        return Outcome({"run": str(out)}, scores, ["This run is already fitted with these settings and data."])
    fold = _fold(settings, data)
    train = data.screen if fold is None else data.screen.where(fold.train)
    if extra is not None:
        train = with_auxiliary(train, extra, without=None if fold is None else _tested(data.screen, fold))
    run = Run(out, progress)
    write_json(out / "config.json", described | {"source": data.source, "environment": environment()})
    with computing(jobs=usual_jobs(), progress=progress):
        model = make_model(settings.model, config).fit(train, run=run, seed=settings.seed)
    _write_inputs(out, data, train, reading)
    scores = _held_out(model, data.screen, fold, settings.seed) if fold is not None else []
    save_model(model, settings.model, run.model_folder)
    evidence = _reason(model)
    write_json(out / "metrics.json", {"held_out": scores, "reason": evidence})
    write_json(out / "done.json", {"fitted": True})
    from screenwise.recipes.reporting import run_card  # noqa: PLC0415

    run_card(out)
    notes = [*data.notes, *_little_known(data.screen), *getattr(model, "notes_", ())]
    return Outcome(_fit_facts(data, train, settings, evidence), scores, notes, _fit_files(out, data))


def _little_known(screen: Screen) -> list[str]:
    """Say which tasks have one value only, or none that is exact."""
    cells = screen.targets.cells()
    table = pd.DataFrame({"task": cells.task, "value": cells.value, "exact": cells.relation == 0})
    known = table.groupby("task").agg(values=("value", "nunique"), exact=("exact", "any"))
    lacking = {"one value only": known["exact"] & (known["values"] == 1), "bounds only": ~known["exact"]}
    return [
        f"Tasks with {what}, of which a model learns little: {int(which.sum())}, such as "
        f"{screen.task_names[known.index[which][0]]}."
        for what, which in lacking.items()
        if which.any()
    ]


def predict(
    run: Path,
    table: str,
    out: Path,
    *,
    settings: PredictSettings = PredictSettings(),
    reading: Reading = Reading(),
    progress: Progress = silent,
) -> Outcome:
    """Predict every row of a table, in its order, and write the table of predictions."""
    model, tasks = open_run(run), task_table(run)
    conditions = conditions_for(run, table, reading, progress=progress)
    own, asked = own_columns(conditions).assign(**studied_column(conditions)), asked_tasks(tasks, settings.only)
    tasks = tasks.iloc[asked].reset_index(drop=True)
    shape = wide_table if settings.wide else long_table
    counts = np.zeros(2, np.int64)

    def parts() -> Iterator[pd.DataFrame]:
        for first, prediction in predict_chunks(model, conditions, progress, width=len(asked), tasks=asked):
            inside = cells_in_domain(prediction)
            if inside is not None:
                counts[:] += inside.sum(), np.isfinite(prediction.mean).sum()
            yield shape(own.iloc[first : first + len(prediction.mean)], prediction, tasks)

    write_parts(parts(), out)
    missing = int((conditions.get("note", pd.Series([""] * len(conditions))) != "").sum())
    facts: dict[str, Any] = {"rows": len(conditions), "tasks": len(tasks), "rows without prediction": missing}
    share = float(counts[0] / counts[1]) if counts[1] else "this model does not say"
    facts["predictions in domain"] = share
    if names_genes(conditions) and "studied" not in own:
        facts["studied"] = ABSENT
    bare = int(without_features(conditions).sum()) if (run / "features.parquet").exists() else 0
    notes = [f"{bare} of {len(conditions)} rows have no features in the run's table."] if bare else []
    return Outcome(facts, notes=notes, files={"predictions": str(out)})


def evaluate(run: Path, table: str, out: Path, reading: Reading = Reading(), *, progress: Progress = silent) -> Outcome:
    """Score a run on measured rows that it has not seen; rows it has seen are left out and counted."""
    model, tasks = open_run(run), run_tasks(run)
    data = measured(table, replace(reading, columns=columns_of(run, table, reading.columns)), progress=progress)
    screen = Screen(with_run_features(run, data.screen.conditions), data.screen.tasks, data.screen.targets)
    known = [name for name in screen.task_names if name in tasks]
    if not known:
        message = (
            f"{table} has the tasks {', '.join(screen.task_names)}; the run knows {', '.join(tasks)}. Rename them."
        )
        raise DataError(message)
    seen = seen_by(run, screen.conditions)
    if seen.all():
        message = f"Every row of {table} was used to fit {run}; give rows that the model has not seen."
        raise DataError(message)
    every = screen.targets.cells()
    own = own_cell_columns(data, screen)
    own = own[~seen[every.row] & np.isin(np.asarray(screen.task_names, object)[every.task], known)]
    screen = screen.take_tasks([screen.task_index(name) for name in known]).take(~seen)
    prediction = model.predict(screen.conditions)
    progress("Predicting rows", len(screen), len(screen))
    cells, columns = screen.targets.cells(), np.array([tasks.index(name) for name in known])
    at = (cells.row, columns[cells.task])
    mean, std = prediction.mean[at], None if prediction.std is None else prediction.std[at]
    inside = cells_in_domain(prediction)
    scores = score_cells(screen, mean, std)
    table_out = own.reset_index(drop=True).assign(
        task=np.asarray(known, object)[cells.task],
        value=cells.value,
        relation=cells.relation,
        mean=mean,
        std=np.nan if std is None else std,
        in_domain=None if inside is None else inside[at],
    )
    write_table(scores, out / "scores.csv")
    write_table(table_out, out / "predictions.csv")
    from screenwise.recipes.reporting import evaluation_report  # noqa: PLC0415

    evaluation_report(out, run)
    facts = {"rows": len(screen), "rows left out because the run was fitted on them": int(seen.sum())}
    files = {"scores": str(out / "scores.csv"), "report": str(out / "report.html")}
    return Outcome(facts, short_scores(scores), data.notes, files)


def short_scores(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the mean over tasks of each metric that is taken in at a glance, as rows."""
    mean = scores[~scores["metric"].isin(DETAILS)].groupby("metric", sort=False)["value"].agg(["mean", "count"])
    return [
        {"metric": str(metric), "mean over tasks": float(row["mean"]), "tasks": int(row["count"])}
        for metric, row in mean.iterrows()
    ]


def fingerprint(screen: Screen) -> str:
    """Return 16 hexadecimal digits of what was measured, whatever the order of the file."""
    cells = screen.targets.cells()
    frame = pd.DataFrame(
        {
            "condition": screen.conditions["condition_id"].to_numpy()[cells.row],
            "task": np.asarray(screen.task_names, object)[cells.task],
            "value": cells.value,
            "relation": cells.relation,
        }
    )
    words = np.sort(pd.util.hash_pandas_object(frame, index=False).to_numpy())
    return hashlib.sha256(words.tobytes()).hexdigest()[:16]


def environment() -> dict[str, str]:
    """Return the versions a result depends on."""
    names = ("screenwise", "numpy", "scipy", "pandas", "scikit-learn", "torch", "rdkit")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def _model_config(settings: FitSettings) -> Any:
    return from_mapping(model_class(settings.model).Config, _typed(settings.settings), f"settings of {settings.model}")


def _typed(settings: dict[str, Any]) -> dict[str, Any]:
    """Read the command line's text as TOML would: numbers, booleans and lists."""
    import tomllib  # noqa: PLC0415

    def value(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        try:
            return tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            return text

    return {name.replace("-", "_"): value(text) for name, text in settings.items()}


def is_finished(out: Path, described: dict[str, Any]) -> bool:
    """Whether `out` holds this very fit; another one there is an error, an unfinished one goes on."""
    if out.is_file():
        message = f"{out} is a file; --out wants a folder."
        raise DataError(message)
    if not (out / "config.json").exists():
        if out.exists() and any(out.iterdir()):
            message = f"{out} is not empty and holds no run; choose another folder."
            raise DataError(message)
        return False
    before = read_json(out / "config.json")
    if any(before.get(name) != value for name, value in described.items()):
        message = f"{out} holds a run with other settings or data; choose another folder or delete it."
        raise DataError(message)
    return (out / "done.json").exists()


def _fold(settings: FitSettings, data: Assay) -> Fold | None:
    if settings.split == "none":
        return None
    return make_folds(settings.split, data.screen, seed=settings.seed, cells=data.cells)[0]


def _tested(screen: Screen, fold: Fold) -> np.ndarray:
    """Return the ids of conditions with a held-out cell."""
    return screen.conditions["condition_id"].to_numpy(object)[np.unique(screen.targets.cells().row[fold.test])]


def _held_out(model: Any, screen: Screen, fold: Fold, seed: int) -> list[dict[str, Any]]:
    """Score the model, the mean and the neighbours on the held-out cells; mean over tasks."""
    test, train = screen.where(fold.test), screen.where(fold.train)
    every, rows = np.arange(len(test.targets.cells())), []
    for name, one in {"this model": model, "neighbours": None, "mean": None}.items():
        fitted = one if one is not None else make_model(name).fit(train, seed=seed)
        mean, std, _ = predict_cells(fitted, test, every)
        scores = score_cells(test, mean, None if np.isnan(std).all() else std)
        rows.append({"model": name, **{row["metric"]: row["mean over tasks"] for row in short_scores(scores)}})
    return rows


def _write_inputs(out: Path, data: Assay, train: Screen, reading: Reading) -> None:
    cells = train.targets.cells()
    learnt, place = np.unique(cells.row, return_inverse=True)
    frames = {
        "training_cells.parquet": pd.DataFrame({"row": place, "task": cells.task}),
        "tasks.parquet": train.tasks,
        "training.parquet": train.conditions.iloc[learnt],
        "rejected.parquet": data.rejected.astype(str),
    }
    if reading.features is not None:
        frames["features.parquet"] = read_features(reading.features)
    for name, frame in frames.items():
        write_table(frame, out / name)
    write_table(data.rejected, out / "rejected.csv")


def _reason(model: Any) -> str:
    return str(getattr(model, "reason_", ""))


def _fit_facts(data: Assay, train: Screen, settings: FitSettings, reason: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "conditions": len(data.screen),
        "tasks": len(data.screen.tasks),
        "measurements": len(data.screen.targets.cells()),
        "learnt from": len(train.targets.cells()),
        "model": settings.model,
    }
    if reason:
        facts["chosen because"] = reason
    if len(data.rejected):
        facts["rows left out"] = len(data.rejected)
        facts |= {f"  {why}": int(count) for why, count in data.rejected["reason"].value_counts().head(12).items()}
    return facts


def _fit_files(out: Path, data: Assay) -> dict[str, str]:
    files = {"run": str(out), "card": str(out / "card.md")}
    return files | ({"rows left out, with reasons": str(out / "rejected.csv")} if len(data.rejected) else {})
