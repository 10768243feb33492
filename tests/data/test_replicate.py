"""Aggregation of replicates with qualifiers."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from screenwise.data.replicate import BOTH_SIDES, aggregate_replicates, one_row_per_condition
from screenwise.screen import Screen, make_screen

reading = st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0, 12), st.sampled_from([-1, 0, 1]))


def aggregate(readings):
    row, task, value, relation = (np.array(part) for part in zip(*readings, strict=True))
    return aggregate_replicates(row, task, value, relation)


@given(st.lists(reading, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_rules_hold_and_order_does_not_matter(readings, random):
    cells = aggregate(readings)
    keys = list(zip(cells["row"], cells["task"], strict=True))
    assert keys == sorted({(row, task) for row, task, _, _ in readings})
    for cell in cells.itertuples():
        mine = [(v, r) for row, task, v, r in readings if (row, task) == (cell.row, cell.task)]
        exact = [v for v, r in mine if r == 0]
        lower, upper = [v for v, r in mine if r == 1], [v for v, r in mine if r == -1]
        if exact:
            assert (cell.value, cell.relation) == (np.median(exact), 0)
            assert cell.replicates == len(exact)
        elif lower and upper:
            assert cell.reason == BOTH_SIDES
            continue
        else:
            assert (cell.value, cell.relation) == ((max(lower), 1) if lower else (min(upper), -1))
        assert cell.reason == ""
    shuffled = list(readings)
    random.shuffle(shuffled)
    assert aggregate(shuffled).equals(cells)


def test_nothing_in_nothing_out():
    empty = np.array([], dtype=np.int64)
    assert aggregate_replicates(empty, empty, empty.astype(float), empty).empty


def test_of_rows_that_disagree_on_yes_or_no_yes_counts():
    genes = pd.DataFrame({"gene": ["MYC", "MYC", "TP53", "TP53"]})
    values = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 3.0], [0.0, 5.0]])
    screen = make_screen(genes, values, ["yes_no", "amount"])
    screen = Screen(screen.conditions, screen.tasks.assign(kind=["classification", "regression"]), screen.targets)
    assert one_row_per_condition(screen).targets.value.tolist() == [[1.0, 0.5], [0.0, 4.0]]
