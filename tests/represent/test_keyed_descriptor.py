"""Descriptors and folds that partners share."""

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from screenwise.config import from_mapping
from screenwise.data.datasets import load_dataset
from screenwise.data.keyed_folds import LSH_BITS, high_entropy_bits, permuted_columns, text_folds
from screenwise.data.scaffold_network import network_scaffolds
from screenwise.data.tune_settings import DescriptorRules, TuneSettings
from screenwise.errors import StructureError
from screenwise.represent.fingerprint import Fingerprint
from screenwise.represent.keyed_descriptor import REFERENCE_SET, describe, hashed_substructures, reference_hash

SMILES = ["CCO", "c1ccccc1C(=O)NC", "CC(=O)Oc1ccccc1C(=O)O", "CN1CCC(Nc2ncccn2)CC1", "C"]


def test_columns_are_rdkits_hashed_bits_permuted_by_the_key():
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=32_000)
    place = permuted_columns(32_000, "secret")
    for key, turned in (("", np.arange(32_000)), ("secret", place)):
        rows = describe(SMILES, TuneSettings(), key).features
        for row, text in enumerate(SMILES):
            bits = list(generator.GetFingerprint(Chem.MolFromSmiles(text)).GetOnBits())
            assert rows[[row]].indices.tolist() == sorted(turned[bits].tolist())
            assert set(rows[[row]].data.tolist()) == {1}


def test_columns_are_those_of_a_molecule_read_with_all_steps():
    odd = [
        "C1=CC=CC=C1O",
        "CN(=O)=O",
        "[H]/N=C(/C)N",
        "F/C=C/[C@H](N)O",
        "O=C1NC(=O)NC(=O)N1",
        "[2H]CO",
        "C[N+](C)(C)C",
    ]
    public = load_dataset("chembl30").screen.conditions["smiles"].iloc[::40].tolist()
    expected = Fingerprint("morgan", radius=3, fold=32_000, counts=False)
    found = hashed_substructures(odd + public + odd, DescriptorRules())
    assert (found != expected.transform(pd.DataFrame({"smiles": odd + public + odd}))).nnz == 0


def test_a_structure_that_cannot_be_read_is_named():
    with pytest.raises(StructureError, match="'C1CC' cannot be read"):
        hashed_substructures(["CCO", "C1CC"], DescriptorRules())
    with pytest.raises(StructureError, match="'' cannot be read"):
        hashed_substructures(["CCO", None, "CN"], DescriptorRules())


@pytest.mark.parametrize("kind", ["lsh", "scaffold", "random"])
def test_folds_never_depend_on_the_other_compounds(kind):
    settings = from_mapping(TuneSettings, {"folds": {"kind": kind}})
    together = describe(SMILES, settings, "secret")
    alone = [describe([text], settings, "secret") for text in SMILES]
    assert together.fold.tolist() == [int(one.fold[0]) for one in alone]
    assert (together.features != describe(SMILES[::-1], settings, "secret").features[::-1]).nnz == 0
    assert together.fold.tolist() == text_folds(together.text, "secret", 5).tolist()


def test_what_folds_are_drawn_from():
    texts = {
        kind: describe(SMILES, from_mapping(TuneSettings, {"folds": {"kind": kind}}), "k").text.tolist()
        for kind in ("lsh", "scaffold", "random")
    }
    plain = hashed_substructures(SMILES, DescriptorRules()).toarray()
    assert texts["lsh"] == ["".join(map(str, row[list(LSH_BITS)])) for row in plain]
    assert texts["scaffold"] == [node or "None" for node in network_scaffolds(SMILES)]
    assert texts["random"] == SMILES


def test_sphere_folds_need_no_key():
    settings = from_mapping(TuneSettings, {"folds": {"kind": "sphere", "folds": 2}})
    assert describe(SMILES, settings, "a").fold.tolist() == describe(SMILES, settings, "b").fold.tolist()


def test_the_documented_lsh_bits_are_those_of_highest_entropy_in_chembl30():
    smiles = load_dataset("chembl30").screen.conditions["smiles"].unique()[::4]
    some = high_entropy_bits(hashed_substructures(smiles, DescriptorRules()), 40)
    assert set(LSH_BITS) <= set(some)


def test_the_reference_hash_is_the_settings_and_keys():
    usual = reference_hash(TuneSettings(), "secret")
    assert usual == reference_hash(TuneSettings(), "secret")
    others = [
        {"folds": {"kind": "random"}},
        {"descriptor": {"radius": 2}, "folds": {"kind": "random"}},
        {"structures": {"stereo": True}},
    ]
    hashes = {reference_hash(from_mapping(TuneSettings, other), "secret") for other in others}
    assert len(hashes | {usual, reference_hash(TuneSettings())}) == 5
    assert len(REFERENCE_SET) == 22
