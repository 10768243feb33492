"""Which pairs to measure next: what stands on the plate, and what is refused."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ConfigError, DesignError
from screenwise.models.pairwise_posterior import pair_posterior
from screenwise.recipes.pair_design import suggest
from screenwise.recipes.pair_settings import PairAsk
from screenwise.recipes.perturbseq import fit, open_pair_run

GENES = [f"G{place}" for place in range(8)]
MEASURED = list(combinations(GENES, 2))[:14]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("design")
    rng = np.random.default_rng(0)
    single = dict(zip(GENES, rng.normal(size=(8, 5)), strict=True))
    for name, pairs in (("some", MEASURED), ("none", [])):
        names = [(), *((gene,) for gene in GENES), *pairs]
        level = [np.tanh(sum((single[gene] for gene in one), np.zeros(5))) for one in names]
        labels = ["+".join(one) or "ctrl" for one in names]
        pd.DataFrame(np.array(level), columns=list("vwxyz")).assign(condition=labels).to_csv(
            folder / "a.csv", index=False
        )
        fit(str(folder / "a.csv"), folder / name)
    return folder


def plate(folder, run="some", **ask):
    suggest(folder / run, folder / "plate.csv", PairAsk(**ask))
    return pd.read_csv(folder / "plate.csv", keep_default_na=False)


@pytest.mark.parametrize("acquisition", ["std", "departure", "random"])
def test_the_plate_holds_new_pairs_and_controls(folder, acquisition):
    found = plate(folder, wells=10, controls=2, acquisition=acquisition)
    pairs = found[found["kind"] == "pair"]
    assert len(found) == 10
    assert (found["role"] == "negative").sum() == 2
    assert found.loc[found["role"] == "negative", "condition"].eq("ctrl").all()
    assert len(set(pairs["condition"])) == 8
    assert not {"+".join(pair) for pair in MEASURED} & set(pairs["condition"])
    assert found["well"].is_unique


def test_the_first_pick_is_the_least_known(folder):
    model, _ = open_pair_run(folder / "some")
    pool = [pair for pair in combinations(GENES, 2) if pair not in MEASURED]
    variance = pair_posterior(model, pd.DataFrame(pool, columns=["gene_a", "gene_b"])).variance
    found = plate(folder, wells=1, controls=0)
    assert found["condition"].tolist() == ["+".join(pool[int(variance.argmax())])]


def test_genes_never_measured_alone_bring_their_singles(folder):
    found = plate(folder, wells=12, controls=1, genes="G0,NEW,OLD")
    assert set(found["condition"]) == {"ctrl", "NEW", "OLD", "G0+NEW", "G0+OLD", "NEW+OLD"}
    few = plate(folder, wells=4, controls=1, genes="G0,NEW,OLD")
    used = {gene for one in few.loc[few["kind"] == "pair", "condition"] for gene in one.split("+")}
    assert used <= {"G0", *few.loc[few["kind"] == "single", "condition"]}
    assert len(few) <= 4
    with pytest.raises(ConfigError, match="--wells 2 leaves no room"):
        plate(folder, wells=2, controls=1, genes="G0,NEW,OLD")


def test_a_screen_without_doubles_spreads_its_first_pairs(folder):
    found = plate(folder, "none", wells=12, controls=2)
    assert (found["kind"] == "pair").sum() == 10
    assert found.loc[found["kind"] == "pair", "reason"].eq("unlike the pairs before it").all()


def test_the_same_seed_gives_the_same_plate(folder):
    first, second = plate(folder, wells=9, seed=3), plate(folder, wells=9, seed=3)
    pd.testing.assert_frame_equal(first, second)
    assert not first["condition"].equals(plate(folder, wells=9, acquisition="random", seed=4)["condition"])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"wells": 4}, "--wells 4"),
        ({"wells": -3}, "--wells -3"),
        ({"controls": -1}, "--controls is -1"),
        ({"acquisition": "best"}, "std, departure, random"),
        ({"genes": "G0"}, "--genes names 1 gene"),
    ],
)
def test_what_cannot_be_is_refused(folder, tmp_path, ask, said):
    with pytest.raises(ConfigError, match=said):
        suggest(folder / "some", tmp_path / "plate.csv", PairAsk(**ask))
    assert not list(tmp_path.iterdir())


def test_all_pairs_measured_is_an_error(folder, tmp_path):
    with pytest.raises(DesignError, match="measured"):
        suggest(folder / "some", tmp_path / "plate.csv", PairAsk(genes="G0,G1"))
