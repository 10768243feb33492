"""Predicted profiles as files: AnnData that scanpy and cell-eval read, or a table like the one that came in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.labels import CONTROL
from screenwise.data.table import write_table
from screenwise.errors import DataError
from screenwise.prediction import Prediction
from screenwise.run import atomic_path

if TYPE_CHECKING:
    from anndata import AnnData

_PLACE = ("condition", "in_domain", "profile_std", "novelty", "note")


@dataclass(frozen=True)
class ProfileOutput:
    """What is written beside the predictions."""

    novelty: NDArray[Any] | None = None
    """(n,) genes of a condition that no training condition had."""
    profile_std: NDArray[Any] | None = None
    """(n,) expected L2 distance between prediction and truth; from the features' std when None."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the model, kept as JSON in ``uns["settings"]``."""
    control_row: bool = False
    """Whether the first row is the control (label "ctrl"), as cell-eval expects."""
    floor: float | None = None
    """Smallest value there is, such as 0 for log1p values: means and intervals are cut there, as cell-eval demands."""


def profiles_anndata(
    conditions: pd.DataFrame,
    prediction: Prediction,
    features: Sequence[str],
    control: NDArray[np.floating],
    output: ProfileOutput | None = None,
) -> "AnnData":
    """Return predictions as AnnData: X = mean, layers std, lower, upper (90 %) and delta (mean - control).

    Parameters
    ----------
    conditions
        (n,) rows with `condition`; gene_a, gene_b, ... are kept.
    prediction
        (n, p) predicted levels.
    features
        (p,) names of var.
    control
        (p,) level of the control.
    output
        What goes with the predictions.

    Examples
    --------
    >>> prediction = Prediction(np.ones((1, 2), np.float32), np.ones((1, 2), np.float32))
    >>> adata = profiles_anndata(pd.DataFrame({"condition": ["A+B"]}), prediction, ["x", "y"], np.array([0.5, 1]))
    >>> adata.shape, adata.layers["delta"].tolist(), sorted(adata.layers), adata.obs["condition"].tolist()
    ((1, 2), [[0.5, 0.0]], ['delta', 'lower', 'std', 'upper'], ['A+B'])
    """
    from anndata import AnnData  # noqa: PLC0415

    import screenwise  # noqa: PLC0415

    output = output or ProfileOutput()
    _check(conditions, prediction, features, control)
    mean = np.asarray(prediction.mean, np.float32)
    lower, upper = prediction.interval()
    if output.floor is not None:
        mean, lower, upper = (np.maximum(values, np.float32(output.floor)) for values in (mean, lower, upper))
    std = np.full_like(mean, np.nan) if prediction.std is None else np.asarray(prediction.std, np.float32)
    layers = {"std": std, "lower": lower, "upper": upper, "delta": mean - np.asarray(control, np.float32)}
    obs = _rows(conditions, prediction, output)
    if output.control_row:
        level = np.asarray(control, np.float32)[None]
        nothing = np.full_like(level, np.nan)
        first = {"std": nothing, "lower": nothing, "upper": nothing, "delta": np.zeros_like(level)}
        mean = np.vstack([level, mean])
        layers = {name: np.vstack([first[name], layer]) for name, layer in layers.items()}
        row: dict[str, Any] = {name: "" for name in obs.columns if name.startswith("gene_") or name == "note"}
        row |= {"condition": CONTROL, "in_domain": True, "novelty": 0, "profile_std": np.nan}
        obs = pd.concat([pd.DataFrame([row])[list(obs.columns)].astype(obs.dtypes), obs], ignore_index=True)
    # the order of the rows is the name: a condition may be asked for twice
    obs.index = pd.Index([str(place) for place in range(len(obs))])
    adata = AnnData(X=mean, obs=obs, var=pd.DataFrame(index=pd.Index([str(name) for name in features])), layers=layers)
    adata.uns["settings"] = json.dumps(dict(output.settings), default=str)
    adata.uns["version"] = screenwise.__version__
    return adata


def write_profiles_h5ad(
    path: Path,
    conditions: pd.DataFrame,
    prediction: Prediction,
    features: Sequence[str],
    control: NDArray[np.floating],
    *,
    output: ProfileOutput | None = None,
) -> None:
    """Write predictions as h5ad, whole or not at all; see `profiles_anndata`."""
    adata = profiles_anndata(conditions, prediction, features, control, output)
    with atomic_path(Path(path)) as draft:
        adata.write_h5ad(draft)


def profiles_table(
    conditions: pd.DataFrame,
    prediction: Prediction,
    features: Sequence[str],
    output: ProfileOutput | None = None,
) -> pd.DataFrame:
    """Return predictions as a table: `condition`, the features, in_domain, profile_std, note.

    Examples
    --------
    >>> prediction = Prediction(np.ones((1, 2), np.float32), np.array([[3, 4]], np.float32), in_domain=np.array([True]))
    >>> profiles_table(pd.DataFrame({"condition": ["A+B"]}), prediction, ["x", "y"]).to_dict("records")
    [{'condition': 'A+B', 'x': 1.0, 'y': 1.0, 'in_domain': True, 'profile_std': 5.0, 'note': ''}]
    """
    output = output or ProfileOutput()
    _check(conditions, prediction, features, None)
    clash = [name for name in features if name in _PLACE]
    if clash:
        message = f"Features cannot be called {', '.join(clash)} in a table of predictions. Rename them, or write h5ad."
        raise DataError(message)
    rows = _rows(conditions, prediction, output)
    values = pd.DataFrame(np.asarray(prediction.mean), columns=[str(name) for name in features])
    return pd.concat([rows[["condition"]], values, rows[["in_domain", "profile_std", "note"]]], axis=1)


def write_profiles_table(
    path: Path,
    conditions: pd.DataFrame,
    prediction: Prediction,
    features: Sequence[str],
    *,
    output: ProfileOutput | None = None,
) -> None:
    """Write predictions as CSV, TSV (also .gz) or Parquet, whole or not at all; see `profiles_table`."""
    write_table(profiles_table(conditions, prediction, features, output), path)


def _check(
    conditions: pd.DataFrame, prediction: Prediction, features: Sequence[str], control: NDArray[np.floating] | None
) -> None:
    shape = (len(conditions), len(features))
    if prediction.mean.shape != shape or (control is not None and control.shape != (len(features),)):
        own = "" if control is None else f" and a control of shape {control.shape}"
        message = f"Predictions of shape {prediction.mean.shape}{own} do not fit conditions x features, {shape}."
        raise DataError(message)
    if "condition" not in conditions.columns:
        message = f"The conditions have no column `condition`; found {list(map(str, conditions.columns))[:20]}."
        raise DataError(message)


def _rows(conditions: pd.DataFrame, prediction: Prediction, output: ProfileOutput) -> pd.DataFrame:
    """Return what is said of each condition."""
    kept = ["condition", *[name for name in conditions.columns if name in {f"gene_{letter}" for letter in "abcde"}]]
    rows = conditions[kept].astype(object).where(conditions[kept].notna(), "").reset_index(drop=True).astype(str)
    known = np.isfinite(prediction.mean).all(axis=1)
    inside: Any = pd.array([pd.NA] * len(rows), dtype="boolean")
    if prediction.in_domain is not None:
        given = prediction.in_domain
        inside = pd.array(known & (given if given.ndim == 1 else given.all(axis=1)), dtype="boolean")
    rows["in_domain"] = inside
    if output.novelty is not None:
        rows["novelty"] = np.asarray(output.novelty, np.int64)
    spread = output.profile_std
    if spread is None and prediction.std is not None:
        # the mean squared distance is the sum of variances, whatever the correlations
        spread = np.sqrt((np.asarray(prediction.std, np.float64) ** 2).sum(axis=1)).astype(np.float32)
    rows["profile_std"] = np.full(len(rows), np.nan) if spread is None else np.asarray(spread, np.float64)
    rows["note"] = "" if prediction.note is None else np.asarray(prediction.note, dtype=str)
    return rows
