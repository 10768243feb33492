"""The page about what one run gains over another, made from the files that `screenwise gain` leaves."""

from pathlib import Path

import pandas as pd

from screenwise.report.html import Picture, Section, Table, write_report
from screenwise.report.task_figures import delta_ecdf, ecdf, score_ecdf
from screenwise.run import read_json

DRAWN = ("roc_auc", "auc_pr_calibrated", "rmse", "rmse_censored")
"""Scores with pictures."""
WORDS = {
    "roc_auc": "area under the ROC curve",
    "auc_pr_calibrated": "area under precision and recall as if a tenth were positive",
    "rmse": "root mean square error of exact values",
    "rmse_censored": "root mean square error where a bound errs on its wrong side only",
}
TASKS_SHOWN = 15
"""Tasks on either end of the table of gains."""
SUMMARY = ["metric", "a", "b", "delta", "lower", "upper", "median", "better", "tasks"]
COUNTS = ["called_better", "called_worse"]
SUMMARY += [*COUNTS, "p_tasks"]
READING = """a and b are means over tasks; delta = b - a, with the 95 % interval that drawing compounds anew, with all
their measurements, gives. better: share of tasks on which b is better. called_better, called_worse: tasks whose own
difference is significant at a false discovery rate of 5 % (Benjamini-Yekutieli, over tasks with at least 5 positives
and negatives, or 10 exact values). p_tasks: Wilcoxon's signed ranks over tasks."""


def gain_report(folder: Path) -> Path:
    """Write ``report.html`` of a folder that `screenwise gain` filled."""
    names = read_json(folder / "gain.json")
    title = f"What {names['b']} gains over {names['a']}"
    lead = f"a = {names['a']}, b = {names['b']}, both on the same measured rows, which neither was fitted on."
    return write_report(folder / "report.html", title, gain_sections(folder), lead=lead)


def gain_sections(folder: Path) -> list[Section]:
    """Return the parts of a page from ``deltas.csv``, ``summary.csv``, ``domain.csv`` and ``gain.json``."""
    known = read_json(folder / "gain.json")
    deltas, summary = pd.read_csv(folder / "deltas.csv"), pd.read_csv(folder / "summary.csv")
    summary[COUNTS] = summary[COUNTS].astype("Int64")
    domain = pd.read_csv(folder / "domain.csv")
    drawn = [name for name in DRAWN if (deltas["metric"] == name).any()]
    whole = summary[summary["group"] == "all"]
    sections = [_scores(deltas, whole, drawn, known)]
    if summary["group"].nunique() > 1:
        sections.append(_by_type(deltas, summary, drawn))
    sections += [_domain(domain, whole, known), *[_tasks(deltas, name) for name in drawn]]
    return sections


def _scores(deltas: pd.DataFrame, whole: pd.DataFrame, drawn: list[str], known: dict[str, str]) -> Section:
    pictures, facts = [], {}
    for name in drawn:
        row = whole[whole["metric"] == name].iloc[0]
        higher = bool(row["higher_is_better"])
        facts[f"{name}, b - a"] = f"{row['delta']:+.3f} ({row['lower']:+.3f} to {row['upper']:+.3f})"
        facts[f"{name}, tasks better"] = f"{100 * row['better']:.0f} %"
        if (deltas["metric"] == name).sum() > 1:
            pictures.append(Picture(score_ecdf(deltas, name, (known["a"], known["b"])), f"{_sentence(WORDS[name])}."))
            pictures.append(Picture(delta_ecdf(deltas, name, higher_is_better=higher), "Its difference on each task."))
    text = "\n\n".join([READING, *known["notes"]])
    rows = whole[whole["lower"].notna()]
    return Section("Scores", text, pictures, [_table(rows, SUMMARY, "Over tasks", "summary.csv")], facts)


def _by_type(deltas: pd.DataFrame, summary: pd.DataFrame, drawn: list[str]) -> Section:
    pictures = []
    for name in drawn:
        higher = bool(summary.loc[summary["metric"] == name, "higher_is_better"].iloc[0])
        figure = delta_ecdf(deltas, name, higher_is_better=higher, by="assay_type")
        pictures.append(Picture(figure, f"{_sentence(WORDS[name])}: difference on each task."))
    part = summary[summary["group"] != "all"].sort_values(["metric", "group"], kind="stable")
    return Section("By assay type", "", pictures, [_table(part, ["group", *SUMMARY], "", "summary.csv")])


def _domain(domain: pd.DataFrame, whole: pd.DataFrame, known: dict[str, str]) -> Section:
    error = float(known["error"])
    text = f"""With {100 * error:.0f} % of mistakes allowed: the efficiency of a class task is the share of all
compounds for which exactly one label is left, and the width of a value's interval is in the unit of the task. Neither
needs a measurement; validity does, and should be at least {1 - error:.2f}."""
    pictures, shown = [], [name for name in ("efficiency", "width") if {f"{name}_a", f"{name}_b"} <= set(domain)]
    if not shown:
        return Section("Domain", f"{text}\n\nOne of the runs keeps no calibration cells, so there is no comparison.")
    words = {"efficiency": "conformal efficiency of a task", "width": "mean width of a task's intervals"}
    for name in shown:
        if domain[f"{name}_a"].notna().sum() > 1:
            lines = {f"{which}: {known[which]}": domain[f"{name}_{which}"] for which in "ab"}
            pictures.append(Picture(ecdf(lines, label=words[name]), f"{_sentence(words[name])}."))
    means = domain.select_dtypes("number").mean().rename_axis("mean over tasks").reset_index(name="value")
    tables = [
        _table(whole[whole["metric"].isin(shown)], SUMMARY, "Over tasks", "summary.csv"),
        Table(means, "What stands behind it", file="domain.csv"),
    ]
    return Section("Domain", text, pictures, tables)


def _tasks(deltas: pd.DataFrame, metric: str) -> Section:
    own = deltas[deltas["metric"] == metric].sort_values("improve_to_perfect", ascending=False, kind="stable")
    columns = ["task", "a", "b", "delta", "improve_to_perfect", "error", "p", "q", "cells"]
    tables = [_table(own, columns, "", "deltas.csv")]
    if len(own) > 2 * TASKS_SHOWN:
        best, worst = own.head(TASKS_SHOWN), own.tail(TASKS_SHOWN).iloc[::-1]
        tables = [_table(best, columns, "Where b gains most"), _table(worst, columns, "Where b loses most")]
    return Section(f"Tasks: {metric}", f"{_sentence(WORDS[metric])}; all tasks are in deltas.csv.", [], tables)


def _table(frame: pd.DataFrame, columns: list[str], caption: str, file: str = "") -> Table:
    there = [name for name in columns if name in frame and frame[name].notna().any()]
    return Table(frame[there], caption, file=file)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]
