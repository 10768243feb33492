import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from screenwise.train import sparse_head
from screenwise.train.device import limit_threads
from screenwise.train.sparse_head import cell_outputs


def make(rows, units, tasks, cells, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    head = nn.Linear(units, tasks, dtype=dtype)
    rng = np.random.default_rng(seed)
    row, task = (torch.from_numpy(rng.integers(0, high, cells)) for high in (rows, tasks))
    return torch.randn(rows, units, dtype=dtype, requires_grad=True), head, row, task


def results(function, embedded, head, row, task):
    out = function(embedded, head, row, task)
    upstream = torch.linspace(-1, 1, len(row), dtype=out.dtype)
    return (out.detach(), *torch.autograd.grad(out, [embedded, head.weight, head.bias], upstream))


def dense(embedded, head, row, task):
    return head(embedded)[row, task]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 60), st.integers(0, 30), st.integers(0, 99))
def test_outputs_and_gradients_are_those_of_the_dense_product(rows, units, tasks, cells, seed):
    given_ = make(rows, units, tasks, cells, seed=seed)
    for found, expected in zip(results(cell_outputs, *given_), results(dense, *given_), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.001, 0.5])
def test_few_and_many_cells_agree_in_either_precision(monkeypatch, dtype, share):
    """Each form is also made to do the other's part."""
    given_ = make(20, 16, 100, round(2000 * share), dtype)
    found = [results(cell_outputs, *given_)]
    for bound in (0.0, 2.0):
        monkeypatch.setattr(sparse_head, "PAIRS_BELOW", bound)
        monkeypatch.setattr(sparse_head, "GATHERED_BELOW", bound)
        found.append(results(cell_outputs, *given_))
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_few_cells_of_many_tasks_need_no_dense_output():
    """Rows x tasks would be 40 GB."""
    embedded, head, row, task = make(100_000, 1, 100_000, 10)
    with torch.no_grad():
        out = cell_outputs(embedded, head, row, task)
    torch.testing.assert_close(
        out, embedded.detach()[row, 0] * head.weight.detach()[task, 0] + head.bias.detach()[task]
    )


def test_no_bit_depends_on_the_number_of_threads():
    given_ = make(50, 33, 400, 60)
    found = []
    for threads in (1, 2, 7):
        with limit_threads(threads):
            found.append(results(cell_outputs, *given_))
    for other in found[1:]:
        for first, second in zip(found[0][:3], other[:3], strict=True):
            assert torch.equal(first, second)


def test_half_precision_inputs_are_taken():
    embedded, head, row, task = make(10, 8, 200, 12)
    with torch.autocast("cpu", torch.bfloat16):
        low = cell_outputs(embedded.to(torch.bfloat16), head, row, task)
    torch.testing.assert_close(low.float(), dense(embedded, head, row, task), rtol=0.05, atol=0.05)
