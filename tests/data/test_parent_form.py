"""Parent forms: each step, refusals, and that a structure's form is its own."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.data import parent_form
from screenwise.data.datasets import load_dataset
from screenwise.data.parent_form import parent_forms
from screenwise.data.tune_settings import StructureRules


@pytest.mark.parametrize(
    ("given_", "form"),
    [
        ("OCC", "CCO"),
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
        ("C[NH3+].OC(=O)c1ccccc1", "O=C(O)c1ccccc1"),  # the largest fragment
        ("[Na]OC(=O)C", "CC(=O)O"),
        ("C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)[O-]"),  # what holds a charge in balance stays
        ("C[N+](C)(C)CCO.[Cl-]", "C[N+](C)(C)CCO"),
        ("CN(=O)=O", "C[N+](=O)[O-]"),
        ("[13CH3]O", "CO"),
        ("[2H]C([2H])([2H])Oc1ccccc1", "COc1ccccc1"),
        ("N[C@@H](C)C(=O)O", "CC(N)C(=O)O"),
        ("C/C=C/C", "CC=CC"),
        ("Oc1ccccn1", "O=c1cccc[nH]1"),
        ("CC(O)=NC", "CNC(C)=O"),
        ("C=C(O)C", "CC(C)=O"),
        ("Cc1c[nH]cn1", "Cc1c[nH]cn1"),
        ("Cc1cnc[nH]1", "Cc1c[nH]cn1"),
        ("C[PH](=O)(=O)O", "CP(=O)(O)O"),
        ("CC(=O)O[Zn]OC(=O)C", "CC(=O)O"),
    ],
)
def test_forms(given_, form):
    found = parent_forms([given_])
    assert found["smiles"].tolist() == [form]
    assert found["reason"].tolist() == [""]


def test_stereochemistry_stays_where_asked():
    keep = StructureRules(stereo=True)
    assert parent_forms(["N[C@@H](C)C(=O)O", "C/C=C/C"], keep)["smiles"].tolist() == ["C[C@H](N)C(=O)O", "C/C=C/C"]


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ("", "empty"),
        (None, "empty"),
        ("C1CC", "ring 1 is never closed"),
        ("C(C)(C)(C)(C)C", "valence"),
        ("banana", "not a SMILES"),
        ("[H][H]", "no atoms"),
        ("C" * 5_000, "no small molecule"),
        ("C" * 100, "100 atoms other than hydrogen; structures with 100 or more are rejected"),
        (".".join(["C" * 60, "C" * 60]), "120 atoms"),
    ],
)
def test_refusals_say_why(given_, reason):
    found = parent_forms([given_])
    assert found["smiles"].tolist() == [""]
    assert reason in found["reason"][0]


def test_99_atoms_are_fine_and_the_limit_can_be_set():
    assert parent_forms(["C" * 99])["reason"].tolist() == [""]
    assert parent_forms(["CCC"], StructureRules(atoms=3))["reason"][0].startswith("3 atoms")


MIXED = [
    "CC(=O)[O-].[Na+]",
    "C1CC",
    "CS(=O)C",
    "Oc1ccccn1",
    "O=C(Nc1ccccn1)c1cc(C)[nH]n1",
    "CC(=O)CC(C)=O",
    "C[N+](=N)C",
    "NC(=N)NCCCC(N)C(=O)NCC(=O)O",
    "C[PH](=O)(=O)O",
    "Cc1cnc[nH]1",
    "[2H]C",
    "",
]
ALONE = {text: tuple(parent_forms([text]).iloc[0]) for text in MIXED}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(MIXED), min_size=1, max_size=8))
def test_a_form_never_depends_on_its_neighbours(texts):
    found = parent_forms(texts)
    assert list(found.itertuples(index=False, name=None)) == [ALONE[text] for text in texts]


def test_a_form_never_depends_on_how_the_structure_is_written():
    from rdkit import Chem  # noqa: PLC0415

    rng = np.random.default_rng(0)
    for text in MIXED:
        molecule = Chem.MolFromSmiles(text)
        if not text or molecule is None:
            continue
        order = [rng.permutation(molecule.GetNumAtoms()).tolist() for _ in range(4)]
        other = [Chem.MolToSmiles(Chem.RenumberAtoms(molecule, one), canonical=False) for one in order]
        assert set(parent_forms(other)["smiles"]) == {ALONE[text][0]}


def test_a_form_is_its_own_form():
    forms = pd.Series([form for form, reason in ALONE.values() if not reason])
    assert parent_forms(forms)["smiles"].tolist() == forms.tolist()


GROUPS = [
    "CN(=O)=O",
    "CN=N#N",
    "CC=N#N",
    "CN=[N+]=[N-]",
    "C[N+](=O)[O-]",
    "O=[N+]([O-])c1ccc(O)nc1",
    "[O-][N+](=O)c1cc[nH]n1",
    "NC(=N)N[N+](=O)[O-]",
    "CON(=O)=O",
    "CS(C)=O",
    "C[S+](C)[O-]",
    "CS(C)(=O)=O",
    "CS(=O)Nc1ccc([N+](=O)[O-])cc1",
    "O=n1ccccc1",
    "[O-][n+]1ccccc1",
    "CP(C)(=O)C",
    "CP(=O)=O",
    "C[As](=O)=O",
    "CN=O",
    "CC(C)N=[N+](C)[O-]",
    "[H]/N=C(/C)N",
    "[H]N=C(C)c1ccc([N+](=O)[O-])cc1",
    "O=[N+]([O-])[O-].C[NH3+]",
    "C[N+](C)(C)CC[N+](=O)[O-]",
    "[15NH2]c1ccccc1[N+](=O)[O-]",
    "CC[Hg]Sc1ccccc1[N+](=O)[O-]",
    "Cc1nnn[n-]1",
    "C[Si](C)(C)OB(O)c1ccccc1",
]


def test_steps_are_left_out_only_where_they_change_nothing(monkeypatch):
    public = load_dataset("chembl30").screen.conditions["smiles"].iloc[::60].tolist()
    found = parent_forms(GROUPS + public)
    monkeypatch.setattr(parent_form, "_is_settled", lambda *_: False)
    pd.testing.assert_frame_equal(found, parent_forms(GROUPS + public))
    assert (found["reason"] == "").mean() > 0.9


def test_processes_give_the_same_and_progress_is_told(monkeypatch):
    monkeypatch.setattr(parent_form, "PARALLEL_FROM", 1)
    monkeypatch.setattr(parent_form, "_CHUNK", 3)
    told = []
    found = parent_forms(MIXED, jobs=2, progress=lambda *what: told.append(what))
    assert list(found.itertuples(index=False, name=None)) == [ALONE[text] for text in MIXED]
    assert told[0] == ("Standardising structures", 0, len(MIXED))
    assert told[-1] == ("Standardising structures", len(MIXED), len(MIXED))


def test_an_error_of_rdkit_becomes_a_reason(monkeypatch):
    def fail(*_):
        message = "Pre-condition Violation\nmore"
        raise RuntimeError(message)

    monkeypatch.setattr(parent_form, "canonical_tautomer", fail)
    found = parent_forms(["CCO"])
    assert found["reason"].tolist() == ["no parent form: Pre-condition Violation"]
