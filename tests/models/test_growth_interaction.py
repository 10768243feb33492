"""Growth of pairs: order of genes, what is returned as measured, what is told, levels, real screens."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.errors import ColumnError, ConfigError, ModelError
from screenwise.models.growth_interaction import GrowthInteraction
from screenwise.models.growth_levels import LEVELS, GrowthInteractionConfig
from screenwise.prediction import Z90
from screenwise.screen import make_screen

DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "perturbseq"


def growth(genes=30, seed=0, share=0.8, control=0.0):
    """Growth of a saturating pair with gene groups; some pairs are not measured."""
    rng = np.random.default_rng(seed)
    single, group = rng.uniform(-1, 0, genes), rng.integers(0, 3, genes)
    effect = rng.normal(0, 0.3, (3, 3))
    effect = effect + effect.T
    a, b = np.triu_indices(genes, 1)
    total = single[a] + single[b]
    value = total + 0.25 * total**2 + effect[group[a], group[b]] + rng.normal(0, 0.05, len(a))
    names = np.array([f"G{i:02d}" for i in range(genes)])
    frame = pd.DataFrame(
        {"gene_a": ["", *names, *names[a]], "gene_b": ["", *[""] * genes, *names[b]], "growth": [0.0, *single, *value]}
    )
    frame["growth"] += control
    test = np.flatnonzero(np.r_[np.zeros(genes + 1, bool), rng.random(len(a)) > share])
    return frame, test


def screen_of(frame):
    return make_screen(frame[["gene_a", "gene_b"]], frame[["growth"]].to_numpy(), ["growth"])


def rmse(model, frame):
    return float(np.sqrt(np.mean((model.predict(frame).mean[:, 0] - frame["growth"]) ** 2)))


@pytest.fixture(scope="module")
def fitted():
    frame, test = growth()
    return GrowthInteraction().fit(screen_of(frame.drop(index=test))), frame, test


def test_each_level_holds_the_one_before_and_auto_takes_the_best():
    frame, test = growth(genes=45)
    train, held = screen_of(frame.drop(index=test)), frame.loc[test]
    errors = {level: rmse(GrowthInteraction(GrowthInteractionConfig(level)).fit(train), held) for level in LEVELS}
    assert errors["additive"] > errors["quadratic"] > errors["gene"] > errors["low_rank"]
    assert errors["process"] < errors["gene"]
    model = GrowthInteraction().fit(train)
    assert rmse(model, held) <= 1.02 * min(errors.values())
    assert model.tables_[0].level in ("low_rank", "process")


def test_addition_is_kept_where_addition_holds():
    frame, test = growth(seed=3)
    single = frame.set_index("gene_a")["growth"][lambda one: ~one.index.duplicated()]
    pair = frame["gene_b"] != ""
    noise = np.random.default_rng(4).normal(0, 0.05, pair.sum())
    a, b = frame.loc[pair, "gene_a"].map(single), frame.loc[pair, "gene_b"].map(single)
    frame.loc[pair, "growth"] = a + b + noise
    model = GrowthInteraction().fit(screen_of(frame.drop(index=test)))
    assert model.tables_[0].level == "additive"


def test_intervals_hold_what_they_say(fitted):
    model, frame, test = fitted
    told = model.predict(frame.loc[test])
    inside = np.abs(told.mean[:, 0] - frame.loc[test, "growth"]) <= Z90 * told.std[:, 0]
    assert 0.8 <= inside.mean() <= 0.99
    assert told.in_domain.all()


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_order_of_genes_and_of_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    frame, test = growth(genes=9, seed=seed)
    train = frame.drop(index=test)
    turned = train.sample(frac=1, random_state=seed % 1000).reset_index(drop=True)
    swap = rng.random(len(turned)) < 0.5
    turned.loc[swap, ["gene_a", "gene_b"]] = turned.loc[swap, ["gene_b", "gene_a"]].to_numpy()
    config = GrowthInteractionConfig("process", noises=(0.5,))
    one, two = (GrowthInteraction(config).fit(screen_of(part)) for part in (train, turned))
    ask = frame[["gene_a", "gene_b"]]
    back = ask.rename(columns={"gene_a": "gene_b", "gene_b": "gene_a"})
    np.testing.assert_allclose(one.predict(ask).mean, one.predict(back).mean, rtol=1e-6)
    np.testing.assert_allclose(one.predict(ask).mean, two.predict(ask).mean, atol=1e-4)


def test_singles_and_control_are_returned_as_measured_whatever_the_control_is():
    frame, test = growth(control=5.0)
    model = GrowthInteraction().fit(screen_of(frame.drop(index=test)))
    alone = frame[frame["gene_b"] == ""]
    np.testing.assert_allclose(model.predict(alone).mean[:, 0], alone["growth"], atol=1e-5)
    named = pd.DataFrame({"gene_a": ["ctrl", "negative"], "gene_b": ["G03", "control"]})
    expected = [frame.set_index(["gene_a", "gene_b"])["growth"]["G03", ""], 5.0]
    np.testing.assert_allclose(model.predict(named).mean[:, 0], expected, atol=1e-5)
    plain = GrowthInteraction().fit(screen_of(growth()[0].drop(index=test)))
    pairs = frame.loc[test, ["gene_a", "gene_b"]]
    np.testing.assert_allclose(model.predict(pairs).mean - 5, plain.predict(pairs).mean, atol=2e-3)


def test_what_is_not_known_is_told(fitted):
    model, _, _ = fitted
    ask = pd.DataFrame(
        {"gene_a": ["G01", "G01", "NEW", "G01", "G01"], "gene_b": ["G02", "NEW", "", "G01", "G02"], "gene_c": "     "}
    )
    ask.loc[4, "gene_c"] = "G03"
    told = model.predict(ask)
    assert told.in_domain.tolist() == [True, False, False, False, False]
    assert told.note[0] == ""
    assert "NEW was never measured" in told.note[1]
    assert "NEW was never measured" in told.note[2]
    assert "one gene twice" in told.note[3]
    assert "more than two genes" in told.note[4]
    assert np.isfinite(told.mean[:3]).all()
    assert np.isnan(told.mean[3:]).all()
    assert told.std[1, 0] > told.std[0, 0]


def test_without_pairs_the_sum_is_a_prior_with_wide_intervals():
    frame, _ = growth()
    model = GrowthInteraction().fit(screen_of(frame[frame["gene_b"] == ""]))
    told = model.predict(pd.DataFrame({"gene_a": ["G01"], "gene_b": ["G02"]}))
    single = frame.set_index("gene_a")["growth"].iloc[1:31]
    assert told.mean[0, 0] == pytest.approx(single["G01"] + single["G02"], abs=1e-5)
    assert "prior only" in told.note[0]
    assert not told.in_domain[0]
    assert told.std[0, 0] >= single.std(ddof=0) * 0.99


def test_missing_singles_are_estimated_from_pairs():
    frame, test = growth(genes=40)
    lost = (frame["gene_b"] == "") & frame["gene_a"].isin(["G05", "G11"])
    full, less = (
        GrowthInteraction().fit(screen_of(part))
        for part in (frame.drop(index=test), frame.drop(index=test)[~lost.drop(index=test)])
    )
    held = frame.loc[test]
    assert rmse(less, held) < 1.15 * rmse(full, held)
    told = less.predict(pd.DataFrame({"gene_a": ["G05"], "gene_b": [""]}))
    assert np.isfinite(told.mean[0, 0])
    assert not told.in_domain[0]


def test_repeats_of_a_pair_are_averaged_and_one_gene_twice_is_left_out():
    frame, test = growth(genes=12)
    train = frame.drop(index=test)
    pair = train[train["gene_b"] != ""].iloc[[0]]
    turned = pair.rename(columns={"gene_a": "gene_b", "gene_b": "gene_a"})
    twice = pair.assign(gene_b=pair["gene_a"], growth=99.0)
    many = pd.concat([train, turned.assign(growth=pair["growth"] + 2), twice], ignore_index=True)
    moved = train.copy()
    moved.loc[pair.index, "growth"] += 1
    ask = frame[["gene_a", "gene_b"]]
    one, two = (GrowthInteraction().fit(screen_of(part)).predict(ask).mean for part in (many, moved))
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_bad_input_is_refused(fitted):
    model, frame, _ = fitted
    with pytest.raises(ColumnError, match="gene_a and gene_b"):
        model.predict(pd.DataFrame({"gene": ["G01"]}))
    with pytest.raises(ConfigError, match="level is 'best'"):
        GrowthInteraction(GrowthInteractionConfig("best"))
    with pytest.raises(ConfigError, match="above 0"):
        GrowthInteraction(GrowthInteractionConfig(noises=(0.0,)))
    two = frame.assign(cell_line=np.where(np.arange(len(frame)) % 2, "K562", "RPE1"))
    screen = make_screen(two[["gene_a", "gene_b", "cell_line"]], two[["growth"]].to_numpy(), ["growth"])
    with pytest.raises(ModelError, match="cell_line"):
        GrowthInteraction().fit(screen)
    classes = pd.DataFrame({"name": ["lethal"], "kind": ["classification"]})
    with pytest.raises(ModelError, match="lethal are classes"):
        GrowthInteraction().fit(make_screen(frame[["gene_a", "gene_b"]], np.ones((len(frame), 1)), classes))


def test_norman_growth_reaches_its_bar():
    path = DATA / "norman2019_fitness_gi.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine; set SCREENWISE_DATA to the data folder")
    table = pd.read_csv(path)
    single = table[["gene_a", "gamma_a"]].drop_duplicates("gene_a").set_axis(["gene_a", "growth"], axis=1)
    last = table[["gene_b", "gamma_b"]].set_axis(["gene_a", "growth"], axis=1)
    single = pd.concat([single, last]).drop_duplicates("gene_a").assign(gene_b="")
    pairs = table[table["gene_a"] != table["gene_b"]].rename(columns={"gamma_double": "growth"})
    frame = pd.concat([single, pairs])[["gene_a", "gene_b", "growth"]].reset_index(drop=True)
    scores = []
    for seed in range(3):
        drawn = np.random.default_rng(seed).permutation(len(pairs))
        test = len(single) + drawn[: round(0.2 * len(pairs))]
        model = GrowthInteraction().fit(screen_of(frame.drop(index=test)), seed=seed)
        told, truth = model.predict(frame.loc[test]).mean[:, 0], frame.loc[test, "growth"]
        scores.append((np.corrcoef(told, truth)[0, 1], rmse(model, frame.loc[test])))
    assert np.mean(scores, axis=0)[0] >= 0.985
    assert np.mean(scores, axis=0)[1] <= 0.0295
