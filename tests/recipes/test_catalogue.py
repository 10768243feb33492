"""The list of datasets and the list of pools."""

import pytest

from screenwise.campaign.objective import Objective
from screenwise.data.datasets import DATASETS, POOLS
from screenwise.errors import DatasetError
from screenwise.recipes.catalogue import datasets


def test_pools_are_listed_with_their_rule_budget_and_source():
    table = datasets(pools=True).table
    assert [line["name"] for line in table] == list(POOLS)
    assert all(all(line.values()) for line in table)
    assert len({tuple(line) for line in table}) == 1
    hiv = next(line for line in table if line["name"] == "hiv")
    assert (hiv["hits"], hiv["budget"], hiv["candidates"]) == ("hiv >= 1", "100 + 5 x 100", "8,000 at random")
    assert {str(Objective.parse(line["objective"])) for line in table} == {line["objective"] for line in table}


def test_the_list_of_datasets_is_as_it_was():
    table = datasets().table
    assert [line["name"] for line in table] == list(DATASETS)
    assert list(table[0]) == ["name", "kind", "size", "here", "licence"]
    assert {line["here"] for line in table if line["name"] in ("digits", "chembl30")} == {"in scikit-learn", "embedded"}


def test_a_pool_tells_its_rule_and_another_dataset_none():
    assert datasets("enamine10k").facts["hits"] == "lowest 1 % of docking"
    assert "hits" not in datasets("chembl30").facts


def test_a_table_of_scikit_learn_is_written(tmp_path):
    outcome = datasets("wine_cultivars", tmp_path / "wine.csv")
    assert outcome.facts["rows written"] == 178
    header = (tmp_path / "wine.csv").read_text().splitlines()[0].split(",")
    assert header[:2] == ["entity", "feature:alcohol"]
    assert header[-3:] == ["cultivar_0", "cultivar_1", "cultivar_2"]


@pytest.mark.parametrize(("name", "to"), [("iris", None), (None, "a.csv")])
def test_what_is_not_there_is_said(name, to):
    with pytest.raises(DatasetError, match=r"There is no dataset 'iris'|Say which dataset"):
        datasets(name, to)
