"""Compiled loops on several threads: as many as torch uses, each with a range of its own."""

import os
from collections.abc import Callable
from itertools import pairwise
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_POOLS: dict[int, tuple[SimpleQueue[Any], list[Thread]]] = {}
"""Parts that wait, and the threads that take them, by process: threads do not survive a fork. An executor's future
and its locks for each part would cost as much as the smaller loops gain."""


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
    last = len(work) - 1
    count = min(torch.get_num_threads(), last)
    if count <= 1:
        if last > 0:
            loop(*given, (0, last))
        return
    total = int(work[-1] - work[0])
    edges = [0, *work.searchsorted([int(work[0]) + total * part / count for part in range(1, count)]).tolist(), last]
    own, *others = ((first, end) for first, end in pairwise(edges) if first < end)
    asked, done = _workers(len(others)), SimpleQueue[BaseException | None]()
    for part in others:
        asked.put((loop, given, part, done))
    loop(*given, own)
    for error in [done.get() for _ in others]:
        if error is not None:
            raise error


def _workers(count: int) -> SimpleQueue[Any]:
    """Return the queue of this process's threads, of which there are at least `count`, or one for each processor."""
    process = os.getpid()
    if process not in _POOLS:
        _POOLS.clear()
        _POOLS[process] = (SimpleQueue(), [])
    asked, threads = _POOLS[process]
    while len(threads) < min(count, os.cpu_count() or 1):
        threads.append(Thread(target=_serve, args=(asked,), name="screenwise-train", daemon=True))
        threads[-1].start()
    return asked


def _serve(asked: SimpleQueue[Any]) -> None:
    while True:
        # in a function of its own, which holds nothing while the next part is waited for
        _do(*asked.get())


def _do(loop: Callable[..., None], given: tuple[Any, ...], part: tuple[int, int], done: SimpleQueue[Any]) -> None:
    try:
        loop(*given, part)
    except BaseException as error:
        done.put(error)
    else:
        done.put(None)
