"""Models of compounds say where they may be trusted, by the same rule as a search over all pairs."""

import numpy as np
import pandas as pd
import pytest

from screenwise.data.split import make_folds
from screenwise.evaluate.compare import compare
from screenwise.evaluate.domain import learn_threshold
from screenwise.models import MODELS, load_model, make_model, model_class, save_model
from screenwise.models.neighbourhood import HAIR, Neighbourhood
from screenwise.represent.fingerprint import Fingerprint
from screenwise.represent.tanimoto import count_tanimoto
from screenwise.screen import make_screen

HEADS = ["c1ccccc1", "c1ccncc1", "c1ccsc1", "C1CCCCC1", "c1ccc2[nH]ccc2c1"]
TAILS = ["O", "N", "CC", "C(=O)O", "CCN", "CO", "CCCO", "OCCO", "CCCCN", "CCCCC"]
FAR = "FC(F)(F)S(=O)(=O)P(=O)(Br)I"


def compounds():
    return pd.DataFrame({"smiles": [tail + head for head in HEADS for tail in TAILS]})


def two_tasks():
    """The first task is measured on the first three ring systems, the second on the last two, a third never."""
    conditions = compounds()
    value = np.full((len(conditions), 3), np.nan, np.float32)
    value[:30, 0] = conditions["smiles"].str.len()[:30] / 5
    value[30:, 1] = conditions["smiles"].str.len()[30:] / 5
    return make_screen(conditions, value, ["first", "second", "never"])


def numbers(rows, centre=0.0):
    x = np.random.default_rng(3).normal(centre, 1, (rows, 3))
    frame = pd.DataFrame(x, columns=[f"feature:x{place}" for place in range(3)])
    frame.insert(0, "gene", [f"G{place}" for place in range(rows)])
    return frame, make_screen(frame, (2 * x[:, [0]]).astype(np.float32), ["growth"])


def test_flags_are_those_of_a_search_over_all_pairs():
    screen = two_tasks()
    asked = pd.DataFrame({"smiles": ["CCC" + head for head in HEADS] + [FAR, "C1CC"]})
    inside = Neighbourhood(screen).inside(asked)
    fingerprint = Fingerprint("morgan", radius=3, chiral=True, on_error="empty")
    known, counts = fingerprint.transform(screen.conditions), fingerprint.transform(asked)
    for task, rows in enumerate([np.arange(30), np.arange(30, 50)]):
        among = count_tanimoto(known[rows]).astype(np.float64)
        np.fill_diagonal(among, -1)
        threshold = learn_threshold(among.max(axis=1))
        expected = count_tanimoto(counts, known[rows]).max(axis=1) >= threshold - HAIR
        expected[-1] = False
        assert inside[:, task].tolist() == expected.tolist()
    assert not inside[:, 2].any(), "of a task that was never measured nothing is known"
    assert inside[0, 0]
    assert not inside[0, 1]


def test_most_training_conditions_are_inside_and_order_plays_no_part():
    screen = two_tasks()
    order = np.random.default_rng(0).permutation(len(screen))
    inside = Neighbourhood(screen).inside(screen.conditions)
    shuffled = Neighbourhood(screen.take(order)).inside(screen.conditions)
    np.testing.assert_array_equal(inside, shuffled)
    assert inside[:30, 0].mean() >= 0.95
    assert inside[30:, 1].mean() >= 0.95


def test_a_lone_condition_knows_itself_only():
    alone = make_screen(pd.DataFrame({"smiles": ["CCO"]}), np.ones((1, 1), np.float32), ["a"])
    asked = pd.DataFrame({"smiles": ["CCO", "CCCO"]})
    assert Neighbourhood(alone).inside(asked).ravel().tolist() == [True, False]


def test_a_task_of_few_cells_takes_the_common_threshold():
    conditions = compounds()
    value = np.full((len(conditions), 2), np.nan, np.float32)
    value[:, 0] = 1.0
    value[[0, 49], 1] = 1.0
    inside = Neighbourhood(make_screen(conditions, value, ["many", "two"])).inside(conditions)
    assert inside[0, 1], "the condition itself"
    assert inside[:10, 1].sum() > 1, "and its relatives: its own threshold would be the similarity of the odd two"
    assert not inside[10:30, 1].all()


def test_what_says_nothing_of_likeness_gives_no_flag():
    screen = make_screen(pd.DataFrame({"condition_id": ["a", "b"], "x": [1, 2]}), np.ones((2, 1)), ["t"])
    assert make_model("mean").fit(screen).predict(screen.conditions).in_domain is None
    assert make_model("mean").fit(two_tasks()).predict(pd.DataFrame({"gene": ["TP53"]})).in_domain is None


QUICK = {"multitask": {"epochs": 5, "hidden": (16,), "members": 1}, "forest": {"trees": 10}}


PAIRWISE = ("salt", "scaled_salt", "peper_gp", "peper", "growth_interaction")
"""Models of gene combinations refuse compounds; their own tests ask for their domain."""


@pytest.mark.parametrize("name", [name for name in MODELS if name not in PAIRWISE])
def test_every_model_says_true_or_false_also_when_loaded(name, tmp_path):
    screen = two_tasks()
    model = make_model(name, model_class(name).Config(**QUICK.get(name, {}))).fit(screen, seed=1)
    asked = pd.DataFrame({"smiles": [screen.conditions["smiles"][0], FAR]})
    found = model.predict(asked)
    assert found.in_domain is not None
    assert found.in_domain.dtype == bool
    inside = found.in_domain.reshape(2, -1)
    assert inside[0, 0]
    assert not inside[1].any()
    save_model(model, name, tmp_path / "model")
    np.testing.assert_array_equal(load_model(tmp_path / "model").predict(asked).in_domain, found.in_domain)


@pytest.mark.parametrize("name", ["mean", "neighbours", "ridge", "forest"])
def test_numbers_far_from_those_seen_are_outside(name):
    near, screen = numbers(80)
    far, _ = numbers(20, centre=30.0)
    model = make_model(name, model_class(name).Config(**QUICK.get(name, {}))).fit(screen)
    assert model.predict(near).in_domain.mean() > 0.9
    assert not model.predict(far).in_domain.any()


def test_auto_that_chose_a_simple_model_says_so_too():
    frame, _ = numbers(60)
    noise = np.random.default_rng(9).normal(size=(60, 1)).astype(np.float32)
    model = make_model("auto").fit(make_screen(frame, noise, ["noise"]))
    inside = model.predict(frame).in_domain
    assert inside is not None
    assert inside.mean() > 0.9


def test_a_comparison_does_not_learn_domains(monkeypatch):
    monkeypatch.setattr(Neighbourhood, "inside", lambda *_: pytest.fail("compare asked for the domain"))
    screen = two_tasks()
    models = {name: (lambda name=name: make_model(name)) for name in ("mean", "neighbours", "ridge", "svr")}
    scores = compare(screen, models, {"random": make_folds("random", screen, folds=2)}).scores
    assert set(scores["model"]) == set(models)


@pytest.mark.parametrize("name", ["mean", "ridge", "auto"])
def test_single_cells_are_predicted_as_whole_rows(name):
    screen = two_tasks()
    model = make_model(name).fit(screen)
    whole = model.predict(screen.conditions)
    row, task = np.array([3, 3, 49, 0]), np.array([0, 1, 1, 2])
    mean, std, *_ = model.predict_cells(screen.conditions, row, task)
    np.testing.assert_allclose(mean, whole.mean[row, task], rtol=1e-5)
    np.testing.assert_allclose(std, whole.std[row, task], rtol=1e-5)
