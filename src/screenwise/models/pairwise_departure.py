"""A model of gene pairs as a model of one number, how far a pair departs from addition: what rounds are chosen by."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ModelError
from screenwise.models.pairwise_posterior import PairPosterior, pair_posterior
from screenwise.prediction import Prediction
from screenwise.protocols import Posterior
from screenwise.run import Run
from screenwise.screen import Screen

BLOCK = 20_000
"""Pairs that are asked at once: memory grows with these times the measured pairs."""


class _View:
    """What both views of a fitted model of gene pairs share: they are made from it, never fitted or saved."""

    def __init__(self, model: Any) -> None:
        self.inner = model

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Fit the model of gene pairs."""
        self.inner.fit(screen, valid=valid, run=run, seed=seed)
        return self

    def save(self, folder: Path) -> None:
        """Save the model of gene pairs; the view is made from it again."""
        self.inner.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raise: load the model of gene pairs and make the view from it."""
        message = f"{cls.__name__} is made from a fitted model of gene pairs; load that one from {folder}."
        raise ModelError(message)


class Departures(_View):
    """Expected departures from addition and their joint posterior, of a model that learnt from measured pairs.

    Examples
    --------
    >>> from screenwise.models.pairwise import Salt
    >>> Departures.of(Salt()) is None
    True
    """

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """Return the view of a fitted model, or None where it learnt no departures."""
        none = pd.DataFrame({"gene_a": pd.Series(dtype=object), "gene_b": pd.Series(dtype=object)})
        known = getattr(model, "rule_", None) is not None and pair_posterior(model, none) is not None
        return cls(model) if known else None

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Return (n, 1) expected lengths of departures, and the spread of an axis of them."""
        parts = [self._known(conditions.iloc[first : first + BLOCK]) for first in range(0, len(conditions), BLOCK)]
        mean = np.concatenate([part.mean for part in parts])
        std = np.concatenate([np.sqrt(part.variance + part.noise) for part in parts])
        return Prediction(mean[:, None].astype(np.float32), std[:, None].astype(np.float32))

    def posterior(self, conditions: pd.DataFrame, task: int = 0) -> Posterior:
        """Return the joint posterior of (n,) pairs."""
        return self._known(conditions)

    def _known(self, conditions: pd.DataFrame) -> PairPosterior:
        found = pair_posterior(self.inner, conditions)
        if found is None:
            message = f"A {type(self.inner).__name__} has learnt no departures; it was fitted to too few pairs."
            raise ModelError(message)
        return found


class Sums(_View):
    """Where pairs lie by what their singles say, for a model that has learnt no departures yet."""

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Return (n, 1) lengths of the predicted effects' difference from the mean pair."""
        place = self.embed(conditions)
        return Prediction(np.linalg.norm(place, axis=1)[:, None].astype(np.float32))

    def embed(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, p) predicted effects about their mean."""
        effect = self.inner.predict(conditions).mean
        return np.asarray(effect - effect.mean(axis=0), np.float32)
