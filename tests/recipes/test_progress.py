"""What a person reads on the screen: every number whole, and under its own title."""

import io
import threading
import time

import pytest

from screenwise.recipes import progress
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


def test_a_table_too_wide_for_the_screen_loses_no_digit(capsys, monkeypatch):
    row = {"policy": "power_bald", **{name: 0.1234 for name in METRICS}, "last": 98.76}
    lines = shown(capsys, monkeypatch, [row] * 8, 40)
    assert sum("98.76" in line and line.count("0.1234") == len(METRICS) and "power_bald" in line for line in lines) == 8


def make_terminal(monkeypatch):
    """Return a terminal in place of standard error, for which bars have no patience."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    return screen


def wait_for(text, screen):
    until = time.monotonic() + 60
    while text not in screen.getvalue() and time.monotonic() < until:
        time.sleep(0.02)
    return text in screen.getvalue()


def test_a_bar_shows_before_the_first_step_is_done_and_goes_with_the_last(monkeypatch):
    terminal = make_terminal(monkeypatch)
    tell = progress.bars()
    tell("Slow work", 0, 7)
    assert wait_for("Slow work", terminal)
    tell("Slow work", 3, 7)
    tell("Other work", 0, 2)
    assert wait_for("Other work", terminal)
    tell("Slow work", 7, 7)
    assert progress._SHOWN
    tell("Other work", 2, 2)
    assert not progress._SHOWN
    assert terminal.getvalue().rstrip("\r").endswith("\x1b[?25h"), "the cursor is back"


def test_closed_bars_give_the_cursor_back(monkeypatch):
    terminal = make_terminal(monkeypatch)
    tell = progress.bars()
    tell("Slow work", 1, 7)
    assert wait_for("Slow work", terminal)
    progress.close_bars()
    assert not progress._SHOWN
    assert terminal.getvalue().count("\x1b[?25h") == terminal.getvalue().count("\x1b[?25l") > 0
    progress.close_bars()


def test_quick_work_shows_nothing(monkeypatch):
    terminal = make_terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 3600.0)
    tell = progress.bars()
    for done in range(4):
        tell("Quick work", done, 3)
    assert terminal.getvalue() == ""
    assert not [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and not thread.finished.is_set()
    ]
