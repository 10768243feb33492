"""Replicates of each type of assay, by the rules written down, and by a loop."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenwise.data.assay_replicates import TIE, aggregate_by_type, flat_assays, fold_spread

SIGN = {"<": -1, "=": 0, ">": 1}


def one(kind, readings, direction="", binary=False):
    """Aggregate readings such as "<5" of one compound."""
    assays = pd.DataFrame({"assay_type": [kind], "is_binary": [binary], "direction": [direction]})
    zero = np.zeros(len(readings), np.int64)
    value = [float(text.lstrip("<=>")) for text in readings]
    relation = [SIGN.get(text[0], 0) for text in readings]
    row = aggregate_by_type(zero, zero, value, relation, assays).iloc[0]
    return float(row["value"]), int(row["relation"]), row["reason"]


@pytest.mark.parametrize(
    ("kind", "readings", "expected"),
    [
        ("OTHER", ["5", "6.126", "<7"], (6.13, 0)),  # "<" does not count beside "=", and two decimals
        ("OTHER", ["5", ">6", "<7"], (6.0, 1)),
        ("OTHER", ["<5", "<4"], (5.0, -1)),  # nothing else: the largest of them
        ("OTHER", ["6", ">6"], (6.0, 0)),  # of equal values the exact one
        ("NON-CATALOG-PANEL", ["4.4", "4.6"], (4.6, 0)),
        ("ADME", ["1.239", "2"], (1.6195, 0)),  # the median of two, not rounded
        ("ADME", ["1", "<2", "<9"], (2.0, -1)),  # the median, with the commonest qualifier
        ("ADME", ["1", "<2"], (1.5, 0)),  # "=" wins ties
        ("ADME", ["1", "<2", ">3"], (2.0, 0)),
        ("ADME", [">1", ">2", "3", "<9"], (2.5, 1)),
    ],
)
def test_dose_response_and_adme(kind, readings, expected):
    assert one(kind, readings) == (pytest.approx(expected[0]), expected[1], "")
    assert one(kind, readings[::-1]) == (pytest.approx(expected[0]), expected[1], "")


def test_adme_fails_where_below_ties_with_above():
    assert one("ADME", ["<2", ">3"])[2] == TIE
    assert one("ADME", ["<2", "<2", ">3", ">3", "1"])[2] == TIE


@pytest.mark.parametrize(
    ("direction", "readings", "expected"),
    [
        ("high", ["-4", "3", "<5"], (3.0, 0)),
        ("low", ["-4", "3", ">-5"], (-4.0, 0)),  # the mirror image: a lower bound does not count beside others
        ("low", [">-5", ">-4"], (-5.0, 1)),
        ("", ["-4", "3", "<3.5"], (-4.0, 0)),
        ("", ["-4", "4"], (4.0, 0)),
    ],
)
def test_other_types_by_direction(direction, readings, expected):
    assert one("AUX_HTS", readings, direction)[:2] == expected
    assert one("AUX_HTS", readings[::-1], direction)[:2] == expected


def test_binary_majority_and_tie():
    assert one("AUX_PL", ["1", "-1", "-1"], binary=True)[:2] == (-1.0, 0)
    assert one("OTHER", ["1", "-1"], binary=True)[:2] == (1.0, 0)


READINGS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from([-3.0, -1.0, 1.0, 3.0, 3.004]),
        st.sampled_from([-1, 0, 1]),
    ),
    min_size=1,
    max_size=30,
)
ASSAYS = pd.DataFrame(
    {
        "assay_type": ["OTHER", "ADME", "AUX_HTS", "AUX_PL"],
        "is_binary": [False, False, False, True],
        "direction": ["", "high", "low", ""],
    }
)


@given(READINGS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_other_cells_are_nothing(readings, chance):
    def cells(rows):
        table = aggregate_by_type(*(np.array(column) for column in zip(*rows, strict=True)), ASSAYS)
        return table.set_index(["assay", "compound"])

    whole = cells(readings)
    shuffled = list(readings)
    chance.shuffle(shuffled)
    pd.testing.assert_frame_equal(whole, cells(shuffled))
    key = readings[0][:2]
    pd.testing.assert_frame_equal(whole.loc[[key]], cells([row for row in readings if row[:2] == key]))


def test_spread_is_pandas_own():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"assay": rng.integers(0, 20, 300), "fold": rng.integers(0, 5, 300), "value": rng.normal(size=300)}
    )
    expected = table.groupby(["assay", "fold"])["value"].std().unstack().fillna(0.0).to_numpy()
    ours = fold_spread(*(table[name].to_numpy() for name in ("assay", "value", "fold")), (20, 5))
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_an_assay_flat_in_one_fold_is_out_and_a_catalogue_assay_only_of_regression():
    cells = pd.DataFrame({"assay": np.repeat([0, 1, 2], 4), "value": [1, 2, 1, 2, 1, 2, 5, 5, 1, 2, 5, 5]}, dtype=float)
    cells["assay"] = cells["assay"].astype(int)
    assays = pd.DataFrame({"assay_type": ["OTHER", "OTHER", "CATALOG-PANEL", "ADME"]})
    out, only_classes = flat_assays(cells, np.tile([0, 0, 1, 1], 3), 2, assays, 1e-12)
    assert out.tolist() == [False, True, False, False]
    assert only_classes.tolist() == [False, False, True, False]
