"""Pages on gene pairs: an evaluation, a map of interactions, a fitted run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from screenwise.data.labels import genes_of
from screenwise.evaluate.calibration import calibration_curve
from screenwise.prediction import Z90
from screenwise.report import pair_figures as draw
from screenwise.report.figures import calibration, comparison
from screenwise.report.html import Picture, Section, Table, write_report
from screenwise.run import read_json
from screenwise.screen import Screen

METRICS = ("l2", "pearson_delta", "departure_cosine", "discrimination_score_l1", "coverage_90")
"""Scores of the page's table; all are in summary.csv."""
DRAWN_PAIRS = 3
"""Pairs whose strongest features are drawn."""
SIMPLE = ("no_change", "mean", "salt", "scaled_salt", "noise")


EVALUATION_LEAD = (
    "Pairs were held out and predicted from singles and the other pairs. salt is plain addition, scaled_salt a "
    "shrunken sum, no_change the control, mean the average training pair, noise the sampling error of the "
    "measured profiles themselves."
)


def evaluation_report(out: Path, name: str) -> Path:
    """Write report.html from the tables of an evaluation."""
    sections = evaluation_sections(out)
    return write_report(out / "report.html", f"Gene pairs held out of {name}", sections, lead=EVALUATION_LEAD)


def evaluation_sections(folder: Path) -> list[Section]:
    """Return the sections of a page from ``summary.csv`` and ``distances.csv``."""
    summary, distances = pd.read_csv(folder / "summary.csv"), pd.read_csv(folder / "distances.csv")
    effects = pd.read_parquet(folder / "effects.parquet")
    splits = list(dict.fromkeys(summary["split"]))
    sections = [_split_section(split, summary, distances, effects) for split in splits]
    if distances["novelty"].nunique() > 1:
        picture = Picture(draw.error_by_novelty(distances), "Distance by the number of genes never seen alone.")
        sections.append(Section("Unseen genes", "All splits together.", [picture]))
    return sections


def _split_section(split: str, summary: pd.DataFrame, distances: pd.DataFrame, effects: pd.DataFrame) -> Section:
    part, cells = summary[summary["split"] == split], distances[distances["split"] == split]
    table = part[part["metric"].isin(METRICS)].pivot_table(index="model", columns="metric", values="mean")
    table = table.reindex(columns=[one for one in METRICS if one in table]).sort_values("l2").reset_index()
    pictures = [
        Picture(
            comparison(part, "l2", baselines=SIMPLE, over="pairs"),
            "Mean distance to the measured profile, 95 % intervals.",
        )
    ]
    spread = cells[np.isfinite(cells["profile_std"])]
    best = next((model for model in table["model"] if (spread["model"] == model).any()), None)
    if best is not None:
        mine = spread[spread["model"] == best]
        pictures.append(Picture(draw.error_by_spread(mine), f"Distance against what {best} expected."))
    pictures += _effect_pictures(effects[effects["split"] == split], summary)
    compared = part[part["metric"].eq("l2") & part["difference"].notna()]
    said = [
        f"{row['model']} differs from {row['baseline']} by {row['difference']:+.3f} "
        f"({row['difference_lower']:+.3f} to {row['difference_upper']:+.3f}) in l2."
        for _, row in compared.iterrows()
    ]
    seeds = int(part["seeds"].max())
    text = f"{int(part['conditions'].max())} pairs over {seeds} seed{'s' if seeds > 1 else ''}.\n\n" + "\n".join(
        f"- {one}" for one in said
    )
    return Section(f"Split {split}", text, pictures, [Table(table, "Means over held-out pairs.", file="summary.csv")])


def _effect_pictures(effects: pd.DataFrame, summary: pd.DataFrame) -> list[Picture]:
    """Return predicted against observed, calibration and the top features of the best model that was asked for."""
    part = summary[summary["metric"].eq("l2") & summary["split"].isin(effects["split"].unique())]
    ranked = part[part["model"].isin(effects["model"].unique())].sort_values("mean")["model"]
    if ranked.empty:
        return []
    name = str(ranked.iloc[0])
    mine = effects[effects["model"] == name]
    pictures = [
        Picture(
            draw.profile_scatter(mine, name=name),
            "Every feature of the first fold's pairs: addition, then model.",
            wide=True,
        )
    ]
    known = mine[np.isfinite(mine["std"])]
    if len(known):
        curve = calibration_curve(known["observed"], known["predicted"], known["std"]).assign(model=name)
        pictures.append(Picture(calibration(curve), "Intervals of single features: promised and kept."))
    strongest = str(mine.groupby("condition")["observed"].apply(lambda one: float((one**2).sum())).idxmax())
    one = known if len(known) else mine
    one = one[one["condition"] == strongest]
    if len(known):
        one = one.assign(lower=one["predicted"] - Z90 * one["std"], upper=one["predicted"] + Z90 * one["std"])
    pictures.append(Picture(draw.top_features(one, strongest), "The held-out pair with the largest effect."))
    return pictures


def interaction_report(out: Path, name: str, notes: Sequence[str]) -> Path:
    """Write report.html of departures from addition."""
    sections = interaction_sections(out)
    return write_report(out / "report.html", f"Interactions of gene pairs in {name}", sections, lead=" ".join(notes))


def interaction_sections(folder: Path) -> list[Section]:
    """Return the sections of a page from ``pairs.csv`` and ``features.csv``."""
    pairs, features = pd.read_csv(folder / "pairs.csv"), pd.read_csv(folder / "features.csv")
    strongest = pairs.sort_values("departure", ascending=False, kind="stable")
    columns = ["condition", "departure", "relative", "noise", "q_value", "c_a", "c_b", "fit", "similarity", "type"]
    return [
        Section(
            "Which pairs depart from addition",
            "The departure of a pair is the length of what is left when the effects of both singles are taken from its "
            "own. Its false discovery rate says how often so large a departure would be noise.",
            [
                Picture(draw.departure_volcano(pairs), "Departure and its false discovery rate."),
                Picture(draw.coefficient_scatter(pairs), "Shares of the two singles in the pair, by type."),
                Picture(draw.interaction_map(pairs), "Departures of all measured pairs.", wide=True),
            ],
            [Table(strongest[columns], "Pairs by departure.", file="pairs.csv")],
        ),
        Section(
            "On which features",
            "The features that depart most, of the pairs that depart most.",
            tables=[
                Table(_features(features, condition), f"{condition}: {kind}", rows=12, file="features.csv")
                for condition, kind in strongest[["condition", "type"]].head(DRAWN_PAIRS).to_numpy()
            ],
        ),
    ]


def run_sections(run: Path) -> list[Section]:
    """Return the sections of a page on a fitted model of gene pairs."""
    metrics, screen = read_json(run / "metrics.json"), Screen.load(run / "screen")
    size = np.array([len(one) for one in genes_of(screen.conditions)])
    facts = {
        "model": metrics["model"],
        "singles": int((size == 1).sum()),
        "doubles": int((size == 2).sum()),  # noqa: PLR2004
        "features": len(screen.tasks),
    }
    tables = [Table(pd.DataFrame(metrics["held_out"]), "Each double predicted from all the others.")]
    return [Section("Fitted model", str(metrics["reason"]), tables=tables if metrics["held_out"] else [], facts=facts)]


def _features(features: pd.DataFrame, condition: str) -> pd.DataFrame:
    mine = features[features["condition"] == condition]
    order = mine["departure"].abs().sort_values(ascending=False, kind="stable").index
    return mine.loc[order].drop(columns="condition")
