import threading

import numpy as np
import pytest

from screenwise.train.device import limit_threads
from screenwise.train.threads import in_parts


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [0, 1, 2, 7, 100])
def test_parts_cover_every_row_once(threads, rows):
    work = np.cumsum(np.append(0, np.arange(rows) % 3))
    found = np.zeros(rows, int)

    def count(part):
        found[part[0] : part[1]] += 1

    with limit_threads(threads):
        in_parts(count, work=work)
    assert (found == 1).all()


def test_parts_run_at_the_same_time():
    both = threading.Barrier(2, timeout=20)
    with limit_threads(2):
        in_parts(lambda part: both.wait(), work=np.arange(3))
        in_parts(lambda part: both.wait(), work=np.arange(3))


@pytest.mark.parametrize("wrong", [0, 4])
def test_an_error_in_any_part_is_raised_and_the_threads_go_on(wrong):
    def fail(part):
        if part[0] <= wrong < part[1]:
            raise ValueError(wrong)

    with limit_threads(3):
        for _ in range(3):
            with pytest.raises(ValueError, match=str(wrong)):
                in_parts(fail, work=np.arange(6))
        in_parts(lambda part: None, work=np.arange(6))


def test_work_of_nothing_is_one_part():
    found = []
    with limit_threads(2):
        in_parts(found.append, work=np.zeros(4, int))
    assert sorted(found) == [(0, 3)]
