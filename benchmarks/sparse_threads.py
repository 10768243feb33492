"""What two threads gain in a step of the sparse network, and what two processes gain: more, no code can give."""

import multiprocessing
import threading
import time
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import torch

from screenwise.train import dropout, sparse_head, sparse_rows, sparse_sort
from screenwise.train.sparse_batch import SparseBatch
from screenwise.train.threads import in_parts

TOGETHER = 6
"""Steps that two processes do at the same time; the last may end alone, and is not counted."""


def two_threads(model, problem, steps):
    """Return how much faster two threads are.

    In wall time, by the fastest steps; in CPU seconds of what one thread does alone and of the longest parts, for the
    whole step and for the sparse layer: these say something on a busy machine too.
    """
    names = ("wall", "step", "cpu")
    found = {threads: {name: [] for name in names} for threads in (1, 2)}
    for place in range(3 * steps):
        step = 2 * problem.per_pass + 2 * place
        for threads, times in found.items():
            torch.set_num_threads(threads)
            which, cells = problem.take(step + threads)
            name = names[place % 3]
            if name == "wall":
                began = time.perf_counter()
                model.step(problem.x[which], cells)
                times[name].append(time.perf_counter() - began)
            elif name == "step":
                times[name].append(longest_thread(lambda: model.step(problem.x[which], cells)))  # noqa: B023 - at once
            else:
                times[name].append(longest_thread(lambda: layer_alone(model, problem, which)))  # noqa: B023
    torch.set_num_threads(1)
    gain = {name: np.median(found[1][name]) / np.median(found[2][name]) for name in ("step", "cpu")}
    return {name: float(one) for name, one in gain.items()} | {"wall": min(found[1]["wall"]) / min(found[2]["wall"])}


def layer_alone(model, problem, which):
    """Do the sparse layer's forward pass and update."""
    rows = model.first.deferred
    upstream = torch.full((problem.batch, problem.hidden), 1e-6)
    rows.sums(SparseBatch.from_csr(problem.x[which])).backward(upstream)
    rows.step(1e-6)


def longest_thread(work):
    """Return CPU seconds of what this thread does alone, and of the longest parts of what threads share."""
    main, alone, longest = threading.get_ident(), [], []

    def watched(loop, *given, work):
        parts = []

        def watch(*args):
            began = time.thread_time()
            loop(*args)
            parts.append((time.thread_time() - began, threading.get_ident() == main))

        in_parts(watch, *given, work=work)
        alone.append(-sum(seconds for seconds, mine in parts if mine))
        longest.append(max(parts)[0])

    with ExitStack() as stack:
        for module in (sparse_rows, sparse_sort, sparse_head, dropout):
            stack.enter_context(patch.object(module, "in_parts", watched))
        began = time.thread_time()
        work()
        return time.thread_time() - began + sum(alone) + sum(longest)


def ceiling(prepare, steps):
    """Return how many steps two processes of one thread do in the time in which one does one, by the fastest steps.

    ``prepare()`` returns a function that does some steps and returns their wall seconds.
    """
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    for _, far in pipes:
        context.Process(target=_answer, args=(far, prepare), daemon=True).start()
    near = [pipe for pipe, _ in pipes]
    for pipe in near:
        pipe.recv()
    walls = {1: [], 2: []}
    for _ in range(max(1, steps // TOGETHER)):
        for count, found in walls.items():
            for pipe in near[:count]:
                pipe.send(TOGETHER)
            found += [seconds for pipe in near[:count] for seconds in pipe.recv()[:-1]]
    for pipe in near:
        pipe.send(0)
    return 2 * min(walls[1]) / min(walls[2])


def _answer(pipe, prepare):
    torch.set_num_threads(1)
    work = prepare()
    pipe.send("ready")
    while count := pipe.recv():
        pipe.send(work(count))
