"""Every proposal computed again from the events, and compared bit for bit."""

import json
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import screenwise
from screenwise.campaign.round import Proposer, proposed
from screenwise.campaign.state import fold
from screenwise.campaign.store import Store, canonical

NOTED = ("seed", "measured", "pending", "cost", "plates", "expected", "stop", "prices")
"""What stands beside a proposal and must come out the same; campaigns of older releases have less."""


def software() -> dict[str, str]:
    """Return the versions that a proposal depends on."""
    return {
        "screenwise": screenwise.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pandas": pd.__version__,
    }


def replayed(
    store: Store, proposer: Proposer, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, Any]:
    """Compute every proposal again; see `screenwise.campaign.campaign.Campaign.replay`."""
    events, lines = store.events(), []
    pool = store.get(fold(events[:1], store.get).pool)
    places = [place for place, event in enumerate(events) if event.kind == "proposed"]
    for done, place in enumerate(places):
        if progress is not None:
            progress("replaying rounds", done, len(places))
        event = events[place]
        table, about = proposed(fold(events[:place], store.get), pool, proposer)
        differs = differences(store.as_stored(table), store.get(event.payload["objects"]["proposal"]))
        again = json.loads(canonical({name: about[name] for name in NOTED}))
        differs += [name for name in NOTED if name in event.payload and again[name] != event.payload[name]]
        then = {name: event.payload[name] for name, now in software().items() if event.payload[name] != now}
        lines.append({"round": about["round"], "same": not differs, "differs": differs, "software": then})
    return {"ok": all(line["same"] for line in lines), "rounds": lines}


def differences(table: pd.DataFrame, stored: pd.DataFrame) -> list[str]:
    """Return the columns that are not the same, bit for bit (missing equals missing).

    Examples
    --------
    >>> differences(pd.DataFrame({"a": [1.0], "b": [2.0]}), pd.DataFrame({"a": [1.0], "b": [2.5]}))
    ['b']
    """
    if len(table) != len(stored):
        return ["rows"]
    return [str(name) for name in stored.columns if name not in table or not table[name].equals(stored[name])]
