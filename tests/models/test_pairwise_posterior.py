"""The joint posterior of unmeasured pairs, against brute force on the kernel's own formula."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from screenwise.models import make_model
from screenwise.models.pairwise_posterior import pair_posterior
from screenwise.models.pairwise_table import read_genes
from screenwise.screen import make_screen

GENES = [f"G{place}" for place in range(9)]
PAIRS = list(combinations(GENES, 2))


def asked(pairs):
    return pd.DataFrame(pairs, columns=["gene_a", "gene_b"])


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(3)
    single = dict(zip(GENES, rng.normal(size=(len(GENES), 6)), strict=True))
    names = [("", ""), *((gene, "") for gene in GENES), *PAIRS[:20]]
    level = np.array(
        [np.tanh(sum((single[gene] for gene in one if gene), np.zeros(6))) + 0.01 * rng.normal(size=6) for one in names]
    )
    return make_model("peper_gp").fit(make_screen(asked(names), level, list("uvwxyz")))


def product(model, left, right):
    """Sum over scales of weight * (k(a,c) k(b,d) + k(a,d) k(b,c)) / scale + constant, pair by pair."""
    views = model.rule_.views
    process = views.processes["product"]
    single = model.singles_.ask
    table = {}
    for pair in {*left, *right}:
        found = single(read_genes(pd.DataFrame({"gene_a": [pair[0]], "gene_b": [pair[1]]})))
        table[pair] = [views.metric.place(found.single[found.place[:, one]])[0] for one in (0, 1)]
    out = np.zeros((len(left), len(right)))
    for row, one in enumerate(left):
        for column, other in enumerate(right):
            (a, b), (c, d) = table[one], table[other]
            for weight, scale, width in zip(process.weights, views.scale, (0.5, 1.0, 2.0), strict=False):

                def alike(x, y, width=width):
                    return np.exp(-((x - y) ** 2).sum() / (2 * width * views.metric.gene_distance))

                out[row, column] += weight * (alike(a, c) * alike(b, d) + alike(a, d) * alike(b, c)) / scale
            out[row, column] += process.weights[-1]
    return out


def test_covariances_agree_with_brute_force(model):
    new, measured = PAIRS[20:], PAIRS[:20]
    process = model.rule_.views.processes["product"]
    cross, gram = product(model, new, measured), product(model, measured, measured)
    noisy = gram + process.noise * np.eye(len(measured))
    expected = process.variance * (product(model, new, new) - cross @ np.linalg.solve(noisy, cross.T))
    posterior = pair_posterior(model, asked(new))
    found = np.stack([posterior.covariance(place) for place in range(len(new))])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8 * process.variance)
    np.testing.assert_allclose(posterior.variance, np.diag(expected), rtol=1e-6, atol=1e-8 * process.variance)
    assert posterior.noise == pytest.approx(process.variance * process.noise)


def test_covariances_are_symmetric_and_positive_semidefinite(model):
    posterior = pair_posterior(model, asked(PAIRS))
    found = np.stack([posterior.covariance(place) for place in range(len(PAIRS))])
    np.testing.assert_allclose(found, found.T, atol=1e-9 * found.max())
    assert np.linalg.eigvalsh(found).min() > -1e-9 * found.max()


def test_neither_the_order_of_genes_nor_of_rows_matters(model):
    new = PAIRS[20:]
    posterior, swapped = pair_posterior(model, asked(new)), pair_posterior(model, asked([(b, a) for a, b in new]))
    turned = pair_posterior(model, asked(new[::-1]))
    np.testing.assert_allclose(swapped.variance, posterior.variance, rtol=1e-10)
    np.testing.assert_allclose(swapped.mean, posterior.mean, rtol=1e-10)
    np.testing.assert_allclose(turned.covariance(0)[::-1], posterior.covariance(len(new) - 1), rtol=1e-8)


def test_measured_pairs_are_known_better(model):
    known, new = pair_posterior(model, asked(PAIRS[:20])), pair_posterior(model, asked(PAIRS[20:]))
    assert known.variance.max() < new.variance.min()


def test_a_model_without_departures_has_none(model):
    names = [("", ""), *((gene, "") for gene in GENES)]
    singles = make_screen(asked(names), np.random.default_rng(0).normal(size=(10, 3)), list("xyz"))
    assert pair_posterior(make_model("salt").fit(singles), asked(PAIRS)) is None
    assert pair_posterior(make_model("peper_gp").fit(singles), asked(PAIRS)) is None
