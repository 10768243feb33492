"""Which optimiser trains which weight of a network, and a limit to all their gradients."""

import math

import torch
from torch import nn

from screenwise.train.sparse import SparseLinear
from screenwise.train.sparse_adam import DeferredAdam


def make_optimisers(network: nn.Module, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Return AdamW for dense weights and `DeferredAdam` for the weights of sparse layers; biases never decay."""
    layers = [module for module in network.modules() if isinstance(module, SparseLinear)]
    layers = [layer for layer in layers if layer.weight.requires_grad]
    known = {id(layer.weight) for layer in layers}
    dense = [weight for weight in network.parameters() if id(weight) not in known and weight.requires_grad]
    matrices = [weight for weight in dense if weight.ndim > 1]
    others = [weight for weight in dense if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    found: list[torch.optim.Optimizer] = []
    if dense:
        # fused: unfused, each of its ten passes takes fresh memory
        present = [group for group in groups if group["params"]]
        found.append(torch.optim.AdamW(present, lr=rate, fused=True))
    if layers:
        found.append(DeferredAdam(layers, lr=rate, weight_decay=weight_decay))
    return found


def clip_gradients(network: nn.Module, most: float) -> float:
    """Scale all gradients, sparse ones too, so that their joint length is at most `most`; return it before."""
    dense = []
    for weight in network.parameters():
        if weight.grad is not None and weight.grad.is_sparse:
            weight.grad = weight.grad.coalesce()
        if weight.grad is not None:
            dense.append(weight.grad.values() if weight.grad.is_sparse else weight.grad)
    waiting = [module.deferred for module in network.modules() if isinstance(module, SparseLinear) and module.deferred]
    squares = [float(gradient.square().sum()) for gradient in dense] + [rows.squared_length() for rows in waiting]
    length = math.sqrt(sum(squares))
    if length > most:
        for gradient in dense:
            gradient.mul_(most / length)
        for rows in waiting:
            rows.scale(most / length)
    return length
