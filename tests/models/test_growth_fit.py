"""The numbers behind growth of pairs: against dense algebra on small sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.models.growth_fit import (
    PairProcess,
    Pairs,
    complete,
    curve_terms,
    fill_singles,
    fit_curve,
    gene_effects,
    gene_kernel,
    pair_features,
)


def some_pairs(seed, genes=7, share=0.6):
    rng = np.random.default_rng(seed)
    a, b = np.triu_indices(genes, 1)
    keep = rng.random(len(a)) < share
    keep[0] = True
    return Pairs(a[keep], b[keep], rng.normal(size=keep.sum()), genes)


def kernel_of(seed, genes=7):
    x = np.random.default_rng(seed).normal(size=(genes, 3))
    return x @ x.T / 3 + 0.2 * np.eye(genes)


def covariance(kernel, a, b, c, d):
    return kernel[a][:, c] * kernel[b][:, d] + kernel[a][:, d] * kernel[b][:, c]


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.5, 3.0]))
@settings(max_examples=25, deadline=None)
def test_process_equals_dense_gaussian_process(seed, noise):
    pairs, kernel = some_pairs(seed), kernel_of(seed)
    process = PairProcess(kernel, noise)
    gram = covariance(kernel, pairs.a, pairs.b, pairs.a, pairs.b) + noise * np.eye(len(pairs))
    a, b = np.triu_indices(pairs.size)
    cross = covariance(kernel, a, b, pairs.a, pairs.b)
    mean = cross @ np.linalg.solve(gram, pairs.y)
    prior = kernel[a, a] * kernel[b, b] + kernel[a, b] ** 2
    variance = prior - np.einsum("ij,ji->i", cross, np.linalg.solve(gram, cross.T))
    ours = process.mean(pairs, tolerance=1e-10)
    np.testing.assert_allclose(ours[a, b], mean, atol=1e-7)
    np.testing.assert_array_equal(ours, ours.T)
    np.testing.assert_allclose(process.variance(pairs, axes=pairs.size)[a, b], variance, atol=1e-8)
    few = process.variance(pairs, axes=3)[a, b]
    assert (few > 0).all()
    assert (few <= prior + 1e-9).all()


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_pair_features_span_the_product_kernel(seed):
    scaled = np.random.default_rng(seed).normal(size=(5, 4))
    a, b = np.triu_indices(5)
    features = pair_features(scaled, a, b)
    np.testing.assert_allclose(features @ features.T, covariance(scaled @ scaled.T, a, b, a, b), atol=1e-9)
    np.testing.assert_allclose(pair_features(scaled, b, a), features)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_gene_effects_equal_ridge_regression(seed):
    pairs = some_pairs(seed)
    design = np.zeros((len(pairs), pairs.size))
    design[np.arange(len(pairs)), pairs.a] = design[np.arange(len(pairs)), pairs.b] = 1
    expected = np.linalg.solve(design.T @ design + 2 * np.eye(pairs.size), design.T @ pairs.y)
    np.testing.assert_allclose(gene_effects(pairs), expected, atol=1e-10)
    single = np.where(np.arange(pairs.size) < 3, np.nan, 0.3)
    missing = np.isnan(single)
    filled = fill_singles(single, pairs)
    rest = pairs.y - design @ np.where(missing, 0.3, single)
    part = design[:, missing]
    np.testing.assert_allclose(
        filled[missing], 0.3 + np.linalg.solve(part.T @ part + 2 * np.eye(3), part.T @ rest), atol=1e-10
    )
    np.testing.assert_array_equal(filled[~missing], single[~missing])


def test_curve_is_addition_without_evidence_and_is_found_with_it():
    rng = np.random.default_rng(0)
    single = rng.uniform(-1, 0, 60)
    nothing = Pairs(np.array([], int), np.array([], int), np.array([]), 60)
    np.testing.assert_array_equal(fit_curve(single, nothing), [0, 1, 0, 0, 0, 0, 0])
    a, b = np.triu_indices(60, 1)
    total = single[a] + single[b]
    found = fit_curve(single, Pairs(a, b, total + 0.4 * total**2, 60))
    np.testing.assert_allclose(curve_terms(single[a], single[b]) @ found, total + 0.4 * total**2, atol=0.03)
    np.testing.assert_array_equal(curve_terms(single[a], single[b]), curve_terms(single[b], single[a]))


def test_completion_finds_a_low_rank_table_and_removes_noise():
    rng = np.random.default_rng(1)
    vectors = np.linalg.qr(rng.normal(size=(60, 2)))[0] * [3.0, 2.0]
    truth = vectors @ np.diag([1.0, -1.0]) @ vectors.T
    a, b = np.triu_indices(60, 1)
    keep = rng.random(len(a)) < 0.7
    pairs = Pairs(a[keep], b[keep], truth[a, b][keep], 60)
    hidden = truth[a, b][~keep]
    guess = complete(pairs, 2, 0.0, 60)[a, b][~keep]
    assert np.sqrt(np.mean((guess - hidden) ** 2)) < 0.05 * hidden.std()
    noise = Pairs(a[keep], b[keep], rng.normal(size=keep.sum()), 60)
    assert np.abs(complete(noise, 8, 2.0, 20)).max() < 0.1


def test_gene_kernel_is_positive_scaled_and_survives_an_empty_table():
    pairs = some_pairs(2)
    single = np.random.default_rng(3).normal(size=7)
    for profile in (complete(pairs, 3, 0.1, 10), np.zeros((7, 7))):
        kernel = gene_kernel(profile, single, pairs, 1.0)
        assert np.linalg.eigvalsh(kernel).min() > 0
        prior = kernel[pairs.a, pairs.a] * kernel[pairs.b, pairs.b] + kernel[pairs.a, pairs.b] ** 2
        assert prior.mean() == pytest.approx(1)
