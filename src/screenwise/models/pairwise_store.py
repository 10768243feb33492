"""Write and read fitted models of gene combinations: JSON and npz, no pickle."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.errors import ModelError
from screenwise.models.feature_store import part_of, read_arrays
from screenwise.models.pairwise_descriptors import Descriptors
from screenwise.models.pairwise_table import ProfileTable
from screenwise.run import atomic_path, read_json, write_json

FORMAT = 1
"""Version of the files; another one is refused."""
_ARRAYS = ("used", "control", "genes", "single", "single_error", "effect", "rows")

State = tuple[ProfileTable, Descriptors | None, dict[str, Any]]
"""What was measured, what is known of genes, and arrays of what was learnt."""


def save_pairwise(folder: Path, head: dict[str, Any], state: State) -> None:
    """Write ``pairwise.json`` and ``pairwise.npz``."""
    folder = Path(folder)
    table, descriptors, learnt = state
    arrays = {name: getattr(table, name) for name in _ARRAYS}
    arrays |= {f"learnt_{name}": array for name, array in learnt.items()}
    if descriptors is not None:
        arrays |= {f"descriptors_{name}": array for name, array in descriptors.save_arrays().items()}
    with atomic_path(folder / "pairwise.npz") as draft:
        np.savez(draft, **arrays)
    facts = {
        "format": FORMAT,
        "tasks": table.tasks.to_dict("list"),
        "size": table.size,
        "filled": table.filled,
        "combinations": [list(genes) for genes in table.combinations],
    }
    write_json(folder / "pairwise.json", head | facts)


def load_pairwise(folder: Path) -> tuple[dict[str, Any], State]:
    """Read what `save_pairwise` wrote."""
    folder = Path(folder)
    head = read_json(folder / "pairwise.json")
    if head.get("format") != FORMAT:
        message = (
            f"{folder / 'pairwise.json'} has format {head.get('format')!r}; this version reads {FORMAT}. Fit again."
        )
        raise ModelError(message)
    arrays = read_arrays(folder / "pairwise.npz")
    table = ProfileTable(
        tasks=pd.DataFrame(head["tasks"]),
        size=head["size"],
        filled=head["filled"],
        combinations=tuple(tuple(genes) for genes in head["combinations"]),
        **{name: arrays[name] for name in _ARRAYS},
    )
    known = part_of(arrays, "descriptors_")
    return head, (table, Descriptors.from_arrays(known) if known else None, part_of(arrays, "learnt_"))
