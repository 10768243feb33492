"""Clusters of similar compounds."""

import numpy as np

from screenwise.data.cluster import similarity_clusters

SERIES = {
    "phenol": ["O=C(Nc1ccccc1)c1ccc(C)cc1", "O=C(Nc1ccccc1)c1ccc(CC)cc1", "O=C(Nc1ccccc1)c1ccc(CCC)cc1"],
    "steroid": ["CC12CCC3C(CCC4=CC(=O)CCC34C)C1CCC2O", "CC12CCC3C(CCC4=CC(=O)CCC34C)C1CCC2=O"],
}


def test_series_stay_together_whatever_the_order():
    smiles = [text for series in SERIES.values() for text in series]
    clusters = similarity_clusters(smiles)
    assert len(set(clusters[:3])) == 1
    assert len(set(clusters[3:])) == 1
    assert clusters[0] != clusters[3]
    order = np.random.default_rng(0).permutation(len(smiles))
    turned = similarity_clusters([smiles[place] for place in order])
    assert (turned == clusters[order]).all()


def test_unreadable_structures_have_a_cluster_too():
    assert len(similarity_clusters(["", "CCO", "?"])) == 3
