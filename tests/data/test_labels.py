"""Labels of perturbed cells, in the spellings people use."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenwise.condition import condition_ids
from screenwise.data.labels import canonical, condition_columns, gene_columns, genes_of, is_control, parse_labels
from screenwise.errors import ConfigError, DataError

NAMES = st.lists(
    st.from_regex(r"[A-Z][A-Z0-9-]{1,7}", fullmatch=True).filter(lambda name: not is_control(name) and name != "NA"),
    min_size=1,
    max_size=4,
    unique=True,
)


@pytest.mark.parametrize(
    ("label", "genes"),
    [
        ("ctrl", ()),
        ("Control", ()),
        ("non-targeting", ()),
        ("Non_Targeting_00042", ()),
        ("NegCtrl10", ()),
        ("ctrl+ctrl", ()),
        ("KLF1+ctrl", ("KLF1",)),
        ("ctrl+KLF1", ("KLF1",)),
        ("KLF1 + non-targeting", ("KLF1",)),
        ("MAP2K6+KLF1", ("KLF1", "MAP2K6")),
        ("KLF1|MAP2K6", ("KLF1", "MAP2K6")),
        ("KLF1;MAP2K6", ("KLF1", "MAP2K6")),
        ("['KLF1', 'MAP2K6']", ("KLF1", "MAP2K6")),
        ("C+A+B", ("A", "B", "C")),
        ("KLF1+KLF1", ("KLF1",)),
        ("HLA-A+NKX2-1", ("HLA-A", "NKX2-1")),
        (("MAP2K6", "KLF1"), ("KLF1", "MAP2K6")),
        ("KIAA1804+ctrl", ("KIAA1804",)),
    ],
)
def test_a_label_alone(label, genes):
    assert parse_labels([label]).genes == [genes]


@pytest.mark.parametrize("label", ["", "nan", None, float("nan"), "*", "A+", "+B", "unassigned"])
def test_what_names_no_gene_is_rejected_and_is_not_the_control(label):
    found = parse_labels([label, "ctrl"])
    assert found.genes == [None, ()]
    assert found.kept.tolist() == [False, True]
    assert len(found.rejected) == 1


def test_underscores_separate_names_that_are_seen_alone():
    labels = ["control", "AHR", "KLF1", "AHR_KLF1", "AHR_control", "AARS_x", "FEV_KLF1", "KLF1_AHR"]
    found = parse_labels([*labels, "AARS_x"])
    assert found.genes[:5] == [(), ("AHR",), ("KLF1",), ("AHR", "KLF1"), ("AHR",)]
    assert found.rejected[["label", "count"]].to_numpy().tolist() == [["AARS_x", 2]]
    assert found.genes[6] == ("FEV", "KLF1")
    assert "FEV_KLF1" in found.notes[0]
    assert "'AARS_x' (2)" in found.notes[1]


def test_a_lone_underscore_is_not_guessed():
    found = parse_labels(["ctrl", "63(mod)_pBA580", "AARS_pDS381"], known={"AARS"})
    assert found.genes == [(), None, None]


def test_gene_names_may_hold_underscores():
    assert parse_labels(["B_C", "A_B_C", "A"], known={"B_C"}).genes == [("B_C",), ("A", "B_C"), ("A",)]
    assert parse_labels(["HLA_A", "HLA_A+B"], separator="+").genes == [("HLA_A",), ("B", "HLA_A")]
    two_ways = parse_labels(["A", "C", "A_B_C"], known={"A_B", "B_C"})
    assert two_ways.genes[2] is None
    assert "A+B_C" in two_ways.rejected["reason"][0]


def test_a_named_separator_separates_without_further_evidence():
    assert parse_labels(["A_B", "C_NT", "NT"], separator="_").genes == [("A", "B"), ("C",), ()]
    assert parse_labels(["A:B"], separator=":").genes == [("A", "B")]
    with pytest.raises(ConfigError, match="separator"):
        parse_labels(["A_B"], separator="")


def test_guides_of_one_gene_are_told_not_guessed():
    found = parse_labels(["ctrl", "TP53", "TP53_2"])
    assert found.genes[2] is None
    assert "guide" in found.rejected["reason"][0]


def test_vectors_of_two_guides_with_negative_controls():
    labels = ["AHR_NegCtrl0__AHR_NegCtrl0", "NegCtrl0_KLF1__NegCtrl0_KLF1", "AHR_KLF1__AHR_KLF1", "NegCtrl1_NegCtrl0"]
    assert parse_labels(labels).genes == [("AHR",), ("KLF1",), ("AHR", "KLF1"), ()]


def test_the_control_that_is_named_is_the_only_one():
    found = parse_labels(["AAVS1", "AAVS1", "non-targeting", "A+AAVS1", "A+ctrl"], control="AAVS1", need_control=True)
    assert found.genes == [(), (), None, ("A",), ("A",)]
    assert "another control" in found.rejected["reason"][0]


def test_the_usual_names_stand_in_for_the_default():
    found = parse_labels(["non-targeting", "A"], control="ctrl", need_control=True)
    assert found.genes == [(), ("A",)]
    assert "non-targeting" in found.notes[0]
    assert "Several labels" in parse_labels(["ctrl", "control", "A"]).notes[0]


def test_no_control_lists_what_is_most_like_one():
    with pytest.raises(DataError, match=r"most like one: 'neg_contrl' \(2\)"):
        parse_labels(["KLF1", "neg_contrl", "neg_contrl", "CBL"], need_control=True)
    with pytest.raises(DataError, match=r"control 'AAVS1'.*--control"):
        parse_labels(["ctrl", "KLF1"], control="AAVS1", need_control=True)


def test_counts_weigh_the_labels():
    found = parse_labels(["A_x", "ctrl", "A+"], counts=[7, 1, 9])
    assert found.rejected["count"].tolist() == [9, 7]


def test_more_than_five_genes_are_rejected():
    found = parse_labels(["A+B+C+D+E", "A+B+C+D+E+F"])
    assert found.kept.tolist() == [True, False]
    with pytest.raises(DataError, match="at most 5"):
        gene_columns([tuple("ABCDEF")])


@given(NAMES, st.sampled_from(["+", "|", ";", " + ", ","]), st.randoms())
def test_order_and_spelling_do_not_matter(names, separator, random):
    shuffled = random.sample(names, len(names))
    (genes,) = parse_labels([separator.join(shuffled)]).genes
    assert genes == tuple(sorted(names))
    assert parse_labels([canonical(genes)]).genes == [genes]
    assert genes_of(condition_columns([genes])) == [genes]


def test_columns_make_one_id_per_condition():
    frame = condition_columns([(), ("B", "A"), ("A",)])
    assert frame.to_numpy().tolist() == [["ctrl", "", ""], ["A+B", "A", "B"], ["A", "A", ""]]
    turned = pd.DataFrame({"gene_a": ["", "B", "ctrl"], "gene_b": ["", "A", "A"]})
    assert genes_of(turned) == [(), ("A", "B"), ("A",)]
    assert np.array_equal(condition_ids(frame), condition_ids(turned))
    with pytest.raises(DataError, match="gene_a"):
        genes_of(pd.DataFrame({"condition": ["A+B"]}))
