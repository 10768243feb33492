"""Pages and cards, made from the files that fits, comparisons, replays and campaigns leave."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.errors import DataError
from screenwise.evaluate.calibration import calibration_curve
from screenwise.evaluate.compare import BASELINES
from screenwise.evaluate.domain import errors_by_similarity
from screenwise.recipes.outcome import Outcome
from screenwise.report import figures
from screenwise.report.card import Card, write_card
from screenwise.report.curves import learning_curve, replay_curves
from screenwise.report.html import Picture, Section, Table, write_report
from screenwise.run import Run, read_json

METRIC_WORDS = {
    "rmse": "root mean square error",
    "rmse_cliff": "root mean square error on activity cliffs",
    "roc_auc": "area under the ROC curve",
}
"""Metrics that the pages draw -> what they are."""

REPLAY_COLUMNS = ["policy", "seeds", "measured", "hits", "hit_fraction", "lower", "upper", "area"]
BESIDE = re.compile("(over|saved)_(random|greedy)|over_.*er$|(hits_per_)?cost$")
"""Columns of ``summary.csv`` that compare with a baseline, or say what it cost, and are shown."""
REPLAY_TABLE = (
    "After the last round: means over seeds with 95 % intervals. area: mean share of hits known while wells were used. "
    "over_: difference to a baseline, seed by seed. saved_: share of wells saved for the same hits."
)


def report(folder: Path, out: Path | None = None) -> Outcome:
    """Write one page about a run, a comparison, a replay or a campaign, whichever the folder holds."""
    out = out or folder / "report.html"
    if is_pair_folder(folder):
        return pair_report(folder, out)
    if (folder / "campaign.sqlite").exists():
        title, sections = f"Campaign {folder.name}", campaign_sections(folder)
    elif (folder / "curves.csv").exists():
        title, sections = f"Replay {folder.name}", replay_sections(folder)
    elif (folder / "gain.json").exists():
        title, sections = f"Gain {folder.name}", gain_sections(folder)
    elif (folder / "summary.csv").exists():
        title, sections = f"Comparison {folder.name}", comparison_sections(folder)
    elif (folder / "done.json").exists():
        title, sections = f"Run {folder.name}", run_sections(folder)
    elif (folder / "scores.csv").exists():
        title, sections = f"Evaluation {folder.name}", evaluation_sections(folder)
    else:
        message = f"{folder} holds no run, comparison, replay, evaluation or campaign to report on."
        raise DataError(message)
    write_report(out, title, sections)
    return Outcome({"about": title}, files={"report": str(out)})


def is_pair_folder(folder: Path) -> bool:
    """Whether a folder holds a run, an evaluation or interactions of gene pairs."""
    run = (folder / "screen").is_dir() and (folder / "done.json").exists()
    return run or (folder / "distances.csv").exists() or (folder / "features.csv").exists()


def pair_report(folder: Path, out: Path) -> Outcome:
    """Write one page about what `screenwise perturbseq` left in a folder."""
    from screenwise.recipes import pair_report as pages  # noqa: PLC0415

    if (folder / "done.json").exists():
        title = f"Gene pairs: run {folder.resolve().name}"
        write_report(out, title, pages.run_sections(folder))
    elif (folder / "distances.csv").exists():
        title = f"Gene pairs held out: {folder.resolve().name}"
        write_report(out, title, pages.evaluation_sections(folder), lead=pages.EVALUATION_LEAD)
    else:
        title = f"Interactions of gene pairs: {folder.resolve().name}"
        write_report(out, title, pages.interaction_sections(folder))
    return Outcome({"about": title}, files={"report": str(out)})


def comparison_sections(folder: Path) -> list[Section]:
    """Return the parts of a page from ``summary.csv``, ``task_scores.csv`` and ``predictions.parquet``."""
    summary, tasks = pd.read_csv(folder / "summary.csv"), pd.read_csv(folder / "task_scores.csv")
    cells = pd.read_parquet(folder / "predictions.parquet")
    notes = read_json(folder / "comparison.json")["notes"]
    drawn = [name for name in METRIC_WORDS if (summary["metric"] == name).any()]
    pictures = [
        Picture(
            figures.comparison(summary[summary["metric"] == name], name, baselines=BASELINES),
            f"Mean over tasks of the {METRIC_WORDS[name]}, with 95 % intervals over test conditions and seeds.",
            wide=True,
        )
        for name in drawn
    ]
    text = "\n\n".join(["Every model is judged on the same cells, beside the baselines.", *notes])
    sections = [
        Section(
            "Models compared",
            text,
            pictures,
            [Table(_shown(summary, drawn), "Mean over tasks")],
        )
    ]
    for split, part in cells.groupby("split", sort=False):
        sections += [split_section(str(split), part, summary, tasks)]
    return sections


def _shown(summary: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Return the columns and rows of the summary that people read."""
    more = ("coverage", "coverage_cliff", "width", "spearman", "auc_pr", "auc_pr_calibrated", "brier", "ece")
    extra = [name for name in more if (summary["metric"] == name).any()]
    columns = ["split", "model", "metric", "mean", "lower", "upper", "baseline", "difference"]
    columns += ["difference_lower", "difference_upper", "tasks_won", "tasks"]
    part = summary[summary["metric"].isin([*metrics, *extra])]
    order = {name: place for place, name in enumerate([*metrics, *extra])}
    return part.sort_values("metric", key=lambda name: name.map(order), kind="stable")[columns]


def split_section(split: str, cells: pd.DataFrame, summary: pd.DataFrame, tasks: pd.DataFrame) -> Section:
    """Return what one split shows of its best model: predicted against observed, calibration, tasks, domain."""
    best = best_model(summary, split)
    own = cells[cells["model"] == best]
    own = own[own["seed"] == own["seed"].iloc[0]]
    exact = own[own["relation"] == 0]
    pictures = [Picture(figures.predicted_observed(exact["value"], exact["mean"]), f"{best}, all test cells together.")]
    if exact["std"].notna().any():
        curve = calibration_curve(exact["value"], exact["mean"], exact["std"]).assign(model=best)
        pictures.append(Picture(figures.calibration(curve), "Intervals of every level hold as much as they promise?"))
    part = tasks[tasks["split"] == split]
    if (part["metric"] == "rmse").any() and part["task"].nunique() > 1:
        pictures.append(Picture(figures.task_heat(part, "rmse"), "Error of every task.", wide=True))
    domain = summary[(summary["split"] == split) & summary["metric"].isin(["rmse_in_domain", "rmse_out_of_domain"])]
    tables = [
        Table(domain[["model", "metric", "mean", "lower", "upper"]], "Inside and outside the applicability domain")
    ]
    return Section(
        f"Split: {split}", f"Shown for {best}, the best model of this split.", pictures, tables if len(domain) else []
    )


def best_model(summary: pd.DataFrame, split: str) -> str:
    """Return the model with the best main metric on all tasks of a split."""
    part = summary[summary["split"] == split]
    metric = next(name for name in ("rmse", "roc_auc", *part["metric"]) if (part["metric"] == name).any())
    part = part[(part["metric"] == metric) & (part["tasks"] == part.loc[part["metric"] == metric, "tasks"].max())]
    better = bool(part["higher_is_better"].iloc[0])
    return str(part.sort_values("mean", ascending=not better)["model"].iloc[0])


def comparison_report(folder: Path, title: str) -> Path:
    """Write ``report.html`` of a comparison."""
    return write_report(folder / "report.html", title, comparison_sections(folder))


def replay_sections(folder: Path) -> list[Section]:
    """Return the parts of a page from ``curves.csv`` and ``summary.csv``, a section for each pool."""
    curves, summary = pd.read_csv(folder / "curves.csv"), pd.read_csv(folder / "summary.csv")
    text = "A measured screen answers round by round. Every policy of a seed begins from the same wells."
    several = summary["pool"].nunique() > 1
    return [
        Section(
            f"Replay of {pool}" if several else "Replay",
            text,
            [
                Picture(
                    replay_curves(curves[curves["pool"] == pool]),
                    "Share of the hits found; band: 95 % interval over seeds.",
                    wide=True,
                )
            ],
            [
                Table(
                    part[[*REPLAY_COLUMNS, *(name for name in part if BESIDE.match(name))]],
                    REPLAY_TABLE,
                    file="summary.csv",
                )
            ],
        )
        for pool, part in summary.groupby("pool", sort=False)
    ]


def evaluation_sections(folder: Path) -> list[Section]:
    """Return the parts of a page from ``scores.csv`` and ``predictions.csv``."""
    from screenwise.recipes.evaluation_page import evaluation_sections as sections  # noqa: PLC0415

    return sections(folder)


def evaluation_report(folder: Path, run: Path) -> Path:
    """Write ``report.html`` of an evaluation."""
    return write_report(folder / "report.html", f"Evaluation of {run.name}", evaluation_sections(folder))


def run_sections(folder: Path) -> list[Section]:
    """Return the parts of a page about one fitted run."""
    config, metrics = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    facts = {"data": config["source"], "model": config["settings"]["model"], "seed": config["settings"]["seed"]}
    tables: list[Any] = []
    if metrics["held_out"]:
        tables.append(Table(pd.DataFrame(metrics["held_out"]), f"Held out: {config['settings']['split']}"))
    rejected = pd.read_parquet(folder / "rejected.parquet")
    if len(rejected):
        counted = rejected["reason"].value_counts().rename_axis("reason").reset_index(name="rows")
        tables += [Table(counted, "Rows left out"), Table(rejected, "Which", rows=20, file="rejected.csv")]
    lines = Run(folder).metrics()
    pictures = [Picture(learning_curve(lines))] if any("epoch" in line for line in lines) else []
    return [Section("The run", metrics["reason"], pictures, tables, facts)]


def gain_sections(folder: Path) -> list[Section]:
    """Return the parts of a page about what one run gains over another."""
    from screenwise.recipes.gain_page import gain_sections as sections  # noqa: PLC0415

    return sections(folder)


def campaign_sections(folder: Path) -> list[Section]:
    """Return the parts of a page about a campaign."""
    from screenwise.recipes.campaign_page import sections  # noqa: PLC0415

    return sections(folder)


def run_card(folder: Path) -> None:
    """Write ``card.md`` of a run from its files."""
    config, metrics = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    tasks, settings = pd.read_parquet(folder / "tasks.parquet"), config["settings"]
    names = ", ".join(tasks["name"].astype(str).head(10)) + (", ..." if len(tasks) > 10 else "")  # noqa: PLR2004
    conditions = len(pd.read_parquet(folder / "training.parquet"))
    split = f"{settings['split']}: learnt from the training part only, scored on the held-out part"
    card = Card(
        name=folder.resolve().name,
        purpose=f"Predicts {names} of conditions nobody ran.",
        model={"kind": settings["model"], "why": metrics["reason"] or "named by the user"} | settings["settings"],
        data={"source": config["source"], "conditions learnt from": conditions, "fingerprint": config["data"]},
        split=split if settings["split"] != "none" else "none: learnt from everything, scored on nothing",
        metrics=pd.DataFrame(metrics["held_out"]) if metrics["held_out"] else None,
        domain="in_domain says whether a condition is as near to what was learnt as those are to each other; "
        "it is empty where nothing tells how alike conditions are.",
        limits=_limits(set(tasks["kind"])),
        reproduce={"seed": settings["seed"]},
        versions=config["environment"],
    )
    write_card(folder / "card.md", card)


def _limits(kinds: set[str]) -> list[str]:
    limits = ["Nothing is known of conditions outside the domain."]
    if "classification" in kinds:
        limits.insert(0, "The mean of a yes-or-no task is a probability, and its interval ends at 0 and 1.")
    if "regression" in kinds:
        limits.insert(0, "Intervals hold 90 % of new measurements on average, fewer on activity cliffs.")
        limits.insert(1, "Of conditions learnt from, std is that of measuring them again, as far as it can be told.")
    return limits


def similarity_errors(cells: pd.DataFrame, similarity: Any) -> Picture:
    """Return the picture of errors by similarity to the nearest training condition."""
    bins = errors_by_similarity(similarity, cells["value"], cells["mean"], cells["std"])
    return Picture(figures.error_by_similarity(bins), "Error by similarity to the nearest training compound.")
