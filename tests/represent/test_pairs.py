import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError
from screenwise.represent.flat import flat_features
from screenwise.represent.pairs import (
    Average,
    Category,
    Doses,
    EachMember,
    Members,
    Parts,
    Product,
    Same,
    SymmetricProduct,
    SymmetricSum,
)
from screenwise.represent.similarity import Linear, Rbf

RNG = np.random.default_rng(0)
DISTINCT = RNG.normal(size=(6, 3))
CODES = RNG.integers(-1, 6, (20, 2))


def similarity_of(one, two, absent):
    if one < 0 or two < 0:
        return absent if one == two else 0.0
    return float(DISTINCT[one] @ DISTINCT[two])


def test_symmetric_forms_against_their_definitions():
    members = Members(DISTINCT, CODES)
    s = similarity_of
    product = [[(s(a, c, 1) * s(b, d, 1) + s(a, d, 1) * s(b, c, 1)) / 2 for c, d in CODES[:7]] for a, b in CODES]
    total = [[(s(a, c, 0) + s(a, d, 0) + s(b, c, 0) + s(b, d, 0)) / 2 for c, d in CODES[:7]] for a, b in CODES]
    for form, expected in ((SymmetricProduct(Linear()), product), (SymmetricSum(Linear()), total)):
        np.testing.assert_allclose(form(members, members[:7]), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(np.diag(form(members)), form.diagonal(members), rtol=1e-5, atol=1e-5)


def test_members_are_found_once_and_controls_are_absent():
    pairs = pd.DataFrame({"gene_a": ["X", "Y", "ctrl", "X "], "gene_b": ["Y", "X", "X", np.nan]})
    members = EachMember("gene", Category(("gene",))).transform(pairs)
    assert members.distinct.shape == (3, 1), "X, 'X ' and Y as written"
    assert (members.codes < 0).tolist() == [[False, False], [False, False], [True, False], [False, True]]
    same = SymmetricSum(Same())(members)
    assert same[0, 1] == same[0, 0]
    assert same[2, 3] == 0.5, "spaces around a name do not make it another"


def test_members_with_doses_are_apart():
    pairs = pd.DataFrame(
        {"gene_a": ["X", "X"], "gene_b": ["Y", "Y"], "dose_um_a": [1.0, 10.0], "dose_um_b": [1.0, 1.0]}
    )
    each = EachMember("gene", Doses(), ("dose_um",))
    assert each.transform(pairs).distinct.shape == (3, 1)
    with pytest.raises(ColumnError, match="dose_um_b"):
        each.transform(pairs.drop(columns="dose_um_b"))


def test_products_and_averages_of_parts():
    parts = Parts((RNG.normal(size=(5, 2)), RNG.normal(size=(5, 1))))
    one, two = Linear()(parts.parts[0]), Rbf()(parts.parts[1])
    np.testing.assert_allclose(Product((Linear(), Rbf()))(parts), one * two, rtol=1e-5)
    np.testing.assert_allclose(Average((Linear(), Rbf()))(parts), (one + two) / 2, rtol=1e-5)
    assert parts[np.array([1, 2])].shape == (2, 2)
    assert len(parts[np.array([True, False, True, False, False])]) == 2


def test_doses_that_are_nothing_are_far_away():
    found = Doses("dose_m", 1e6).transform(pd.DataFrame({"dose_m": [1e-6, 0.0, np.nan, -1.0]})).ravel()
    np.testing.assert_allclose(found, [0.0, -6, -6, -6])


def test_flat_features_of_categories_and_mixed_parts():
    codes = Category(("a", "b")).transform(pd.DataFrame({"a": ["x", "y", "x"], "b": ["x", "x", "z"]}))
    table = flat_features(codes)
    np.testing.assert_array_equal(
        (table @ table.T).toarray() if table.shape[1] < 100 else _shared(table), [[2, 1, 1], [1, 2, 0], [1, 0, 2]]
    )
    mixed = flat_features(Parts((codes, np.array([[1.0], [0.0], [2.0]]))))
    np.testing.assert_array_equal(np.diff(mixed.indptr), [3, 2, 3])
    np.testing.assert_array_equal(mixed.sum(axis=1), [3, 2, 4])


def _shared(table):
    rows = [dict.fromkeys(table.indices[table.indptr[row] : table.indptr[row + 1]].tolist()) for row in range(3)]
    return [[len(one.keys() & two.keys()) for two in rows] for one in rows]
