"""Qualifiers, numbers and units."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenwise.data.quantity import RELATIONS, is_p_unit, p_value, plain_unit, read_numbers, read_relations
from screenwise.errors import DataError

UNITS = {"M": 1.0, "mM": 1e-3, "uM": 1e-6, "µM": 1e-6, "μM": 1e-6, "nM": 1e-9, "pM": 1e-12, "nmol/L": 1e-9}


@given(st.floats(1e-3, 1e6), st.sampled_from(sorted(UNITS)))
def test_every_molar_unit_agrees_with_its_size(value, unit):
    assert np.isclose(p_value([value], unit)[0], -np.log10(value * UNITS[unit]))


def test_mass_per_volume_needs_a_weight():
    assert np.isclose(p_value([1.0], "ug.mL-1", weight=[1000.0])[0], 6.0)
    with pytest.raises(DataError, match="molecular weights"):
        p_value([1.0], "ug/mL")
    with pytest.raises(DataError, match="not a concentration"):
        p_value([1.0], "%")


def test_p_units_are_not_picomolar():
    assert [is_p_unit(unit) for unit in ("pKi", "pIC50", "pXC50", "p", "pM", "pg/mL", "%", "")] == [True] * 4 + [
        False
    ] * 4


@given(st.sampled_from(sorted(RELATIONS)), st.floats(-1e9, 1e9), st.sampled_from(["", " "]))
def test_a_qualifier_before_a_number_is_read(qualifier, number, gap):
    cells = read_numbers([f"{qualifier}{gap}{number!r}"])
    assert cells.reason[0] == ""
    assert np.isclose(cells.value[0], number, rtol=1e-12)
    assert cells.relation[0] == RELATIONS[qualifier]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("inf", "infinite"),
        ("-Infinity", "infinite"),
        ("NaN", "empty value"),
        ("", "empty value"),
        ("N/A", "empty value"),
        ("5,3", "decimal comma"),
        ("5±3", "not a number"),
        ("active", "not a number"),
        ("=>5", "not a qualifier"),
    ],
)
def test_what_is_no_number_says_why(cell, reason):
    cells = read_numbers([cell])
    assert np.isnan(cells.value[0])
    assert reason in cells.reason[0]


def test_numbers_of_number_columns_pass_unchanged():
    cells = read_numbers(np.array([1.5, np.nan, np.inf]))
    assert cells.value[0] == 1.5
    assert cells.reason.tolist() == ["", "empty value", "infinite"]


def test_chembl_quotes_around_qualifiers():
    relation, reason = read_relations(["'='", "'>='", "'<<'", None, "'~'", "approx"])
    assert relation.tolist() == [0, 1, -1, 0, 0, 0]
    assert [bool(text) for text in reason] == [False] * 5 + [True]


def test_units_are_written_one_way():
    assert {plain_unit(unit) for unit in ("uM", "µM", "μM", "umol/L", " microM ")} == {"um"}
