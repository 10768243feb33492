"""Descriptors of genes: sets against a loop, numbers, imputation against leaving out, round trips."""

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError
from screenwise.models.pairwise_descriptors import Descriptors, fit_imputer, read_descriptors


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    rows = [(f"G{gene}", f"S{one}") for gene in range(12) for one in rng.choice(9, 3, replace=False)]
    return pd.DataFrame(rows, columns=["gene", "go_id"])


def test_similarity_is_the_weighted_cosine(sets):
    known = np.array([f"G{gene}" for gene in range(10)])
    table = Descriptors.from_table(sets)
    found = table.similarity(np.array(["G11", "G0", "nobody"]), known)
    members = {gene: set(part["go_id"]) for gene, part in sets.groupby("gene")}
    count = {name: sum(name in members[gene] for gene in known) for name in set(sets["go_id"])}
    weight = {name: np.log(11 / number) if number else 0.0 for name, number in count.items()}

    def length(gene):
        return np.sqrt(sum(weight[name] ** 2 for name in members[gene]))

    for place, gene in enumerate(("G11", "G0")):
        hand = [sum(weight[s] ** 2 for s in members[gene] & members[o]) / (length(gene) * length(o)) for o in known]
        np.testing.assert_allclose(found[place], hand, atol=1e-12)
    assert (found[2] == 0).all()


@pytest.mark.parametrize("kind", ["sets", "numbers"])
def test_arrays_and_files_keep_them(sets, kind, tmp_path):
    numbers = pd.DataFrame({"gene": ["A", "B", "C"], "x": [0.0, 1.0, np.nan], "y": [2.0, 2.5, 9.0]})
    frame = sets if kind == "sets" else numbers
    path = tmp_path / "known.tsv.gz"
    frame.to_csv(path, sep="\t", index=False)
    table = read_descriptors(path)
    genes = table.genes
    again = Descriptors.from_arrays(table.save_arrays())
    np.testing.assert_array_equal(again.similarity(genes, genes), table.similarity(genes, genes))
    assert np.isfinite(table.similarity(genes, genes)).all()


def test_tables_without_content_are_refused():
    with pytest.raises(ColumnError, match="'gene'"):
        Descriptors.from_table(pd.DataFrame({"symbol": ["A"]}))
    with pytest.raises(ColumnError, match="numeric"):
        Descriptors.from_table(pd.DataFrame({"gene": ["A"], "comment": ["x"]}))


def test_imputation_holds_out_and_rejects_noise():
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 4, 20))[:, None]
    alike = np.exp(-((x - x.T) ** 2))
    single = np.hstack([np.sin(x), np.cos(x)])
    imputer = fit_imputer(single, alike)
    assert imputer.strength > 0
    assert np.abs(imputer.held_out - single).mean() < 0.3
    close = imputer.predict(alike[[5]])
    assert np.abs(close - single[5]).max() < 0.3
    untold = fit_imputer(rng.normal(size=(20, 2)), np.eye(20))
    assert untold.strength == 0
    np.testing.assert_allclose(untold.predict(np.zeros((1, 20)))[0], untold.mean)
