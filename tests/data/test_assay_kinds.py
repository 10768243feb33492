"""Credible values of each type."""

import numpy as np
import pytest

from screenwise.data.assay_kinds import KINDS, incredible, is_auxiliary
from screenwise.data.tune_settings import ValueRules


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        ("OTHER", [3.0, 10.0], [2.99, 10.01, np.nan]),
        ("NON-CATALOG-PANEL", [3.0, 10.0], [2.99, 10.01]),
        ("CATALOG-PANEL", [3.0, 10.0], [2.99, 10.01]),
        ("AUX_HTS", [-10.0, 10.0], [-10.01, 10.01]),
        ("ADME", [-1e12, 0.0, 1e12], [-2e12, 2e12]),
    ],
)
def test_ranges(kind, inside, outside):
    value = np.array([*inside, *outside])
    reason = incredible(value, [kind] * len(value), np.zeros(len(value), bool), ValueRules())
    assert (reason == "").tolist() == [True] * len(inside) + [False] * len(outside)


def test_binary_assays_of_any_type_have_two_values():
    reason = incredible(np.array([1.0, -1.0, 0.0]), ["OTHER", "AUX_PL", "ADME"], np.ones(3, bool), ValueRules())
    assert (reason == "").tolist() == [True, True, False]


def test_auxiliary_types():
    assert [kind for kind, one in zip(KINDS, is_auxiliary(KINDS), strict=True) if one] == ["AUX_HTS", "AUX_PL"]
