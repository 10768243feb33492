import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors

from screenwise.errors import ColumnError, ConfigError
from screenwise.represent import descriptors, fingerprint_store
from screenwise.represent.default import descriptor_kernels
from screenwise.represent.descriptors import MoleculeDescriptors, Ranked

SMILES = ["CCO", "c1ccccc1O", "CC(=O)Oc1ccccc1C(=O)O", "CCCCCCCCCC", "OCC(O)CO", "N#Cc1ccncc1"]
TABLE = pd.DataFrame({"smiles": SMILES})


def test_known_descriptors_are_among_the_numbers():
    values = MoleculeDescriptors().transform(TABLE)
    molecules = [Chem.MolFromSmiles(text) for text in SMILES]
    for known in (Crippen.MolLogP, rdMolDescriptors.CalcTPSA, rdMolDescriptors.CalcNumRotatableBonds):
        expected = np.array([known(molecule) for molecule in molecules], np.float32)
        assert np.isclose(values, expected[:, None], atol=1e-4).all(0).any(), known.__name__


def test_the_whole_list_adds_rdkits_states_and_groups_one_by_one():
    whole, names = MoleculeDescriptors(whole=True).transform(TABLE), descriptors._names()
    quick = MoleculeDescriptors().transform(TABLE)
    np.testing.assert_array_equal(whole[:, : quick.shape[1]], quick)
    added, known = names[quick.shape[1] :], dict(Descriptors._descList)
    assert {name for name in known if name.startswith("fr_") or "EState" in name} == set(added)
    for text, row in zip(SMILES, whole, strict=True):
        # every descriptor of a molecule that no other has been asked of
        expected = [known[name](Chem.MolFromSmiles(text)) for name in added]
        np.testing.assert_allclose(row[quick.shape[1] :], expected, rtol=1e-5, atol=1e-5)


def test_rows_do_not_depend_on_their_neighbours():
    whole = MoleculeDescriptors().transform(TABLE)
    turned = MoleculeDescriptors().transform(TABLE.iloc[::-1])
    np.testing.assert_array_equal(whole, turned[::-1])


def test_processes_change_nothing(monkeypatch):
    texts = ["C" * (1 + place // 4) + tail for place, tail in enumerate(["O", "N", "Cl", "F"] * 10)] + ["C1CC", "CCO"]
    table, told = pd.DataFrame({"smiles": texts}), []
    monkeypatch.setattr(descriptors, "_STORE", {})
    alone = MoleculeDescriptors().transform(table)
    monkeypatch.setattr(descriptors, "_STORE", {})
    monkeypatch.setattr(descriptors, "PARALLEL_FROM", 10)
    monkeypatch.setattr(descriptors, "CHUNK", 7)
    with fingerprint_store.computing(jobs=2, progress=lambda *what: told.append(what)):
        np.testing.assert_array_equal(MoleculeDescriptors().transform(table), alone)
    assert told[-1] == ("Computing descriptors", 41, 41)


def test_an_unreadable_structure_is_a_row_of_nan_and_in_the_middle_of_the_ranks():
    bad = pd.DataFrame({"smiles": [*SMILES, "not a structure", None]})
    assert np.isnan(MoleculeDescriptors().transform(bad)[-2:]).all()
    assert (Ranked(MoleculeDescriptors()).fit(bad).transform(bad)[-2:] == 0).all()


def test_ranks_are_normal_scores_and_keep_the_order():
    ranked = Ranked(MoleculeDescriptors()).fit(TABLE)
    scores, values = ranked.transform(TABLE), MoleculeDescriptors().transform(TABLE)[:, ranked.columns]
    assert np.abs(scores).max() < 2
    for place in range(scores.shape[1]):
        order = np.argsort(values[:, place], kind="stable")
        assert (np.diff(scores[order, place]) >= -1e-6).all()


def test_beyond_what_was_fitted_is_the_edge():
    ranked = Ranked(MoleculeDescriptors()).fit(TABLE)
    far = ranked.transform(pd.DataFrame({"smiles": ["C" * 60]}))
    assert np.isfinite(far).all()
    assert far.max() <= ranked.transform(TABLE).max() + 1e-6


def test_kernels_are_positive_semidefinite_with_unit_squared_exponential():
    for kernel in descriptor_kernels(TABLE):
        gram = kernel.gram(kernel.features(TABLE))
        assert np.linalg.eigvalsh(gram.astype(float)).min() > -1e-4
    near, _, whole = descriptor_kernels(TABLE)
    assert whole.features(TABLE).shape[1] > near.features(TABLE).shape[1]
    for kernel in (near, whole):
        features = kernel.features(TABLE)
        squared = ((features[:, None] - features[None]) ** 2).sum(-1)
        np.testing.assert_allclose(kernel.gram(features), np.exp(-squared / (2 * features.shape[1])), atol=1e-5)


def test_nothing_readable_gives_no_columns():
    nothing = pd.DataFrame({"smiles": ["not a structure"]})
    assert Ranked(MoleculeDescriptors()).fit(nothing).transform(nothing).shape == (1, 0)


def test_errors_say_what_is_missing():
    with pytest.raises(ColumnError, match="smiles"):
        MoleculeDescriptors().transform(pd.DataFrame({"gene": ["TP53"]}))
    with pytest.raises(ConfigError, match="fit"):
        Ranked(MoleculeDescriptors()).transform(TABLE)
