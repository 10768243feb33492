"""Compiled loops on several threads: as many as torch uses, each with a range of its own."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_POOLS: dict[int, ThreadPoolExecutor] = {}
"""By process: threads do not survive a fork."""


def in_parts(loop: Callable[..., None], *given: Any, work: NDArray[np.int64]) -> None:
    """Call ``loop(*given, (first, last))`` for ranges of about equal work, at the same time.

    Parameters
    ----------
    loop
        A compiled function that releases the interpreter, and whose results do not depend on the ranges.
    *given
        Its first arguments.
    work
        (n + 1,) cumulated work of the n rows that are divided.

    Examples
    --------
    >>> found = []
    >>> in_parts(lambda name, part: found.append((name, part)), "a", work=np.arange(4))
    >>> sorted(found)[0][1][0], sorted(found)[-1][1][1]
    (0, 3)
    """
    count = min(torch.get_num_threads(), max(1, len(work) - 1))
    cuts = np.searchsorted(work, work[0] + (work[-1] - work[0]) * np.arange(1, count) / count)
    edges = [0, *cuts.tolist(), len(work) - 1]
    parts = [(first, last) for first, last in pairwise(edges) if first < last]
    waiting = [_pool().submit(loop, *given, part) for part in parts[1:]]
    if parts:
        loop(*given, parts[0])
    for one in waiting:
        one.result()


def _pool() -> ThreadPoolExecutor:
    process = os.getpid()
    if process not in _POOLS:
        _POOLS.clear()
        _POOLS[process] = ThreadPoolExecutor(os.cpu_count(), "screenwise-train")
    return _POOLS[process]
