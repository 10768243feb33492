import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array

from screenwise.errors import DataError
from screenwise.train.device import limit_threads
from screenwise.train.sparse import SparseLinear
from screenwise.train.sparse_batch import SparseBatch


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


def test_a_layer_of_another_type_goes_through_the_embedding_bag():
    x = batch_of()
    layer = SparseLinear(29, 7)
    exact = SparseLinear(29, 7).double()
    exact.load_state_dict(layer.state_dict())
    for one in (layer, exact):
        one(SparseBatch.from_csr(x)).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad.to_dense(), exact.weight.grad.to_dense().float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("hidden", [1, 7, 16, 33])
def test_no_bit_depends_on_the_number_of_threads(hidden):
    found = []
    for threads in (1, 2, 5):
        with limit_threads(threads):
            torch.manual_seed(0)
            layer = SparseLinear(29, hidden)
            out = layer(SparseBatch.from_csr(batch_of()))
            out.square().sum().backward()
            found.append((out.detach(), layer.weight.grad.coalesce().values()))
    for out, gradient in found[1:]:
        assert torch.equal(out, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_wide_indices_and_memory_that_may_not_be_written_are_as_good():
    x = batch_of()
    layer = SparseLinear(29, 7)
    expected = layer(SparseBatch.from_csr(x))
    x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    x.data.flags.writeable = x.indices.flags.writeable = False
    assert torch.equal(layer(SparseBatch.from_csr(x)), expected)


def test_a_wider_matrix_is_refused():
    with pytest.raises(DataError, match=r"column 28, but the layer reads 20 columns"):
        SparseLinear(20, 3)(SparseBatch.from_csr(batch_of(density=0.9)))


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
