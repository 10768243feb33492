"""What a fit tells of the table it was given."""

import pandas as pd

from screenwise.recipes.learn import fit
from screenwise.recipes.settings import FitSettings


def test_tasks_of_one_value_or_of_bounds_alone_are_told(tmp_path):
    rows = [(gene, task, value) for task, value in (("flat", 5), ("open", 6), ("fine", None)) for gene in "ABCDEF"]
    table = pd.DataFrame(rows, columns=["gene", "assay_id", "value"])
    table["value"] = table["value"].fillna(pd.Series(range(len(table))))
    table["relation"] = table["assay_id"].map({"flat": "=", "open": ">", "fine": "="})
    table.to_csv(tmp_path / "t.csv", index=False)
    notes = fit(str(tmp_path / "t.csv"), tmp_path / "run", FitSettings(model="mean")).notes
    assert "Tasks with one value only, of which a model learns little: 1, such as flat." in notes
    assert "Tasks with bounds only, of which a model learns little: 1, such as open." in notes
    table[table["assay_id"] == "fine"].to_csv(tmp_path / "fine.csv", index=False)
    fine = fit(str(tmp_path / "fine.csv"), tmp_path / "fine", FitSettings(model="mean")).notes
    assert not any("learns little" in note for note in fine)
