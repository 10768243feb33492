"""What the columns of a user's table mean, by their titles, where the user did not say."""

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from screenwise.condition import CONTEXT, ENTITIES
from screenwise.data.columns import Columns, listed
from screenwise.data.components import TITLE
from screenwise.data.quantity import is_concentration, is_p_unit, plain_unit, read_numbers
from screenwise.data.table import Table, column_of
from screenwise.errors import ColumnError

_DOSE_TYPES = r"(?:(?:ic|ec|ac|xc|cc|lc|gi|tc|tgi|ed|id|ld|td)\d\d|ki|kd|(?<!nf.)kb|km|mic\d*|potency)"
DOSE = re.compile(rf"(?:^|[\s_\-:/])({_DOSE_TYPES})(?=$|[\s_\-:/(\[])", re.IGNORECASE)
"""A concentration at which something happens, as a word of a title: IC50, Ki, EC50, MIC90 (NF-kB is a protein)."""
P_DOSE = re.compile(rf"(?:^|[\s_\-:/])p({_DOSE_TYPES}|chembl)(?=$|[\s_\-:/(\[])", re.IGNORECASE)
"""The same as -log10 of molar: pIC50, pKi."""
_BRACKET = re.compile(r"^(?P<name>.*?)[\s_]*[(\[](?P<unit>[^()\[\]]+)[)\]]\s*$")
_SUFFIX = re.compile(r"^(?P<name>.*?)[\s_](?P<unit>[munpf\u00b5\u03bc]?M)$", re.IGNORECASE)

_TITLES = {
    "smiles": (
        "smiles", "canonical smiles", "isomeric smiles", "ligand smiles", "standardized smiles", "standard smiles",
        "compound smiles", "molecule smiles", "drug smiles", "rdkit smiles", "smiles string", "canonicalsmiles", "smi",
        "structure",
    ),
    "gene": ("gene", "gene symbol", "symbol", "hgnc symbol", "gene name", "gene id", "target gene"),
    "sequence": ("sequence", "protein sequence", "aa sequence", "mutated sequence"),
    "variant": ("variant", "mutant", "mutation", "mutations", "hgvs"),
    "id": (
        "id", "compound id", "molecule chembl id", "chembl id", "compound", "compound name", "molecule name", "name",
        "mol id", "molecule id", "cmpd id", "sample id", "ligand id", "drug id", "drug", "bindingdb monomerid",
        "bindingdb ligand name", "entity", "condition id", "obs names",
    ),
    "task": (
        "task", "target chembl id", "target name", "target pref name", "target", "assay", "assay name", "assay id",
        "assay chembl id", "endpoint", "property", "readout", "task name", "kinase",
    ),
    "type": ("standard type", "activity type", "measurement type", "type"),
    "value": (
        "standard value", "value", "activity value", "measured value", "measurement", "result", "activity", "y",
        "label", "pchembl value", "p value",
    ),
    "relation": (
        "standard relation", "relation", "qualifier", "standard qualifier", "activity relation", "operator",
        "modifier", "relation type", "censor", "censoring",
    ),
    "unit": ("standard units", "standard unit", "unit", "units", "activity unit", "activity units", "value unit"),
    "comment": ("data validity comment", "data validity"),
    "pchembl": ("pchembl value",),
    "label": ("label",),
    "target": ("target id",),
}  # fmt: skip
_READOUTS = frozenset({"phenotype", "fitness", "yield", "gi score", "score", "synergy", "viability", "growth", "ddg"})
_NO_READOUT = re.compile(
    r"^(year|date|row|col|column|well|plate|index|unnamed.*|split|fold|mw|molecular weight|alogp|psa|hba|hbd|count.*)$"
    r"|_fold$|^surplus|^column \d|time$|date$|year$|replicates?$|^doses?\b|^conc(entrations?)?\b"
)
_TARGETS = ("target id", "target chembl id", "target", "target name", "target pref name")
"""Titles of a column with targets where another column is known to name the tasks."""
_LABELS = frozenset({"0", "1", "0.0", "1.0", "-1", "-1.0", "+1", "true", "false", "active", "inactive"})
_MOST = 0.9
DOSE_TITLE = re.compile(r"\b(doses?|conc|concentrations?)\b")
"""Of a column (`key`) with doses that were applied."""


@dataclass(frozen=True)
class TaskColumn:
    """One task of a wide table."""

    column: str
    name: str
    unit: str = ""
    relation: str | None = None
    """Column with the qualifiers of this one."""


@dataclass(frozen=True)
class Layout:
    """Where a table keeps what was applied and what was read."""

    factors: dict[str, str]
    """Column -> factor name (smiles, gene_a, cell_line, ...)."""
    id: str | None = None
    tasks: tuple[TaskColumn, ...] = ()
    """Wide tables: one per task; long tables: the value column alone."""
    group: str | None = None
    """Column whose text makes the task name (long), or comes before it (wide)."""
    type: str | None = None
    """Long tables: column with the kind of value, such as IC50."""
    long: bool = False
    unit: str | None = None
    relation: str | None = None
    comment: str | None = None
    pchembl: str | None = None
    label: str | None = None
    """Long tables: column with 0 and 1 beside the value."""
    target: str | None = None
    """Long tables: column with the target of each task."""

    @property
    def used(self) -> set[str]:
        """All columns that have a meaning."""
        single = (self.id, self.group, self.type, self.unit, self.comment, self.pchembl, self.label, self.target)
        tasks = {task.column for task in self.tasks} | {task.relation for task in self.tasks if task.relation}
        return {name for name in single if name is not None} | tasks | set(self.factors)


def key(title: object) -> str:
    """Return a title written one way.

    Examples
    --------
    >>> key("Standard_Value"), key("Ki (nM)")
    ('standard value', 'ki nm')
    """
    return re.sub(r"[^a-z0-9]+", " ", str(title).lower()).strip()


def find_factors(table: Table, columns: Columns, path: Path) -> tuple[dict[str, str], str | None]:
    """Return column -> factor name, and the column that names a row; `ColumnError` where nothing does."""
    frame = table.frame
    if columns.smiles is not None:
        column_of(table, columns.smiles, path, "--smiles")
    if columns.id is not None:
        column_of(table, columns.id, path, "--id")
    titles = _by_role(frame)
    exact = [name for name in frame.columns if _is_factor(str(name))]
    factors = {str(name): str(name) for name in exact}
    if columns.components is not None:
        # what else the table names, such as the structure of a product, is a label
        context = {name: factor for name, factor in factors.items() if _entity(factor) not in ENTITIES}
        return {TITLE: "entity", **context}, TITLE
    if columns.smiles is not None:
        factors = {name: factor for name, factor in factors.items() if factor != "smiles"}
        factors[columns.smiles] = "smiles"
    named = {_entity(factor) for factor in factors.values()}
    for role in ("smiles", "gene", "sequence", "variant"):
        if not named & set(ENTITIES) and role in titles:
            factors[titles[role]] = role
            named.add(role)
    identifier = columns.id or titles.get("id")
    if identifier in factors and factors[identifier] == "smiles":
        identifier = None
    if not named & set(ENTITIES):
        if identifier is None:
            found = ", ".join(list(map(str, frame.columns))[:30])
            message = (
                f"{path}: no column says what was applied; its columns are {found}. Name the column of structures with "
                "--smiles, or of genes, variants or other entities with --id."
            )
            raise ColumnError(message)
        factors[identifier] = "entity"
    for name in factors:
        column_of(table, name, path, "what was applied")
    return factors, identifier


def _entity(factor: str) -> str:
    """Return a factor's name without its place in a pair."""
    return re.sub(r"_[a-e]$", "", factor)


def find_layout(table: Table, columns: Columns, path: Path) -> Layout:
    """Return where the table keeps its factors, tasks, values, qualifiers and units."""
    factors, identifier = find_factors(table, columns, path)
    titles = _by_role(table.frame, but={*factors, identifier or ""})
    label = _label_column(table, columns, titles)
    if label is not None:
        titles = _by_role(table.frame, but={*factors, identifier or "", label})
    if columns.relation is not None:
        column_of(table, columns.relation, path, "--relation")
    unit = _unit_column(table, columns, titles, path)
    relation = columns.relation or titles.get("relation")
    base = Layout(factors, identifier, unit=unit)
    long = columns.tasks is None and (
        columns.task is not None or columns.value is not None or "value" in titles or "type" in titles
    )
    if not long:
        if columns.target is not None or columns.label is not None:
            message = (
                f"{path}: --target and --label name columns of long tables; say which holds the values with --value."
            )
            raise ColumnError(message)
        return _wide(table, columns, titles, path, replace(base, relation=relation))
    value = columns.value or titles.get("value")
    if value is None:
        found = ", ".join(list(map(str, table.frame.columns))[:30])
        message = f"{path}: no column has the measured value; its columns are {found}. Name it with --value."
        raise ColumnError(message)
    column_of(table, value, path, "--value")
    group, kind = titles.get("task"), titles.get("type")
    if columns.task is not None:
        group, kind = columns.task, None
        column_of(table, columns.task, path, "--task")
    name, inside = split_unit(value)
    pchembl = titles.get("pchembl")
    target = columns.target or _target_column(titles, columns, {value, group or ""}, table.frame)
    for used in filter(None, (group, kind, relation, unit, label, target)):
        column_of(table, used, path, "used here")
    return replace(
        base,
        tasks=(TaskColumn(value, name, columns.unit if unit is None and columns.unit else inside, relation),),
        group=group,
        type=kind,
        long=True,
        comment=titles.get("comment"),
        pchembl=None if pchembl == value else pchembl,
        label=label,
        target=target,
    )


def _label_column(table: Table, columns: Columns, titles: dict[str, str]) -> str | None:
    """Return the column of labels: the one named, or one called `label` that stands beside a column of values."""
    if columns.label is not None or "label" not in titles:
        return columns.label
    found = titles["label"]
    beside = _by_role(table.frame, but={found})
    if columns.value is not None or "value" not in beside or beside["value"] in titles.values():
        return None
    texts = table.frame[found].dropna().astype(str).str.strip().str.lower()
    # a stray other word is a row to reject, not a reason to take the labels for the values
    return found if texts[texts != ""].isin(_LABELS).mean() > _MOST else None


def _target_column(titles: dict[str, str], columns: Columns, taken: set[str], frame: pd.DataFrame) -> str | None:
    """Return the column of targets, where it is not the one that names the tasks."""
    if columns.task is None:
        return None if titles.get("target") in taken else titles.get("target")
    keys = {key(name): str(name) for name in frame.columns if str(name) not in taken}
    return next((keys[title] for title in _TARGETS if title in keys), None)


def split_unit(title: str) -> tuple[str, str]:
    """Return a title without its unit, and the unit; only concentrations and p values count as units.

    Examples
    --------
    >>> split_unit("Ki (nM)"), split_unit("IC50_uM"), split_unit("pKi (EGFR)")
    (('Ki', 'nM'), ('IC50', 'uM'), ('pKi (EGFR)', ''))
    """
    for pattern in (_BRACKET, _SUFFIX):
        match = pattern.match(title.strip())
        if match is None or not (pattern is _BRACKET or DOSE.search(match["name"])):
            continue
        if match["name"] and (is_concentration(match["unit"]) or is_p_unit(match["unit"])):
            return match["name"].strip(), match["unit"].strip()
    return title.strip(), ""


def _by_role(frame: pd.DataFrame, but: set[str] | None = None) -> dict[str, str]:
    """Return role -> column, the first title of each role's list that is there."""
    keys: dict[str, str] = {}
    for name in frame.columns:
        if str(name) not in (but or set()):
            keys.setdefault(key(name), str(name))
    found = {}
    for role, titles in _TITLES.items():
        title = next((title for title in titles if title in keys), None)
        if title is not None:
            found[role] = keys[title]
    return found


def _is_factor(name: str) -> bool:
    plain = re.sub(r"_[a-e]$", "", name)
    member = plain != name
    return (name in ENTITIES and name not in ("compound", "entity")) or plain in CONTEXT or (
        member and plain in ENTITIES
    )  # fmt: skip


def _unit_column(table: Table, columns: Columns, titles: dict[str, str], path: Path) -> str | None:
    if columns.unit is None:
        return titles.get("unit")
    if columns.unit in table.frame.columns:
        return columns.unit
    if is_concentration(columns.unit) or is_p_unit(columns.unit) or plain_unit(columns.unit) in ("%", "percent"):
        return None
    message = f"{path}: --unit {columns.unit!r} is neither a column of the table nor a unit such as nM, uM or ug/mL."
    raise ColumnError(message)


def _wide(table: Table, columns: Columns, titles: dict[str, str], path: Path, base: Layout) -> Layout:
    frame, relation = table.frame, base.relation
    taken = {*base.factors, base.id, relation, base.unit}
    if columns.tasks is not None:
        chosen = _matching(table, columns.tasks, path)
    else:
        free = [str(name) for name in frame.columns if str(name) not in taken and not str(name).startswith("feature:")]
        free = [name for name in free if not _NO_READOUT.search(key(name))]
        chosen = [name for name in free if DOSE.search(name) or P_DOSE.search(name) or key(name) in _READOUTS]
        chosen = [name for name in chosen if not _relation_of(name, free)[1]]
        chosen = chosen or [name for name in free if _numeric(frame[name])]
    if not chosen:
        found = ", ".join(list(map(str, frame.columns))[:30])
        message = f"{path}: no column holds measurements; its columns are {found}. Name them with --tasks or --value."
        raise ColumnError(message)
    group = titles.get("task") if columns.tasks is None else None
    if group in chosen or (group is not None and _numeric(frame[group])):
        group = None
    tasks = []
    for name in chosen:
        column_of(table, name, path, "--tasks")
        task, unit = split_unit(name)
        own = _relation_of(name, list(map(str, frame.columns)))[0] or (relation if len(chosen) == 1 else None)
        tasks.append(TaskColumn(name, task, columns.unit if base.unit is None and columns.unit else unit, own))
    names = [task.name for task in tasks]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        message = (
            f"{path}: the task names {doubled} stand twice among {chosen}. Rename a column, or choose with --tasks."
        )
        raise ColumnError(message)
    return replace(base, tasks=tuple(tasks), group=group)


def _matching(table: Table, patterns: tuple[str, ...], path: Path) -> list[str]:
    chosen: list[str] = []
    for pattern in listed(patterns, list(map(str, table.frame.columns))):
        found = [str(name) for name in table.frame.columns if name == pattern or fnmatchcase(str(name), pattern)]
        if not found:
            column_of(table, pattern, path, "--tasks")
        chosen += [name for name in found if name not in chosen]
        for name in found:
            original = re.sub(r" \(\d+\)$", "", name)
            if original in table.doubled:
                column_of(table, original, path, "--tasks")
    return chosen


def _relation_of(name: str, columns: list[str]) -> tuple[str | None, bool]:
    """Return the column with a task's qualifiers, and whether `name` is itself such a column."""
    words = ("relation", "qualifier", "modifier", "operator")
    own = next((other for other in columns if key(other) in {f"{key(name)} {word}" for word in words}), None)
    return own, key(name).endswith(words)


def _numeric(column: pd.Series) -> bool:
    """Return whether most filled cells of a column are numbers, judged by up to 2,000 of them."""
    head = column[column.notna() & (column.astype(str).str.strip() != "")].head(2_000)
    readings = read_numbers(head)
    filled = int((readings.reason != "empty value").sum())
    return filled > 0 and int((readings.reason == "").sum()) > filled / 2
