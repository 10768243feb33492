"""Trials run here, one after the other, or in several processes."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_all_start_methods, get_context
from multiprocessing.reduction import ForkingPickler
from typing import Any, Self

import pandas as pd

from screenwise.errors import ConfigError, ModelError
from screenwise.evaluate.trial import Trial, Work, run_trial

PATIENCE_SECONDS = 5.0
"""How long an interrupted comparison waits for its processes to end."""


class Runner:
    """Runs trials here or in processes, which end with it whatever happens."""

    def __init__(self, work: Work, jobs: int) -> None:
        self.work, self.pool = work, None
        if jobs <= 1:
            return
        for name, contender in work.contenders.items():
            try:
                ForkingPickler.dumps(contender.make)
            except Exception as error:
                message = (
                    f"The function that makes {name!r} cannot be sent to another process ({error}); "
                    "use a module's function or functools.partial, or jobs=1."
                )
                raise ConfigError(message) from error
        method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
        self.before = set(active_children())
        self.pool = ProcessPoolExecutor(jobs, get_context(method), _begin_process, (work, jobs))

    def __enter__(self) -> Self:
        return self

    def run(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, pd.DataFrame]]:
        """Yield each trial with its predictions as it is done, in any order."""
        if self.pool is None:
            yield from ((trial, run_trial(self.work, trial)) for trial in trials)
            return
        waiting = {self.pool.submit(_in_process, trial): trial for trial in trials}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            message = (
                "A process that fitted models ended without an answer: it was killed, or memory ran out. "
                "Use fewer jobs; the fits that were finished are kept if a folder was given."
            )
            raise ModelError(message) from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.pool is None:
            return
        children = set(active_children()) - self.before if kind is not None else set()
        for child in children:
            child.terminate()
        for child in children:
            child.join(PATIENCE_SECONDS)
        self.pool.shutdown(wait=kind is None, cancel_futures=True)


_WORK: list[Work] = []
"""In a process of `compare`: what it works on, received once."""


def _begin_process(work: Work, jobs: int) -> None:
    """Share the cores among the processes and leave Ctrl-C to the one that started them."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    threadpool_limits(threads)
    _WORK[:] = [work]


def _in_process(trial: Trial) -> pd.DataFrame:
    return run_trial(_WORK[0], trial)
