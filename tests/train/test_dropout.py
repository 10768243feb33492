import numpy as np
import pytest
import torch

from screenwise.errors import ConfigError
from screenwise.train.device import limit_threads
from screenwise.train.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_right_share_is_silent_and_the_mean_stays(share):
    out = Dropout(share)(torch.ones(1000, 300))
    kept = out > 0
    assert float(kept.float().mean()) == pytest.approx(1 - share, abs=0.004)
    assert float(out.mean()) == pytest.approx(1, abs=0.03)
    torch.testing.assert_close(out[kept], torch.full((int(kept.sum()),), 1 / (1 - share)))


def test_units_rows_and_draws_are_independent():
    layer = Dropout(0.5)
    first, second = ((layer(torch.ones(2000, 64)) > 0).numpy().astype(float) for _ in range(2))
    pairs = [(first, second), (first[:, 1:], first[:, :-1]), (first[1:], first[:-1]), (first[:, 8:], first[:, :-8])]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.015
    assert np.abs(first.mean(axis=0) - 0.5).max() < 0.06
    assert np.abs(first.mean(axis=1) - 0.5).max() < 0.35


def test_the_gradient_passes_where_the_unit_does():
    units = torch.randn(30, 17, requires_grad=True)
    out = Dropout(0.3)(units)
    out.sum().backward()
    torch.testing.assert_close(units.grad * units.detach(), out.detach())


def test_the_seed_decides_and_the_threads_do_not():
    found = []
    for threads in (1, 2, 5):
        with limit_threads(threads):
            torch.manual_seed(3)
            found.append(Dropout(0.4)(torch.ones(33, 7)))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], Dropout(0.4)(torch.ones(33, 7)))


def test_other_types_and_shapes_are_taken():
    for units in (torch.ones(5, 4, dtype=torch.float64), torch.ones(4, 5).T, torch.ones(0, 3), torch.ones(3, 2, 2)):
        assert Dropout(0.2)(units).shape == units.shape
        assert Dropout(0.2).eval()(units) is units


def test_a_wrong_share_is_refused():
    with pytest.raises(ConfigError, match="must be in"):
        Dropout(1.0)
