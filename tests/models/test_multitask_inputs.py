import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError
from screenwise.models.inputs import Inputs
from screenwise.models.multitask_inputs import JoinedInputs, make_inputs
from screenwise.represent.fingerprint import Fingerprint

SMILES = ["CCO", "CCCO", "CCCCCCCCN", "c1ccccc1CCO", "C1CC"]
KINDS = ("morgan", "feature_morgan", "torsion")


def test_one_kind_is_what_inputs_alone_reads():
    conditions = pd.DataFrame({"smiles": SMILES, "feature:dose": [1.0, 2.0, 3.0, 4.0, 5.0]})
    joined = make_inputs(("morgan",), 2, minimum_count=2).fit(conditions).transform(conditions)
    alone = Inputs(Fingerprint(radius=2), 2, logarithm=True).fit(conditions).transform(conditions)
    np.testing.assert_array_equal(joined.x.toarray(), alone.x.toarray())
    assert joined.note.tolist() == alone.note.tolist()


def test_rows_have_one_length_and_numbers_keep_theirs():
    conditions = pd.DataFrame({"smiles": SMILES, "feature:dose": [1.0, 2.0, 3.0, 4.0, 5.0]})
    inputs = make_inputs(KINDS, 2, equal_length=True).fit(conditions)
    rows = inputs.transform(conditions)
    dose = inputs.parts[0].width - 1
    x = rows.x.toarray()
    counts = np.delete(x, dose, axis=1)
    np.testing.assert_allclose(np.linalg.norm(counts[:4], axis=1), inputs.length, rtol=1e-5)
    np.testing.assert_allclose(x[:4, dose], (np.arange(1, 5) - 3) / np.sqrt(2), rtol=1e-6)
    assert rows.readable.tolist() == [True] * 4 + [False]
    assert (x[4] == 0).all()
    plain = make_inputs(KINDS, 2).fit(conditions).transform(conditions).x.toarray()
    lengths = np.linalg.norm(np.delete(plain, dose, axis=1)[:4], axis=1)
    assert inputs.length == pytest.approx(np.median(lengths), rel=1e-6)


def test_state_is_read_back_the_same():
    conditions = pd.DataFrame({"smiles": SMILES[:4]})
    inputs = make_inputs(KINDS, 1, minimum_count=1, equal_length=True).fit(conditions)
    again = JoinedInputs.from_state(*inputs.to_state())
    other = pd.DataFrame({"smiles": ["CCCCO", "c1ccncc1", "Br"]})
    np.testing.assert_array_equal(again.transform(other).x.toarray(), inputs.transform(other).x.toarray())
    assert again.width == inputs.width


def test_numbers_alone_need_no_structures():
    conditions = pd.DataFrame({"gene": ["A", "B"], "feature:x": [0.0, 1.0]})
    inputs = make_inputs(KINDS, 2, equal_length=True).fit(conditions)
    assert inputs.transform(conditions).x.toarray().tolist() == [[-1.0], [1.0]]
    with pytest.raises(ColumnError, match="reads a column 'smiles' or columns feature:"):
        make_inputs(KINDS, 2).fit(conditions[["gene"]])
