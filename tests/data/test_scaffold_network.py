"""Scaffolds that decide folds: a node of the network near three rings."""

import pytest

from screenwise.data import scaffold_network
from screenwise.data.scaffold_network import network_scaffolds


@pytest.mark.parametrize(
    ("smiles", "scaffold"),
    [
        ("CCO", ""),
        ("CCc1ccccc1", "c1ccccc1"),
        ("CCc1ccc(-c2ccncc2)cc1", "c1ccc(-c2ccncc2)cc1"),  # up to three rings: the Murcko scaffold itself
        ("O=C(Nc1ccccc1)c1ccc(-c2ccccc2)cc1", "O=C(Nc1ccccc1)c1ccc(-c2ccccc2)cc1"),
        # four in a row: three rings, and of the two ends the one with the heterocycle
        ("c1ccc(-c2ccc(-c3ccc(-c4ccccc4)nc3)cc2)cc1", "c1ccc(-c2ccc(-c3ccccc3)nc2)cc1"),
        # steroid and phenyl: four fused rings cannot be cut, five are cut to four
        ("CC12CCC3C(CCC4CC(c5ccccc5)CCC34C)C1CCC2O", "C1CCC2C(C1)CCC1C3CCCC3CCC21"),
    ],
)
def test_the_chosen_node(smiles, scaffold):
    assert network_scaffolds([smiles]).tolist() == [scaffold]


def test_fewer_rotatable_bonds_win_before_heterocycles():
    # cut at either end: both have three rings; the piece without the long linker has fewer rotatable bonds
    found = network_scaffolds(["c1ccc(CCc2ccc(-c3ccc(-c4ccccc4)cc3)cc2)nc1"]).tolist()
    assert found == ["c1ccc(-c2ccc(-c3ccccc3)cc2)cc1"]


def test_a_scaffold_never_depends_on_its_neighbours_or_processes(monkeypatch):
    texts = ["CCO", "c1ccc(-c2ccc(-c3ccc(-c4ccccc4)nc3)cc2)cc1", "CCc1ccccc1", "C1CC"]
    alone = [network_scaffolds([text])[0] for text in texts]
    assert network_scaffolds(texts).tolist() == alone
    monkeypatch.setattr(scaffold_network, "PARALLEL_FROM", 1)
    assert network_scaffolds(texts[::-1], jobs=2).tolist() == alone[::-1]
