from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, vstack

from screenwise.errors import ConfigError
from screenwise.train import sparse_skipped
from screenwise.train.device import limit_threads
from screenwise.train.optimisers import clip_gradients
from screenwise.train.sparse import SparseLinear
from screenwise.train.sparse_adam import DeferredAdam
from screenwise.train.sparse_batch import SparseBatch

COLUMNS, HIDDEN, ROWS = 600, 5, 8


def zipf(seed, rows=ROWS, columns=COLUMNS):
    """Counts in columns that are rarer the later they come; most columns wait many steps."""
    rng = np.random.default_rng(seed)
    often = np.minimum(6 / np.arange(1, columns + 1), 0.9)
    hit = rng.random((rows, columns)) < often
    return csr_array(np.where(hit, rng.integers(1, 4, (rows, columns)), 0).astype(np.float32))


def make_layer(dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SparseLinear(COLUMNS, HIDDEN, 40).to(dtype)


def target(seed, dtype=torch.float32, rows=ROWS):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, HIDDEN))).to(dtype)


def error(out, seed):
    return (torch.tanh(out) - target(seed, out.dtype, len(out))).square().mean()


def step(layer, optimiser, seed):
    loss = error(layer(SparseBatch.from_csr(zipf(seed))), seed)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def dense_twin(layer, steps, rate, **settings_of_adam):
    """Train the same weight with torch's AdamW and a dense gradient."""
    weight = torch.nn.Parameter(layer.weight.detach().clone())
    adam = torch.optim.AdamW([weight], **{"weight_decay": 0.0} | settings_of_adam)
    losses = []
    for seed in range(steps):
        adam.param_groups[0]["lr"] = rate(seed)
        adam.zero_grad()
        loss = error(torch.from_numpy(zipf(seed).toarray()).to(weight.dtype) @ weight + layer.bias.detach(), seed)
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    return weight.detach(), losses


def trained(layer, steps, rate, *, compact=False, **settings_of_adam):
    optimiser = DeferredAdam([layer], compact=compact, **settings_of_adam)
    losses = []
    for seed in range(steps):
        optimiser.param_groups[0]["lr"] = rate(seed)
        losses.append(step(layer, optimiser, seed))
    optimiser.close()
    return layer.weight.detach(), losses


def falling(seed):
    return 3e-3 * (0.55 + 0.45 * np.cos(seed / 130))


def pausing(seed):
    return 3e-3 * (seed % 7 > 1)


@pytest.mark.parametrize(
    ("compact", "decay", "rate"),
    [(False, 0.0, falling), (False, 0.05, falling), (True, 0.05, falling), (False, 0.0, pausing)],
)
def test_weights_are_those_of_dense_adam_after_400_steps(compact, decay, rate):
    expected, losses = dense_twin(make_layer(), 400, rate, weight_decay=decay)
    found, own = trained(make_layer(), 400, rate, compact=compact, weight_decay=decay)
    assert float((expected - make_layer().weight).detach().abs().max()) > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(own, losses, rtol=0, atol=5e-6)
    if decay == 0:
        # a beta rounded to float32 shows here; with decay, so does torch's rounding of what it keeps in each step
        assert float((found - expected).abs().median()) < 1.5e-7


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_in_double_precision_nothing_is_lost(decay):
    expected, _ = dense_twin(make_layer(torch.float64), 150, falling, weight_decay=decay, eps=1e-13)
    found, _ = trained(make_layer(torch.float64), 150, falling, weight_decay=decay, eps=1e-13)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("eps", [1e-8, 1e-4, 1e-2])
def test_eps_counts_where_gradients_are_small(eps):
    """Roots of second moments are here between a hundredth and a thousand times the larger eps."""
    expected, _ = dense_twin(make_layer(), 100, falling, eps=eps)
    found, _ = trained(make_layer(), 100, falling, eps=eps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_catching_up_all_rows_now_and_then_changes_no_weight_beyond_rounding(monkeypatch):
    expected, _ = trained(make_layer(), 60, falling, weight_decay=0.05)
    monkeypatch.setattr(sparse_skipped, "LONGEST", 7)
    found, _ = trained(make_layer(), 60, falling, weight_decay=0.05)
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)


def test_looking_between_steps_changes_no_bit():
    plain, _ = trained(make_layer(), 20, falling)
    layer = make_layer()
    optimiser = DeferredAdam([layer])
    for seed in range(20):
        optimiser.param_groups[0]["lr"] = falling(seed)
        step(layer, optimiser, seed)
        with torch.no_grad():
            layer(SparseBatch.from_csr(zipf(100 + seed)))
        optimiser.state_dict()
    optimiser.close()
    assert torch.equal(layer.weight, plain)


@pytest.mark.parametrize("compact", [False, True])
def test_the_layer_shows_present_weights_before_and_after_catching_up(compact):
    layer = make_layer()
    optimiser = DeferredAdam([layer], lr=0.01, weight_decay=0.1, compact=compact)
    for seed in range(10):
        step(layer, optimiser, seed)
    batch = SparseBatch.from_csr(csr_array(np.eye(COLUMNS, dtype=np.float32)))
    with torch.no_grad():
        waiting = layer(batch)
        assert not torch.allclose(layer.weight + layer.bias, waiting, atol=1e-3)
        optimiser.catch_up()
        torch.testing.assert_close(layer(batch), waiting, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(layer.weight + layer.bias, waiting, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("hidden", [3, 16, 40, 75])
def test_no_bit_depends_on_the_number_of_threads(hidden):
    found = []
    for threads in (1, 2, 3, 8):
        with limit_threads(threads):
            torch.manual_seed(0)
            layer = SparseLinear(COLUMNS, hidden)
            optimiser = DeferredAdam([layer], lr=0.01, weight_decay=0.1)
            for seed in range(6):
                layer(SparseBatch.from_csr(zipf(seed))).tanh().square().sum().backward()
                clip_gradients(layer, 0.5)
                optimiser.step()
            optimiser.close()
            found.append(layer.weight.detach())
    for first, second in pairwise(found):
        assert torch.equal(first, second)


@pytest.mark.parametrize("to", [False, True], ids=["to loops", "to tables"])
@pytest.mark.parametrize("of", [False, True], ids=["of loops", "of tables"])
def test_state_goes_on_in_either_form(of, to):
    expected, _ = trained(make_layer(), 30, falling, compact=of, weight_decay=0.05)
    first, second = make_layer(), make_layer()
    old = DeferredAdam([first], compact=of, weight_decay=0.05)
    for seed in range(18):
        old.param_groups[0]["lr"] = falling(seed)
        step(first, old, seed)
    new = DeferredAdam([second], compact=to, weight_decay=0.05)
    second.load_state_dict(first.state_dict())
    new.load_state_dict(old.state_dict())
    for seed in range(18, 30):
        new.param_groups[0]["lr"] = falling(seed)
        step(second, new, seed)
    new.close()
    if of == to:
        assert torch.equal(second.weight, expected)
    torch.testing.assert_close(second.weight.detach(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("compact", [False, True])
def test_two_backward_passes_are_one_of_both_batches(compact):
    joint, split = make_layer(), make_layer()
    for layer, parts in ((joint, [(0, 1)]), (split, [(0,), (1,)])):
        optimiser = DeferredAdam([layer], lr=0.01, compact=compact)
        for _ in range(3):
            for seeds in parts:
                batch = SparseBatch.from_csr(csr_array(vstack([zipf(seed) for seed in seeds])))
                layer(batch).tanh().square().sum().backward()
            optimiser.step()
        optimiser.close()
    torch.testing.assert_close(joint.weight, split.weight, rtol=0, atol=2e-6)


@pytest.mark.parametrize("compact", [False, True])
def test_gradients_can_be_dropped_and_a_step_without_any_is_none(compact):
    layer = make_layer()
    before = layer.weight.detach().clone()
    optimiser = DeferredAdam([layer], weight_decay=0.1, compact=compact)
    error(layer(SparseBatch.from_csr(zipf(0))), 0).backward()
    assert layer.weight.grad is None
    optimiser.zero_grad()
    optimiser.step()
    optimiser.close()
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("compact", [False, True])
def test_clipping_is_that_of_a_dense_gradient(compact):
    layer, plain = make_layer(), make_layer()
    optimiser = DeferredAdam(
        [layer], lr=0.01, eps=1.0, compact=compact
    )  # with a large eps the size of a gradient counts
    for seed in range(2):
        error(layer(SparseBatch.from_csr(zipf(seed))), seed).backward()
        error(plain(SparseBatch.from_csr(zipf(seed))), seed).backward()
    length = clip_gradients(layer, 1e-3)
    dense = torch.cat([plain.weight.grad.to_dense().ravel(), plain.bias.grad])
    assert length == pytest.approx(float(dense.norm()), rel=1e-5)
    assert clip_gradients(layer, 1e9) == pytest.approx(1e-3, rel=1e-5)
    weight = torch.nn.Parameter(plain.weight.detach().clone())
    weight.grad = plain.weight.grad.to_dense() * (1e-3 / length)
    torch.optim.Adam([weight], lr=0.01, eps=1.0).step()
    optimiser.step()
    optimiser.close()
    torch.testing.assert_close(layer.weight, weight, rtol=0, atol=1e-7)


@pytest.mark.parametrize("compact", [False, True])
def test_a_batch_without_any_entry_moves_the_others_by_their_momentum(compact):
    layer = make_layer()
    empty = csr_array((3, COLUMNS), dtype=np.float32)
    optimiser = DeferredAdam([layer], lr=0.01, compact=compact)
    step(layer, optimiser, 0)
    optimiser.catch_up()
    before = layer.weight.detach().clone()
    layer(SparseBatch.from_csr(empty)).sum().backward()
    optimiser.step()
    optimiser.close()
    used = np.unique(zipf(0).indices)
    moved = (layer.weight.detach() - before).abs().amax(dim=1).numpy() > 0
    assert moved[used].all()
    assert moved.sum() == len(used)


def test_unseen_columns_take_no_moments():
    layer = make_layer()
    optimiser = DeferredAdam([layer])
    for seed in range(3):
        step(layer, optimiser, seed)
    seen = np.unique(np.concatenate([zipf(seed).indices for seed in range(3)]))
    assert len(optimiser.state_dict()["state"][0]["moments"]) == len(seen)


@settings(max_examples=25, deadline=None)
@given(
    used=st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=12),
    rate=st.floats(1e-4, 1e-1),
    decay=st.sampled_from([0.0, 0.3]),
)
def test_any_order_of_uses_is_dense_adam(used, rate, decay):
    layer = SparseLinear(6, 2)
    weight = torch.nn.Parameter(layer.weight.detach().clone())
    optimiser = DeferredAdam([layer], lr=rate, weight_decay=decay)
    adam = torch.optim.AdamW([weight], lr=rate, weight_decay=decay)
    for columns in used:
        row = np.bincount(columns, minlength=6).astype(np.float32)[None]
        (layer(SparseBatch.from_csr(csr_array(row))) - 1).square().sum().backward()
        adam.zero_grad()
        (torch.from_numpy(row) @ weight + layer.bias.detach() - 1).square().sum().backward()
        optimiser.step()
        adam.step()
    optimiser.close()
    torch.testing.assert_close(layer.weight, weight, rtol=1e-4, atol=3e-5)


def test_what_cannot_be_deferred_is_refused():
    layer = make_layer()
    with pytest.raises(ConfigError, match="cannot be deferred"):
        DeferredAdam([layer], betas=(0.9, 0.5))
    with pytest.raises(ConfigError, match="cannot be deferred"):
        DeferredAdam([layer], eps=0.0)
    DeferredAdam([layer])
    with pytest.raises(ConfigError, match="has a DeferredAdam already"):
        DeferredAdam([layer])
