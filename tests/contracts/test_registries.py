"""What every split, acquisition, representation and dataset must do; a new member is tested here by its name."""

import numpy as np
import pandas as pd
import pytest

from screenwise.data.cluster import similarity_clusters
from screenwise.data.datasets import DATASETS, load_dataset
from screenwise.data.split import SPLITS, make_folds, scaffolds
from screenwise.design.acquisition import ACQUISITIONS
from screenwise.errors import DatasetError, StructureError
from screenwise.prediction import Prediction
from screenwise.represent.fingerprint import KINDS, Fingerprint
from screenwise.screen import make_screen

SMILES = [
    tail + ring for ring in ("c1ccccc1", "c1ccncc1", "C1CCCC1", "c1ccoc1", "c1ccsc1") for tail in ("C", "CC", "N", "O")
]


def screen():
    conditions = pd.DataFrame({"smiles": SMILES})
    value = np.arange(2.0 * len(SMILES)).reshape(-1, 2)
    value[::3, 1] = np.nan
    return make_screen(conditions, value, ["a", "b"])


def held_out_factor(name, conditions, year):
    """What must be on one side only."""
    smiles = conditions["smiles"].tolist()
    factors = {
        "random": conditions["condition_id"],
        "scaffold": scaffolds(smiles),
        "cluster": similarity_clusters(smiles),
        "leave_entity_out": conditions["smiles"],
        "time": year,
    }
    return np.asarray(factors[name], object)


@pytest.mark.parametrize("name", list(SPLITS))
def test_splits_are_disjoint_covering_and_the_factor_is_unseen(name):
    one = screen()
    cells = one.targets.cells()
    year = 2000 + np.arange(len(SMILES)) % 7
    extra = pd.DataFrame({"year": year[cells.row]})
    folds = make_folds(name, one, folds=3, cells=extra)
    again = make_folds(name, one, folds=3, cells=extra)
    tested = np.zeros(len(cells), int)
    factor = held_out_factor(name, one.conditions, year)[cells.row]
    for fold, same in zip(folds, again, strict=True):
        np.testing.assert_array_equal(fold.test, same.test)
        assert fold.test.any()
        assert not (fold.train & fold.test).any()
        assert not set(factor[fold.train]) & set(factor[fold.test])
        tested += fold.test
    assert tested.max() == 1
    # The oldest stretch of time has no past to learn from and is never tested.
    assert (tested == 1).all() or name == "time"


@pytest.mark.parametrize("name", list(ACQUISITIONS))
def test_acquisitions_are_finite_monotone_and_free_of_order(name):
    mean = np.linspace(-2, 2, 41)[:, None].astype(np.float32)
    prediction = Prediction(mean, np.full_like(mean, 0.7))
    scores = ACQUISITIONS[name](prediction, best=0.5, rng=np.random.default_rng(0))
    assert np.isfinite(scores).all()
    if name not in ("random", "thompson"):
        assert (np.diff(scores) >= 0).all()
        order = np.random.default_rng(1).permutation(len(mean))
        shuffled = ACQUISITIONS[name](prediction.take(order), best=0.5, rng=np.random.default_rng(0))
        np.testing.assert_allclose(shuffled, scores[order])


@pytest.mark.parametrize("kind", KINDS)
def test_fingerprints_are_deterministic_order_free_and_name_bad_structures(kind):
    conditions = pd.DataFrame({"smiles": SMILES})
    fingerprint = Fingerprint(kind)
    straight = fingerprint.transform(conditions)
    order = np.random.default_rng(2).permutation(len(SMILES))
    shuffled = fingerprint.transform(conditions.iloc[order])
    np.testing.assert_array_equal(straight[order].indices, shuffled.indices)
    np.testing.assert_array_equal(straight[order].data, shuffled.data)
    assert fingerprint.transform(conditions.iloc[:0]).shape[0] == 0
    with pytest.raises(StructureError, match="C1CC"):
        fingerprint.transform(pd.DataFrame({"smiles": ["CCO", "C1CC"]}))


@pytest.mark.parametrize("name", list(DATASETS))
def test_datasets_say_where_they_come_from(name):
    info = DATASETS[name]
    assert len(info.sha256) == 64
    assert info.licence
    assert info.source.startswith("http")
    assert any(character.isdigit() for character in info.size)


ROWS = {"chembl30": (35_633, 48_714), "ifng": (18_898, 18_898), "esol": (1_128, 1_128), "gb1": (149_361, 149_361)}


@pytest.mark.parametrize("name", list(ROWS))
def test_datasets_have_the_rows_they_promise(name):
    try:
        dataset = load_dataset(name)
    except DatasetError as error:
        pytest.skip(f"{name} is not on this machine: {error}")
    cells = len(dataset.screen.targets.cells())
    assert (len(dataset.screen), cells) == ROWS[name]
    assert len(dataset.cells) in (0, cells)
