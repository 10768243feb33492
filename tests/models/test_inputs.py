import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError
from screenwise.models.inputs import Inputs
from screenwise.represent.fingerprint import Fingerprint

SMILES = ["CCO", "CCCO", "c1ccccc1O", "CCN"]


def test_numbers_are_standardised_and_known_inside_their_range():
    conditions = pd.DataFrame({"feature:a": [1.0, 2.0, 3.0], "feature:b": [5.0, 5.0, 5.0]})
    inputs = Inputs(Fingerprint()).fit(conditions)
    rows = inputs.transform(pd.DataFrame({"feature:b": [5.0, 6.0, np.nan], "feature:a": [2.0, 9.0, 1.0]}))
    np.testing.assert_allclose(rows.x.toarray()[0], [0, 0], atol=1e-7)
    assert rows.known.tolist() == [1.0, 0.0, 0.0]
    assert rows.readable.tolist() == [True, True, False]
    assert rows.note[2] == "a number is missing"


def test_counts_enter_as_logarithms():
    conditions = pd.DataFrame({"smiles": SMILES})
    plain = Inputs(Fingerprint(radius=1)).fit(conditions).transform(conditions).x.toarray()
    logged = Inputs(Fingerprint(radius=1), logarithm=True).fit(conditions).transform(conditions).x.toarray()
    np.testing.assert_allclose(logged, np.log2(1 + plain), rtol=1e-6)


def test_share_of_known_substructures():
    inputs = Inputs(Fingerprint(radius=1)).fit(pd.DataFrame({"smiles": SMILES[:2]}))
    known = inputs.transform(pd.DataFrame({"smiles": ["CCCO", "FC(F)Br", ""]})).known
    assert known[0] == 1
    assert known[1] < 0.2
    assert known[2] == 0


@pytest.mark.parametrize("fold", [0, 64])
def test_state_comes_back(fold):
    conditions = pd.DataFrame({"smiles": SMILES, "feature:dose": [1.0, 2.0, 3.0, 4.0]})
    inputs = Inputs(Fingerprint(radius=1, fold=fold), logarithm=True).fit(conditions)
    again = Inputs.from_state(*inputs.to_state())
    assert again.width == inputs.width == inputs.transform(conditions).x.shape[1]
    np.testing.assert_array_equal(again.transform(conditions).x.toarray(), inputs.transform(conditions).x.toarray())


def test_what_is_missing_is_named():
    with pytest.raises(ColumnError, match="feature:<name>"):
        Inputs(Fingerprint()).fit(pd.DataFrame({"gene": ["A"]}))
    inputs = Inputs(Fingerprint()).fit(pd.DataFrame({"smiles": SMILES, "feature:dose": [1.0, 2.0, 3.0, 4.0]}))
    with pytest.raises(ColumnError, match="smiles"):
        inputs.transform(pd.DataFrame({"feature:dose": [1.0]}))
    with pytest.raises(ColumnError, match="fill in"):
        Inputs(Fingerprint()).fit(pd.DataFrame({"feature:a": [np.nan]}))
