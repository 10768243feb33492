import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator as rd
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist

from screenwise.errors import DataError
from screenwise.represent import similarity, tanimoto
from screenwise.represent.fingerprint import Fingerprint
from screenwise.represent.similarity import count_tanimoto, count_tanimoto_nearest

SMILES = ["CCO", "CCCCN", "c1ccccc1C(=O)NC[C@@H](N)C", "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "OCC(O)CO", "CCCCCCCCCCCC", "CCCO"]


def brute(a, b):
    shared = np.minimum(a[:, None], b[None]).sum(axis=2)
    union = np.maximum(a[:, None], b[None]).sum(axis=2)
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 1.0)


def random_counts(seed, n, columns=40, kind=np.int32):
    rng = np.random.default_rng(seed)
    return (rng.poisson(0.4, (n, columns)) * rng.integers(1, 4, (n, columns))).astype(kind)


@pytest.mark.parametrize("share", [0.0, 0.06, 2.0])
@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.float32, np.float64])
def test_count_tanimoto_against_brute_force(monkeypatch, share, kind):
    monkeypatch.setattr(tanimoto, "DENSE_SHARE", share)
    a, b = random_counts(0, 33, kind=kind), random_counts(1, 150, kind=kind)
    a[4] = b[7] = 0
    a[:, 30:] *= 3
    np.testing.assert_allclose(count_tanimoto(csr_array(a), csr_array(b)), brute(a, b), rtol=1e-6)
    np.testing.assert_allclose(count_tanimoto(csr_array(b)), brute(b, b), rtol=1e-6)


@pytest.mark.parametrize("kind", ["morgan", "atom_pair", "torsion"])
def test_count_tanimoto_is_that_of_rdkit(kind):
    made = {
        "morgan": rd.GetMorganGenerator(radius=3),
        "atom_pair": rd.GetAtomPairGenerator(),
        "torsion": rd.GetTopologicalTorsionGenerator(),
    }
    molecules = [Chem.MolFromSmiles(text) for text in SMILES[1:]]
    theirs = [made[kind].GetSparseCountFingerprint(molecule) for molecule in molecules]
    expected = [[DataStructs.TanimotoSimilarity(one, two) for two in theirs] for one in theirs]
    counts = Fingerprint(kind, 3).transform(pd.DataFrame({"smiles": SMILES[1:]}))
    np.testing.assert_allclose(count_tanimoto(counts), expected, rtol=1e-6)
    np.testing.assert_allclose(count_tanimoto(counts[:2], counts), expected[:2], rtol=1e-6)


def test_ids_beyond_32_bits_and_only_on_one_side():
    big = 2**62
    a = csr_array((np.array([1, 2]), np.array([big, big + 1]), np.array([0, 2])), shape=(1, 2**63 - 1))
    b = csr_array((np.array([2, 5]), np.array([big + 1, big + 7]), np.array([0, 1, 2])), shape=(2, 2**63 - 1))
    np.testing.assert_allclose(count_tanimoto(a, b), [[2 / 3, 0.0]])


def test_empty_sides():
    a = csr_array(random_counts(0, 3))
    nothing = csr_array((0, 40), dtype=np.int32)
    assert count_tanimoto(a, nothing).shape == (3, 0)
    assert count_tanimoto(nothing, a).shape == (0, 3)
    assert count_tanimoto(nothing).shape == (0, 0)
    with pytest.raises(DataError, match=">= 0"):
        count_tanimoto(csr_array(np.array([[-1, 2]])))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 25), st.integers(1, 4))
def test_nearest_are_the_largest_of_the_matrix(seed, n, k):
    a, b = random_counts(seed, 9), random_counts(seed + 1, n)
    k = min(k, n - 1)
    index, found = count_tanimoto_nearest(csr_array(a), csr_array(b), k)
    full = brute(a, b).astype(np.float32)
    order = np.argsort(-full, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(index, order)
    np.testing.assert_allclose(found, np.take_along_axis(full, order, 1))
    index, found = count_tanimoto_nearest(csr_array(b), k=k)
    own = brute(b, b).astype(np.float32)
    np.fill_diagonal(own, -1)
    np.testing.assert_allclose(found, -np.sort(-own, axis=1)[:, :k])
    assert (index != np.arange(n)[:, None]).all()


def test_nearest_asks_for_rows_that_are_there():
    with pytest.raises(DataError, match="1 to 4"):
        count_tanimoto_nearest(csr_array(random_counts(0, 5)), k=5)


def test_dense_similarities_against_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 5)), rng.normal(size=(4, 5))
    distance = cdist(a, b)
    np.testing.assert_allclose(similarity.squared_distance(a, b), distance**2, rtol=1e-5)
    np.testing.assert_allclose(similarity.rbf(a, b, 1.7), np.exp(-(distance**2) / 2 / 1.7**2), rtol=1e-5)
    np.testing.assert_allclose(similarity.cosine(a, b), 1 - cdist(a, b, "cosine"), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(similarity.linear(a, b), a @ b.T, rtol=1e-5, atol=1e-6)
    codes, others = rng.integers(0, 4, (6, 9)).astype(np.uint8), rng.integers(0, 4, (5, 9)).astype(np.uint8)
    np.testing.assert_allclose(similarity.hamming(codes, others), cdist(codes, others, "hamming") * 9)
    np.testing.assert_allclose(
        similarity.exp_hamming(codes, others, 2.0), np.exp(-cdist(codes, others, "hamming") * 4.5)
    )


def test_sparse_similarities_equal_dense_ones():
    a, b = random_counts(3, 8).astype(np.float32), random_counts(4, 6).astype(np.float32)
    for compare in (similarity.linear, similarity.cosine):
        np.testing.assert_allclose(compare(csr_array(a), csr_array(b)), compare(a, b), rtol=1e-5)
        np.testing.assert_allclose(compare(csr_array(a)), compare(a), rtol=1e-5)


def test_far_away_numbers_keep_their_distances():
    a = np.array([[1e6], [1e6 + 1]])
    np.testing.assert_allclose(similarity.squared_distance(a), [[0, 1], [1, 0]], atol=1e-3)
