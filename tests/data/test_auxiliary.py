import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.data.auxiliary import auxiliary_tasks, with_auxiliary
from screenwise.errors import DataError
from screenwise.screen import Targets, make_screen


def screen_of(rng, genes, tasks, share=0.6):
    value = np.where(rng.random((len(genes), len(tasks))) < share, rng.normal(size=(len(genes), len(tasks))), np.nan)
    return make_screen(pd.DataFrame({"gene": genes}), value.astype(np.float32), list(tasks))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_every_cell_keeps_its_condition_task_and_value(seed):
    rng = np.random.default_rng(seed)
    main = screen_of(rng, [f"G{number}" for number in rng.permutation(12)[:8]], ("a", "b"))
    more = screen_of(rng, [f"G{number}" for number in rng.permutation(12)[:9]], ("b", "c", "d"), share=0.9)
    held = more.conditions["condition_id"].to_numpy(object)[:2]
    both = with_auxiliary(main, more, without=held)
    assert both.conditions["gene"][: len(main)].tolist() == main.conditions["gene"].tolist()
    assert not both.conditions["condition_id"].duplicated().any()
    assert both.task_names == ["a", "b", "b (auxiliary)", "c", "d"]
    expected = {}
    for screen, names in ((main, main.task_names), (more, both.task_names[2:])):
        cells = screen.targets.cells()
        for row, task, value in zip(cells.row, cells.task, cells.value, strict=True):
            if screen is main or screen.conditions["condition_id"][row] not in held:
                expected[screen.conditions["gene"][row], names[task]] = value
    cells = both.targets.cells()
    found = {
        (both.conditions["gene"][row], both.task_names[task]): value
        for row, task, value in zip(cells.row, cells.task, cells.value, strict=True)
    }
    assert found == expected


def test_weights_of_conditions_and_tasks():
    main = make_screen(
        pd.DataFrame({"gene": ["A", "B"]}), Targets([[1.0], [2.0]], weight=np.array([2, 0], np.float32)), ["a"]
    )
    more = make_screen(pd.DataFrame({"gene": ["A", "C"]}), np.array([[0.0, 1.0], [1.0, 1.0]]), ["b", "same"])
    taught = auxiliary_tasks(more, np.array([0.3, 0.5, 0.3, 0.5]))
    assert taught.task_names == ["b"], "a task of one value teaches nothing"
    both = with_auxiliary(main, taught)
    assert both.targets.weight.tolist() == [2, 0, 1]
    assert both.tasks["weight"].tolist() == pytest.approx([1.0, 0.3])
    assert both.tasks["aggregation_weight"].tolist() == [1, 0]


def test_nothing_to_learn_from_is_an_error():
    main = make_screen(pd.DataFrame({"gene": ["A", "B"]}), np.array([[1.0], [2.0]]), ["a"])
    same = make_screen(pd.DataFrame({"gene": ["A", "B"]}), np.array([[1.0], [1.0]]), ["b"])
    with pytest.raises(DataError, match="two different values"):
        auxiliary_tasks(same)
    with pytest.raises(DataError, match="numbers of at least 0"):
        auxiliary_tasks(main, np.array([-1.0, 1.0]))
    with pytest.raises(DataError, match="may be learned from"):
        with_auxiliary(main, main, without=main.conditions["condition_id"].to_numpy(object))


def test_auxiliary_conditions_that_no_column_of_the_screen_describes_are_refused():
    main = make_screen(pd.DataFrame({"smiles": ["CCO", "CCN"]}), np.array([[1.0], [2.0]]), ["a"])
    more = make_screen(pd.DataFrame({"entity": ["c1", "c2"]}), np.array([[0.0], [1.0]]), ["b"])
    with pytest.raises(DataError, match="described by entity, those of the table by smiles"):
        with_auxiliary(main, more)
    reactions = [pd.DataFrame({"base": bases, "condition_id": bases}) for bases in (["x", "y"], ["y", "z"])]
    main, more = (make_screen(one, np.array([[0.0], [1.0]]), [name]) for one, name in zip(reactions, "ab", strict=True))
    assert len(with_auxiliary(main, more)) == 3, "factors of the user's own are left as they are"
