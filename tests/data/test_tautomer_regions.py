"""Regions of a structure that change apart from each other."""

import numpy as np
import pytest
from rdkit import Chem

from screenwise.data.tautomer_regions import mobile_regions


def live_regions(smiles):
    """Return the atoms of each live region, in the order of the SMILES."""
    molecule = Chem.MolFromSmiles(smiles)
    facts = [(atom.GetAtomicNum(), atom.GetTotalNumHs(), atom.GetFormalCharge()) for atom in molecule.GetAtoms()]
    region, _, live = mobile_regions(Chem.GetAdjacencyMatrix(molecule, useBO=True), *np.array(facts, np.int64).T.copy())
    return [np.flatnonzero(region == each).tolist() for each in np.flatnonzero(live)]


@pytest.mark.parametrize(
    ("smiles", "regions"),
    [
        ("CCO", []),
        ("c1ccccc1", []),
        ("Oc1ccccc1", []),  # a benzene ring is never taken apart
        ("c1ccncc1", []),  # no hydrogen may move
        ("COC(=O)c1ccccc1", []),
        ("CC(=O)OC", [[0, 1, 2]]),  # not the oxygen: it has no hydrogen to give
        ("CC(=O)NC", [[0, 1, 2, 3]]),
        ("CC(=O)CC(C)=O", [[0, 1, 2, 3, 4, 5, 6]]),  # through the carbon between
        ("CC(=O)CCC(C)=O", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("O=CC(O)CC", [[0, 1, 2, 3, 4]]),  # a hydroxyl beside the carbonyl passes it on to the next carbon
        ("O=CC(OC)CC", [[0, 1, 2]]),
        ("Oc1ccc(C(N)=O)cc1", [[5, 6, 7]]),
        ("Cc1ccccn1", []),  # nor does carbon give a hydrogen into an aromatic ring
        ("Nc1ccccn1", [[0, 1, 2, 3, 4, 5, 6]]),
    ],
)
def test_regions(smiles, regions):
    assert live_regions(smiles) == regions
