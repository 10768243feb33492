import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator as rd

from screenwise.errors import ColumnError, ConfigError, StructureError
from screenwise.represent import fingerprint_store
from screenwise.represent.fingerprint import KINDS, UNFOLDED, Fingerprint, Vocabulary, readable, together

SMILES = [
    "CCO",
    "c1ccccc1C(=O)NC[C@@H](N)C",
    "c1ccccc1C(=O)NC[C@H](N)C",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "C[N+](C)(C)CC(=O)[O-].[Na+]",
    "C" * 60,
]


@pytest.fixture(autouse=True)
def empty_store():
    fingerprint_store.forget()


def table(smiles):
    return pd.DataFrame({"smiles": list(smiles)})


def roles():
    return {"atomInvariantsGenerator": rd.GetMorganFeatureAtomInvGen()}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Fingerprint("morgan", 3, chiral=True), rd.GetMorganGenerator(radius=3, includeChirality=True)),
        (Fingerprint("feature_morgan", 2), rd.GetMorganGenerator(radius=2, **roles())),
        (Fingerprint("atom_pair"), rd.GetAtomPairGenerator()),
        (Fingerprint("feature_atom_pair", distance=10), rd.GetAtomPairGenerator(maxDistance=10, **roles())),
        (Fingerprint("torsion"), rd.GetTopologicalTorsionGenerator()),
        (Fingerprint("torsion", atoms=6), rd.GetTopologicalTorsionGenerator(torsionAtomCount=6)),
    ],
)
def test_unfolded_counts_are_those_of_rdkit(ours, theirs):
    found = ours.transform(table(SMILES))
    assert found.shape == (len(SMILES), UNFOLDED)
    for row, text in enumerate(SMILES):
        expected = theirs.GetSparseCountFingerprint(Chem.MolFromSmiles(text)).GetNonzeroElements()
        part = slice(found.indptr[row], found.indptr[row + 1])
        assert dict(zip(found.indices[part].tolist(), found.data[part].tolist(), strict=True)) == expected
    assert found.has_canonical_format


def test_folded_bits_are_those_of_rdkit():
    ours = Fingerprint("morgan", 2, counts=False, fold=1024).transform(table(SMILES)).toarray()
    generator = rd.GetMorganGenerator(radius=2, fpSize=1024)
    theirs = [generator.GetFingerprintAsNumPy(Chem.MolFromSmiles(text)) for text in SMILES]
    np.testing.assert_array_equal(ours, theirs)


def test_cap_and_fold_of_other_kinds():
    whole = Fingerprint("atom_pair").transform(table(SMILES))
    capped = Fingerprint("atom_pair", cap=3).transform(table(SMILES))
    assert whole.data.max() > 3
    np.testing.assert_array_equal(capped.data, np.minimum(whole.data, 3))
    folded = Fingerprint("atom_pair", fold=256).transform(table(SMILES))
    np.testing.assert_array_equal(folded.sum(axis=1), whole.sum(axis=1))
    assert (folded.toarray()[-1] > 0).sum() > 10, "ids of pairs must spread over the columns"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chiral", [False, True])
def test_every_kind_is_deterministic_and_free_of_order(kind, chiral):
    representation = Fingerprint(kind, chiral=chiral)
    straight = representation.transform(table(SMILES))
    fingerprint_store.forget()
    order = np.array([3, 0, 7, 1, 1, 6, 2, 5, 4])
    other = representation.transform(table([SMILES[row] for row in order]))
    assert (straight[order] != other).nnz == 0
    assert representation.transform(table([])).shape == (0, UNFOLDED)


def test_longest_torsions_do_not_overflow():
    for longest in (Fingerprint("torsion", atoms=7), Fingerprint("torsion", atoms=5, chiral=True)):
        assert longest.transform(table(SMILES)).indices.min() >= 0
    with pytest.raises(ConfigError, match="63-bit"):
        Fingerprint("torsion", atoms=6, chiral=True)


def test_stereocentres_count_only_when_asked():
    plain, chiral = (Fingerprint("morgan", chiral=chiral).transform(table(SMILES)) for chiral in (False, True))
    assert (plain[[1]] != plain[[2]]).nnz == 0
    assert (chiral[[1]] != chiral[[2]]).nnz > 0


def test_store_gives_the_same_as_computing_and_is_bounded(monkeypatch):
    kinds = together(Fingerprint("morgan"), Fingerprint("torsion"), Fingerprint("atom_pair", jobs=1))
    first = [kind.transform(table(SMILES)) for kind in kinds]
    monkeypatch.setattr(fingerprint_store, "_compute", None)
    again = [kind.transform(table(SMILES[::-1])) for kind in kinds]
    for one, two in zip(first, again, strict=True):
        assert (one[::-1] != two).nnz == 0
    monkeypatch.undo()
    monkeypatch.setattr(fingerprint_store, "STORE_BYTES", 1)
    monkeypatch.setattr(fingerprint_store, "_BLOCK", 3)
    small = kinds[0].transform(table(SMILES))
    assert (small != first[0]).nnz == 0
    assert not fingerprint_store._TABLES


def test_a_family_is_computed_in_one_pass(monkeypatch):
    kinds = together(Fingerprint("morgan"), Fingerprint("torsion"))
    passes = []
    inner = fingerprint_store._compute
    monkeypatch.setattr(fingerprint_store, "_compute", lambda *given: passes.append(len(given[1])) or inner(*given))
    for kind in kinds:
        kind.transform(table(SMILES))
    assert passes == [len(SMILES)]
    kinds[0].transform(table(["CCCCS"]))
    assert passes == [len(SMILES), 1]


def test_processes_give_the_same_as_one(monkeypatch):
    monkeypatch.setattr(fingerprint_store, "PARALLEL_FROM", 2)
    monkeypatch.setattr(fingerprint_store, "_CHUNK", 3)
    many = Fingerprint("morgan", jobs=2).transform(table(SMILES))
    fingerprint_store.forget()
    assert (many != Fingerprint("morgan").transform(table(SMILES))).nnz == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_computed_is_told_and_what_is_known_is_not(monkeypatch, jobs):
    for name, value in (("PARALLEL_FROM", 2), ("_CHUNK", 2), ("_BLOCK", 5)):
        monkeypatch.setattr(fingerprint_store, name, value)
    told = []
    Fingerprint("morgan").transform(table(SMILES[:1]))
    with fingerprint_store.computing(jobs=jobs, progress=lambda *what: told.append(what)):
        inside = Fingerprint("morgan").transform(table(SMILES))
        assert told == [("Computing fingerprints", done, 8) for done in (1, 3, 5, 5, 7, 8)]
        told.clear()
        Fingerprint("morgan").transform(table(SMILES))
    Fingerprint("torsion").transform(table(SMILES))
    assert told == []
    fingerprint_store.forget()
    assert (inside != Fingerprint("morgan").transform(table(SMILES))).nnz == 0


def test_unreadable_structures_are_named_or_empty():
    rows = table(["CCO", "C1CC", None, ""])
    with pytest.raises(StructureError, match=r"Row 1 of 4.*'C1CC'.*3 such rows"):
        Fingerprint().transform(rows)
    assert np.diff(Fingerprint(on_error="empty").transform(rows).indptr).tolist()[1:] == [0, 0, 0]
    assert readable(rows["smiles"]).tolist() == [True, False, False, False]
    assert readable([]).tolist() == []


def test_wrong_settings_and_columns_are_refused():
    with pytest.raises(ColumnError, match="smiles"):
        Fingerprint().transform(pd.DataFrame({"gene": ["TP53"]}))
    for wrong in ({"kind": "maccs"}, {"radius": -1}, {"atoms": 8}, {"fold": -1}, {"on_error": "ignore"}, {"jobs": 0}):
        with pytest.raises(ConfigError):
            Fingerprint(**wrong)


def test_vocabulary_keeps_what_occurs_often_enough():
    counts = Fingerprint("morgan", 1).transform(table(SMILES))
    vocabulary = Vocabulary(min_count=2).fit(counts)
    compact = vocabulary.transform(counts)
    occurs = np.unique(counts.indices, return_counts=True)
    assert compact.shape == (len(SMILES), int((occurs[1] >= 2).sum()))
    np.testing.assert_array_equal((compact.toarray() > 0).sum(axis=0), occurs[1][occurs[1] >= 2])
    new = vocabulary.transform(Fingerprint("morgan", 1).transform(table(["CCO", "FS(F)(F)(F)(F)F"])))
    np.testing.assert_array_equal(new.toarray()[0], compact.toarray()[0])
    with pytest.raises(ConfigError, match="fit"):
        Vocabulary().transform(counts)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(SMILES) - 1), max_size=12))
def test_any_subset_any_order(rows):
    every = Fingerprint("morgan", 2).transform(table(SMILES))
    some = Fingerprint("morgan", 2).transform(table([SMILES[row] for row in rows]))
    assert (some != every[np.array(rows, int)]).nnz == 0
