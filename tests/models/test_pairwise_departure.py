import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ModelError
from screenwise.models.pairwise import PeperGP, Salt
from screenwise.models.pairwise_departure import Departures, Sums
from screenwise.models.pairwise_posterior import pair_posterior
from screenwise.protocols import Embeds, HasPosterior, Model
from screenwise.screen import make_screen

NAMES = list("ABCDEFGH")
PLACES = [(a, b) for a in range(8) for b in range(a + 1, 8)]


def screen(doubles):
    single = np.random.default_rng(0).normal(size=(8, 6))
    double = np.array([np.tanh(single[a] + single[b]) for a, b in PLACES])
    genes = {
        "gene_a": ["", *NAMES, *(NAMES[a] for a, _ in PLACES)],
        "gene_b": [""] * 9 + [NAMES[b] for _, b in PLACES],
    }
    level = np.vstack([np.zeros(6), np.tanh(single), double])
    return make_screen(pd.DataFrame(genes).iloc[: 9 + doubles], level[: 9 + doubles], list("uvwxyz"))


ASKED = pd.DataFrame({"gene_a": [NAMES[a] for a, _ in PLACES], "gene_b": [NAMES[b] for _, b in PLACES]})


def test_departures_are_a_model_with_a_joint_posterior():
    model = PeperGP().fit(screen(18))
    view = Departures.of(model)
    assert isinstance(view, HasPosterior)
    assert isinstance(view, Model)
    prediction, joint = view.predict(ASKED), pair_posterior(model, ASKED)
    np.testing.assert_allclose(prediction.mean[:, 0], joint.mean, rtol=1e-6)
    np.testing.assert_allclose(prediction.std[:, 0] ** 2, joint.variance + joint.noise, rtol=1e-5)
    np.testing.assert_allclose(view.posterior(ASKED).covariance(3), joint.covariance(3))


def test_measured_pairs_are_better_known_than_the_others():
    std = Departures.of(PeperGP().fit(screen(18))).predict(ASKED).std[:, 0]
    assert std[:18].max() < std[18:].min()


@pytest.mark.parametrize("model", [Salt().fit(screen(18)), PeperGP().fit(screen(2)), PeperGP()])
def test_a_model_that_learnt_no_departures_has_no_view(model):
    assert Departures.of(model) is None


def test_sums_lie_apart_by_what_singles_do():
    view = Sums(Salt().fit(screen(0)))
    assert isinstance(view, Embeds)
    place = view.embed(ASKED)
    assert place.shape == (len(ASKED), 6)
    np.testing.assert_allclose(place.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(view.predict(ASKED).mean[:, 0], np.linalg.norm(place, axis=1), rtol=1e-6)


def test_a_view_is_made_from_a_model_never_loaded(tmp_path):
    with pytest.raises(ModelError, match="made from a fitted model"):
        Departures.load(tmp_path)
