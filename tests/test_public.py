import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import screenwise

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", screenwise.__all__)
def test_every_public_name_is_there(name):
    assert getattr(screenwise, name) is not None


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    alcohols = pd.DataFrame({"smiles": ["C" * length + "O" for length in range(1, 30)], "pIC50": np.linspace(4, 9, 29)})
    alcohols.to_csv(tmp_path / "measurements.csv", index=False)
    alcohols[["smiles"]].to_csv(tmp_path / "candidates.csv", index=False)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    said: dict[str, object] = {}
    exec(code, said)
    assert said["prediction"].mean.shape == (29, 1)
