"""Tables of measurements as people have them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from screenwise.data.assay import read_assay, read_conditions
from screenwise.data.columns import Columns
from screenwise.errors import ColumnError, DataError
from screenwise.screen import make_screen

HERE = Path(__file__).parent


def table(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_chembl_web_export_needs_no_option():
    assay = read_assay(HERE / "chembl_web_export.csv")
    screen = assay.screen
    assert screen.task_names == ["CHEMBL214_IC50", "CHEMBL217_Inhibition", "CHEMBL217_Ki"]
    assert screen.tasks["unit"].tolist() == ["pIC50", "%", "pKi"]
    assert screen.conditions["Molecule ChEMBL ID"].tolist() == [
        f"CHEMBL{n}" for n in (101, 54, 102, 103, 104, 105, 106, 112)
    ]
    expected = np.array(
        [
            [4.69897, 45.0, 7.5],  # Ki: 10 nM and 0.1 uM, the bound beside them left out
            [9.30103, 98.5, 8.92082],  # Ki: parent and hydrochloride are one compound
            [6.4, -3.0, 4.52288],  # Ki: > 10 uM and >= 30 uM, the tighter one; pIC50 joins IC50
            [np.nan, np.nan, 6.60206],  # ~ 250 nM
            [np.nan, np.nan, 5.45593],  # 3.5E-6 M
            [np.nan, np.nan, 3.0],  # 85.2 ug/mL of piperidine, 85.15 g/mol
            [np.nan, np.nan, 9.30103],  # < 0.5 nM
            [np.nan, np.nan, 7.11351],  # "Manually validated" is no complaint
        ]
    )
    np.testing.assert_allclose(screen.targets.dense(), expected, atol=4e-4)
    relation = np.zeros((8, 3), int)
    relation[2, 2], relation[6, 2] = -1, 1
    assert screen.targets.relation.tolist() == relation.tolist()
    assert len(assay.cells) == len(screen.targets.cells())
    assert assay.cells["replicates"].sum() == 17
    assert assay.cells["Document Year"].tolist()[:2] == [2009, 2009]


def test_chembl_rejections_name_row_column_value_and_reason():
    rejected = read_assay(HERE / "chembl_web_export.csv").rejected
    assert rejected.columns.tolist() == ["row", "column", "value", "reason"]
    assert rejected["row"].tolist() == [8, 9, 12, 15, 16, 17, 18, 19, 21, 28, 29, 30]
    words = [
        "empty",
        "empty",
        "validity",
        "bracket",
        "SMILES is empty",
        "above zero",
        "not a qualifier",
        "mg/kg",
        "unit",
    ]
    words += ["validity", "both sides", "both sides"]
    assert all(word in reason for word, reason in zip(words, rejected["reason"], strict=True))
    assert rejected["column"].tolist()[2:5] == ["Data Validity Comment", "Smiles", "Smiles"]
    assert rejected["value"].tolist()[6] == "'=>'"


def test_bindingdb_as_it_comes():
    assay = read_assay(HERE / "bindingdb.tsv")
    names = ["Carbonic anhydrase 2_Kd", "Carbonic anhydrase 2_Ki", "Cyclin-dependent kinase 2_IC50"]
    assert assay.screen.task_names == names
    values = dict(
        zip(assay.screen.conditions["BindingDB MonomerID"], assay.screen.targets.dense().tolist(), strict=True)
    )
    assert values["11"][1] == 5.0  # > 10000 nM
    assert assay.screen.targets.relation[1, 1] == -1
    assert values["12"][0] == 10.0  # < 0.1 nM
    assert assay.screen.targets.relation[2, 0] == 1
    assert values["14"][2] == 7.0  # 1000 nM and 10 nM
    assert assay.rejected["row"].tolist() == [8]


def test_wide_with_patterns_and_own_names(tmp_path):
    path = table(tmp_path, "struct,nr,pIC50_A,pIC50_B,mw\nCCO,007,5.1,,46\nCCN,008,6,7.5,45\n")
    assay = read_assay(path, Columns(smiles="struct", id="nr", tasks=("pIC50_*",)))
    assert assay.screen.task_names == ["pIC50_A", "pIC50_B"]
    assert assay.screen.conditions["nr"].tolist() == ["007", "008"]
    assert assay.cells["mw"].tolist() == [46, 45, 45]
    assert read_assay(path, Columns(smiles="struct")).screen.task_names == ["pIC50_A", "pIC50_B"]


def test_long_with_own_names(tmp_path):
    text = "who|what|how|number|in|split\nCCO|A|<|10|uM|train\nCCO|B|=|1|nM|test\nCCN|A|>|20|uM|train\n"
    columns = Columns(smiles="who", task="what", value="number", relation="how", unit="in")
    assay = read_assay(table(tmp_path, text), columns)
    assert assay.screen.task_names == ["A", "B"]
    np.testing.assert_allclose(assay.screen.targets.dense(), [[5, 9], [4.69897, np.nan]], rtol=1e-5)
    assert assay.screen.targets.relation.tolist() == [[1, 0], [-1, 0]]
    assert assay.cells["split"].tolist() == ["train", "test", "train"]


@pytest.mark.parametrize("title", ["pchembl_value", "p_value"])
def test_a_long_tables_title_says_that_kis_are_p_values(tmp_path, title):
    path = table(tmp_path, f"smiles,assay,{title}\nCCO,EGFR_Ki,7.5\nCCN,EGFR_Ki,6\n")
    screen = read_assay(path, Columns(task="assay")).screen
    assert screen.targets.value.ravel().tolist() == [7.5, 6.0]
    assert screen.tasks["unit"].tolist() == ["p"]


def test_units_from_title_option_and_cell(tmp_path):
    for text, columns in [
        ("smiles,IC50 (uM)\nCCO,1\nCCN,2\n", Columns()),
        ("smiles,IC50_uM\nCCO,1\nCCN,2\n", Columns()),
        ("smiles,IC50\nCCO,1\nCCN,2\n", Columns(unit="uM")),
        ("smiles,IC50\nCCO,1 uM\nCCN,2000 nM\n", Columns()),
        ("smiles,pIC50\nCCO,6\nCCN,5.69897\n", Columns()),
    ]:
        assay = read_assay(table(tmp_path, text), columns)
        np.testing.assert_allclose(assay.screen.targets.dense().ravel(), [6, 5.69897], rtol=1e-5)
        assert assay.screen.tasks["unit"].tolist() == ["pIC50"]


def test_genes_pairs_doses_and_any_entity(tmp_path):
    genes = read_assay(table(tmp_path, "Gene Symbol,lfc\nTP53,1.5\nMYC,-2\nNaN,1\n"))
    assert genes.screen.conditions["gene"].tolist() == ["TP53", "MYC"]
    assert genes.rejected["reason"].tolist() == ["no gene is named"]
    pairs = read_assay(table(tmp_path, "gene_a,gene_b,growth\nA,B,1\nB,A,3\nA,C,5\n"))
    assert pairs.screen.targets.dense().ravel().tolist() == [2, 5]
    doses = (
        "smiles_a,dose_um_a,smiles_b,dose_um_b,cell_line,viability\nCCO,1,CCN,2,X,0.5\nCCN,2,CCO,1,X,0.7\nCCO,1,,,X,1\n"
    )
    drugs = read_assay(table(tmp_path, doses))
    np.testing.assert_allclose(drugs.screen.targets.dense().ravel(), [0.6, 1.0], rtol=1e-6)
    assert drugs.screen.conditions["dose_um_a"].tolist() == [1, 1]
    any_entity = read_assay(table(tmp_path, "line;feature:x;score\nL1;0.5;1\nL2;0.7;2\n"), Columns(id="line"))
    assert any_entity.screen.conditions["entity"].tolist() == ["L1", "L2"]
    assert any_entity.screen.conditions["feature:x"].tolist() == [0.5, 0.7]


def test_yes_no_tasks_are_classification(tmp_path):
    assay = read_assay(table(tmp_path, "smiles,active,other\nCCO,1,3\nCCN,0,1\nOCC,0,1\nCCC,1,0\n"))
    assert assay.screen.tasks["kind"].tolist() == ["classification", "regression"]
    assert assay.screen.targets.dense()[0, 0] == 1  # yes and no of one compound: yes


def test_a_yes_no_column_is_no_concentration_whatever_its_title(tmp_path):
    toxcast = read_assay(table(tmp_path, "smiles,ATG_NF_kB_CIS_dn,ATG_Xbp1\nCCO,0,1\nCCN,1,1\nCCC,0,0\n"))
    assert toxcast.screen.task_names == ["ATG_NF_kB_CIS_dn", "ATG_Xbp1"]
    asked = read_assay(table(tmp_path, "smiles,hit_IC50\nCCO,0\nCCN,1\nCCC,0\n"))
    assert asked.screen.tasks["kind"].tolist() == ["classification"]


def test_h5ad_round_trip(tmp_path):
    screen = make_screen(pd.DataFrame({"gene": ["TP53", "MYC"]}), np.array([[1.0], [2.0]]), ["growth"])
    screen.to_anndata().write_h5ad(tmp_path / "a.h5ad")
    assay = read_assay(tmp_path / "a.h5ad")
    assert assay.screen.conditions["gene"].tolist() == ["TP53", "MYC"]
    assert assay.screen.targets.dense().ravel().tolist() == [1, 2]
    assert read_conditions(tmp_path / "a.h5ad")["gene"].tolist() == ["TP53", "MYC"]


def test_conditions_keep_rows_order_and_own_columns(tmp_path):
    path = table(tmp_path, "Compound,SMILES,price\n0012,OCC,1.5\nx,C1CC,2\n3,,3\n4,CCO,\n")
    frame = read_conditions(path)
    assert frame["Compound"].tolist() == ["0012", "x", "3", "4"]
    assert frame["SMILES"].tolist() == ["OCC", "C1CC", "", "CCO"]
    assert frame["smiles"].tolist() == ["CCO", "", "", "CCO"]
    assert frame["price"].dtype == np.float64
    assert frame["condition_id"][0] == frame["condition_id"][3]
    assert frame["condition_id"][1] == ""
    assert [bool(note) for note in frame["note"]] == [False, True, True, False]
    same = read_conditions(table(tmp_path, "smiles\nOCC\n"))
    assert same[["smiles_as_given", "smiles"]].to_numpy().tolist() == [["OCC", "CCO"]]


@pytest.mark.parametrize(
    ("text", "columns", "reason"),
    [
        ("smiles,IC50\nCCO,10\nCCN,20000\n", Columns(), r"row 1, column 'IC50': .* Say --unit nM"),
        ("smiles,value,type\nCCO,10,Ki\nCCN,20000,Ki\n", Columns(), "Say --unit nM"),
        ("smiles,task,value\nCCO,EGFR_IC50,10\nCCN,EGFR_IC50,20000\n", Columns(), "EGFR_IC50 is a concentration"),
        ("name,number\n,\n,\n", Columns(smiles="structure"), "no column 'structure' .* its columns are name, number"),
        ("weight,number\n1,2\n", Columns(), "no column says what was applied"),
        ("smiles,note\nCCO,a\n", Columns(), "no column holds measurements"),
        ("smiles,pKi,pKi\nCCO,1,2\n", Columns(), "'pKi' stands more than once"),
        ("smiles,Ki (nM),Ki (uM)\nCCO,1,2\n", Columns(), r"\['Ki'\] stand twice"),
        ("smiles,smiles,pKi\nCCO,CCO,2\n", Columns(), "'smiles' stands more than once"),
        ("smiles,pKi\nCCO,\nCCN,NaN\n", Columns(tasks=("pKi",)), "holds no value at all"),
        ("smiles,pKi\nC1CC,5\nC1CC,7\n", Columns(), "no measurement could be used. SMILES cannot .* row 1"),
        ("smiles,pKi\nCCO,inf\nCCN,5\u00b13\n", Columns(), "no measurement could be used"),
        ("smiles,pKi\nCCO,5\n", Columns(unit="furlong"), "neither a column of the table nor a unit"),
        ("smiles,task,value\nCCO,A,5\n", Columns(relation="sign"), "no column 'sign'"),
        ("smiles,a,b\nCCO,1,5\n", Columns(tasks=("p*",)), r"no column 'p\*'"),
    ],
)
def test_bad_input_says_what_where_and_the_cure(tmp_path, text, columns, reason):
    path = table(tmp_path, text)
    with pytest.raises(DataError, match=reason) as caught:
        read_assay(path, columns)
    assert "a.csv" in str(caught.value)
    assert [child.name for child in tmp_path.iterdir()] == ["a.csv"]


def test_an_all_missing_task_is_left_out_with_a_note(tmp_path):
    assay = read_assay(table(tmp_path, "smiles,pKi,pIC50\nCCO,,5\nCCN,,6\n"))
    assert assay.screen.task_names == ["pIC50"]
    assert any("pKi" in note and "nothing is measured" in note for note in assay.notes)


def test_bad_cells_are_kept_as_rejected(tmp_path):
    rows = ["CCO,A,5,=", "CCN,A,inf,=", "CCC,A,nan,=", "CCF,A,5,about", "CCCl,A,<5,>", "C1C,A,4,", "CCBr,,4,"]
    assay = read_assay(table(tmp_path, "\n".join(["smiles,task,value,relation", *rows]) + "\n"))
    assert len(assay.screen) == 1
    assert assay.rejected["row"].tolist() == [2, 3, 4, 5, 6, 7]
    assert assay.rejected["reason"].tolist()[0] == "infinite"


def test_wrong_titles_are_a_column_error(tmp_path):
    with pytest.raises(ColumnError):
        read_assay(table(tmp_path, "smiles,pKi\nCCO,5\n"), Columns(value="potency"))


def test_row_order_changes_nothing_but_the_order(tmp_path):
    lines = (HERE / "chembl_web_export.csv").read_text().splitlines()
    (tmp_path / "b.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    one, two = read_assay(HERE / "chembl_web_export.csv").screen, read_assay(tmp_path / "b.csv").screen
    order = pd.Index(two.conditions["condition_id"]).get_indexer(one.conditions["condition_id"])
    np.testing.assert_array_equal(one.targets.dense(), two.targets.dense()[order])


def test_doses_under_another_title_are_told_and_are_no_task(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("smiles_a,smiles_b,dose_a,dose_b,effect\nCCO,CCN,0.1,1,2.0\nCCO,CCN,10,1,4.0\nCCC,CCN,1,1,1.0\n")
    assay = read_assay(path)
    assert assay.screen.task_names == ["effect"]
    assert any(note.startswith("Not read as doses: dose_a, dose_b.") for note in assay.notes)
    path.write_text(path.read_text().replace("dose_", "dose_um_"))
    assay = read_assay(path)
    assert len(assay.screen) == 3
    assert not any("doses" in note for note in assay.notes)


def test_a_column_without_any_value_is_told(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("smiles,pIC50_a,pIC50_b\nCCO,5,\nCCN,6,\n")
    assay = read_assay(path)
    assert assay.screen.task_names == ["pIC50_a"]
    assert any("nothing is measured" in note and "pIC50_b" in note for note in assay.notes)


LONG_WITH_TARGETS = """smiles,assay_id,p_value,relation,label,target_id
CCO,A1,5.1,=,1,T1
CCN,A1,4.0,<,0,T1
CCO,A2,7.1,=,1,T1
CCN,A2,5.0,=,1,T1
CCF,A3,,,0,T2
CCN,A3,5.0,=,,T2
CCC,A3,5.5,=,0,
CCCl,A1,5.3,=,0,T1
CCBr,A1,5.2,=,0,T1
CCCC,A1,5.2,=,0,T1
CCCF,A1,5.2,=,0,T1
CCCN,A1,5.9,=,1,T1
CCCO,A1,5.1,=,2,T1
"""


def test_values_labels_and_targets_of_a_long_table(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(LONG_WITH_TARGETS)
    assay = read_assay(path)
    tasks = assay.screen.tasks.set_index("name")
    assert tasks.index.tolist() == ["A1", "A1 active", "A2", "A2 active", "A3", "A3 active"]
    assert tasks["kind"].tolist() == ["regression", "classification"] * 3, "also where one class alone was read"
    assert tasks["assay"].tolist() == ["A1", "A1", "A2", "A2", "A3", "A3"]
    assert tasks["target"].tolist() == ["T1"] * 4 + ["T2"] * 2
    first = assay.screen.targets.task(1)
    assert sorted(first.value.tolist()) == [0.0] * 5 + [1.0] * 2
    assert not first.relation.any()
    assert assay.screen.targets.task(0).relation.tolist().count(-1) == 1
    refused = assay.rejected.set_index("row")["reason"]
    assert refused[13] == "a label must be 0 or 1"
    assert any("tasks of their own" in note for note in assay.notes)


def test_label_and_target_are_named_by_the_user(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(LONG_WITH_TARGETS.replace("label,target_id", "hit,protein"))
    plain = read_assay(path)
    assert "assay" not in plain.screen.tasks.columns
    assert plain.screen.task_names == ["A1", "A2", "A3"]
    named = read_assay(path, Columns(label="hit", target="protein"))
    assert named.screen.tasks["target"].tolist() == ["T1"] * 4 + ["T2"] * 2
    with pytest.raises(ColumnError, match="columns of long tables"):
        read_assay(path, Columns(target="protein", tasks=("p_value",)))
    with pytest.raises(ColumnError, match="proteins"):
        read_assay(path, Columns(target="proteins"))


def test_a_label_alone_is_the_value(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("smiles,assay_id,label\nCCO,A1,1\nCCN,A1,0\n")
    screen = read_assay(path).screen
    assert screen.task_names == ["A1"]
    assert screen.tasks["kind"].tolist() == ["classification"]


def test_labels_of_minus_one_and_one_stand_beside_values_and_are_not_taken_for_them(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("smiles,assay_id,p_value,label\nCCO,A,5.1,-1\nCCN,A,6.2,-1\nCCC,A,7.3,1\nCCCl,A,7.4,1\n")
    read = read_assay(path)
    assert read.screen.task_names == ["A", "A active"]
    assert read.screen.targets.task(0).value.tolist() == pytest.approx([5.1, 6.2, 7.3, 7.4])
    assert read.screen.targets.task(1).value.tolist() == [0, 0, 1, 1]
    assert "label has -1 and no 0: -1 is read as inactive." in read.notes


def test_a_column_of_labels_with_minus_one_and_0_keeps_0_as_inactive(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("smiles,assay_id,p_value,label\nCCO,A,5.1,-1\nCCN,A,6.2,0\nCCC,A,7.3,1\nCCCl,A,7.4,1\n")
    read = read_assay(path)
    assert read.rejected["reason"].tolist() == ["a label must be 0 or 1"]
    assert read.screen.targets.task(1).value.tolist() == [0, 1, 1]


def test_an_assay_with_the_name_of_the_labels_of_another_is_refused(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("smiles,assay_id,p_value,label\nCCO,A,5.1,0\nCCN,A,6.2,1\nCCO,A active,7.3,1\nCCN,A active,4,0\n")
    with pytest.raises(DataError, match="'A active' names an assay, and the labels of 'A' get the same name"):
        read_assay(path)
