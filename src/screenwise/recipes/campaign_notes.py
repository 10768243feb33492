"""What a user should know of a campaign that was just begun."""

import pandas as pd

from screenwise.campaign.state import CampaignSettings
from screenwise.condition import ENTITIES, factor_columns
from screenwise.design.choose import BATCHES
from screenwise.represent.features import FEATURE, SETS

LISTED = 6
"""Columns, or plates, that a note lists."""
STRUCTURED = ("smiles", "sequence", "variant")
"""Entities of which a model knows more than the name."""


def same_notes(conditions: pd.DataFrame) -> list[str]:
    """Say which columns tell rows apart that are the same condition, so that none is left out by mistake."""
    same = conditions[conditions["condition_id"].duplicated(keep=False)]
    own = [name for name in same.columns if name not in ("condition_id", "note", "smiles_as_given")]
    differ = [name for name in own if (same.groupby("condition_id")[name].nunique(dropna=False) > 1).any()]
    if not differ:
        return []
    return [
        f"Rows left out as the same condition differ in {', '.join(map(str, differ[:LISTED]))}, which is no part of a "
        "condition. A dose is read from dose_um (micromolar) or dose_m (molar), in a pair dose_um_a and dose_um_b; "
        "what is applied besides, such as a reagent, belongs into numbers (feature:NAME) or into the name (--id)."
    ]


def plate_notes(settings: CampaignSettings, plates: int) -> list[str]:
    """Say where plates stay part empty, hold one value alone, or have controls without a name."""
    rules, notes = settings.plate, []
    if plates > 1 and settings.constraints.plates is None and settings.wells < plates * rules.capacity:
        notes.append(
            f"{settings.wells} candidates do not fill {plates} plates: --wells {plates * rules.capacity} would, "
            f"and {(plates - 1) * rules.capacity} would need a plate less."
        )
    alone = settings.constraints.one_per_plate
    if plates == 1 and alone and settings.constraints.plates is None:
        notes.append(
            f"A round is one plate, so all of it has one {' and '.join(alone)}; the rule plates = 3 would allow three."
        )
    for kind in ("positive", "negative"):
        if getattr(rules, kind) and not getattr(rules, f"{kind}_id"):
            notes.append(f"The {kind} control has no name on the plate map: --{kind}-id gives it one.")
    return notes


def number_notes(pool: pd.DataFrame, settings: CampaignSettings) -> list[str]:
    """Say which numbers of a pool no model reads, where it knows the candidates by their names alone."""
    names = [str(name) for name in pool.columns]
    factors = factor_columns(pool)
    if any(name.startswith((FEATURE, SETS)) for name in names) or any(one.startswith(STRUCTURED) for one in factors):
        return []
    objective = settings.objective.partition(":")[2]
    known = {*factors, *settings.constraints.columns, objective, *settings.readouts, *ENTITIES}
    numbers = [name for name in names if name not in known and pd.api.types.is_numeric_dtype(pool[name])]
    if not numbers:
        return []
    more = " and others" if len(numbers) > LISTED else ""
    return [
        f"The model knows the candidates by their names alone. The numbers {', '.join(numbers[:LISTED])}{more} go onto "
        f"the plate map and are not learned from; call a column {FEATURE}{numbers[0]}, or give a table of numbers with "
        "--features, to have it read."
    ]


def class_notes(settings: CampaignSettings) -> list[str]:
    """Say what results an acquisition of classes takes, for it cannot be exchanged later."""
    needs = BATCHES[settings.acquisition].needs if settings.acquisition in BATCHES else ()
    if not {"probability", "class_draws"} & set(needs):
        return []
    return [f"The acquisition {settings.acquisition} chooses between classes: the results must be 0 and 1."]
