"""Write and read a fitted Gaussian process: JSON and npz, no pickle."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from screenwise.errors import ModelError
from screenwise.models.borrow import Borrowing, Residuals
from screenwise.models.gp_kernels import TrainingKernels
from screenwise.models.gp_task import TaskFit
from screenwise.models.gp_weights import Weights
from screenwise.represent.kernels import kernel_from_state, kernel_state
from screenwise.represent.pairs import Members, Parts
from screenwise.run import atomic_path, read_json, write_json

FORMAT = 1
"""Version of the files; another one is refused."""
_SCALARS = ("mean", "sd", "calibration", "domain")
_VECTORS = ("rows", "y", "noise", "alpha", "own", "held_mean", "held_std")


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
    try:
        with np.load(folder / "gp.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        message = f"{folder / 'gp.npz'} cannot be read: {error}. Fit again."
        raise ModelError(message) from error
    places = range(len(head["kernels"]))
    training = TrainingKernels(
        tuple(kernel_from_state(head["kernels"][place], _part(arrays, f"kernel{place}_")) for place in places),
        tuple(unpack_features(_part(arrays, f"features{place}_")) for place in places),
        arrays["scale"],
    )
    fits = {int(task): _task(scalars, _part(arrays, f"task{task}_")) for task, scalars in head["fits"].items()}
    borrowing = Borrowing(
        arrays["borrow_ids"],
        Residuals(**{field.name: arrays[f"residuals_{field.name}"] for field in fields(Residuals)}),
        arrays["correlation"],
    )
    tasks = pd.DataFrame(head["tasks"])
    return head["config"], Fitted(tasks, head["size"], arrays["rows"], arrays["ids"], training, fits, borrowing)


def _part(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _task(scalars: dict[str, Any], arrays: dict[str, Any]) -> TaskFit:
    known: dict[str, Any] = {name: arrays[name] for name in _VECTORS}
    known |= {name: float(scalars[name]) for name in _SCALARS}
    learned = Weights(arrays["weights"], scalars["noise"], float(scalars["log_likelihood"]), int(scalars["rows"]))
    return TaskFit(weights=learned, **known)


def pack_features(features: Any) -> dict[str, NDArray[Any]]:
    """Return arrays that hold features, dense or sparse; 63-bit feature ids become places in a list of ids.

    Examples
    --------
    >>> ids = csr_array((np.array([2.0], np.float32), np.array([2**62]), np.array([0, 1])), shape=(1, 2**63 - 1))
    >>> packed = pack_features(ids)
    >>> packed["place"].dtype, int(unpack_features(packed).indices[0]) == 2**62
    (dtype('uint16'), True)
    """
    if isinstance(features, Parts):
        packed = [pack_features(part) for part in features.parts]
        return {f"part{place}_{name}": array for place, one in enumerate(packed) for name, array in one.items()}
    if isinstance(features, Members):
        inside = {f"member_{name}": array for name, array in pack_features(features.distinct).items()}
        return inside | {"codes": features.codes}
    if not issparse(features):
        return {"dense": np.asarray(features)}
    ids, place = np.unique(features.indices, return_inverse=True)
    data = features.data
    counts = data.astype(np.uint8)
    return {
        "ids": ids,
        "place": place.astype(np.uint16 if len(ids) < 2**16 else np.int32),
        # counts below 256 take a quarter of the room; back in their own type when read
        "data": counts if np.array_equal(counts, data) else data,
        "indptr": features.indptr,
        "columns": np.array(features.shape[1], np.int64),
        "type": np.array(data.dtype.str),
    }


def unpack_features(arrays: dict[str, NDArray[Any]]) -> Any:
    """Return the features that `pack_features` packed."""
    if "dense" in arrays:
        return arrays["dense"]
    if "codes" in arrays:
        return Members(unpack_features(_part(arrays, "member_")), arrays["codes"])
    if "ids" not in arrays:
        size = len({name.partition("_")[0] for name in arrays})
        return Parts(tuple(unpack_features(_part(arrays, f"part{place}_")) for place in range(size)))
    indptr = arrays["indptr"]
    parts = (arrays["data"].astype(str(arrays["type"])), arrays["ids"][arrays["place"]], indptr)
    return csr_array(parts, shape=(len(indptr) - 1, int(arrays["columns"])))
