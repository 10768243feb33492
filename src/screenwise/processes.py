"""Work shared out among processes: how they start, their threads, Ctrl-C, and the order of their results."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_all_start_methods, get_context, parent_process
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Self

from screenwise.errors import ConfigError, ProcessError

PATIENCE_SECONDS = 5.0
"""How long interrupted work waits for each of its processes to end."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""What libraries that a process has not loaded yet read their number of threads from."""


class Workers:
    """Runs one function on many items: here, or in processes that end with the block whatever happens.

    Processes are fresh ones, never forks of this one: a fork copies locks that numerical threads may
    hold. They share the cores, and leave Ctrl-C to the process that started them. A process reads the
    main script again, so a script that asks for them needs the usual ``if __name__ == "__main__"``.

    Parameters
    ----------
    function
        Called as ``function(shared, item)``; with more than one job a module's function or a
        `functools.partial` of one.
    shared
        What all items have in common; sent to each process once.
    jobs
        Processes; with 1 (or fewer) everything runs here, an item when its result is asked for.

    Examples
    --------
    >>> with Workers(pow, 2) as workers:
    ...     list(workers.in_order([3, 1, 2]))
    [8, 2, 4]
    """

    def __init__(self, function: Callable[[Any, Any], Any], shared: Any = None, jobs: int = 1) -> None:
        self.function, self.shared, self.jobs = function, shared, jobs
        self.pool: ProcessPoolExecutor | None = None
        self.before: set[Any] = set()

    def __enter__(self) -> Self:
        if self.jobs > 1:
            method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
            self.before = set(active_children())
            begin = (self.function, self.shared, max(1, cores() // self.jobs))
            self.pool = ProcessPoolExecutor(self.jobs, get_context(method), _begin, begin)
        return self

    def as_done(self, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield each item with its result, the first finished first; several calls use the same processes."""
        listed = list(items)
        for place, result in self._finished(listed):
            yield listed[place], result

    def in_order(self, items: Iterable[Any], tell: Callable[[int], None] | None = None) -> Iterator[Any]:
        """Yield the results in the order of the items.

        Parameters
        ----------
        items
            Any number of them; the same result whatever the number of processes.
        tell
            Called with the number of items finished, each time that one is.
        """
        early: dict[int, Any] = {}
        following = 0
        for done, (place, result) in enumerate(self._finished(list(items)), 1):
            if tell is not None:
                tell(done)
            early[place] = result
            while following in early:
                yield early.pop(following)
                following += 1

    def _finished(self, items: list[Any]) -> Iterator[tuple[int, Any]]:
        if self.pool is None:
            yield from ((place, self.function(self.shared, item)) for place, item in enumerate(items))
            return
        try:
            with _deaf_from_birth():
                waiting: dict[Future[Any], int] = {
                    self.pool.submit(_work, item): place for place, item in enumerate(items)
                }
            for future in as_completed(waiting):
                yield waiting.pop(future), future.result()
        except BrokenProcessPool as error:
            message = (
                "A process ended without an answer: it was killed, or memory ran out. Use fewer jobs; "
                "what was finished is kept if a folder was given."
            )
            raise ProcessError(message) from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.pool is None:
            return
        children = set(active_children()) - self.before if kind is not None else set()
        for child in children:
            child.terminate()
        for child in children:
            child.join(PATIENCE_SECONDS)
        # once its processes are gone the pool ends at once, and its semaphores with it: a command that leaves
        # without the interpreter's clean-up would leak them
        ended = kind is None or not any(child.is_alive() for child in children)
        self.pool.shutdown(wait=ended, cancel_futures=True)
        self.pool = None


def check_sendable(value: Any, what: str) -> None:
    """Refuse what no other process can be given, such as a lambda.

    Examples
    --------
    >>> check_sendable(lambda: 0, "The function")
    Traceback (most recent call last):
    ...
    screenwise.errors.ConfigError: The function cannot be sent to another process ... or jobs=1.
    """
    try:
        ForkingPickler.dumps(value)
    except Exception as error:
        message = (
            f"{what} cannot be sent to another process ({error}); "
            "use a module's function or functools.partial, or jobs=1."
        )
        raise ConfigError(message) from error


def cores() -> int:
    """Return the number of cores that this process may use.

    Examples
    --------
    >>> cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_jobs() -> int:
    """Return the processes to use where nobody said: one per core, but 1 in a script of the user's own.

    Each process reads the main script again. Installed commands, ``python -m`` of a package and
    notebooks are made for that; a script may not be, so it gets processes only where it asks for them.
    """
    if parent_process() is not None:
        return 1
    main = sys.modules["__main__"]
    name, path = getattr(main.__spec__, "name", None) or "", getattr(main, "__file__", None)
    ready = path is None or name.endswith("__main__") or Path(path).parent == Path(sys.executable).parent
    return cores() if ready else 1


_WORK: list[tuple[Callable[[Any, Any], Any], Any]] = []
"""In a process: the function and what all items share, received once."""


def _begin(function: Callable[[Any, Any], Any], shared: Any, threads: int) -> None:
    """Share the cores among the processes and leave Ctrl-C to the one that started them."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in THREADS:
        os.environ.setdefault(name, str(threads))
    threadpool_limits(threads)
    _WORK[:] = [(function, shared)]


def _work(item: Any) -> Any:
    function, shared = _WORK[0]
    return function(shared, item)


@contextmanager
def _deaf_from_birth() -> Iterator[None]:
    """Hold Ctrl-C back while processes start: they never hear it, and this one does right afterwards.

    Without this a process interrupted while it imports its libraries would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
