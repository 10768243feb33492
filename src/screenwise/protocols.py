"""The seams: what a model, a representation, an acquisition and an oracle must offer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

    from screenwise.prediction import CalibrationCells, Prediction
    from screenwise.run import Run
    from screenwise.screen import Screen


@runtime_checkable
class Model(Protocol):
    """Learns from a screen and predicts conditions nobody ran.

    A model owns its representation, so that a saved model predicts from SMILES, gene names or
    sequences without further files. `fit` changes and returns the model itself.
    """

    def fit(self, screen: "Screen", *, valid: "Screen | None" = None, run: "Run | None" = None, seed: int = 0) -> Self:
        """Learn from the measured cells of `screen`."""
        ...

    def predict(self, conditions: "DataFrame") -> "Prediction":
        """Predict all tasks for (n,) conditions."""
        ...

    def save(self, folder: Path) -> None:
        """Write the fitted model to a folder, without pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class Representation(Protocol):
    """Turns conditions into numbers."""

    def transform(self, conditions: "DataFrame") -> Any:
        """Return (n, d) numbers: a dense array or a `scipy.sparse.csr_array`."""
        ...


@runtime_checkable
class Acquisition(Protocol):
    """Scores candidates: higher = sooner."""

    def __call__(self, prediction: "Prediction", *, best: float, rng: "np.random.Generator") -> "NDArray[np.float64]":
        """Return (n,) scores of n candidates of one task."""
        ...


@runtime_checkable
class Oracle(Protocol):
    """Answers rounds: a lab, a replay of a measured screen, a simulator."""

    def submit(self, round: "DataFrame") -> str:
        """Take a round's conditions and return a ticket."""
        ...

    def results(self, ticket: str) -> "DataFrame | None":
        """Return the results of a ticket; None = not back yet."""
        ...


class Posterior(Protocol):
    """Joint posterior of one task over a pool of n candidates, for batches whose spread is updated."""

    @property
    def mean(self) -> "NDArray[np.float64]":
        """(n,)."""
        ...

    @property
    def variance(self) -> "NDArray[np.float64]":
        """(n,) of the latent function, without measurement noise."""
        ...

    @property
    def noise(self) -> float:
        """Variance of one measurement."""
        ...

    def covariance(self, candidate: int) -> "NDArray[np.float64]":
        """Return (n,) posterior covariances of all candidates with one."""
        ...


@runtime_checkable
class HasPosterior(Protocol):
    """A model that knows the joint posterior of a pool."""

    def posterior(self, conditions: "DataFrame", task: int = 0) -> Posterior:
        """Return the posterior of one task over (n,) conditions."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """A fitted model that knows where conditions lie, for batches that are spread out."""

    def embed(self, conditions: "DataFrame") -> "NDArray[np.float32]":
        """Return (n, d) numbers whose Euclidean distances tell conditions apart; NaN rows cannot be read."""
        ...


@runtime_checkable
class KnowsFunctions(Protocol):
    """A fitted model of several functions that the data allow, such as the trees of a forest."""

    def functions(self, conditions: "DataFrame", task: int = 0) -> "NDArray[np.float32]":
        """Return (s, n) answers of one task, probabilities of a classification; NaN columns cannot be read.

        Function s is the same one whatever conditions are asked.
        """
        ...


@runtime_checkable
class LeavesOneOut(Protocol):
    """A fitted model that knows its leave-one-out predictions for free."""

    def leave_one_out(self) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
        """Return mean and std, (n, t) each, of the training cells; NaN where not measured."""
        ...


@runtime_checkable
class HasCalibration(Protocol):
    """A fitted model, also one that was loaded, that kept predictions of measured cells it did not learn from."""

    def calibration_cells(self) -> "CalibrationCells":
        """Return those cells with what was predicted of them; none where too little was measured."""
        ...


@runtime_checkable
class PredictsTasks(Protocol):
    """A fitted model of many tasks that predicts some of them at their cost."""

    def predict_tasks(self, conditions: "DataFrame", tasks: "NDArray[np.int64]") -> "Prediction":
        """Predict c tasks, by their places among the model's, for (n,) conditions: an (n, c) prediction."""
        ...
