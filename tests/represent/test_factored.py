import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.represent.default import default_kernels
from screenwise.represent.factored import factor_kernels, group_columns

RNG = np.random.default_rng(0)
GENES = ["PSMA1", "PSMA2", "PSMB1", "RPL3", "RPL4", "TP53", "MYC", "ctrl"]
SETS = {gene: "|".join(f"S{one}" for one in RNG.integers(0, 6, 3)) for gene in GENES}
LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def gene_pairs(count=60, members="ab"):
    table = {f"gene_{one}": RNG.choice(GENES, count) for one in members}
    pairs = pd.DataFrame(table)
    return pairs.assign(**{f"sets:go_{one}": pairs[f"gene_{one}"].map(SETS) for one in members})


def variants(count=80, sites=4):
    return pd.DataFrame({"variant": ["".join(row) for row in RNG.choice(LETTERS, (count, sites))]})


def mutations(count=80):
    rows = [[f"A{site}{RNG.choice(LETTERS)}" for site in RNG.choice(40, 3, replace=False) + 1] for _ in range(count)]
    return pd.DataFrame({"variant": [":".join(row[: 1 + place % 3]) for place, row in enumerate(rows)]})


def dosed_pairs(count=50):
    pairs = pd.DataFrame({f"smiles_{one}": RNG.choice(["CCO", "CCN", "c1ccccc1O", "CC(=O)O"], count) for one in "ab"})
    return pairs.assign(**{f"dose_um_{one}": RNG.choice([0.1, 1.0, 10.0], count) for one in "ab"})


POOLS = {
    "gene pairs": gene_pairs(),
    "gene triples": gene_pairs(members="abc"),
    "drug pairs with doses": dosed_pairs(),
    "four sites": variants(),
    "one site": variants(20, 1),
    "many sites": variants(400, 12),
    "lists of mutations": mutations(),
    "nothing but wild types": pd.DataFrame({"variant": ["VDGV"] * 6, "gene": ["A"] * 6})[["variant"]],
}


@pytest.fixture(scope="module", params=list(POOLS))
def pool(request):
    return POOLS[request.param]


def together(pool):
    kernels = default_kernels(pool)
    return kernels, factor_kernels(kernels, pool)


def test_every_default_kernel_of_parts_is_what_its_features_say(pool):
    kernels, factored = together(pool)
    if factored is None:
        assert any(kernel.name == "identity" for kernel in kernels)
        return
    some = RNG.permutation(len(pool))[:15]
    for place, kernel in enumerate(kernels):
        features = kernel.features(pool)
        dense = kernel.gram(features, features[some])
        size = max(1.0, float(np.abs(dense).max()))
        one = np.eye(len(kernels))[place]
        found = factored.cross(factored.codes, factored.codes[some], one)
        np.testing.assert_allclose(found, dense, atol=1e-5 * size, err_msg=kernel.name)
        np.testing.assert_allclose(factored.gram(factored.codes, place)[:, some], dense, atol=1e-5 * size)
        own = factored.diagonal(factored.codes, place)
        np.testing.assert_allclose(own, kernel.diagonal(features), atol=1e-5 * size, err_msg=kernel.name)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["gene pairs", "four sites"]), st.booleans())
def test_the_identity_is_the_matrix_times_the_vector(seed, name, large):
    kernels, factored = together(POOLS[name])
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(factored.codes), 40)
    asked = rng.integers(0, len(factored.codes), 4000 if large else 7)
    weights, alpha = rng.exponential(size=len(kernels)), rng.normal(size=40)
    dense = np.zeros((len(asked), 40))
    for kernel, weight in zip(kernels, weights, strict=True):
        features = kernel.features(POOLS[name])
        dense += weight * kernel.gram(features[asked], features[rows])
    found = factored.times(factored.codes[asked], factored.codes[rows], weights, alpha)
    np.testing.assert_allclose(found, dense @ alpha, atol=1e-5 * np.abs(dense).max() * np.abs(alpha).sum())


def test_the_identity_needs_no_matrix(monkeypatch):
    kernels, factored = together(POOLS["gene pairs"])
    asked = np.repeat(factored.codes, 100, axis=0)
    weights, alpha = np.ones(len(kernels)), RNG.normal(size=60)
    expected = factored.cross(asked, factored.codes, weights).astype(float) @ alpha
    monkeypatch.setattr(type(factored), "cross", None)
    np.testing.assert_allclose(factored.times(asked, factored.codes, weights, alpha), expected, rtol=1e-4, atol=1e-4)


def test_pieces_are_the_whole(monkeypatch):
    for name in ("gene pairs", "many sites"):
        _, factored = together(POOLS[name])
        weights = np.ones(len(factored.tables))
        codes = np.repeat(factored.codes, 4, axis=0)
        whole = factored.cross(codes, codes, weights)
        monkeypatch.setattr("screenwise.represent.factored.BOUND_BYTES", 1)
        np.testing.assert_array_equal(factored.cross(codes, codes, weights), whole)
        monkeypatch.undo()


def test_the_order_of_members_plays_no_part():
    pairs = POOLS["gene pairs"]
    turned = pairs.rename(columns=lambda name: name[:-1] + {"a": "b", "b": "a"}[name[-1]])
    both = pd.concat([pairs, turned], ignore_index=True)
    kernels, factored = together(both)
    half = len(pairs)
    for place in range(len(kernels)):
        gram = factored.gram(factored.codes, place)
        np.testing.assert_allclose(gram[:half], gram[half:], atol=1e-6)
        assert np.linalg.eigvalsh(gram.astype(float)).min() > -1e-3


@pytest.mark.parametrize(
    "table",
    [
        {"smiles": ["CCO", "CCN"]},
        {"gene": ["TP53", "MYC"]},
        {"sequence": ["ACDE", "ACDEF"]},
        {"gene_a": ["A", "B"], "gene_b": ["B", "C"], "cell_line": ["X", "Y"]},
        {"variant": ["AC", "AD"], "feature:x": [0.0, 1.0]},
    ],
)
def test_other_kernels_have_no_such_form(table):
    conditions = pd.DataFrame(table)
    assert factor_kernels(default_kernels(conditions), conditions) is None


def test_large_tables_are_not_made(monkeypatch):
    monkeypatch.setattr("screenwise.represent.factored.TABLE_BYTES", 100)
    for name in ("gene pairs", "four sites"):
        assert together(POOLS[name])[1] is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 60))
def test_groups_are_neighbours_with_few_combinations(seed, width, most):
    codes = np.random.default_rng(seed).integers(0, 4, (50, width)).astype(np.uint8)
    groups = group_columns(codes, most)
    assert [column for group in groups for column in group] == list(range(width))
    for group in groups:
        assert len(group) == 1 or len(np.unique(codes[:, group], axis=0)) <= most
