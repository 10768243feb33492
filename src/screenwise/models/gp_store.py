"""Write and read a fitted Gaussian process: JSON and npz, no pickle."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ModelError
from screenwise.models.borrow import Borrowing, Residuals
from screenwise.models.feature_store import pack_features, part_of, read_arrays, unpack_features
from screenwise.models.gp_kernels import TrainingKernels
from screenwise.models.gp_task import TaskFit
from screenwise.models.gp_weights import Weights
from screenwise.represent.kernels import kernel_from_state, kernel_state
from screenwise.run import atomic_path, read_json, write_json

FORMAT = 2
"""Version of the files; another one is refused."""
_SCALARS = ("mean", "sd", "calibration", "domain")
_VECTORS = ("rows", "y", "noise", "alpha", "own", "held_mean", "held_std", "out_mean", "out_std", "relation")


@dataclass(frozen=True)
class Fitted:
    """Everything a fitted `screenwise.models.gp.GaussianProcess` knows."""

    tasks: pd.DataFrame
    """(t,) name and kind."""
    size: int
    """Conditions of the screen it was fitted on."""
    rows: NDArray[np.int64]
    """(n,) those of them with a measured cell: the training conditions."""
    ids: NDArray[np.str_]
    """(n,) their condition ids."""
    training: TrainingKernels
    fits: dict[int, TaskFit]
    """By task; a task without measurements is not there."""
    borrowing: Borrowing


def save_fitted(folder: Path, config: dict[str, Any], fitted: Fitted) -> None:
    """Write ``gp.json`` and ``gp.npz``."""
    folder = Path(folder)
    arrays: dict[str, Any] = {"rows": fitted.rows, "ids": fitted.ids, "scale": fitted.training.scale}
    kernels = []
    for place, (kernel, features) in enumerate(zip(fitted.training.kernels, fitted.training.features, strict=True)):
        state, own = kernel_state(kernel)
        kernels.append(state)
        arrays |= {f"kernel{place}_{name}": array for name, array in own.items()}
        arrays |= {f"features{place}_{name}": array for name, array in pack_features(features).items()}
    fits = {}
    for task, fit in fitted.fits.items():
        arrays |= {f"task{task}_{name}": getattr(fit, name) for name in _VECTORS}
        arrays[f"task{task}_weights"] = fit.weights.kernel
        fits[task] = {name: getattr(fit, name) for name in _SCALARS} | {
            name: getattr(fit.weights, name) for name in ("noise", "log_likelihood", "rows")
        }
    arrays |= {
        f"residuals_{field.name}": getattr(fitted.borrowing.residuals, field.name) for field in fields(Residuals)
    }
    arrays |= {"borrow_ids": fitted.borrowing.ids, "correlation": fitted.borrowing.correlation}
    with atomic_path(folder / "gp.npz") as draft:
        np.savez(draft, **arrays)
    tasks = fitted.tasks.to_dict("list")
    head = {"format": FORMAT, "config": config, "tasks": tasks, "size": fitted.size, "kernels": kernels, "fits": fits}
    write_json(folder / "gp.json", head)


def load_fitted(folder: Path) -> tuple[dict[str, Any], Fitted]:
    """Read what `save_fitted` wrote: settings and state."""
    folder = Path(folder)
    head = read_json(folder / "gp.json")
    if head.get("format") != FORMAT:
        message = f"{folder / 'gp.json'} has format {head.get('format')!r}; this version reads {FORMAT}. Fit again."
        raise ModelError(message)
    arrays = read_arrays(folder / "gp.npz")
    places = range(len(head["kernels"]))
    training = TrainingKernels(
        tuple(kernel_from_state(head["kernels"][place], part_of(arrays, f"kernel{place}_")) for place in places),
        tuple(unpack_features(part_of(arrays, f"features{place}_")) for place in places),
        arrays["scale"],
    )
    fits = {int(task): _task(scalars, part_of(arrays, f"task{task}_")) for task, scalars in head["fits"].items()}
    borrowing = Borrowing(
        arrays["borrow_ids"],
        Residuals(**{field.name: arrays[f"residuals_{field.name}"] for field in fields(Residuals)}),
        arrays["correlation"],
    )
    tasks = pd.DataFrame(head["tasks"])
    return head["config"], Fitted(tasks, head["size"], arrays["rows"], arrays["ids"], training, fits, borrowing)


def _task(scalars: dict[str, Any], arrays: dict[str, Any]) -> TaskFit:
    known: dict[str, Any] = {name: arrays[name] for name in _VECTORS}
    known |= {name: float(scalars[name]) for name in _SCALARS}
    learned = Weights(arrays["weights"], scalars["noise"], float(scalars["log_likelihood"]), int(scalars["rows"]))
    return TaskFit(weights=learned, **known)
