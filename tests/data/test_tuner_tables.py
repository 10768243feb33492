"""Tables T0, T1 and T2: what is read, and every complaint."""

import numpy as np
import pytest

from screenwise.data.tuner_tables import read_tables
from screenwise.errors import ColumnError, DataError

T0 = "input_assay_id,assay_type,is_binary,expert_threshold_1,direction\na,OTHER,,6,high\nb,ADME,,,low\n"
T1 = "input_compound_id,input_assay_id,standard_qualifier,standard_value\n1,a,<=,5.5\n2,b,,7\n"
T2 = "input_compound_id,smiles\n1,CCO\n2,\n"


def tables(folder, t0=T0, t1=T1, t2=T2):
    paths = [folder / f"T{place}.csv" for place in range(3)]
    for path, text in zip(paths, (t0, t1, t2), strict=True):
        path.write_text(text)
    return read_tables(*paths)


def test_what_is_read(tmp_path):
    read = tables(tmp_path)
    assert read.assays["use_in_regression"].tolist() == [True, True]
    assert read.assays["is_binary"].tolist() == [False, False]
    np.testing.assert_array_equal(read.assays["expert_threshold_1"], [6.0, np.nan])
    assert read.assays["parent_assay_id"].tolist() == ["", ""]
    assert read.activities[["assay", "compound", "relation", "value"]].to_numpy().tolist() == [
        [0, 0, -1, 5.5],
        [1, 1, 0, 7],
    ]
    assert read.structures["smiles"].tolist() == ["CCO", ""]


def test_rows_of_t1_keep_their_reasons(tmp_path):
    t1 = T1 + "3,a,=,5\n1,c,=,5\n1,a,?,5\n1,a,=,ten\n1,a,=,inf\n1,a,<,>5\n1,a,,<5\n"
    read = tables(tmp_path, t1=t1)
    assert read.activities["reason"].tolist() == [
        "",
        "",
        "the compound is not in T2",
        "the assay is not in T0",
        "standard_qualifier: '?' is not a qualifier (< <= << > >= >> = ~)",
        "standard_value: not a number",
        "standard_value: infinite",
        "the qualifier and the value's own sign disagree",
        "",
    ]
    assert read.activities["relation"].tolist()[-1] == -1


@pytest.mark.parametrize(
    ("t0", "said"),
    [
        ("input_assay_id\na\n", "'assay_type'"),
        ("input_assay_id,assay_type\na,OTHER\na,OTHER\n", r"row 2.*'a' stands in row 1 already.*delete"),
        ("input_assay_id,assay_type\n,OTHER\n", r"row 1.*empty"),
        ("input_assay_id,assay_type\na,KINASE\n", r"row 1.*'KINASE'; it must be ADME, NON-CATALOG-PANEL"),
        ("input_assay_id,assay_type,is_binary\na,OTHER,maybe\n", r"row 1.*is_binary.*true or false"),
        (
            "input_assay_id,assay_type,expert_threshold_2\na,OTHER,six\n",
            r"row 1.*expert_threshold_2.*a number or empty",
        ),
        ("input_assay_id,assay_type,direction\na,OTHER,up\n", r"row 1.*direction.*'up'; it must be high, low"),
        ("input_assay_id,assay_type\na,AUX_PL\n", r"row 1.*is_binary.*is not true"),
        ("input_assay_id,assay_type,expert_threshold_1\na,CATALOG-PANEL,6\n", r"catalog_assay_id.*is empty"),
        ("input_assay_id,assay_type,catalog_assay_id\na,CATALOG-PANEL,7\n", r"expert_threshold_1.*is empty"),
        (
            "input_assay_id,assay_type,catalog_assay_id,expert_threshold_1\na,CATALOG-PANEL,7,6\nb,CATALOG-PANEL,7,6\n",
            r"row 2.*catalog_assay_id.*stands twice",
        ),
        ("input_assay_id,assay_type\n", "no rows"),
        ("", "empty"),
    ],
)
def test_t0_complaints_name_file_row_column_and_cure(t0, said, tmp_path):
    with pytest.raises((ColumnError, DataError), match=said) as error:
        tables(tmp_path, t0=t0)
    assert "T0.csv" in str(error.value)


@pytest.mark.parametrize(
    ("t2", "said"),
    [
        ("input_compound_id\n1\n", "'smiles'"),
        ("input_compound_id,smiles\n1,CCO\n1,CCN\n", r"row 2.*'1' stands in row 1"),
        ("input_compound_id,smiles\n,CCO\n", r"row 1.*empty"),
    ],
)
def test_t2_complaints(t2, said, tmp_path):
    with pytest.raises(DataError, match=said):
        tables(tmp_path, t2=t2)


def test_no_usable_row_of_t1_is_an_error_with_the_commonest_reason(tmp_path):
    t1 = T1.replace("1,a", "CPD-1,a").replace("2,b", "CPD-2,b")
    with pytest.raises(DataError, match=r"none of the 2 rows.*not in T2 \(row 1: compound 'CPD-1'.*the same way"):
        tables(tmp_path, t1=t1)
    with pytest.raises(ColumnError, match="standard_value"):
        tables(tmp_path, t1="input_compound_id,input_assay_id,standard_qualifier\n1,a,=\n")
    with pytest.raises(DataError, match="does not exist"):
        read_tables(tmp_path / "none.csv", tmp_path / "none.csv", tmp_path / "none.csv")
