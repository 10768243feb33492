import json

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError, DataError, StructureError
from screenwise.models.feature_store import pack_features, unpack_features
from screenwise.represent.features import join_features
from screenwise.represent.genes import GeneSets
from screenwise.represent.kernels import (
    default_kernels,
    kernel_from_state,
    kernel_state,
)

LONG = pd.DataFrame(
    {
        "gene": [f"PSM{letter}{number}" for letter in "AB" for number in range(10)] * 2 + ["RPL3"],
        "gene_set": ["proteasome"] * 20 + ["alpha"] * 10 + ["beta"] * 10 + ["ribosome"],
    }
)
SMILES = ["CCO", "CCN", "c1ccccc1O", "CCCCC(=O)O", "c1ccncc1", "CC(C)Cl", "CCOC", "NCc1ccccc1"]


def toy(kind, n=60, seed=0):
    """Conditions of every kind that the kernels know."""
    rng = np.random.default_rng(seed)
    genes = [f"{stem}{number}" for stem in ("PSMA", "PSMB", "MYC", "RPL") for number in range(10)]
    numbers = {"feature:x": rng.normal(size=n), "feature:y": rng.exponential(size=n)}
    made = {
        "molecules": {"smiles": rng.choice(SMILES, n)},
        "molecules with numbers": {"smiles": rng.choice(SMILES, n), **numbers},
        "genes": {"gene": rng.choice(genes, n)},
        "genes with numbers": {"gene": rng.choice(genes, n), **numbers},
        "numbers": numbers,
        "entities": {"entity": [f"e{row}" for row in range(n)]},
        "gene pairs": {"gene_a": rng.choice(genes, n), "gene_b": rng.choice([*genes, "", "ctrl"], n)},
        "drug pairs": {
            "smiles_a": rng.choice(SMILES, n),
            "smiles_b": rng.choice([*SMILES, ""], n),
            "dose_um_a": 10.0 ** rng.integers(-3, 2, n),
            "dose_um_b": 10.0 ** rng.integers(-3, 2, n),
            "cell_line": rng.choice(["A549", "MCF7"], n),
        },
        "drugs in cells": {
            "smiles": rng.choice(SMILES, n),
            "dose_m": 10.0 ** rng.integers(-9, -4, n),
            "cell_line": rng.choice(["A549", "MCF7"], n),
            "time_h": rng.choice([24.0, 72.0], n),
        },
        "variants": {"variant": ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 4)) for _ in range(n)]},
        "mutations": {"variant": [f"V39{a}:D40{b}" for a, b in rng.choice(list("ACDEFGHIKL"), (n, 2))]},
        "sequences": {"sequence": ["".join(rng.choice(list("ACDE"), 5 + row % 7)) for row in range(n)]},
        "guides": {"sequence": ["".join(rng.choice(list("ACGT"), 20)) for row in range(n)]},
    }
    return pd.DataFrame(made[kind])


KINDS = [
    "molecules", "molecules with numbers", "genes", "genes with numbers", "numbers", "entities", "gene pairs",
    "drug pairs", "drugs in cells", "variants", "mutations", "sequences", "guides",
]  # fmt: skip


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_default_kernels_are_symmetric_and_positive(kind):
    conditions = toy(kind)
    kernels = default_kernels(conditions)
    assert len({kernel.name for kernel in kernels}) == len(kernels) > 0
    for kernel in kernels:
        features = kernel.features(conditions)
        gram = kernel.gram(features)
        assert gram.dtype == np.float32, kernel.name
        assert gram.shape == (len(conditions), len(conditions))
        np.testing.assert_allclose(gram, gram.T, atol=1e-5, err_msg=kernel.name)
        np.testing.assert_allclose(np.diag(gram), kernel.diagonal(features), rtol=1e-4, atol=1e-5, err_msg=kernel.name)
        lowest = np.linalg.eigvalsh(gram.astype(np.float64)).min()
        assert lowest > -1e-4 * max(1.0, float(np.diag(gram).max())), kernel.name


def test_rows_of_features_and_cross_grams_agree_with_the_whole(kind):
    conditions = toy(kind)
    rows = np.array([5, 3, 59, 3])
    keep = np.arange(len(conditions)) % 2 == 0
    for kernel in default_kernels(conditions):
        features = kernel.features(conditions)
        gram = kernel.gram(features)
        assert features.shape[0] == len(conditions)
        np.testing.assert_allclose(kernel.gram(features[rows], features), gram[rows], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(kernel.gram(features[keep]), gram[keep][:, keep], rtol=1e-4, atol=1e-5)
        alone = kernel.features(conditions.iloc[rows])
        np.testing.assert_allclose(kernel.gram(alone, features), gram[rows], rtol=1e-4, atol=1e-5)


def test_kernels_and_features_survive_without_pickle(kind, tmp_path):
    conditions, new = toy(kind), toy(kind, 20, seed=1)
    for place, kernel in enumerate(default_kernels(conditions)):
        form, arrays = kernel_state(kernel)
        more = pack_features(kernel.features(conditions))
        np.savez(tmp_path / f"{place}.npz", **arrays)
        np.savez(tmp_path / f"f{place}.npz", **more)
        with np.load(tmp_path / f"{place}.npz") as own, np.load(tmp_path / f"f{place}.npz") as own_features:
            loaded = kernel_from_state(json.loads(json.dumps(form)), dict(own))
            known = unpack_features(dict(own_features))
        expected = kernel.gram(kernel.features(new), kernel.features(conditions))
        np.testing.assert_array_equal(loaded.gram(loaded.features(new), known), expected)


def test_unseen_conditions_are_representable(kind):
    kernels = default_kernels(toy(kind))
    new = toy(kind, 10, seed=9)
    for name in new.columns.intersection(["gene", "gene_a", "entity"]):
        new.loc[0, name] = "NOBODY7"
    for name in new.columns.intersection(["cell_line"]):
        new.loc[0, name] = "K562"
    for kernel in kernels:
        features = kernel.features(new)
        assert np.isfinite(kernel.gram(features)).all(), kernel.name
        assert np.isfinite(kernel.gram(kernel.features(toy(kind)), features)).all(), kernel.name


@pytest.mark.parametrize("kind", ["gene pairs", "drug pairs"])
def test_members_may_change_places(kind):
    conditions = toy(kind)
    swapped = conditions.rename(
        columns=lambda name: name[:-2] + {"_a": "_b", "_b": "_a"}[name[-2:]] if name[-2:] in ("_a", "_b") else name
    )
    for kernel in default_kernels(conditions):
        one, two = kernel.features(conditions), kernel.features(swapped)
        np.testing.assert_allclose(kernel.gram(one, two), kernel.gram(one), rtol=1e-5, atol=1e-6, err_msg=kernel.name)


def test_names_by_kind():
    names = {kind: [kernel.name for kernel in default_kernels(toy(kind))] for kind in KINDS}
    assert names["molecules"] == ["chiral_ecfp6", "fcfp6", "atom_pairs", "torsions", "identity"]
    assert names["numbers"] == ["features_near", "features_far", "features_linear"]
    assert names["entities"] == ["identity"]
    assert names["variants"][:2] == ["shared_sites", "hamming"]
    assert names["sequences"][0] == "words"
    assert "sum(identity)" in names["gene pairs"]
    assert "product(chiral_ecfp6) x cell_line" in names["drug pairs"]
    assert "cell_line" in names["drugs in cells"]


def test_gene_sets_joined_or_given():
    genes = pd.DataFrame({"gene": ["PSMA1", "PSMA2", "PSMB1", "UNKNOWN1", "RPL3"]})
    joined = default_kernels(join_features(genes, LONG, "gene"))
    given = default_kernels(genes, gene_sets=GeneSets.from_table(LONG))
    assert [kernel.name for kernel in joined] == [kernel.name for kernel in given]
    assert "pathways" in [kernel.name for kernel in given]
    gram = given[1].gram(given[1].features(genes))
    assert gram[0, 1] > gram[0, 2] > 0, "two shared sets are closer than one"
    assert (gram[3] == 0).all(), "a gene in no set is similar to none"
    pairs = pd.DataFrame({"gene_a": ["PSMA1", "PSMA2"], "gene_b": ["PSMB1", "PSMB3"]})
    joined_pairs = join_features(pairs, LONG, "gene")
    assert "product(pathways)" in [kernel.name for kernel in default_kernels(joined_pairs)]


def test_missing_columns_and_broken_rows_are_named():
    with pytest.raises(ColumnError):
        default_kernels(pd.DataFrame({"plate": ["P1"]}))
    for kind, column in {
        "genes": "gene",
        "variants": "variant",
        "drug pairs": "cell_line",
        "numbers": "feature:x",
    }.items():
        kernels = default_kernels(toy(kind))
        with pytest.raises(ColumnError, match=column):
            [kernel.features(toy(kind).drop(columns=column)) for kernel in kernels]
    drugs = default_kernels(toy("drug pairs"))[1]
    with pytest.raises(StructureError, match="C1CC"):
        drugs.features(toy("drug pairs").assign(smiles_a="C1CC"))
    with pytest.raises(StructureError, match="3 letters"):
        default_kernels(toy("variants"))[0].features(pd.DataFrame({"variant": ["VDG"]}))
    with pytest.raises(DataError, match="does not know"):
        kernel_from_state({"part": "os.system", "fields": {}}, {})
