"""Work shared among processes: the same results in order, each item once, and nothing left behind."""

import multiprocessing
import operator
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from screenwise.errors import ConfigError, DataError, ProcessError
from screenwise.processes import Workers, check_sendable, cores
from screenwise.run import read_json

SCRIPT = """
from screenwise.processes import Workers, usual_jobs

if __name__ == "__main__":
    print(usual_jobs())
    with Workers(pow, 2, 2) as workers:
        print(list(workers.in_order([3, 1, 2])))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items(jobs):
    told = []
    with Workers(operator.sub, 10, jobs) as workers:
        assert list(workers.in_order(range(7), told.append)) == [10 - number for number in range(7)]
        # the same processes serve again
        assert dict(workers.as_done([5, 6])) == {5: 5, 6: 4}
        assert list(workers.in_order([])) == []
    assert told == list(range(1, 8))


def test_slow_items_do_not_change_the_order_and_come_last_as_done():
    with Workers(operator.call, time.sleep, 2) as workers:
        done = [item for item, _ in workers.as_done([1.0, 0.0, 0.01])]
        assert done[-1] == 1.0
        assert list(workers.in_order([0.3, 0.0])) == [None, None]


def test_here_an_item_runs_when_its_result_is_asked_for():
    ran = []
    with Workers(lambda shared, item: ran.append(item)) as workers:
        results = workers.in_order([1, 2, 3])
        next(results)
    assert ran == [1]


def test_an_error_of_an_item_comes_back_and_ends_the_processes():
    before = set(multiprocessing.active_children())
    with pytest.raises(ZeroDivisionError), Workers(operator.floordiv, 1, 2) as workers:
        list(workers.in_order([1, 0, 1]))
    assert set(multiprocessing.active_children()) <= before


def test_interrupted_work_ends_its_processes_at_once():
    before, began = set(multiprocessing.active_children()), time.monotonic()

    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Workers(operator.call, time.sleep, 2) as workers:
        list(workers.in_order([0.0, 300.0, 300.0], interrupt))
    assert set(multiprocessing.active_children()) <= before
    assert time.monotonic() - began < 200


INTERRUPTED = """
import operator, os, time
from screenwise.processes import Workers

def interrupt(done):
    raise KeyboardInterrupt

if __name__ == "__main__":
    try:
        with Workers(operator.call, time.sleep, 2) as workers:
            list(workers.in_order([0.0, 300.0], interrupt))
    except KeyboardInterrupt:
        os._exit(130)  # as the command line does: without the interpreter's clean-up
"""


def test_interrupted_work_leaves_no_semaphores_behind(tmp_path):
    (tmp_path / "own.py").write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, tmp_path / "own.py"], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_a_process_that_dies_is_our_error():
    with pytest.raises(ProcessError, match="ended without an answer"), Workers(operator.call, os._exit, 2) as workers:
        list(workers.in_order([3, 3]))


def test_processes_share_the_cores_and_do_not_hear_ctrl_c():
    with Workers(operator.call, os.getenv, 2) as workers:
        threads = list(workers.in_order(["NUMBA_NUM_THREADS"]))
    assert threads == [os.environ.get("NUMBA_NUM_THREADS", str(max(1, cores() // 2)))]
    with Workers(operator.call, Path.read_text, 2) as workers:
        (status,) = workers.in_order([Path("/proc/self/status")])
    blocked, ignored = (int(line.split()[1], 16) for line in status.splitlines() if line[:6] in ("SigBlk", "SigIgn"))
    assert (blocked | ignored) & 0b10


def test_what_cannot_be_sent_is_named():
    check_sendable(np.negative, "The utility")
    with pytest.raises(ConfigError, match=r"The policy 'x' cannot be sent .* jobs=1"):
        check_sendable(lambda: 0, "The policy 'x'")


def test_an_error_of_ours_keeps_its_kind():
    with pytest.raises(DataError, match="missing"), Workers(operator.call, read_json, 2) as workers:
        list(workers.in_order([Path("missing.json")]))


def test_a_script_gets_processes_only_where_it_asks_for_them(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n[8, 2, 4]\n"


def test_commands_and_notebooks_use_all_cores():
    code = "from screenwise.processes import *; print(usual_jobs() == cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
    with Workers(operator.call, eval, 2) as workers:
        assert list(workers.in_order(["__import__('screenwise.processes').processes.usual_jobs()"])) == [1]
