import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ConfigError, StructureError
from screenwise.represent.similarity import hamming
from screenwise.represent.variants import RESIDUES, SharedSites, SiteProperties, Sites, Words, is_mutation_list


def test_mutations_and_sequences_give_the_same_similarities():
    wild = "MKVDAG"
    mutated = ["MKVDAG", "MRVDAG", "MRVDAC", "MKVEAG"]
    lists = ["wt", "K2R", "K2R:G6C", "V3V D4E"]
    sequences = pd.DataFrame({"variant": mutated})
    written = pd.DataFrame({"variant": lists})
    one, two = Sites("variant").fit(sequences), Sites("variant").fit(written)
    assert two.mutations
    assert not one.mutations
    np.testing.assert_array_equal(hamming(one.transform(sequences)), hamming(two.transform(written)))
    np.testing.assert_allclose(
        np.square(
            SiteProperties(one).fit(sequences).transform(sequences)[0]
            - SiteProperties(one).fit(sequences).transform(sequences)[1]
        ).sum(),
        np.square(
            SiteProperties(two).fit(written).transform(written)[0]
            - SiteProperties(two).fit(written).transform(written)[1]
        ).sum(),
        rtol=1e-5,
    )
    assert len(wild) == 6


def test_changes_at_unseen_sites_are_counted():
    sites = Sites("variant").fit(pd.DataFrame({"variant": ["AAAA", "CAAA"]}))
    assert sites.transform(pd.DataFrame({"variant": ["ACCA"]}))[0, -1] == 2
    lists = Sites("variant").fit(pd.DataFrame({"variant": ["A1C", "wt"]}))
    assert lists.transform(pd.DataFrame({"variant": ["A1C:D7G:E9G"]})).tolist() == [[2, 2]]


def test_shared_sites_is_the_inner_product_of_one_hot_rows():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 5, (8, 6)).astype(np.uint8)
    one_hot = (codes[:, :, None] == np.arange(5)).reshape(8, -1).astype(float)
    np.testing.assert_allclose(SharedSites()(codes), one_hot @ one_hot.T / 6, rtol=1e-6)


def test_what_is_a_list_of_mutations():
    assert is_mutation_list(["A24G", "p.A24G;T30S", "WT"])
    assert not is_mutation_list(["VDGV", "AAAA"])
    assert not is_mutation_list(["wt", ""])


def test_words():
    table = Words("sequence", 3).transform(pd.DataFrame({"sequence": ["ACDACD", "AC", None, "acd"]}))
    assert np.diff(table.indptr).tolist() == [3, 0, 0, 1]
    assert table.data.tolist()[0:3].count(2) == 1
    assert table.indices[-1] in table.indices[:3]


def test_refusals():
    sites = Sites("variant").fit(pd.DataFrame({"variant": ["A1C", "D2E"]}))
    with pytest.raises(StructureError, match="QQQQ"):
        sites.transform(pd.DataFrame({"variant": ["QQQQ"]}))
    with pytest.raises(StructureError, match="Align"):
        Sites("variant").fit(pd.DataFrame({"variant": ["AAAA", "AAA"]}))
    with pytest.raises(ConfigError, match="fit"):
        Sites("variant").transform(pd.DataFrame({"variant": ["AAAA"]}))
    assert len(RESIDUES) == 20
