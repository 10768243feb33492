"""Kernels between pairs and both views: against loops, free of the order inside pairs, in chunks."""

from itertools import combinations

import numpy as np
import pytest

from screenwise.models import pairwise_views
from screenwise.models.pairwise_kernel import (
    Places,
    learn_metric,
    principal_axes,
    product_diagonal,
    product_kernels,
    sum_kernels,
)
from screenwise.models.pairwise_views import Pairs, fit_views


@pytest.fixture(scope="module")
def singles():
    return np.random.default_rng(0).normal(size=(9, 12)) * np.exp(-np.arange(12) / 5)


def test_kernels_agree_with_a_loop(singles):
    metric = learn_metric(singles)
    place = metric.place(singles)
    pairs = Places(place, np.array([0, 2, 5]), np.array([1, 3, 8]))
    found = product_kernels(pairs, pairs, metric.gene_distance)
    added = sum_kernels(pairs, pairs, 3.0)

    def alike(a, b, scale):
        return np.exp(-np.square(place[a] - place[b]).sum() / (2 * scale * metric.gene_distance))

    names = [(0, 1), (2, 3), (5, 8)]
    for one, (a, b) in enumerate(names):
        for two, (c, d) in enumerate(names):
            for layer, scale in enumerate((0.5, 1.0, 2.0)):
                hand = alike(a, c, scale) * alike(b, d, scale) + alike(a, d, scale) * alike(b, c, scale)
                np.testing.assert_allclose(found[layer, one, two], hand, rtol=1e-9)
            apart = np.square(place[a] + place[b] - place[c] - place[d]).sum()
            np.testing.assert_allclose(added[0, one, two], np.exp(-apart / (2 * 0.25 * 3.0)), rtol=1e-9)
    diagonal = product_diagonal(pairs, metric.gene_distance)
    np.testing.assert_allclose(diagonal, np.diagonal(found, axis1=1, axis2=2), rtol=1e-9)


def test_axes_hold_every_row(singles):
    few = singles[:3] + 2.0
    axes, variance = principal_axes(few)
    np.testing.assert_allclose(few @ axes @ axes.T, few, atol=1e-9)
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-9)
    assert (np.diff(variance) <= 1e-12).all()


def test_metric_is_the_recipe(singles):
    centred = singles - singles.mean(axis=0)
    _, length, axes = np.linalg.svd(centred, full_matrices=False)
    kept = length**2 > 1e-10 * length[0] ** 2
    hand = singles @ axes[kept].T * (length[kept] ** 2 / 9) ** -0.1
    hand /= np.linalg.norm(hand, axis=1)[:, None] ** 0.3
    place = learn_metric(singles).place(singles)
    np.testing.assert_allclose(
        np.linalg.norm(place[0] - place[1:], axis=1)[:3], np.linalg.norm(hand[0] - hand[1:], axis=1)[:3], rtol=0.05
    )


def test_chunks_and_learnt_constants_change_nothing(singles, monkeypatch):
    place = np.array(list(combinations(range(9), 2)))
    pairs = Pairs(singles, place)
    effect = np.tanh(0.6 * pairs.total())
    views = fit_views(pairs.part(slice(0, 24)), effect[:24], 0.85)
    whole = views.predict(pairs)
    monkeypatch.setattr(pairwise_views, "CHUNK_CELLS", 400)
    np.testing.assert_allclose(views.predict(pairs).mean, whole.mean, atol=1e-10)
    again = fit_views(pairs.part(slice(0, 24)), effect[:24], 0.85, learnt=views.learnt)
    np.testing.assert_array_equal(again.predict(pairs).mean, views.predict(pairs).mean)
    assert ((whole.support >= -1e-9) & (whole.support <= 1)).all()
    assert whole.support[:24].mean() > whole.support[24:].mean()
