"""Run the benchmarks whose data and peers are here, and write RESULTS.md from all results known.

A benchmark is one script ``benchmarks/<figure>.py`` that, with ``--json``, prints one JSON object as its last line:

- ``figures``: name -> number, or name -> {"value": ..., "lower": ..., "upper": ..., "bar": ...}
- ``units``: name -> unit, where there is one; or one unit of all
- ``peer``: what it is compared with, in the same run; ``peers``: name of a figure -> the peer's number
- ``data``, ``seeds``, ``cpu_seconds``, ``wall_seconds``

It ends with exit code 3 and one line on standard error where its data, its peer or its device is not here; then the
result of an earlier run is kept, with that run's version. Any other failure is told, and the exit code is 1.

``python benchmarks/run_all.py [NAME ...]`` runs some only.
"""

import ast
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from screenwise.report.card import markdown_table
from screenwise.report.html import format_value
from screenwise.run import read_json, write_json, write_text

HERE = Path(__file__).parent
NOT_HERE = 3
ABSENT = ("DatasetError", "MissingDependency", "ModuleNotFoundError")
"""Errors that say the same as exit code 3."""


def main(names: list[str]) -> int:
    """Run benchmarks by name, or all of them; return the exit code."""
    scripts = {
        path.stem: path for path in sorted(HERE.glob("*.py")) if path.name != Path(__file__).name and is_script(path)
    }
    unknown = [name for name in names if name not in scripts]
    if unknown:
        sys.stderr.write(f"There is no benchmark {unknown[0]!r}; the benchmarks are {', '.join(scripts)}.\n")
        return 2
    known = read_json(HERE / "results.json") if (HERE / "results.json").exists() else {}
    failed = 0
    for name in names or scripts:
        sys.stderr.write(f"{name} ...\n")
        result, reason, absent = run(scripts[name])
        if result is not None:
            known[name] = result | about()
            # Saved after each one: an interrupted run keeps what it has.
            write_json(HERE / "results.json", known)
        else:
            failed += not absent
            sys.stderr.write(f"{name} {'is left out' if absent else 'FAILED'}: {reason}\n")
    known = {name: known[name] for name in scripts if name in known}
    write_text(HERE / "RESULTS.md", render(known, scripts))
    return 1 if failed else 0


def is_script(path: Path) -> bool:
    """Return whether a file is a benchmark, and not what several benchmarks share."""
    return '__name__ == "__main__"' in path.read_text()


def run(script: Path) -> tuple[dict[str, Any] | None, str, bool]:
    """Return (result, reason of its absence, is that only because something is not here)."""
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [sys.executable, str(script), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    if done.returncode:
        return None, said, done.returncode == NOT_HERE or any(word in said for word in ABSENT)
    try:
        result = json.loads(done.stdout.strip().splitlines()[-1])
        return (result, "", False) if "figures" in result else (None, "its JSON has no figures", False)
    except (ValueError, IndexError, TypeError):
        return None, "it printed no JSON object", False


def about() -> dict[str, str]:
    """Return when, where and with what version a result was made."""
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"]
    version = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {"date": datetime.now(UTC).date().isoformat(), "version": version, "machine": machine}


def render(results: dict[str, Any], scripts: dict[str, Path]) -> str:
    """Return RESULTS.md."""
    lines = ["# Results", "", "Written by `make bench`; the only place that a figure is quoted from.", ""]
    lines += [] if results else ["No benchmark has been run yet.", ""]
    for name, result in results.items():
        lines += [f"## {title(scripts[name])}", "", *table(result), ""]
        for word in ("peer", "data", "seeds", "cpu_seconds", "wall_seconds", "note", "version", "date", "machine"):
            if result.get(word) not in (None, ""):
                lines.append(f"- {word.replace('_', ' ')}: {format_value(result[word], 2)}")
        lines += [f"- script: `benchmarks/{name}.py`", ""]
    return "\n".join(lines)


def table(result: dict[str, Any]) -> list[str]:
    """Return the figures of a result as a Markdown table; columns that nothing fills are left out."""
    import pandas as pd  # noqa: PLC0415

    rows, units = [], result.get("units", {})
    for name, figure in result["figures"].items():
        unit = units if isinstance(units, str) else units.get(name, "")
        parts = figure if isinstance(figure, dict) else {"value": figure}
        row = {"figure": name} | {key: parts.get(key) for key in ("value", "lower", "upper", "bar")}
        rows.append(row | {"peer": result.get("peers", {}).get(name), "unit": unit})
    frame = pd.DataFrame(rows).dropna(axis=1, how="all")
    return markdown_table(frame.loc[:, [not (frame[column].astype(str) == "").all() for column in frame]])


def title(script: Path) -> str:
    """Return the first line of a script's docstring."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or script.stem
    return text.splitlines()[0].rstrip(".")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
