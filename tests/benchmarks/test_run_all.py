import importlib.util
import json
import shutil
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "benchmarks" / "run_all.py"

GOOD = '''"""Speed of adding. More words."""
import json
result = {"figures": {"sum": 2.0, "mean": {"value": 1.5, "lower": 1.0, "upper": 2.0}}, "units": {"sum": "wells"},
          "peers": {"sum": 3.0}, "peer": "by hand", "data": "invented", "seeds": [0, 1], "cpu_seconds": 0.1}
if __name__ == "__main__":
    print("some words before")
    print(json.dumps(result))
'''
ABSENT = (
    'import sys\nif __name__ == "__main__":\n    sys.stderr.write("the peer is not installed\\n")\n    sys.exit(3)\n'
)
BROKEN = 'if __name__ == "__main__":\n    raise ValueError("broken")\n'
SHARED = '"""What two benchmarks share."""\nBAR = 2\n'


@pytest.fixture
def bench(tmp_path):
    shutil.copy(SOURCE, tmp_path / "run_all.py")
    spec = importlib.util.spec_from_file_location("run_all", tmp_path / "run_all.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_results_are_written_as_tables(bench):
    (bench.HERE / "adding.py").write_text(GOOD)
    (bench.HERE / "shared.py").write_text(SHARED)
    assert bench.main([]) == 0
    text = (bench.HERE / "RESULTS.md").read_text()
    assert "## Speed of adding" in text
    assert "| sum | 2.000 | - | - | 3.000 | wells |" in text
    assert "| mean | 1.500 | 1.000 | 2.000 | - |  |" in text
    assert "- seeds: 0, 1" in text


def test_what_is_not_here_keeps_its_earlier_result(bench, capsys):
    (bench.HERE / "adding.py").write_text(GOOD)
    bench.main([])
    (bench.HERE / "adding.py").write_text('"""Speed of adding."""\n' + ABSENT)
    assert bench.main(["adding"]) == 0
    assert "the peer is not installed" in capsys.readouterr().err
    assert "| sum | 2.000" in (bench.HERE / "RESULTS.md").read_text()
    assert "adding" in json.loads((bench.HERE / "results.json").read_text())


def test_a_failure_is_told_and_the_others_still_run(bench, capsys):
    (bench.HERE / "adding.py").write_text(GOOD)
    (bench.HERE / "broken.py").write_text(BROKEN)
    assert bench.main([]) == 1
    assert "broken FAILED: ValueError: broken" in capsys.readouterr().err
    assert "Speed of adding" in (bench.HERE / "RESULTS.md").read_text()


def test_an_unknown_name_is_wrong_usage(bench, capsys):
    assert bench.main(["nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
