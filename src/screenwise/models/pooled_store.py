"""Write and read a fitted pooled process: JSON and npz, no pickle."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.errors import ModelError
from screenwise.models.feature_store import read_arrays
from screenwise.models.pooled_counts import Columns, Counts
from screenwise.models.pooled_fit import Held, Pooled
from screenwise.models.pooled_group import GroupFit, Lesson, Shape
from screenwise.models.pooled_probability import Curves
from screenwise.models.pooled_targets import Scales
from screenwise.models.pooled_tasks import Assays
from screenwise.represent.state import pack, unpack
from screenwise.run import atomic_path, read_json, write_json

FORMAT = 2
"""Version of the files; another one is refused."""
_PARTS: dict[str, Any] = {
    part.__name__: part for part in (Pooled, Shape, Columns, Counts, Assays, Scales, Curves, Lesson, GroupFit, Held)
}


def save_pooled(folder: Path, config: dict[str, Any], tasks: pd.DataFrame, fitted: Pooled) -> None:
    """Write ``pooled.json`` and ``pooled.npz``."""
    arrays: dict[str, Any] = {}
    state = pack(fitted, arrays)
    with atomic_path(Path(folder) / "pooled.npz") as draft:
        np.savez(draft, **arrays)
    head = {"format": FORMAT, "config": config, "tasks": tasks.to_dict("list"), "state": state}
    write_json(Path(folder) / "pooled.json", head)


def load_pooled(folder: Path) -> tuple[dict[str, Any], pd.DataFrame, Pooled]:
    """Read what `save_pooled` wrote: settings, tasks and state."""
    path = Path(folder) / "pooled.json"
    head = read_json(path)
    if head.get("format") != FORMAT:
        message = f"{path} has format {head.get('format')!r}; this version reads {FORMAT}. Fit again."
        raise ModelError(message)
    fitted = unpack(head["state"], read_arrays(Path(folder) / "pooled.npz"), _PARTS)
    return head["config"], pd.DataFrame(head["tasks"]), fitted
