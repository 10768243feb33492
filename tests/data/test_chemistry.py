"""Standard forms of structures."""

import pandas as pd
import pytest

from screenwise.data import chemistry
from screenwise.data.chemistry import standardise, standardising_once


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("OCC", "CCO"),
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
        ("[Na]OC(=O)C", "CC(=O)O"),
        ("C[NH3+].[Cl-]", "CN"),
        ("CN(=O)=O", "C[N+](=O)[O-]"),
        ("N[C@@H](C)C(=O)O", "C[C@H](N)C(=O)O"),
        ("C[PH](=O)(=O)O", "CP(=O)(O)O"),
        ("C=C(C[PH](=O)(=O)O)C[PH](=O)(=O)O", "C=C(CP(=O)(O)O)CP(=O)(O)O"),
        ("C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)[O-]"),
        ("[2H]C([2H])([2H])O", "[2H]C([2H])([2H])O"),
        (" CCO ", "CCO"),
    ],
)
def test_standard_forms(given, clean):
    assert standardise([given])["smiles"].tolist() == [clean]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "empty"),
        (None, "empty"),
        ("C1CC", "ring 1 is never closed"),
        ("c1ccc(cc1", "bracket"),
        ("C(C)(C)(C)(C)C", "valence"),
        ("banana", "not a SMILES"),
        ("not a smiles", "characters"),
        ("[H][H]", "no atoms"),
        ("C" * 5000, "no small molecule"),
    ],
)
def test_refusals_say_why(given, reason):
    table = standardise([given])
    assert table["smiles"].tolist() == [""]
    assert reason in table["reason"][0]


def test_a_form_depends_on_its_structure_alone_and_is_its_own_form():
    mixed = ["CC(=O)[O-].[Na+]", "C1CC", "CS(=O)C", "c1ccccc1.Cl", "C[N+](=N)C", "O=S(=O)(O)c1ccccc1", "CS(=O)C"]
    together = standardise(mixed)
    chemistry._standard_form.cache_clear()
    alone = pd.concat([standardise([text]) for text in reversed(mixed)], ignore_index=True)
    assert together["smiles"].tolist() == alone["smiles"].tolist()[::-1]
    again = standardise(together["smiles"][together["reason"] == ""])
    assert again["smiles"].tolist() == together["smiles"][together["reason"] == ""].tolist()


def test_processes_give_the_same(monkeypatch):
    monkeypatch.setattr(chemistry, "PARALLEL_FROM", 4)
    many = ["C" * size for size in range(1, 8)] + ["C1CC"]
    monkeypatch.setattr(chemistry, "_CHUNK", 3)
    told = []
    there = standardise(many, jobs=2, progress=lambda *what: told.append(what))
    assert there.equals(standardise(many))
    assert told == [("Standardising structures", done, 8) for done in (0, 3, 6, 8)]


def test_a_table_that_is_read_twice_is_standardised_once(monkeypatch):
    asked, told = [], []
    whole = chemistry._standard_form
    monkeypatch.setattr(chemistry, "_standard_form", lambda text: asked.append(text) or whole(text))
    with standardising_once():
        first = standardise(["OCC", "C1CC", "OCC"])
        again = standardise(["C1CC", "CCN", "OCC"], progress=lambda *what: told.append(what))
        standardise(["OCC"], progress=lambda *what: told.append(what))
    assert asked == ["OCC", "C1CC", "CCN"]
    assert told[-1] == ("Standardising structures", 1, 1), "of what is left to do"
    pd.testing.assert_frame_equal(again.iloc[[2, 0]].reset_index(drop=True), first[:2])
    standardise(["OCC"])
    assert asked[-1] == "OCC", "nothing is kept beyond the block"


def test_rdkit_stays_silent(capfd):
    standardise(["C(C)(C)(C)(C)C", "C1CC"])
    assert capfd.readouterr().err == ""
