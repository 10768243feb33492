"""Sphinx settings: Markdown pages, executed tutorials, the API from docstrings."""

import os
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

import screenwise

project = "Screenwise"
author = "The Screenwise authors"
copyright = "2026, The Screenwise authors"
release = version = screenwise.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "**/.jupyter_cache"]
default_role = "literal"

html_theme = "furo"
html_title = "Screenwise"
html_static_path = ["_static"]
html_css_files = ["figures.css"]
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Tutorials run each time that they change, and an error in one fails the build.
nb_execution_mode = "cache"
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
# A tutorial on data that are not on this machine is shown without results, so that the pages build anywhere.
_data = os.environ.get("SCREENWISE_DATA")
_folder = Path(_data).resolve() if _data else Path(__file__).resolve().parents[2] / "shared" / "data"
_norman = _folder / "perturbseq" / "norman2019_pc50.csv.gz"
if _norman.exists():
    os.environ["SCREENWISE_DATA"] = str(_folder)
nb_execution_excludepatterns = [] if _norman.exists() else ["journeys/gene_pairs.md"]

autodoc_default_options = {"members": True, "member-order": "bysource", "ignore-module-all": True}
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_ivar = True
viewcode_line_numbers = True
# Columns named in "Returns" are words, not links: that several classes have a `mean` is no fault.
suppress_warnings = ["ref.python"]


def _room(name: str) -> str:
    """Return the API of one module, or of every module of a room."""
    module = import_module(name)
    inside = [found.name for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}.")]
    parts = [f"```{{eval-rst}}\n.. automodule:: {name}\n```\n"]
    for found in inside:
        parts.append(f"## `{found}`\n\n```{{eval-rst}}\n.. automodule:: {found}\n```\n")
    return "\n".join(parts)


def _fill_rooms(app: object, name: str, source: list[str]) -> None:
    """Replace the lines `@room screenwise.data` of the API pages, so that no module is forgotten there."""
    if name.startswith("api/"):
        lines = source[0].splitlines()
        source[0] = "\n".join(_room(line.split()[1]) if line.startswith("@room ") else line for line in lines)


def _keep_bars(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Write |x| as it stands: in our docstrings bars are absolute values, not substitutions."""
    for place, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("`")
            parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
            lines[place] = "`".join(parts)
    if what == "attribute":
        _attributes[name] = list(lines)


def _keep_colons(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Undo what napoleon does with attributes: it takes what stands before a colon for a type."""
    if what == "attribute":
        lines[:] = _attributes.pop(name)


_attributes: dict[str, list[str]] = {}


def setup(app: Any) -> None:
    """Connect the changes to pages and docstrings; napoleon's own has priority 500."""
    app.connect("source-read", _fill_rooms)
    app.connect("autodoc-process-docstring", _keep_bars, priority=400)
    app.connect("autodoc-process-docstring", _keep_colons, priority=600)
