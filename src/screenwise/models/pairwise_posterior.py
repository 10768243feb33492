"""What measured pairs leave unknown of pairs nobody measured: variances and covariances, for choosing together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.models.pairwise_kernel import Places, product_diagonal, product_kernels
from screenwise.models.pairwise_model import PairModel
from screenwise.models.pairwise_rule import WeighedRule
from screenwise.models.pairwise_table import read_genes
from screenwise.models.pairwise_views import Pairs, Views, one_row


@dataclass(frozen=True)
class PairPosterior:
    """Joint posterior of an axis of the departures of n pairs, in the product view (`protocols.Posterior`)."""

    mean: NDArray[np.float64]
    """(n,) length of the expected departure from addition."""
    variance: NDArray[np.float64]
    """(n,) of the latent departure, mean over axes."""
    noise: float
    views: Views
    pairs: Places
    cross: NDArray[np.float64]
    """(n, m) weighed kernels between these and the measured pairs."""

    def covariance(self, candidate: int) -> NDArray[np.float64]:
        """Return (n,) posterior covariances with one pair."""
        process = self.views.processes["product"]
        one = Places(self.pairs.genes, self.pairs.first[[candidate]], self.pairs.second[[candidate]])
        layers = product_kernels(self.pairs, one, self.views.metric.gene_distance) / self.views.scale[:, None, None]
        own = np.tensordot(process.weights[:-1], layers, axes=1)[:, 0] + process.weights[-1]
        known = self.cross @ (process.inverse @ self.cross[candidate])
        return np.asarray(process.variance * (own - known))


def pair_posterior(model: Any, conditions: pd.DataFrame) -> PairPosterior | None:
    """Return the joint posterior of (n,) pairs whose singles were measured; None where the model has none.

    A model has one when it learnt departures from measured pairs (`PeperGP` with six or more).

    Parameters
    ----------
    model
        A fitted model of gene pairs.
    conditions
        (n,) rows with gene_a and gene_b.
    """
    rule = getattr(model, "rule_", None)
    if not isinstance(model, PairModel) or not isinstance(rule, WeighedRule):
        return None
    asked = model.singles_.ask(read_genes(conditions))
    pairs = Pairs(asked.single, asked.place[:, :2])
    views, process = rule.views, rule.views.processes["product"]
    places = Places(views.metric.place(pairs.single), pairs.place[:, 0], pairs.place[:, 1])
    cross = process.weigh(views.kernels("product", places))
    diagonal = product_diagonal(places, views.metric.gene_distance) / views.scale[:, None]
    prior = process.weigh(np.vstack([diagonal, one_row(places)]))
    left = prior - np.einsum("ij,ij->i", cross @ process.inverse, cross)
    return PairPosterior(
        np.linalg.norm(rule.predict(pairs).departure, axis=1),
        process.variance * np.maximum(left, 0.0),
        process.variance * process.noise,
        views,
        places,
        cross,
    )
