import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import DataError
from screenwise.report.figures import learning_curve
from screenwise.report.html import Picture, Section, Table, render, write_report

HOSTILE = "<script>alert('x')</script>\"&<img src=x onerror=alert(1)>"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Checks that tags close in order, and collects tags and attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def full_page():
    frame = pd.DataFrame({HOSTILE: [HOSTILE, "b"], "value": [0.5, np.nan], "ok": [True, False]})
    figure = learning_curve([{"epoch": 0, HOSTILE: 1.0}, {"epoch": 1, HOSTILE: 0.5}])
    section = Section(
        HOSTILE,
        f"{HOSTILE}\n\n- one\n- {HOSTILE}",
        figures=[Picture(figure, HOSTILE), learning_curve([{"epoch": 0, "loss": 1.0}])],
        tables=[Table(frame, HOSTILE, rows=1, file=HOSTILE), frame],
        facts={HOSTILE: HOSTILE},
    )
    return render(HOSTILE, [section, section, section], lead=HOSTILE, provenance={HOSTILE: HOSTILE})


def test_nothing_from_data_becomes_markup():
    reader = read(full_page())
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


def test_nothing_is_fetched_from_outside():
    page = full_page()
    links = [value for name, value in read(page).attributes if name in ("href", "src", "xlink:href")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_ids_are_unique_and_every_link_leads_somewhere():
    attributes = read(full_page()).attributes
    ids = [value for name, value in attributes if name == "id"]
    sections = [value for value in ids if not re.match(r"f[0-9a-f]{8}-", value)]
    assert len(set(sections)) == len(sections) == 3
    assert {value[1:] for name, value in attributes if name == "href"} <= set(ids)


def test_tables_say_what_they_leave_out():
    frame = pd.DataFrame({"row": range(100)})
    page = render("t", [Section("s", tables=[Table(frame, rows=7, file="all.csv")])])
    assert page.count("<td") == 7
    assert "The first 7 of 100 rows. The whole table is in all.csv." in page
    assert "The first" not in render("t", [Section("s", tables=[frame.head(7)])])


def test_numbers_are_rounded_and_stand_right():
    frame = pd.DataFrame({"n": [35633], "x": [0.61049], "flag": [True], "none": [None], "a": ["x"]})
    page = render("t", [Section("s", tables=[frame])])
    assert '<td class="number">35,633</td><td class="number">0.610</td><td>yes</td><td>-</td><td>x</td>' in page


def test_doubled_column_names_and_empty_tables_are_fine():
    doubled = pd.DataFrame([[1, "x"]], columns=["a", "a"])
    page = render("t", [Section("s", tables=[doubled, pd.DataFrame({"a": []})])])
    assert page.count("<table>") == 2
    read(page)


def test_same_results_same_bytes(tmp_path):
    one = write_report(tmp_path / "a.html", "t", [Section("s", figures=[learning_curve([{"epoch": 0, "loss": 1}])])])
    two = write_report(tmp_path / "b.html", "t", [Section("s", figures=[learning_curve([{"epoch": 0, "loss": 1}])])])
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_follows_dark_and_light_and_narrow_screens():
    page = full_page()
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "overflow-x: auto" in page


def test_a_place_that_cannot_be_written_is_our_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="Cannot write"):
        write_report(tmp_path / "file" / "report.html", "t", [])
