"""Where a network is trained: the device, its precision, its threads, and the seed of its random numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from screenwise.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")
"""Number formats of matrix products; weights and sums stay float32."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to train on: an accelerator when there is one, without being asked.

    Parameters
    ----------
    name
        ``"auto"``, or a device that torch knows: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    >>> choose_device("abacus")
    Traceback (most recent call last):
    ...
    screenwise.errors.ConfigError: There is no device 'abacus'; use auto, cpu, cuda or cuda:N.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        message = f"There is no device {name!r}; use auto, cpu, cuda or cuda:N."
        raise ConfigError(message) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        message = f"Device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices. Use auto or cpu."
        raise ConfigError(message)
    return device


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Give torch's random numbers a seed inside the block, and the caller's state back after it.

    Examples
    --------
    >>> with seeded(3, choose_device("cpu")):
    ...     first = torch.rand(1)
    >>> with seeded(3, choose_device("cpu")):
    ...     bool(torch.rand(1) == first)
    True
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def same_bits(device: torch.device) -> Iterator[None]:
    """Let an accelerator use only operations that give the same bits every time; the CPU always does."""
    if device.type != "cuda":
        yield
        return
    # cuBLAS reads this when its first handle is made; without it matrix products may differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before)


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` threads inside the block; None changes nothing.

    Sums of many numbers are split over threads, so the same bits need the same count.
    """
    if count is None:
        yield
        return
    if count < 1:
        message = f"The number of threads is {count}; it must be at least 1."
        raise ConfigError(message)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mixed_precision(device: torch.device, precision: str = "float32") -> torch.autocast:
    """Return the context in which matrix products run in `precision` (one of `PRECISIONS`)."""
    if precision not in PRECISIONS:
        message = f"There is no precision {precision!r}; use {' or '.join(PRECISIONS)}."
        raise ConfigError(message)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def device_of(network: nn.Module) -> torch.device:
    """Return the device that a network's weights are on."""
    return next(network.parameters()).device
