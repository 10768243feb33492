"""A condition's id depends on what was applied and on nothing else."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenwise.condition import condition_ids, factor_columns
from screenwise.errors import ColumnError

names = st.sampled_from(["TP53", "MYC", "KRAS", "ctrl", "", "Ä-gen"])
doses = st.sampled_from([0.1, 1.0, 10.0])
wells = st.lists(st.tuples(names, doses, names, doses, st.sampled_from(["A549", "786-0"])), min_size=1, max_size=20)
COLUMNS = ["gene_a", "dose_um_a", "gene_b", "dose_um_b", "cell_line"]


@given(wells, st.randoms())
def test_order_of_rows_columns_and_members_does_not_matter(rows, random):
    frame = pd.DataFrame(rows, columns=COLUMNS)
    ids = condition_ids(frame)
    order = list(range(len(rows)))
    random.shuffle(order)
    swapped = frame.rename(
        columns={"gene_a": "gene_b", "gene_b": "gene_a", "dose_um_a": "dose_um_b", "dose_um_b": "dose_um_a"}
    )
    assert condition_ids(swapped[sorted(COLUMNS)].iloc[order]).tolist() == ids[order].tolist()


@given(wells)
def test_different_conditions_have_different_ids(rows):
    frame = pd.DataFrame(rows, columns=COLUMNS)
    ids = condition_ids(frame)

    def canonical(a, dose_a, b, dose_b, line):
        members = [(name, dose) for name, dose in ((a, dose_a), (b, dose_b)) if name not in ("", "ctrl")]
        return tuple(sorted(members)), line

    keys = [canonical(*row) for row in rows]
    for i, key in enumerate(keys):
        for j in range(i):
            assert (ids[i] == ids[j]) == (key == keys[j])


def test_doses_move_with_their_drug():
    frame = pd.DataFrame(
        {"smiles_a": ["C", "CC", "C"], "dose_um_a": [1, 5, 5], "smiles_b": ["CC", "C", "CC"], "dose_um_b": [5, 1, 1]}
    )
    first, swapped, other = condition_ids(frame)
    assert first == swapped
    assert first != other


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64, str, object])
def test_dtype_does_not_matter(dtype):
    frame = pd.DataFrame({"gene": ["TP53"], "dose_um": np.array([10]).astype(dtype)})
    assert condition_ids(frame)[0] == condition_ids(pd.DataFrame({"gene": ["TP53"], "dose_um": [10]}))[0]


def test_unicode_forms_are_one_name():
    composed, decomposed = "\u00c4", "A\u0308"
    ids = condition_ids(pd.DataFrame({"gene": [composed, decomposed]}))
    assert ids[0] == ids[1]


def test_a_gene_with_control_is_the_gene():
    pairs = pd.DataFrame({"gene_a": ["MYC", "ctrl", "MYC"], "gene_b": ["ctrl", "MYC", None]})
    assert len(set(condition_ids(pairs))) == 1


def test_ids_are_the_same_in_every_version():
    assert condition_ids(pd.DataFrame({"smiles": ["CCO"]}))[0] == "e83323db59bebe80168b"


def test_no_entity_is_our_error():
    with pytest.raises(ColumnError, match="plate"):
        factor_columns(pd.DataFrame(columns=["plate", "well"]))


def test_many_distinct_pairs_do_not_collide():
    frame = pd.DataFrame({"gene_a": np.arange(100_000) % 400, "gene_b": 1000 + np.arange(100_000) // 400})
    assert len(set(condition_ids(frame))) == len(frame)
