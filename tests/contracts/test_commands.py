"""What every command must do: quick help, exit codes, no traceback."""

import os
import resource
import subprocess
import sys

import pytest

from screenwise.cli.launch import PRINTABLE
from screenwise.config import check_config

COMMANDS = [
    [],
    *(
        [name]
        for name in (
            "demo",
            "datasets",
            "fit",
            "predict",
            "evaluate",
            "compare",
            "propose",
            "simulate",
            "report",
            "domain",
            "gain",
            "pseudolabel",
            "tune",
        )
    ),
    ["campaign"],
    *(["campaign", name] for name in ("new", "propose", "export", "ingest", "status", "stop", "verify", "replay")),
    ["perturbseq"],
    *(["perturbseq", name] for name in ("fit", "predict", "interactions", "suggest", "evaluate")),
    ["sparsechem"],
    *(["sparsechem", name] for name in ("train", "predict")),
]
HELP_CPU_SECONDS = 0.5
"""The promise is CPU seconds, not wall time, so that a busy machine does not break it."""


def screenwise(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "screenwise.cli", *arguments], capture_output=True, text=True, check=False, **kwargs
    )


def cpu_seconds(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = screenwise(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_quick_and_says_usage(command):
    # The least of three: the first may compile bytecode, and a busy machine inflates CPU time too.
    tries = [cpu_seconds(*command, "--help") for _ in range(3)]
    assert all(done.returncode == 0 for done, _ in tries)
    assert "Usage: screenwise" in tries[0][0].stdout
    assert min(seconds for _, seconds in tries) < HELP_CPU_SECONDS


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, screenwise, screenwise.cli;"
        "heavy = {'torch', 'pandas', 'sklearn', 'rdkit', 'scipy', 'matplotlib', 'numba'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "screen",
        "prediction",
        "data",
        "data.assay",
        "evaluate.compare",
        "design.plate",
        "campaign.campaign",
        "report.html",
    ],
)
def test_the_data_rooms_import_neither_torch_nor_rdkit_nor_sklearn(module):
    code = (
        f"import sys, screenwise.{module};"
        "heavy = {'torch', 'sklearn', 'rdkit'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fitt"], "fit"),
        (["fit"], "requires"),
        (["fit", "x.csv", "--out", "run", "--modl", "gp"], "--model"),
        (["fit", "x.csv", "--out", "run", "--seed", "many"], "seed"),
    ],
)
def test_wrong_usage_is_exit_2(arguments, said, tmp_path):
    done = screenwise(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: (folder / "table.csv").mkdir(), "directory"),
        (lambda folder: (folder / "table.csv").write_text(""), "empty"),
        (lambda folder: (folder / "table.csv").write_text("smiles\nCCO\nCCN\n"), "value"),
    ],
)
def test_our_errors_are_exit_1_without_traceback_and_write_nothing(make, said, tmp_path):
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = screenwise("fit", "table.csv", "--out", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert "table.csv" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert "Traceback" in screenwise("fit", "table.csv", "--out", "run", "--debug", cwd=tmp_path).stderr


def test_print_config_is_toml_that_config_reads(tmp_path):
    done = screenwise("fit", "--print-config")
    assert done.returncode == 0
    assert "# Seed of everything random.\nseed = 0" in done.stdout
    (tmp_path / "fit.toml").write_text(done.stdout.replace("seed = 0", "sed = 0"))
    wrong = screenwise("fit", "x.csv", "--out", "run", "--config", "fit.toml", cwd=tmp_path)
    assert wrong.returncode in (1, 2)
    assert "sed" in wrong.stderr
    assert "fit.toml" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_closed_output_is_not_a_traceback():
    done = subprocess.run(
        f"{sys.executable} -m screenwise.cli datasets | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert "Traceback" not in done.stderr


def test_a_reader_that_stops_early_is_no_error():
    pipe = f"{sys.executable} -m screenwise.cli datasets | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", PRINTABLE)
def test_settings_are_printed_as_commented_toml_that_the_command_reads(command, tmp_path):
    done = screenwise(*command.split(), "--print-config")
    assert done.returncode == 0
    assert done.stdout.startswith("# ")
    (tmp_path / "settings.toml").write_text(done.stdout)
    check_config(tmp_path / "settings.toml", tuple(type(one) for one in PRINTABLE[command]))
