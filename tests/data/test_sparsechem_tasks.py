"""SparseChem's table of tasks."""

import numpy as np
import pytest

from screenwise.data.sparsechem_tasks import TaskWeights, read_task_weights, write_task_weights
from screenwise.errors import ColumnError, DataError


def read(folder, text, tasks=2):
    (folder / "w.csv").write_text(text)
    return read_task_weights(folder / "w.csv", tasks, "y_class")


def test_lines_come_in_the_order_of_the_tasks(tmp_path):
    text = "task_id,training_weight,aggregation_weight,task_type,censored_weight,catalog_id\n"
    found = read(tmp_path, text + "1,0.5,2,PANEL,0,ID0\n0.0,1,0,OTHER,3,\n")
    assert found.training.tolist() == [1.0, 0.5]
    assert found.aggregation.tolist() == [0.0, 2.0]
    assert found.type.tolist() == ["OTHER", "PANEL"]
    assert found.censored.tolist() == [3.0, 0.0]
    assert found.catalogue.tolist() == ["", "ID0"]


def test_without_a_file_every_task_weighs_one():
    assert read_task_weights(None, 3, "y_regr").training.tolist() == [1, 1, 1]


def test_other_names_of_columns_are_understood(tmp_path):
    found = read(tmp_path, "task_ids,weight,aggregation_weights\n0,1,1\n1,0,0\n")
    assert found.training.tolist() == [1.0, 0.0]
    assert found.aggregation.tolist() == [1.0, 0.0]
    assert found.catalogue is None


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("task_id\n0\n1\n", ColumnError, "'training_weight' is missing"),
        ("training_weight\n1\n1\n", ColumnError, "'task_id' is missing"),
        ("task_id,training_weight,color\n0,1,a\n1,1,b\n", ColumnError, "'color' is not known"),
        ("task_id,training_weight,weight\n0,1,1\n1,1,1\n", ColumnError, "'training_weight' stands twice"),
        ("task_id,training_weight\n0,1\n0,1\n", DataError, "line 3: task_id 0 stands twice"),
        ("task_id,training_weight\n0,1\n", DataError, "task 1 of y_class has no line"),
        ("task_id,training_weight\n0,1\n2,1\n", DataError, "line 3: task_id is 2"),
        ("task_id,training_weight\n0,1\n0.5,1\n", DataError, "line 3: task_id is 0.5"),
        ("task_id,training_weight\n0,1\nb,1\n", DataError, "line 3: task_id is b"),
        ("task_id,training_weight\n0,1\n1,1.5\n", DataError, "line 3: training_weight is 1.5.*from 0 to 1"),
        ("task_id,training_weight\n0,\n1,1\n", DataError, "line 2: training_weight"),
        ("task_id,training_weight,aggregation_weight\n0,1,-1\n1,1,0\n", DataError, "at least 0"),
        ("task_id,training_weight,censored_weight\n0,1,inf\n1,1,0\n", DataError, "censored_weight"),
        ("", DataError, "cannot be read"),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path, text, error, said):
    with pytest.raises(error, match=said):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_task_weights(tmp_path / "none.csv", 2, "y_class")


def test_what_is_written_is_read(tmp_path):
    weights = TaskWeights(np.array([0.25, 1]), censored=np.array([0.5, 2]), catalogue=np.array(["", "A"], object))
    write_task_weights(tmp_path / "w.csv", weights)
    found = read_task_weights(tmp_path / "w.csv", 2, "y_class")
    assert found.aggregation is None
    for name in ("training", "censored", "catalogue"):
        assert getattr(found, name).tolist() == getattr(weights, name).tolist()
