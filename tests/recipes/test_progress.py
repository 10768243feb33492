"""What a person reads on the screen: every number whole, and under its own title."""

import pytest

from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import show

METRICS = ["rmse", "mae", "r_squared", "pearson", "spearman", "rmse_censored", "count", "coverage", "width", "nll"]


def shown(capsys, monkeypatch, table, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    show(Outcome({}, table), as_json=False)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_metric_that_one_row_lacks_moves_no_other(capsys, monkeypatch, columns):
    full = {"model": "gp", **{name: 1.25 + place for place, name in enumerate(METRICS)}}
    without = {name: value for name, value in full.items() if name not in ("pearson", "spearman")}
    lines = shown(capsys, monkeypatch, [full, without | {"model": "mean"}], columns)
    rows = lines if columns > 100 else list(zip(*lines, strict=True))
    assert list(rows[0]) == ["model", *METRICS]
    assert rows[1][4] == "4.25"
    assert list(rows[2][4:6]) == ["-", "-"]
    assert rows[2][6] == "6.25"


def test_no_number_is_broken_over_two_lines(capsys, monkeypatch):
    row = {"id": "K1", "smiles": "CC(C)CCOC(=O)C" * 3, "condition_id": "7edd34e0e38dd9d1cdac2", "std": 1.2013}
    lines = shown(capsys, monkeypatch, [row | {"score": -0.2844, "mean": -0.9166}] * 8, 60)
    assert sum("-0.2844" in line and "-0.9166" in line and "1.201" in line for line in lines) == 8
