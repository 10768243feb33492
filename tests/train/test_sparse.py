import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array

from screenwise.train import sparse
from screenwise.train.sparse import LazyAdam, SparseBatch, SparseLinear


def batch_of(rows=13, columns=29, density=0.2, seed=0):
    rng = np.random.default_rng(seed)
    return csr_array(random_array((rows, columns), density=density, rng=rng, dtype=np.float32))


def test_forward_and_gradient_are_those_of_the_dense_product():
    x = batch_of()
    layer = SparseLinear(29, 7)
    weight = layer.weight.detach().clone().requires_grad_()
    upstream = torch.randn(13, 7)
    (layer(SparseBatch.from_csr(x)) * upstream).sum().backward()
    dense = torch.from_numpy(x.toarray()) @ weight + layer.bias
    (dense * upstream).sum().backward()
    torch.testing.assert_close(layer(SparseBatch.from_csr(x)), dense)
    assert layer.weight.grad.is_sparse
    torch.testing.assert_close(layer.weight.grad.to_dense(), weight.grad)
    used = np.unique(x.indices)
    assert layer.weight.grad.coalesce().indices()[0].tolist() == used.tolist()


def test_gradient_matches_finite_differences():
    x = batch_of(3, 5, 0.5)
    layer = SparseLinear(5, 2)
    batch = SparseBatch.from_csr(x)
    layer(batch).square().sum().backward()
    grad = layer.weight.grad.to_dense()
    with torch.no_grad():
        for place in [(int(x.indices[0]), 0), (int(x.indices[1]), 1)]:
            values = []
            for shift in (1e-2, -2e-2):
                layer.weight[place] += shift
                values.append(float(layer(batch).square().sum()))
            assert (values[0] - values[1]) / 2e-2 == pytest.approx(float(grad[place]), rel=1e-2)
            layer.weight[place] += 1e-2


def test_empty_rows_give_the_bias():
    layer = SparseLinear(4, 3)
    out = layer(SparseBatch.from_csr(csr_array((2, 4), dtype=np.float32)))
    torch.testing.assert_close(out, layer.bias.expand(2, 3))
    out.sum().backward()
    assert layer.weight.grad.to_dense().abs().sum() == 0


def test_the_buffer_of_one_step_does_not_leak_into_the_next():
    layer = SparseLinear(29, 7)
    for seed in (1, 2):
        x = batch_of(seed=seed)
        layer.zero_grad(set_to_none=True)
        layer(SparseBatch.from_csr(x)).sum().backward()
        expected = torch.from_numpy(x.toarray()).sum(dim=0)[:, None].expand(29, 7)
        torch.testing.assert_close(layer.weight.grad.to_dense(), expected)


def test_lazy_adam_is_adam_where_every_row_is_touched():
    x = csr_array(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    lazy = SparseLinear(4, 3)
    weight = torch.nn.Parameter(lazy.weight.detach().clone())
    ours = LazyAdam([lazy.weight], lr=0.05, weight_decay=0.1)
    theirs = torch.optim.AdamW([weight], lr=0.05, weight_decay=0.1)
    for _ in range(20):
        for optimiser in (ours, theirs):
            optimiser.zero_grad()
        lazy(SparseBatch.from_csr(x)).square().sum().backward()
        (torch.from_numpy(x.toarray()) @ weight + lazy.bias.detach()).square().sum().backward()
        ours.step()
        theirs.step()
    torch.testing.assert_close(lazy.weight, weight, rtol=1e-4, atol=1e-5)


def test_lazy_adam_is_sparse_adam_of_torch():
    weights = [torch.nn.Parameter(torch.arange(12.0).reshape(4, 3).clone()) for _ in range(2)]
    optimisers = [LazyAdam([weights[0]], lr=0.1), torch.optim.SparseAdam([weights[1]], lr=0.1)]
    for step in range(5):
        rows = torch.tensor([[step % 4, 3]])[:, : 1 if step % 4 == 3 else 2]
        values = torch.full((rows.shape[1], 3), 0.5 + step)
        for weight, optimiser in zip(weights, optimisers, strict=True):
            weight.grad = torch.sparse_coo_tensor(rows, values, (4, 3), check_invariants=True).coalesce()
            optimiser.step()
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_the_update_for_other_devices_is_the_same(monkeypatch):
    found = []
    for update in (sparse._update_rows_cpu, sparse._update_rows):
        monkeypatch.setattr(sparse, "_update_rows_cpu", update)
        torch.manual_seed(0)
        layer = SparseLinear(29, 7)
        optimiser = LazyAdam([layer.weight], lr=0.01, weight_decay=0.1)
        for seed in range(4):
            layer.zero_grad(set_to_none=True)
            layer(SparseBatch.from_csr(batch_of(seed=seed))).square().sum().backward()
            optimiser.step()
        found.append(layer.weight.detach())
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_the_layer_on_an_accelerator_is_the_same():
    if not torch.cuda.is_available():
        pytest.skip("no accelerator here")
    layer = SparseLinear(29, 7)
    there = SparseLinear(29, 7).to("cuda")
    there.load_state_dict(layer.state_dict())
    outputs = []
    for one, device in ((layer, "cpu"), (there, "cuda")):
        out = one(SparseBatch.from_csr(batch_of(), device))
        out.square().sum().backward()
        outputs.append((out.detach().cpu(), one.weight.grad.to_dense().cpu()))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
