"""The page about a run's scores on rows it has not seen, made from the files that `screenwise evaluate` leaves."""

from pathlib import Path

import pandas as pd

from screenwise.evaluate.calibration import calibration_curve, reliability
from screenwise.evaluate.metrics import HALF
from screenwise.evaluate.scoring import ALL_METRICS
from screenwise.evaluate.sparsechem_scores import aggregate
from screenwise.report import figures
from screenwise.report.html import Picture, Section, Table
from screenwise.report.task_figures import ecdf

SHOWN = {
    "classification": ("roc_auc", "auc_pr", "auc_pr_calibrated", "bedroc", "f1_best", "kappa", "brier", "ece"),
    "regression": ("rmse", "rmse_censored", "mae", "r_squared", "spearman", "coverage", "width"),
}
"""Scores of each task that the page shows; all are in scores.csv."""
SPREAD = {"classification": ("roc_auc", "auc_pr", "auc_pr_calibrated"), "regression": ("r_squared", "spearman")}
"""Scores whose spread over tasks is drawn."""
TITLES = {"classification": "Classes", "regression": "Values"}
WORDS = {
    "classification": """auc_pr is the area under precision and recall; auc_pr_calibrated is what it would be if a tenth
of each task's rows were positive, so that tasks can be averaged. bedroc asks how early positives stand in the ranking;
f1_best and kappa_best are taken at each task's best threshold, kappa, matthews, sensitivity and specificity at 0.5.
brier, log_loss, ece and ace judge the probabilities.""",
    "regression": "coverage is the share of exact values inside their 90 % intervals, width what that costs.",
}
ROBUST = """The median and the mean over tasks that reach the quorum (at least 5 positives and 5 negatives, or 10 exact
values that are not nearly equal) stand beside the mean, because one small or nearly constant task can move a mean
anywhere."""


def evaluation_sections(folder: Path) -> list[Section]:
    """Return the parts of a page from ``scores.csv`` and ``predictions.csv``, one for each kind of task."""
    scores, cells = (pd.read_csv(folder / name, dtype={"task": str}) for name in ("scores.csv", "predictions.csv"))
    cells = cells[cells["mean"].notna()]
    kinds = {kind: [name for name, one in ALL_METRICS.items() if one.kind == kind] for kind in SHOWN}
    sections = []
    for kind, names in kinds.items():
        tasks = scores.loc[scores["metric"].isin(names), "task"].unique()
        if len(tasks):
            own = scores["task"].isin(tasks)
            sections.append(_section(kind, scores[own], cells[cells["task"].isin(tasks)]))
    return sections


def _section(kind: str, scores: pd.DataFrame, cells: pd.DataFrame) -> Section:
    wide = scores.pivot_table(index="task", columns="metric", values="value", sort=False)
    over = _over_tasks(kind, wide, cells)
    facts = {f"{name}, mean over tasks": over.loc[name, "mean"] for name in SHOWN[kind][:4] if name in over.index}
    pictures = _class_pictures(cells) if kind == "classification" else _value_pictures(cells)
    if len(wide) > 1:
        spread = {name: wide[name] for name in SPREAD[kind] if name in wide}
        if spread:
            pictures.append(Picture(ecdf(spread, label="score of a task"), "How the scores of the tasks are spread."))
    shown = [name for name in (*SHOWN[kind], "count") if name in wide]
    tables = [Table(wide[shown].reset_index(), "Per task", file="scores.csv")]
    if len(wide) > 1:
        tables.insert(0, Table(over.rename_axis("metric").reset_index(), "Over tasks"))
    text = f"{WORDS[kind]}\n\n{ROBUST}" if len(wide) > 1 else WORDS[kind]
    return Section(f"{TITLES[kind]} of rows the run has not seen", text, pictures, tables, facts)


def _over_tasks(kind: str, wide: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return robust means of each score, with the numbers that a quorum asks for counted from the cells."""
    exact = cells[cells["relation"] == 0]
    groups = exact.assign(positive=exact["value"] > HALF).groupby("task")
    number, positive = groups.size().reindex(wide.index), groups["positive"].sum().reindex(wide.index)
    if kind == "classification":
        counts = {"num_pos": positive.fillna(0), "num_neg": (number - positive).fillna(0)}
    else:
        spread = groups["value"].std(ddof=0).reindex(wide.index)
        counts = {"num_exact": number.fillna(0), "std_exact": spread}
    chosen = [name for name, one in ALL_METRICS.items() if one.kind == kind and name in wide]
    return aggregate(wide[chosen].assign(**counts))


def _class_pictures(cells: pd.DataFrame) -> list[Picture]:
    curve = reliability(cells["value"], cells["mean"]).rename(columns={"probability": "nominal"})
    words = {"promised": "probability predicted", "observed": "share of positives"}
    figure = figures.calibration(curve, **words, sides=("said too low", "said too high"))
    return [Picture(figure, "All cells together, in ten bins of predicted probability.")]


def _value_pictures(cells: pd.DataFrame) -> list[Picture]:
    exact = cells[cells["relation"] == 0]
    pictures = [Picture(figures.predicted_observed(exact["value"], exact["mean"]), "All exact values together.")]
    if exact["std"].notna().any():
        curve = calibration_curve(exact["value"], exact["mean"], exact["std"])
        pictures.append(Picture(figures.calibration(curve), "Intervals of every level hold as much as they promise?"))
    return pictures
