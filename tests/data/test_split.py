"""Splits: disjoint, covering, the held-out factor truly unseen."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.data.datasets import load_dataset
from screenwise.data.split import SPLITS, deal, make_folds, scaffolds
from screenwise.errors import ConfigError, DataError
from screenwise.screen import make_screen

RINGS = ["c1ccccc1", "C1CCNCC1", "c1ccncc1", "C1CC1", "c1ccsc1", "c1ccoc1", "C1CCCC1", "c1cnc[nH]1"]
SMILES = [chain + ring for ring in RINGS for chain in ("C", "CC", "OC", "NCC", "FC")] + ["CCO", "CCCN", "CCS"]


def compounds(missing=0.0):
    values = np.random.default_rng(0).random((len(SMILES), 3))
    values[np.random.default_rng(1).random(values.shape) < missing] = np.nan
    return make_screen(pd.DataFrame({"smiles": SMILES}), values, ["a", "b", "c"])


def genes_in_pairs(pairs):
    frame = pd.DataFrame([(f"G{a}", f"G{b}") for a, b in pairs], columns=["gene_a", "gene_b"])
    return make_screen(frame, np.ones((len(frame), 2)), ["a", "b"])


def held_out(screen, fold, values):
    row = screen.targets.cells().row
    values = np.asarray(values, dtype=object)
    return set(values[row[fold.test]]), set(values[row[fold.train]])


@given(st.sampled_from(["random", "scaffold", "cluster", "leave_entity_out"]), st.integers(2, 6), st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_disjoint_covering_and_unseen(name, folds, seed):
    screen = compounds(missing=0.4)
    parts = make_folds(name, screen, folds=folds, seed=seed)
    assert len(parts) == folds
    assert not any((part.train & part.test).any() for part in parts)
    assert (sum(part.test.astype(int) for part in parts) == 1).all()
    assert all((part.train | part.test).all() for part in parts)
    factor = scaffolds(SMILES) if name == "scaffold" else screen.conditions["condition_id"]
    for part in parts:
        test, train = held_out(screen, part, factor)
        assert not test & train


@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), min_size=40, max_size=80, unique=True),
    st.integers(2, 4),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=40)
def test_a_held_out_gene_is_in_no_training_pair(pairs, folds, seed):
    screen = genes_in_pairs(pairs)
    try:
        parts = make_folds("leave_entity_out", screen, folds=folds, seed=seed)
    except DataError:
        return
    row = screen.targets.cells().row
    members = screen.conditions[["gene_a", "gene_b"]].to_numpy()
    for part in parts:
        train = set(members[row[part.train]].ravel())
        assert all(not set(pair) <= train for pair in members[row[part.test]])
        assert (part.train ^ part.test).all()
    assert np.logical_or.reduce([part.test for part in parts]).all()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=12, max_size=40), st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_both_orders_of_a_pair_are_on_one_side(pairs, seed):
    both = genes_in_pairs([*pairs, *[(b, a) for a, b in pairs]])
    if both.conditions["condition_id"].nunique() < 2:
        return
    for part in make_folds("random", both, folds=2, seed=seed):
        test, train = held_out(both, part, both.conditions["condition_id"])
        assert not test & train


@given(st.lists(st.integers(2000, 2025), min_size=20, max_size=20), st.integers(2, 4))
@settings(deadline=None)
def test_time_learns_from_the_past_only(years, folds):
    screen = make_screen(pd.DataFrame({"gene": [f"G{place}" for place in range(20)]}), np.ones((20, 1)), ["a"])
    cells = pd.DataFrame({"Document Year": years})
    if len(set(years)) < 2:
        with pytest.raises(DataError, match="moments"):
            make_folds("time", screen, folds=folds, cells=cells)
        return
    tested = np.zeros(20, int)
    for part in make_folds("time", screen, folds=folds, cells=cells):
        assert max(np.array(years)[part.train]) < min(np.array(years)[part.test])
        tested += part.test
    assert (tested <= 1).all()


def test_time_reads_dates():
    screen = make_screen(pd.DataFrame({"gene": list("ABCD")}), np.ones((4, 1)), ["a"])
    cells = pd.DataFrame({"when": ["2020-01-05", "2021-02-01", "2019-12-31", ""]})
    folds = make_folds("time", screen, folds=2, cells=cells, column="when")
    assert [fold.test.tolist() for fold in folds] == [[True, False, False, False], [False, True, False, False]]


def test_a_missing_structure_has_the_empty_scaffold():
    assert scaffolds(["c1ccccc1C", None, "C1CC1", np.nan]).tolist() == ["c1ccccc1", "", "C1CC1", ""]
    assert scaffolds([None]).tolist() == [""]
    assert scaffolds([]).tolist() == []


def test_seed_decides_and_order_of_rows_does_not_matter_for_scaffolds():
    screen = compounds()
    one, same, other = (make_folds("random", screen, seed=seed)[0].test for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()
    turned = screen.take(np.arange(len(screen))[::-1])
    for fold, mirrored in zip(make_folds("scaffold", screen), make_folds("scaffold", turned), strict=True):
        assert set(np.asarray(SMILES)[screen.targets.cells().row[fold.test]]) == set(
            turned.conditions["smiles"].to_numpy()[turned.targets.cells().row[mirrored.test]]
        )


@given(st.lists(st.integers(0, 20), min_size=1, max_size=200), st.integers(2, 6))
def test_dealing_is_greedy_and_balanced(groups, folds):
    codes = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(codes)
    loads = np.bincount(deal(codes, folds), weights=sizes, minlength=folds)
    assert loads.max() - loads.min() <= sizes.max()


def test_named_splits():
    screen = make_screen(pd.DataFrame({"gene": list("ABCD")}), np.ones((4, 1)), ["a"])
    cells = pd.DataFrame({"published": ["train", "Test", "valid", "train"], "fold": [0, 1, 1, 2], "odd": list("wxyz")})
    (fold,) = make_folds("published", screen, cells=cells)
    assert fold.train.tolist() == [True, False, False, True]
    assert fold.test.tolist() == [False, True, False, False]
    assert [fold.test.sum() for fold in make_folds("fold", screen, cells=cells)] == [1, 2, 1]
    with pytest.raises(DataError, match="is no split"):
        make_folds("odd", screen, cells=cells)
    with pytest.raises(ConfigError, match="no split 'publishd'"):
        make_folds("publishd", screen, cells=cells)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("random", {"folds": 1}, "at least 2"),
        ("random", {"folds": 9}, "fewer folds"),
        ("scaffold", {}, "needs compounds"),
        ("cluster", {}, "needs compounds"),
        ("time", {}, "needs the table"),
        ("time", {"cells": pd.DataFrame({"a": [1, 2]})}, "4 measured cells"),
        ("time", {"cells": pd.DataFrame({"a": [1, 2, 3, 4]})}, "date or a year"),
        ("leave_entity_out", {"column": "plate"}, "No column 'plate'"),
    ],
)
def test_impossible_splits_say_why(name, options, reason):
    screen = make_screen(pd.DataFrame({"gene": list("ABCD")}), np.ones((4, 1)), ["a"])
    with pytest.raises((DataError, ConfigError), match=reason):
        make_folds(name, screen, **options)


def test_only_columns_that_look_like_splits_are_offered():
    screen = make_screen(pd.DataFrame({"gene": list("ABCD")}), np.ones((4, 1)), ["growth"])
    cells = pd.DataFrame({"part": ["train", "test", "train", "valid"], "my_fold": [1, 2, 1, 2], "active": [0, 1, 0, 1]})
    cells = cells.assign(year=2020, replicates=[1, 2, 1, 1])
    with pytest.raises(ConfigError, match=r"leave_entity_out, part, my_fold\.$"):
        make_folds("scafold", screen, cells=cells)
    with pytest.raises(ConfigError, match="no split 'replicates'"):
        make_folds("replicates", screen, cells=cells)
    assert len(make_folds("active", screen, cells=cells)) == 2, "any column with folds may be named"


def test_cell_lines_can_be_left_out():
    frame = pd.DataFrame({"smiles_a": ["CCO", "CCN"] * 4, "smiles_b": "CCC", "cell_line": list("AABBCCDD")})
    screen = make_screen(frame, np.ones((8, 1)), ["bliss"])
    for fold in make_folds("leave_entity_out", screen, folds=4, column="cell_line"):
        test, train = held_out(screen, fold, frame["cell_line"])
        assert len(test) == 1
        assert not test & train


def test_published_split_of_chembl30():
    data = load_dataset("chembl30")
    (fold,) = make_folds("moleculeace", data.screen, cells=data.cells)
    assert (int(fold.train.sum()), int(fold.test.sum())) == (38_912, 9_802)


def test_every_split_is_tested_here():
    assert set(SPLITS) == {"random", "scaffold", "cluster", "time", "leave_entity_out"}
