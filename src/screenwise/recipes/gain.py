"""What one run gains over another on measured rows that neither has seen: scores, significance, domain."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.table import write_table
from screenwise.errors import DataError
from screenwise.evaluate import conformal
from screenwise.evaluate.bootstrap import signed_rank
from screenwise.evaluate.deltas import GainPlan, PairedCells, gain_tables, groups_of, relative_improvement
from screenwise.processes import usual_jobs
from screenwise.recipes.fitted_run import (
    columns_of,
    open_run,
    own_cell_columns,
    seen_by,
    task_table,
    with_run_features,
)
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.predictions import main_tasks, predict_chunks
from screenwise.recipes.settings import GainSettings, Reading
from screenwise.recipes.tables import measured
from screenwise.recipes.trust import Trust, learn_trust
from screenwise.represent.fingerprint_store import computing
from screenwise.run import write_json
from screenwise.screen import Screen


def gain(  # noqa: PLR0913 - two runs, a table, where to, how; the rest has defaults
    run_a: Path,
    run_b: Path,
    table: str,
    out: Path,
    settings: GainSettings = GainSettings(),
    *,
    reading: Reading = Reading(),
    progress: Progress = silent,
) -> Outcome:
    """Predict a table's measured, unseen rows with two runs and say what the second gains over the first.

    Parameters
    ----------
    run_a, run_b
        Folders of two finished fits.
    table
        Measurements; rows that either run was fitted on are left out and counted.
    out
        Folder for ``deltas.csv`` (per task and score), ``summary.csv`` (over tasks), ``domain.csv`` (per task),
        ``predictions.csv`` and ``report.html``.
    settings
        Error level of the domain, replicates and seed of the bootstrap.
    reading
        How to read the table; what is not said is as at the fit of the first run.

    Raises
    ------
    DataError
        `out` is a file or a run.
    """
    models = [open_run(run) for run in (run_a, run_b)]
    if out.is_file() or (out / "config.json").exists():
        message = f"{out} is {'a file' if out.is_file() else 'a run'}; --out wants a folder of its own."
        raise DataError(message)
    asked = _asked((run_a, run_b), table, reading, progress)
    with computing(jobs=usual_jobs(), progress=progress):
        pairs = zip(models, (run_a, run_b), strict=True)
        first, second = (_judged(model, run, asked, settings.error, progress) for model, run in pairs)
    cells = asked.screen.targets.cells()
    value, told = cells.value.astype(np.float64), asked.screen.task_names
    paired = PairedCells(cells.row, cells.task, value, cells.relation, first.mean, second.mean)
    deltas, summary = gain_tables(paired, asked.tasks, GainPlan(settings.replicates, settings.seed))
    domain = _domain_table(asked.tasks, first, second)
    summary = pd.concat([summary, _domain_summary(domain, asked.tasks)], ignore_index=True)
    predictions = asked.own.assign(
        task=np.asarray(told, object)[cells.task], value=value, relation=cells.relation, a=first.mean, b=second.mean
    )
    tables = {"deltas": deltas, "summary": summary, "domain": domain, "predictions": predictions}
    for name, one in tables.items():
        write_table(one, out / f"{name}.csv")
    names, notes = [run_a.resolve().name, run_b.resolve().name], _notes(asked, (run_a, first), (run_b, second))
    write_json(out / "gain.json", {"a": names[0], "b": names[1], "error": settings.error, "notes": notes})
    from screenwise.recipes.gain_page import gain_report  # noqa: PLC0415

    gain_report(out)
    facts = {"a": str(run_a), "b": str(run_b), "rows": len(asked.screen), "tasks": len(asked.tasks)}
    facts |= {"rows left out because a run was fitted on them": asked.seen}
    files = {name: str(out / name) for name in ("deltas.csv", "summary.csv", "domain.csv", "report.html")}
    return Outcome(facts, _short(summary), [*asked.notes, *notes], files)


@dataclass(frozen=True)
class _Asked:
    """Measured rows that neither run has seen, with the tasks that both predict."""

    screen: Screen
    tasks: pd.DataFrame
    """(t,) name, kind and, where somebody says it, assay_type."""
    own: pd.DataFrame
    """(m,) what names each measured cell in the user's table."""
    seen: int
    notes: list[str]


def _asked(runs: tuple[Path, Path], table: str, reading: Reading, progress: Progress) -> _Asked:
    reading = replace(reading, columns=columns_of(runs[0], table, reading.columns))
    data = measured(table, reading, progress=progress)
    screen, notes = data.screen, list(data.notes)
    tasks, wrong = _common_tasks(screen, [task_table(run) for run in runs])
    if wrong:
        notes.append(f"Left out, because the runs or the table disagree whether they are classes: {', '.join(wrong)}.")
    if not len(tasks):
        message = (
            f"{table} has the tasks {', '.join(screen.task_names[:10])}; none of them is a task of both runs. "
            "Rename the tasks, or fit both runs on tables that have them."
        )
        raise DataError(message)
    seen = np.any([seen_by(run, screen.conditions) for run in runs], axis=0)
    own, every = own_cell_columns(data, screen), screen.targets.cells()
    place = [screen.task_index(name) for name in tasks["name"]]
    kept = ~seen[every.row] & np.isin(every.task, place)
    if not kept.any():
        message = f"{table} has no measured row that neither run was fitted on; give rows that both have not seen."
        raise DataError(message)
    rows = np.unique(every.row[kept])
    shown = screen.take_tasks(place).take(rows)
    order = np.lexsort((pd.Index(place).get_indexer(every.task[kept]), every.row[kept]))
    return _Asked(shown, tasks, own[kept].iloc[order].reset_index(drop=True), int(seen.sum()), notes)


def _common_tasks(screen: Screen, tables: list[pd.DataFrame]) -> tuple[pd.DataFrame, list[str]]:
    """Return the tasks that the table and both runs have, and the names of those that are not the same kind.

    A task of aggregation weight 0 is auxiliary: it teaches and is not scored.
    """
    read = screen.tasks.set_index(screen.tasks["name"].astype(str))
    runs = [table.set_index(table["name"].astype(str)) for table in tables]
    scored = [set(run.index[main_tasks(run)]) for run in runs]
    names = [name for name in read.index if all(name in own for own in scored)]
    kinds = pd.DataFrame({place: run["kind"].reindex(names) for place, run in enumerate(runs)})
    # 0 and 1 may be values of a regression task; other numbers are no labels.
    same = (kinds[0] == kinds[1]) & ((kinds[0] == "regression") | (read["kind"].reindex(names) == "classification"))
    good = [name for name in names if same[name]]
    tasks = pd.DataFrame({"name": good, "kind": kinds[0].reindex(good).to_numpy()})
    said = next((one["assay_type"] for one in (read, *runs) if "assay_type" in one), None)
    if said is not None:
        tasks["assay_type"] = said.reindex(good).to_numpy()
    return tasks, [name for name in names if not same[name]]


@dataclass(frozen=True)
class _Judged:
    """What one run says of the measured cells, and what it can conclude about all cells."""

    mean: NDArray[np.float64]
    """(m,) predictions of the measured cells."""
    shares: pd.DataFrame
    """(t,) efficiency, validity_0, validity_1 of classes; width, validity of values; calibration."""


def _judged(model: Any, run: Path, asked: _Asked, error: float, progress: Progress) -> _Judged:
    """Predict all tasks of all conditions, part by part, and keep the measured cells and counts."""
    known = task_table(run)
    trust = learn_trust(model, known, (error,))
    columns = pd.Index(known["name"].astype(str)).get_indexer(asked.tasks["name"])
    trusted = pd.Index(trust.tasks["name"].astype(str)).get_indexer(asked.tasks["name"])
    conditions = with_run_features(run, asked.screen.conditions)
    cells, t = asked.screen.targets.cells(), len(columns)
    mean, sums = np.full(len(cells), np.nan), [0, 0]
    told: Callable[..., None] = partial(_told, progress, run.resolve().name)
    for start, prediction in predict_chunks(model, conditions, told, width=len(known)):
        part, n = prediction.mean[:, columns], len(prediction.mean)
        mine = slice(*np.searchsorted(cells.row, [start, start + n]))
        at = (cells.row[mine] - start, cells.task[mine])
        mean[mine] = part[at]
        value, relation = np.full((n, t), np.nan, np.float32), np.zeros((n, t), np.int8)
        value[at], relation[at] = cells.value[mine], cells.relation[mine]
        std = np.full_like(part, np.nan) if prediction.std is None else prediction.std[:, columns]
        found = _counts(trust, trusted, error, (part, std, value, relation))
        sums = [sum_ + one for sum_, one in zip(sums, found, strict=True)]
    return _Judged(mean, _shares(trust, trusted, sums))


def _told(progress: Progress, name: str, what: str, done: int, total: int) -> None:
    progress(f"{what} with {name}", done, total)


def _counts(trust: Trust, columns: NDArray[Any], error: float, parts: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return counts of conformal sets and of intervals of (n, t) predictions, by task."""
    mean, std, value, relation = (part.ravel() for part in parts)
    t = len(columns)
    task = np.tile(np.arange(t), len(mean) // t)
    classes = trust.classes[columns][task] & np.isfinite(mean)
    sets = conformal.label_sets(trust.p_values(mean[classes], columns[task[classes]]), error)
    labels = conformal.label_counts(sets, task[classes], t, value[classes])
    ends = trust.ends(error, mean, std, columns[task])
    return labels, conformal.interval_counts(ends, (task, value, relation), t)


def _shares(trust: Trust, columns: NDArray[Any], sums: list[Any]) -> pd.DataFrame:
    labels, values = conformal.label_shares(sums[0]), conformal.interval_shares(sums[1])
    classes, source = trust.classes[columns], trust.source[columns]
    table = pd.concat([labels[["efficiency", "validity_0", "validity_1"]], values[["width", "validity"]]], axis=1)
    table.loc[~classes, ["efficiency", "validity_0", "validity_1"]] = np.nan
    table.loc[classes, ["width", "validity"]] = np.nan
    table.loc[source == conformal.NONE] = np.nan
    return table.assign(calibration=source)


def _domain_table(tasks: pd.DataFrame, first: _Judged, second: _Judged) -> pd.DataFrame:
    """Return, per task, what each run can conclude; columns that nothing fills are left out."""
    one, other = first.shares, second.shares
    table = tasks.rename(columns={"name": "task"})
    for name in ("efficiency", "width"):
        table[f"{name}_a"], table[f"{name}_b"] = one[name], other[name]
    table["efficiency_gain"] = other["efficiency"] - one["efficiency"]
    table["narrower"] = relative_improvement(one["width"], other["width"], higher_is_better=False)
    for name in ("validity_0", "validity_1", "validity", "calibration"):
        table[f"{name}_a"], table[f"{name}_b"] = one[name], other[name]
    return table.dropna(axis=1, how="all")


def _domain_summary(domain: pd.DataFrame, tasks: pd.DataFrame) -> pd.DataFrame:
    """Return rows of the summary about the domain; no interval, because they need no measurement."""
    rows = []
    for name, higher in (("efficiency", True), ("width", False)):
        if not {f"{name}_a", f"{name}_b"} <= set(domain):
            continue
        gap = (domain[f"{name}_b"] - domain[f"{name}_a"]).to_numpy(np.float64)
        for group, member in groups_of(tasks).items():
            there = member & np.isfinite(gap)
            if there.any():
                better = gap[there] * (1 if higher else -1)
                a, b = (float(domain.loc[there, f"{name}_{which}"].mean()) for which in "ab")
                row = {"group": group, "metric": name, "higher_is_better": higher, "a": a, "b": b}
                row |= {"delta": b - a, "median": float(np.median(gap[there])), "tasks": int(there.sum())}
                row |= {"better": float(np.mean((better > 0) + (better == 0) / 2)), "p_tasks": signed_rank(gap[there])}
                rows.append(row)
    return pd.DataFrame(rows)


def _notes(asked: _Asked, *judged: tuple[Path, _Judged]) -> list[str]:
    notes = []
    for run, one in judged:
        number = int((one.shares["calibration"] == conformal.NONE).sum())
        if number == len(asked.tasks):
            notes.append(f"{run.resolve().name} keeps no predictions of cells it did not learn from: no domain of it.")
        elif number:
            notes.append(f"{run.resolve().name} has too few calibration cells for the domain of {number} tasks.")
        unpredicted = int(np.isnan(one.mean).sum())
        if unpredicted:
            notes.append(f"{run.resolve().name} does not predict {unpredicted} of {len(one.mean)} measured cells.")
    return notes


def _short(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows a terminal shows: over all tasks, each score; `sure` = tasks called better / worse."""
    rows = []
    for _, line in summary[summary["group"] == "all"].iterrows():
        known = pd.notna(line.get("lower"))
        interval = f" ({line['lower']:+.4f} to {line['upper']:+.4f})" if known else ""
        called = f"{line['called_better']:.0f} / {line['called_worse']:.0f}" if known else ""
        rows.append(
            {
                "metric": str(line["metric"]),
                "best": "high" if line["higher_is_better"] else "low",
                "a": float(line["a"]),
                "b": float(line["b"]),
                "b - a (95 %)": f"{line['delta']:+.4f}{interval}",
                "tasks better": f"{100 * line['better']:.0f} % of {line['tasks']:.0f}",
                "sure": called,
            }
        )
    return rows
