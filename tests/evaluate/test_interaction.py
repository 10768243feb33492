"""Departures from addition: nulls that keep their level, fits against loops, types against published ones."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from screenwise.errors import ConfigError, DataError
from screenwise.evaluate.interaction import (
    PUBLISHED_RULES,
    TYPES,
    InteractionSettings,
    coefficients,
    interaction_types,
    interactions,
    pair_rows,
)
from screenwise.evaluate.interaction_null import (
    bootstrap_norms,
    critical_departure,
    empirical_scores,
    norm_p_value,
    outlier_p_value,
    replicate_error,
)
from screenwise.screen import make_screen

DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "perturbseq"
PUBLISHED = {"redundant": "redundancy", "suppressor": "suppression"}


def additive_screen(seed=0, genes=12, features=40, noise=0.1, interacting=0):
    """Screen of control, singles and all doubles that add up, but for the first `interacting` doubles."""
    rng = np.random.default_rng(seed)
    names = [f"G{i:02d}" for i in range(genes)]
    single = rng.normal(size=(genes, features))
    a, b = np.triu_indices(genes, 1)
    double = single[a] + single[b]
    double[:interacting] += rng.normal(0, 1.0, (interacting, features))
    level = 5 + np.vstack([np.zeros(features), single, double])
    level += rng.normal(0, noise, level.shape)
    frame = pd.DataFrame(
        {"gene_a": ["", *names, *np.array(names)[a]], "gene_b": ["", *[""] * genes, *np.array(names)[b]]}
    )
    return make_screen(frame, level, [f"f{j}" for j in range(features)])


def test_departures_and_known_errors_by_hand():
    screen = additive_screen(genes=4, features=6)
    error = np.random.default_rng(1).uniform(0.1, 0.3, screen.targets.shape)
    found = interactions(screen, standard_error=error)
    value = screen.targets.dense().astype(float)
    frame = screen.conditions
    row = {(a, b): place for place, (a, b) in enumerate(zip(frame["gene_a"], frame["gene_b"], strict=True))}
    for place, pair in found.pairs.iterrows():
        four = [row[pair["gene_a"], pair["gene_b"]], row[pair["gene_a"], ""], row[pair["gene_b"], ""], row["", ""]]
        departure = value[four[0]] - value[four[1]] - value[four[2]] + value[four[3]]
        sd = np.sqrt(sum(error[one] ** 2 for one in four))
        assert pair["departure"] == pytest.approx(np.linalg.norm(departure))
        assert pair["noise"] == pytest.approx(np.linalg.norm(sd))
        own = found.features[found.features["condition"] == pair["condition"]]
        np.testing.assert_allclose(own["z"], departure / sd)
        np.testing.assert_allclose(own["p_value"], 2 * stats.norm.sf(np.abs(departure / sd)))
        np.testing.assert_allclose(found.departure[place], departure)
    assert found.null == "known"
    np.testing.assert_allclose(found.pairs["q_value"], stats.false_discovery_control(found.pairs["p_value"]))


def test_known_errors_keep_the_level_and_find_what_is_there():
    error = np.full((79, 40), 0.1)
    several = [interactions(additive_screen(seed), standard_error=error) for seed in range(30)]
    # the pairs of one screen share its control and singles: only over screens are p-values uniform
    p_value = np.concatenate([found.pairs["p_value"] for found in several])
    assert p_value.mean() == pytest.approx(0.5, abs=0.08)
    assert np.mean([found.features["called"].mean() for found in several]) < 0.01
    for found in several:
        assert (found.pairs.loc[~found.pairs["called"], "type"] == "additive").all()
    some = interactions(additive_screen(genes=20, interacting=10), standard_error=np.full((211, 40), 0.1))
    assert some.pairs["called"][:10].all()
    assert some.pairs["called"][10:].mean() < 0.1
    assert some.called.shape == (190, 40)
    assert some.called[:10].mean() > 0.4
    assert some.called[10:].sum() <= 0.1 * some.called.sum()


@pytest.mark.parametrize("spread", ["equal", "unequal"])
def test_the_norm_has_its_distribution(spread):
    rng = np.random.default_rng(3)
    variance = np.ones(30) if spread == "equal" else rng.gamma(0.5, size=30)
    drawn = rng.normal(size=(4000, 30)) * np.sqrt(variance)
    p = norm_p_value(drawn, np.tile(variance, (4000, 1)))
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.03)
    assert np.isnan(norm_p_value(np.ones((1, 2)), np.zeros((1, 2)))).all()


def test_the_empirical_null_finds_the_few_among_the_many():
    screen = additive_screen(genes=20, interacting=12)
    found = interactions(screen)
    assert found.null == "empirical"
    assert found.pairs["called"][:12].mean() > 0.8
    assert found.pairs["called"][12:].mean() < 0.08
    assert any("more than most pairs" in note for note in found.notes)
    z = empirical_scores(found.departure)
    cut = critical_departure(z, found.departure, 0.05)
    assert cut == np.abs(found.departure[found.called]).min()
    np.testing.assert_array_equal(found.called, np.abs(z) >= np.abs(z[found.called]).min())
    quiet = outlier_p_value(np.exp(np.random.default_rng(0).normal(2, 0.3, 3000)))
    assert np.mean(quiet < 0.05) == pytest.approx(0.05, abs=0.015)
    with pytest.raises(DataError, match="empirical null needs spread"):
        empirical_scores(np.zeros((3, 3)))


def test_resampled_cells_keep_the_level_where_features_are_correlated():
    rng = np.random.default_rng(5)
    genes, cells, features = 8, 40, 30
    screen = additive_screen(genes=genes, features=features, noise=0.0)
    shared = rng.normal(size=(len(screen) * cells, 1)) * np.linspace(0.5, 1.5, features)
    code = np.repeat(np.arange(len(screen)), cells)
    single = screen.targets.dense()[code] + shared + 0.3 * rng.normal(size=(len(code), features))
    mean = np.add.reduceat(single, np.arange(0, len(code), cells)) / cells
    measured = make_screen(screen.conditions[["gene_a", "gene_b"]], mean, screen.task_names)
    rows, _ = pair_rows(measured)
    norms = bootstrap_norms(single, code, rows, np.random.default_rng(0), 200)
    found = interactions(measured, null_norms=norms)
    assert found.null == "bootstrap"
    assert np.mean(found.pairs["p_value"] < 0.05) < 0.2
    spread = single.reshape(len(screen), cells, features).std(axis=1, ddof=1) / np.sqrt(cells)
    naive = norm_p_value(found.departure, np.square(spread)[rows].sum(axis=1))
    # taken as independent, correlated features give many false calls: the reason for resampling
    assert np.mean(naive < 0.05) > np.mean(found.pairs["p_value"] < 0.05)
    moved = measured.targets.dense().copy()
    moved[rows[0, 0]] += 3.0
    told = interactions(
        make_screen(measured.conditions[["gene_a", "gene_b"]], moved, screen.task_names), null_norms=norms
    )
    assert told.pairs["p_value"][0] == pytest.approx(1 / 201)
    with pytest.raises(DataError, match="at least 2"):
        bootstrap_norms(single[:1], code[:1], rows[:1], rng)


def test_errors_from_replicates():
    rng = np.random.default_rng(6)
    code = np.repeat(np.arange(200), 3)
    error = replicate_error(rng.normal(0, 0.6, (600, 5)), code, 200)
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.6 / np.sqrt(3), rel=0.05)
    assert np.isnan(replicate_error(np.ones((2, 1)) * [[0], [1]], [0, 0], 2)[1]).all()
    with pytest.raises(DataError, match="two replicates"):
        replicate_error(np.ones((2, 1)), [0, 1], 2)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_coefficients_equal_least_squares(seed):
    rng = np.random.default_rng(seed)
    effect, a, b = rng.normal(size=(3, 4, 9))
    b[1] = 2 * a[1]
    a[2] = 0
    found = coefficients(effect, a, b)
    for row in range(4):
        design = np.column_stack([a[row], b[row]])
        expected = np.linalg.lstsq(design, effect[row], rcond=None)[0]
        np.testing.assert_allclose([found["c_a"][row], found["c_b"][row]], expected, atol=1e-8)
        fitted = design @ expected
        cosine = fitted @ effect[row] / np.linalg.norm(fitted) / np.linalg.norm(effect[row])
        assert found["fit"][row] == pytest.approx(cosine, abs=1e-8)
    swapped = coefficients(effect, b, a)
    np.testing.assert_allclose(swapped["c_a"], found["c_b"], atol=1e-10)
    np.testing.assert_allclose(swapped["dominance"], found["dominance"], atol=1e-8)


def test_every_type_has_its_textbook_case():
    rng = np.random.default_rng(7)
    a, b, new = np.linalg.qr(rng.normal(size=(20, 3)))[0].T
    alike = a + 0.2 * b
    cases = {
        "additive": (0.75 * (a + b), a, b),
        "synergy": (0.95 * (a + (b + a)), a, b + a),
        "suppression": (0.4 * (a + b), a, b),
        "redundancy": (0.5 * (a + alike), a, alike),
        "epistasis": (a + 0.02 * b, a, b),
        "neomorphic": (0.4 * (a + b) + new, a, b),
        "potentiation": (1.5 * (a + b), a, b),
    }
    assert set(cases) == set(TYPES)
    stacked = (np.array([one[k] for one in cases.values()]) for k in range(3))
    assert interaction_types(coefficients(*stacked)).tolist() == list(cases)


def test_bad_input_is_told():
    screen = additive_screen(genes=3, features=4)
    with pytest.raises(DataError, match="no control"):
        interactions(screen.take(np.arange(1, 7)))
    with pytest.raises(DataError, match="several rows"):
        interactions(screen.take(np.r_[np.arange(7), 6]))
    with pytest.raises(DataError, match="both of its singles"):
        interactions(screen.take([0, 1, 4, 5, 6]))
    with pytest.raises(DataError, match="must agree"):
        interactions(screen, standard_error=np.ones((2, 2)))
    with pytest.raises(DataError, match="one row for each"):
        interactions(screen, null_norms=np.ones((1, 9)))
    with pytest.raises(ConfigError, match="needs standard errors"):
        interactions(screen, settings=InteractionSettings(null="known"))
    with pytest.raises(ConfigError, match="must be one of"):
        interactions(screen, settings=InteractionSettings(null="permutation"))
    lost = interactions(screen.take([0, 1, 2, 4, 5, 6]))
    assert "2 pairs were left out" in lost.notes[0]
    value = screen.targets.dense().copy()
    value[2, 1] = np.nan
    gap = interactions(make_screen(screen.conditions[["gene_a", "gene_b"]], value, screen.task_names))
    assert gap.departure.shape == (3, 3)
    assert "1 features were left out" in gap.notes[0]


@pytest.fixture(scope="module")
def published():
    paths = [DATA / f"norman2019_{name}" for name in ("gi_types.csv", "gi_model_fits.csv.gz", "pc50.csv.gz")]
    if not all(path.exists() for path in paths):
        pytest.skip(f"{DATA} does not hold Norman 2019; set SCREENWISE_DATA to the data folder")
    types, fits, profiles = (pd.read_csv(path) for path in paths)
    types["label"] = ["+".join(sorted(one.split("+"))) for one in types["condition"]]
    fits["label"] = ["+".join(sorted(one.split("_"))) for one in fits["name"]]
    told = types["gi_type"].str.split("_").str[0].str.lower().replace(PUBLISHED)
    return types.assign(type=told).merge(fits, on="label"), profiles


def test_rules_agree_with_the_published_types_on_the_published_fits(published):
    table, _ = published
    numbers = {"magnitude": "ts_norm", "fit": "ts_linear_dcor", "similarity": "dcor_singles"}
    fits = {name: table[column] for name, column in numbers.items()} | {"dominance": table["abs_log_ts_ratio"]}
    assert np.mean(interaction_types(fits, PUBLISHED_RULES) == table["type"]) == pytest.approx(0.81, abs=0.01)


def test_rules_agree_with_the_published_types_on_profiles_as_far_as_is_said(published):
    table, profiles = published
    genes = [[gene for gene in label.split("+") if gene != "ctrl"] for label in profiles["condition"]]
    frame = pd.DataFrame([[*one, "", ""][:2] for one in genes], columns=["gene_a", "gene_b"])
    value = profiles.filter(regex=r"^pc\d").to_numpy()
    found = interactions(make_screen(frame, value, [f"pc{j}" for j in range(50)]))
    assert len(found.pairs) == 131
    both = table.merge(found.pairs, left_on="label", right_on="condition", suffixes=("_published", ""))
    assert len(both) == 86
    assert np.mean(both["type"] == both["type_published"]) == pytest.approx(0.59, abs=0.02)
    # the size of our coefficients follows theirs, from other data and another fit
    assert stats.spearmanr(both["magnitude"], both["ts_norm"])[0] > 0.6
    assert stats.spearmanr(both["similarity"], both["dcor_singles"])[0] > 0.6
