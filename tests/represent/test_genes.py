import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError, ConfigError
from screenwise.represent.genes import Annotation, GeneSets, SymbolPrefixes, prefixes, token_weights
from screenwise.represent.similarity import cosine

LONG = pd.DataFrame({"gene": ["A1", "A2", "A2", "B1", "B1", "C1"], "gene_set": ["s", "s", "t", "t", "u", "u"]})


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("MYC", ["MYC"]),
        ("MYCN", ["MYC", "MYCN"]),
        ("RPL10A", ["RPL", "RPL1", "RPL10"]),
        ("TP53", ["TP", "TP5"]),
        ("", []),
    ],
)
def test_prefixes(symbol, expected):
    assert prefixes(symbol) == expected


def test_families_are_alike_and_rare_beginnings_weigh_more():
    genes = pd.DataFrame({"gene": ["PSMA1", "PSMA2", "PSMB1", "RPL3", "RPL4", "MYC"]})
    fitted = SymbolPrefixes().fit(genes)
    gram = cosine(fitted.transform(genes))
    assert gram[0, 1] > gram[0, 2] > 0
    assert gram[0, 3] == gram[0, 5] == 0
    new = cosine(fitted.transform(pd.DataFrame({"gene": ["psma7 ", "QQQ1"]})), fitted.transform(genes))
    assert new[0].argmax() == 0
    assert (new[1] == 0).all()


def test_weights_do_not_depend_on_repeats_or_order():
    genes = pd.DataFrame({"gene": ["PSMA1", "PSMA2", "MYC", "PSMA1"]})
    one = SymbolPrefixes().fit(genes).tokens
    two = SymbolPrefixes().fit(genes.iloc[[2, 1, 0]]).tokens
    np.testing.assert_array_equal(one.ids, two.ids)
    np.testing.assert_array_equal(one.weight, two.weight)


def test_too_common_tokens_weigh_nothing():
    table = GeneSets.from_table(LONG).table
    assert (token_weights(table, most=1).weight == 0).any()


def test_own_table_and_descriptors():
    sets = GeneSets.from_table(LONG)
    genes = pd.DataFrame({"gene": ["B1", "new", "A1", "a2"]})
    table = sets.transform(genes)
    assert np.diff(table.indptr).tolist() == [2, 0, 1, 2]
    assert cosine(table)[2, 3] == pytest.approx(0.7071, abs=1e-3), "A1 and A2 share one of two sets of equal rarity"
    descriptors = sets.descriptors(2)
    assert list(descriptors) == ["gene", "pw000", "pw001", "n_sets"]
    assert descriptors["n_sets"].tolist() == [1, 2, 2, 1]
    pd.testing.assert_frame_equal(descriptors, sets.descriptors(2), rtol=1e-5)
    known = Annotation(sets).fit(genes).transform(genes)
    np.testing.assert_allclose(known, [[0, np.log(3)], [1, 0], [0, np.log(2)], [0, np.log(3)]], rtol=1e-6)


def test_refusals():
    with pytest.raises(ColumnError, match="gene_set"):
        GeneSets.from_table(LONG.rename(columns={"gene_set": "pathway"}))
    with pytest.raises(ConfigError, match="fit"):
        SymbolPrefixes().transform(LONG)
    with pytest.raises(ConfigError, match="from_table"):
        GeneSets().transform(LONG)
    with pytest.raises(ColumnError, match="sets:x"):
        GeneSets(sets="sets:x").fit(LONG)
