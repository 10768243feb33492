"""Fit and predict gene pairs: the whole way through the command line, and what is refused with nothing written."""

import subprocess
import sys
from itertools import combinations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError, DataError, ModelError
from screenwise.recipes import fitted_run, perturbseq
from screenwise.recipes.pair_settings import PairFitSettings, ProfileReading
from screenwise.recipes.reporting import report

GENES = [f"G{place:02d}" for place in range(12)]
PAIRS = list(combinations(GENES, 2))[:30]
FEATURES = [f"x{place}" for place in range(8)]


def table(pairs=PAIRS):
    """Saturating sums of made-up singles, with little noise."""
    rng = np.random.default_rng(0)
    single = dict(zip(GENES, rng.normal(size=(len(GENES), len(FEATURES))), strict=True))
    names = [(), *((gene,) for gene in GENES), *pairs]
    effect = [2 * np.tanh(0.4 * sum((single[gene] for gene in one), np.zeros(len(FEATURES)))) for one in names]
    level = np.array(effect) + 3 + 0.02 * rng.normal(size=(len(names), len(FEATURES)))
    labels = ["ctrl" if not one else "+".join(one if len(one) > 1 else (*one, "ctrl")) for one in names]
    return pd.DataFrame(level, columns=FEATURES).assign(condition=labels)


def cells():
    rng = np.random.default_rng(1)
    rates = {
        "ctrl": np.full(6, 4.0),
        "A+ctrl": [8, 4, 4, 4, 4, 1],
        "B+ctrl": [4, 9, 4, 4, 4, 4],
        "A+B": [9, 9, 4, 4, 4, 1],
    }
    labels = np.repeat(list(rates), 30)
    counts = np.vstack([rng.poisson(rates[label]) for label in labels]).astype(np.float32)
    counts[:, 5] = np.where(labels == "A+ctrl", 0, counts[:, 5])
    obs = pd.DataFrame({"condition": labels}, index=[f"c{place}" for place in range(len(labels))])
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=["A", "B", "C", "D", "E", "F"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    table().to_csv(folder / "pairs.csv", index=False)
    perturbseq.fit(str(folder / "pairs.csv"), folder / "run", PairFitSettings(model="peper_gp"))
    return folder


def ask(folder, labels, name="ask.csv", **columns):
    pd.DataFrame({"condition": labels} | columns).to_csv(folder / name, index=False)
    return folder / name


def test_the_whole_way_through_the_command_line(tmp_path):
    table().to_csv(tmp_path / "pairs.csv", index=False)
    ask(tmp_path, ["G00+G11", "G11+G00", "G00+G01+G02"])

    def run(*arguments):
        command = [sys.executable, "-m", "screenwise.cli", "perturbseq", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("Warning") == 0
        return done.stdout

    assert "model: peper_gp" in run("fit", "pairs.csv", "--out", "run")
    run("predict", "run", "ask.csv", "--out", "answer.csv")
    run("predict", "run", "ask.csv", "--out", "answer.h5ad")
    assert "pairs chosen: 20" in run("suggest", "run", "--wells", "24", "--out", "plate.csv")
    run("interactions", "pairs.csv", "--out", "departures")
    assert "id-50 x 2" in run("evaluate", "pairs.csv", "--splits", "id-50", "--seeds", "2", "--out", "scores")
    answer, cubes = pd.read_csv(tmp_path / "answer.csv"), ad.read_h5ad(tmp_path / "answer.h5ad")
    assert answer.columns.tolist() == ["condition", *FEATURES, "in_domain", "profile_std", "note"]
    assert answer["condition"].tolist() == ["G00+G11", "G11+G00", "G00+G01+G02"], "as asked, in its order"
    np.testing.assert_array_equal(answer.loc[0, FEATURES], answer.loc[1, FEATURES])
    np.testing.assert_allclose(cubes.X, answer[FEATURES], rtol=1e-5)
    assert set(cubes.layers) == {"std", "lower", "upper", "delta"}
    assert {"in_domain", "novelty", "note"} <= set(cubes.obs)
    for page in ("departures", "scores"):
        assert "<html" in (tmp_path / page / "report.html").read_text()


def test_labels_that_cannot_be_read_stay_empty_with_their_reason(folder):
    path = ask(folder, [" G00+G11 ", "+", " nan ", "G00+NEW", "A+B+C+D+E+F"])
    perturbseq.predict(folder / "run", path, folder / "answer.csv")
    answer = pd.read_csv(folder / "answer.csv", keep_default_na=False, na_values={name: [""] for name in FEATURES})
    assert answer[FEATURES[0]].isna().tolist() == [False, True, True, False, True]
    notes = answer["note"].tolist()
    assert notes[1] == "a name beside a separator is empty"
    assert notes[2] == "no gene is named"
    assert "NEW" in notes[3]
    assert "more than 5" in notes[4], "not a general reason"


def test_questions_may_name_genes_in_columns_or_use_the_separator_of_the_run(folder, tmp_path):
    pd.DataFrame({"gene_a": ["G00", "G03"], "gene_b": ["G11", None]}).to_csv(tmp_path / "ask.csv", index=False)
    found = perturbseq.predict(folder / "run", tmp_path / "ask.csv", tmp_path / "a.csv")
    assert found.facts["without prediction"] == 0
    other = table()
    other["condition"] = other["condition"].str.replace("+", ":", regex=False)
    other.to_csv(tmp_path / "pairs.csv", index=False)
    reading = ProfileReading(separator=":")
    perturbseq.fit(str(tmp_path / "pairs.csv"), tmp_path / "run", PairFitSettings(model="peper_gp"), reading)
    perturbseq.predict(tmp_path / "run", ask(tmp_path, ["G11:G00"], "colon.csv"), tmp_path / "b.csv")
    perturbseq.predict(folder / "run", ask(tmp_path, ["G11+G00"], "plus.csv"), tmp_path / "c.csv")
    same = [pd.read_csv(tmp_path / name)[FEATURES].to_numpy() for name in ("b.csv", "c.csv")]
    np.testing.assert_allclose(*same, rtol=1e-6)


def test_predictions_of_counts_do_not_fall_below_zero(tmp_path):
    cells().write_h5ad(tmp_path / "cells.h5ad")
    perturbseq.fit(str(tmp_path / "cells.h5ad"), tmp_path / "run", PairFitSettings(model="salt"))
    perturbseq.predict(tmp_path / "run", ask(tmp_path, ["A+B", "A+NEW"]), tmp_path / "answer.h5ad")
    answer = ad.read_h5ad(tmp_path / "answer.h5ad")
    assert answer.X.min() >= 0
    assert answer.layers["lower"].min() == 0, "the interval would go below"
    assert (answer.layers["lower"] <= answer.X).all()


def test_profiles_of_any_sign_have_no_floor(tmp_path):
    shifted = table()
    shifted[FEATURES] -= 3
    shifted.to_csv(tmp_path / "pairs.csv", index=False)
    perturbseq.fit(str(tmp_path / "pairs.csv"), tmp_path / "run", PairFitSettings(model="salt"))
    perturbseq.predict(tmp_path / "run", ask(tmp_path, ["G00+G01"]), tmp_path / "answer.h5ad")
    assert ad.read_h5ad(tmp_path / "answer.h5ad").X.min() < 0


def test_a_screen_without_doubles_warns_and_says_so_in_every_prediction(tmp_path):
    table(pairs=[]).to_csv(tmp_path / "singles.csv", index=False)
    found = perturbseq.fit(str(tmp_path / "singles.csv"), tmp_path / "run")
    assert any("prior only" in note for note in found.notes)
    assert "only 0" not in found.facts["why"]
    perturbseq.predict(tmp_path / "run", ask(tmp_path, ["G00+G01", "G00+G01+G02"]), tmp_path / "answer.csv")
    assert pd.read_csv(tmp_path / "answer.csv")["note"].str.contains("prior only").all()


def drop(text):
    return lambda frame: frame[~frame["condition"].str.fullmatch(text)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("ctrl"), "No label is the control"),
        (drop(r"G\d+\+ctrl"), "no single perturbation"),
        (lambda frame: frame.iloc[:0], "no rows"),
        (lambda frame: frame.iloc[:1], "no single perturbation"),
        (lambda frame: frame.assign(x3=np.where(np.arange(len(frame)) == 4, np.nan, 1.0)), "row 5, column 'x3'"),
        (lambda frame: frame.assign(condition=[f"&&{row}" for row in range(len(frame))]), "No label is the control"),
        (lambda frame: frame[["condition"]], "no numeric column"),
        (lambda frame: frame.rename(columns={"x3": "x2"}), "more than once"),
        (lambda frame: frame.rename(columns={"condition": "what"}), "condition"),
    ],
)
def test_a_bad_table_is_refused_by_name_and_nothing_is_written(tmp_path, change, said):
    change(table()).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(DataError, match=r"bad\.csv") as refused:
        perturbseq.fit(str(tmp_path / "bad.csv"), tmp_path / "run")
    assert said in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv"]


def test_bad_cells_are_refused_by_name_and_nothing_is_written(tmp_path):
    cells().write_h5ad(tmp_path / "good.h5ad")
    whole = (tmp_path / "good.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    cells()[:0].copy().write_h5ad(tmp_path / "none.h5ad")
    one = cells()
    one[29:].copy().write_h5ad(tmp_path / "one.h5ad")
    negative = cells()
    negative.X[3, 2] = -1
    negative.write_h5ad(tmp_path / "negative.h5ad")
    said = {"cut": "cut short", "none": "no cells", "one": "control has 1 cell", "negative": "--no-counts"}
    before = sorted(tmp_path.iterdir())
    for name, text in said.items():
        with pytest.raises(DataError, match=text) as refused:
            perturbseq.fit(str(tmp_path / f"{name}.h5ad"), tmp_path / "run")
        assert f"{name}.h5ad" in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_known_of_genes_is_read_before_the_run_is_made(folder, tmp_path):
    for path in (tmp_path / "nothere.tsv", folder, folder / "pairs.csv"):
        with pytest.raises(DataError, match=path.name):
            perturbseq.fit(str(folder / "pairs.csv"), tmp_path / "run", PairFitSettings(descriptors=path))
    assert not list(tmp_path.iterdir())


def test_a_run_is_made_once(folder):
    path = str(folder / "pairs.csv")
    again = perturbseq.fit(path, folder / "run", PairFitSettings(model="peper_gp"))
    assert "already" in again.notes[0]
    with pytest.raises(DataError, match="other settings"):
        perturbseq.fit(path, folder / "run", PairFitSettings(model="salt"))
    with pytest.raises(ModelError, match="peper_gp"):
        perturbseq.fit(path, folder / "other", PairFitSettings(model="gp"))


def test_the_general_commands_know_runs_of_gene_pairs(folder):
    with pytest.raises(ModelError, match="screenwise perturbseq predict"):
        fitted_run.open_run(folder / "run")
    assert report(folder / "run", folder / "page.html").files["report"].endswith("page.html")
    assert "peper_gp" in (folder / "page.html").read_text()


def test_bad_questions(folder, tmp_path):
    pd.DataFrame({"foo": [1]}).to_csv(tmp_path / "ask.csv", index=False)
    with pytest.raises(ColumnError, match=r"ask\.csv.*condition"):
        perturbseq.predict(folder / "run", tmp_path / "ask.csv", tmp_path / "answer.csv")
    with pytest.raises(DataError, match="write predictions as"):
        perturbseq.predict(folder / "run", tmp_path / "ask.csv", tmp_path / "answer.xlsx")
    with pytest.raises(ModelError, match="not a finished fit"):
        perturbseq.predict(tmp_path, tmp_path / "ask.csv", tmp_path / "answer.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["ask.csv"]
