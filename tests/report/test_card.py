import pandas as pd
import pytest

from screenwise.errors import DataError
from screenwise.report.card import Card, markdown_table, render_card, write_card

FULL = Card(
    "run 1",
    purpose="Predicts pKi.",
    model={"kind": "gp", "kernels": ["chiral ECFP6", "torsions"]},
    data={"source": "chembl30", "conditions": 35633},
    licence={"data": "CC BY-SA 3.0"},
    split="Scaffold, 5 folds.",
    metrics=pd.DataFrame({"metric": ["rmse"], "mean": [0.7243], "lower": [0.71], "upper": [0.74]}),
    domain="In domain where the nearest training compound is at least 0.3 similar.",
    limits=["Not for salts."],
    reproduce={"command": "screenwise fit chembl30 --out run", "seed": 0},
    versions={"numpy": "2.4.6"},
)


def test_every_part_is_there_in_order():
    text = render_card(FULL)
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert titles == [
        "# Model card: run 1",
        "## Model",
        "## Data",
        "## Licence",
        "## How well",
        "## Where to believe it",
        "## Limits",
        "## How to make it again",
    ]
    assert "| rmse | 0.724 | 0.710 | 0.740 |" in text
    assert "- kernels: chiral ECFP6, torsions" in text
    assert "- conditions: 35,633" in text
    assert "- numpy: 2.4.6" in text
    assert "\n\n\n" not in text


def test_empty_parts_are_left_out():
    assert render_card(Card("x")) == "# Model card: x\n"


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\n# heading", "[link](http://x)", "a | b"])
def test_hostile_names_stay_text(name):
    text = render_card(Card(name, data={name: name}, metrics=pd.DataFrame({name: [name]})))
    assert "<script" not in text
    assert "\n# heading" not in text
    assert "[link](" not in text.replace("\\[", "").replace("\\]", "")
    rows = markdown_table(pd.DataFrame({name: [name]}))
    assert all(row.replace("\\|", "").count("|") == 2 for row in rows)


def test_is_written_whole_and_again_the_same(tmp_path):
    path = write_card(tmp_path / "card.md", FULL)
    first = path.read_bytes()
    write_card(path, FULL)
    assert path.read_bytes() == first
    assert [one.name for one in tmp_path.iterdir()] == ["card.md"]


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a directory"):
        write_card(tmp_path, FULL)
