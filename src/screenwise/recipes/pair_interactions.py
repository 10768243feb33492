"""How measured gene pairs depart from addition: a table of pairs, one of features, and a page."""

from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.data.profile_screen import Profiles
from screenwise.data.table import write_table
from screenwise.errors import DataError
from screenwise.evaluate.interaction import Interactions
from screenwise.evaluate.interaction import interactions as depart
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.pair_report import interaction_report
from screenwise.recipes.pair_settings import ProfileReading
from screenwise.recipes.perturbseq import check_folder, read_data, screen_facts

KEPT_FEATURES = 1_000_000
"""Rows of the table of features; of more, those that are called and the strongest others."""
SHOWN = 10
PAIR = 2
"""Pairs that the terminal shows."""


def interactions(
    data: str, out: Path, reading: ProfileReading = ProfileReading(), *, progress: Progress = silent
) -> Outcome:
    """Measure departures from addition; write pairs.csv, features.csv and report.html.

    The error of a departure comes from the cells, where DATA holds cells; a table of profiles has none
    and each pair is compared with the bulk of all pairs.
    """
    profiles = read_data(data, reading, progress=progress)
    singles = {one[0] for one in profiles.genes if len(one) == 1}
    if not any(len(one) == PAIR and singles.issuperset(one) for one in profiles.genes):
        message = (
            f"{data} has {int((profiles.size == PAIR).sum())} doubles and {len(singles)} singles, and no double with "
            "both of its singles; a departure from addition needs all three. Measure them."
        )
        raise DataError(message)
    check_folder(out)
    found = depart(profiles.screen, standard_error=profiles.standard_error)
    features = _strongest(found.features)
    write_table(found.pairs, out / "pairs.csv")
    write_table(features, out / "features.csv")
    interaction_report(out, Path(data).name, found.notes)
    notes = [*profiles.notes, *found.notes]
    if len(features) < len(found.features):
        notes.append(f"features.csv holds the {len(features):,} strongest of {len(found.features):,} entries.")
    files = {name: str(out / name) for name in ("pairs.csv", "features.csv", "report.html")}
    return Outcome(_facts(profiles, found), _first(found.pairs), notes, files)


def _strongest(features: pd.DataFrame) -> pd.DataFrame:
    if len(features) <= KEPT_FEATURES:
        return features
    order = features["z"].abs().sort_values(ascending=False, kind="stable").index
    return features.loc[order[:KEPT_FEATURES]].sort_index()


def _facts(profiles: Profiles, found: Interactions) -> dict[str, Any]:
    counts = found.pairs["type"].value_counts()
    return screen_facts(profiles) | {
        "pairs with both singles": len(found.pairs),
        "pairs that depart (false discovery rate 5 %)": int(found.pairs["called"].sum()),
        "entries that depart": int(found.features["called"].sum()),
        "errors": {
            "known": "known from the cells",
            "bootstrap": "from resampled cells",
            "empirical": "unknown: each pair against the bulk of all pairs",
        }[found.null],
        "types": ", ".join(f"{name} {count}" for name, count in counts.items()),
    }


def _first(pairs: pd.DataFrame) -> list[dict[str, Any]]:
    columns = ["condition", "departure", "relative", "q_value", "c_a", "c_b", "type"]
    table = pairs.sort_values("departure", ascending=False, kind="stable")[columns].head(SHOWN)
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
