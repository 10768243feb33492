"""Labels of perturbed cells -> genes: the spellings people use, what cannot be read listed with its reason."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ConfigError, DataError

CONTROL = "ctrl"
"""The canonical label of the control."""
CONTROL_NAMES = (
    "ctrl",
    "control",
    "non-targeting",
    "non-targeted",
    "non-target",
    "no-target",
    "NT",
    "NTC",
    "negative",
    "negative control",
    "NegCtrl",
    "neg",
    "safe-targeting",
    "safe",
    "scramble",
    "scrambled",
    "unperturbed",
    "non-silencing",
)
"""Names of "nothing was perturbed"; case, blanks, hyphens, underscores and a guide's number do not count."""
WIDEST = 5
"""Genes in one condition: as many as a condition has members (gene_a to gene_e)."""

_PLAIN = (";", "|", "&", ",")
"""Separators beside "+" that no gene name holds."""
_NOTHING = frozenset({"", "nan", "none", "null", "n/a", "na", "*", "unassigned", "unknown", "multiplet", "doublet"})
_GUIDE = re.compile(r"^(sg|g|guide|grna)?-?\d+$", re.IGNORECASE)
_SHOWN = 5


def _plain(name: str) -> str:
    return re.sub(r"[-_. ]", "", name).casefold()


_CONTROLS = frozenset(_plain(name) for name in CONTROL_NAMES)


def is_control(name: str) -> bool:
    """Return whether a name is one of `CONTROL_NAMES`, with or without a guide's number.

    Examples
    --------
    >>> [is_control(name) for name in ("ctrl", "Non-Targeting", "NegCtrl10", "non-targeting_00012", "NT5E")]
    [True, True, True, True, False]
    """
    plain = _plain(name)
    # "NT5" could be a gene; a number after the longer names cannot.
    return plain in _CONTROLS or (len(plain.rstrip("0123456789")) > 2 and plain.rstrip("0123456789") in _CONTROLS)  # noqa: PLR2004


@dataclass(frozen=True)
class Labels:
    """Labels as read."""

    genes: list[tuple[str, ...] | None]
    """One per label: gene names, sorted; ``()`` = the control; None = not read, see `rejected`."""
    rejected: pd.DataFrame
    """Labels that were not read: label, count, reason."""
    notes: list[str] = field(default_factory=list)
    """What was guessed, in sentences."""

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(n,) whether a label was read."""
        return np.fromiter((genes is not None for genes in self.genes), bool, len(self.genes))


def parse_labels(
    labels: Sequence[Any],
    *,
    control: str | None = None,
    separator: str | None = None,
    known: Collection[str] | None = None,
    counts: Sequence[int] | None = None,
    need_control: bool = False,
) -> Labels:
    """Return the genes of each label: ``ctrl``, ``A+ctrl``, ``ctrl+A``, ``A+B``, ``A_B``, ``A|B``, ``A;B``, ``A+B+C``.

    "+", ";", "|", "&" and "," always separate. An underscore may also belong to a gene's name; it
    separates only where its parts are names that stand alone as labels, or are `known`, in exactly
    one way. Names are taken as they stand: none is replaced by a newer or an older symbol. A gene that
    is named twice (two guides) counts once.

    Parameters
    ----------
    labels
        n labels (or tuples of names).
    control
        Label of the control; `CONTROL_NAMES` when None. A name of `CONTROL_NAMES` inside a label,
        as in ``A+ctrl``, always means that nothing else was perturbed.
    separator
        The only separator; found out when None.
    known
        Further gene names, such as those of the measured genes.
    counts
        How often each label stands (cells); 1 each when None.
    need_control
        Whether labels without any control are an error.

    Raises
    ------
    DataError
        If a control is needed and none is there; the message lists the labels most like one.

    Examples
    --------
    >>> parse_labels(["ctrl", "KLF1+ctrl", "MAP2K6+KLF1", "MAP2K6", "KLF1_MAP2K6"]).genes
    [(), ('KLF1',), ('KLF1', 'MAP2K6'), ('MAP2K6',), ('KLF1', 'MAP2K6')]
    >>> parse_labels(["ctrl", "A_1"]).rejected["label"].tolist()
    ['A_1']
    """
    if separator is not None and (not separator or separator.isalnum()):
        message = f"The separator of gene names is {separator!r}; give the text between two names, such as '+' or '_'."
        raise ConfigError(message)
    texts = np.empty(len(labels), object)
    texts[:] = ["+".join(map(str, one)) if isinstance(one, list | tuple) else _text(one) for one in labels]
    codes, distinct = pd.factorize(texts)
    number = np.bincount(codes, weights=counts, minlength=len(distinct)).astype(np.int64)
    cells = {str(text): int(count) for text, count in zip(distinct, number, strict=True)}
    chosen, notes = _choose_control(cells, control, need_control=need_control)
    reader = _Reader(chosen, separator, frozenset(known or ()))
    parsed = reader.read(list(cells))
    rejected = [(text, cells[text], one) for text, one in parsed.items() if isinstance(one, str)]
    table = pd.DataFrame(rejected, columns=["label", "count", "reason"])
    table = table.sort_values(["count", "label"], ascending=[False, True], ignore_index=True)
    genes = [None if isinstance(parsed[text], str) else parsed[text] for text in map(str, distinct)]
    if need_control and () not in genes:
        raise DataError(_no_control(cells, control))
    return Labels([genes[code] for code in codes], table, [*notes, *reader.notes, *_told(table)])


def _text(label: Any) -> str:
    return "" if label is None or (isinstance(label, float) and np.isnan(label)) else str(label).strip()


def _told(rejected: pd.DataFrame) -> list[str]:
    if rejected.empty:
        return []
    first = "; ".join(
        f"{label!r} ({count}): {reason}"
        for label, count, reason in rejected.head(_SHOWN).itertuples(index=False, name=None)
    )
    more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
    return [f"{len(rejected)} labels were not read ({int(rejected['count'].sum())} times): {first}{more}."]


def _choose_control(
    cells: Mapping[str, int], control: str | None, *, need_control: bool
) -> tuple[str | None, list[str]]:
    """Return the whole label that alone is the control (None: any usual name), and what to tell."""
    usual = {text: count for text, count in cells.items() if text and is_control(text)}
    if control is not None:
        same = [text for text in cells if text.casefold() == control.strip().casefold()]
        if same:
            return (control if control in same else same[0]), []
        if not is_control(control):
            if need_control:
                raise DataError(_no_control(cells, control))
            return control, []
    shown = ", ".join(f"{text!r} ({count})" for text, count in usual.items())
    if len(usual) > 1:
        return None, [f"Several labels read as one control: {shown}. Name one of them to use it alone."]
    if usual and control is not None:
        return None, [f"No label is {control!r}; the control is {shown}."]
    return None, []


def _no_control(cells: Mapping[str, int], control: str | None) -> str:
    wanted = [control] if control else list(CONTROL_NAMES)
    plain = [_plain(name) for name in [*wanted, "ctrl", "control", "nontargeting", "neg"]]

    def likeness(text: str) -> float:
        parts = [_plain(part) for part in [text, *re.split(r"[+_;|&, ]", text)] if part]
        return max((difflib.SequenceMatcher(None, a, b).ratio() for a in parts for b in plain), default=0.0)

    common = sorted(cells, key=lambda text: -cells[text])[:2_000]
    like = sorted(common, key=lambda text: (-likeness(text), -cells[text]))[:_SHOWN]
    shown = ", ".join(f"{text!r} ({cells[text]})" for text in like)
    named = f"No label is the control {control!r}" if control else "No label is a control"
    return (
        f"{named}; effects are differences from the control. The labels most like one: {shown}. "
        f"Name it (--control), or rename it to one of {', '.join(CONTROL_NAMES[:4])}."
    )


class _Reader:
    """Reads distinct labels; knows which names stand alone."""

    def __init__(self, control: str | None, separator: str | None, known: frozenset[str]) -> None:
        self.control, self.separator, self.known = control, separator, known
        self.notes: list[str] = []

    def read(self, texts: list[str]) -> dict[str, tuple[str, ...] | str]:
        """Return genes, or the reason why there are none, of each label."""
        split = {text: self._split(text) for text in texts}
        # What stands alone, or beside a "+", is a name; so is a name that is known, underscore or not.
        names = {part for parts in split.values() for part in parts if "_" not in part or len(parts) > 1}
        # so is what stands beside a control, as in A_NegCtrl0
        beside = [parts[0].split("_") for parts in split.values() if len(parts) == 1 and parts[0].count("_") == 1]
        names |= {pair[1 - place] for pair in beside for place in (0, 1) if self._nothing(pair[place])}
        self.known = self.known | {name for name in names if name and not self._nothing(name)}
        parsed = {text: self._read(text, parts) for text, parts in split.items()}
        self._habit(split, parsed)
        return parsed

    def _nothing(self, name: str) -> bool:
        return is_control(name) or name == self.control

    def _split(self, text: str) -> list[str]:
        if text[:1] in "[(" and text[-1:] in "])" and text:
            text = text[1:-1].replace("'", "").replace('"', "")
        # two guides of one vector, each pair named twice: "A_B__A_B"
        halves = text.split("__")
        if self.separator is None and len(halves) == 2 and halves[0] == halves[1]:  # noqa: PLR2004
            text = halves[0]
        if self.separator is not None:
            return [part.strip() for part in text.split(self.separator)] if self.separator != "_" else [text]
        for mark in _PLAIN:
            text = text.replace(mark, "+")
        return [part.strip() for part in text.split("+")]

    def _read(self, text: str, parts: list[str]) -> tuple[str, ...] | str:
        if text == self.control:
            return ()
        if self.control is not None and len(parts) == 1 and is_control(text):
            return f"another control than {self.control!r}, the one that is used"
        names = self._names(text, parts)
        if isinstance(names, str):
            return names
        genes = tuple(sorted({name for name in names if not self._nothing(name)}))
        return genes if len(genes) <= WIDEST else f"names {len(genes)} genes, more than {WIDEST}"

    def _names(self, text: str, parts: list[str]) -> list[str] | str:
        if text.casefold() in _NOTHING:
            return "no gene is named"
        if any(not part for part in parts):
            return "a name beside a separator is empty"
        names: list[str] = []
        for part in parts:
            found = [part] if self._whole(part) else self._underscores(part)
            if isinstance(found, str):
                return found
            names += found
        return names

    def _whole(self, part: str) -> bool:
        """Return whether a part is one name, underscores and all."""
        other = self.separator not in (None, "_")
        return "_" not in part or other or part in self.known or self._nothing(part)

    def _underscores(self, part: str) -> list[str] | str:
        tokens = part.split("_")
        ways = self._ways(tokens)
        if len(ways) == 1:
            return ways[0]
        if len(ways) > 1:
            shown = " or ".join("+".join(way) for way in ways[:3])
            return f"can be read as {shown}; write pairs with '+'"
        if self.separator == "_":
            return tokens if all(tokens) else "a name beside a separator is empty"
        if _GUIDE.match(tokens[-1]):
            return f"{tokens[-1]!r} looks like a guide's number; take it off to pool the guides of a gene"
        return "one name or a pair? Its parts are not seen alone; write pairs with '+', or name the separator"

    def _ways(self, tokens: list[str]) -> list[list[str]]:
        """Return every reading of the tokens as known names joined with underscores."""
        ways: list[list[list[str]]] = [[[]]]
        for end in range(1, len(tokens) + 1):
            here = []
            for start in range(end):
                name = "_".join(tokens[start:end])
                if ways[start] and (name in self.known or self._nothing(name)):
                    here += [[*way, name] for way in ways[start][:_SHOWN]]
            ways.append(here)
        return ways[-1]

    def _habit(self, split: dict[str, list[str]], parsed: dict[str, tuple[str, ...] | str]) -> None:
        """Read ``A_B`` where A alone is known, if most labels with underscores are pairs of known names."""
        under = [text for text, parts in split.items() if len(parts) == 1 and "_" in text and not self._whole(text)]
        pairs = [text for text in under if not isinstance(parsed[text], str)]
        if 2 * len(pairs) <= len(under):
            return
        read = []
        for text in set(under) - set(pairs):
            tokens = text.split("_")
            lone = len(tokens) == 2 and all(tokens) and not _GUIDE.match(tokens[1])  # noqa: PLR2004
            if lone and any(name in self.known for name in tokens):
                parsed[text] = tuple(sorted({name for name in tokens if not self._nothing(name)}))
                read.append(text)
        if read:
            shown = ", ".join(sorted(read)[:_SHOWN]) + (", ..." if len(read) > _SHOWN else "")
            self.notes.append(f"Read as pairs, though one gene of each is not seen alone: {shown} ({len(read)}).")


def canonical(genes: Sequence[str]) -> str:
    """Return the one label of a set of genes, the control's when there is none.

    Examples
    --------
    >>> canonical(("MAP2K6", "KLF1")), canonical(())
    ('KLF1+MAP2K6', 'ctrl')
    """
    return "+".join(sorted(genes)) if genes else CONTROL


def gene_columns(genes: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return (n, w) columns gene_a, gene_b, ... of n conditions; "" where a condition has fewer genes.

    Examples
    --------
    >>> gene_columns([(), ("KLF1", "CBL")]).to_numpy().tolist()
    [['', ''], ['CBL', 'KLF1']]
    """
    width = max(1, max(map(len, genes), default=0))
    if width > WIDEST:
        message = f"A condition names {width} genes; at most {WIDEST} can be told apart. Leave it out."
        raise DataError(message)
    rows = [[*sorted(one), *[""] * (width - len(one))] for one in genes]
    names = [f"gene_{letter}" for letter in "abcde"[:width]]
    return pd.DataFrame(np.array(rows, dtype=object).reshape(len(rows), width), columns=names)


def condition_columns(genes: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return (n, 1 + w) columns `condition` (canonical label) and gene_a, gene_b, ...

    Examples
    --------
    >>> condition_columns([("KLF1", "CBL")])["condition"].tolist()
    ['CBL+KLF1']
    """
    frame = gene_columns(genes)
    frame.insert(0, "condition", np.array([canonical(one) for one in genes], dtype=object))
    return frame


def genes_of(conditions: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the sorted genes of n conditions from their columns gene_a, gene_b, ...; ``()`` = control.

    Examples
    --------
    >>> genes_of(pd.DataFrame({"gene_a": ["KLF1", "TP53"], "gene_b": ["CBL", "ctrl"]}))
    [('CBL', 'KLF1'), ('TP53',)]
    """
    columns = [f"gene_{letter}" for letter in "abcde" if f"gene_{letter}" in conditions.columns]
    if not columns:
        found = ", ".join(map(str, conditions.columns[:20]))
        message = f"The conditions have no columns gene_a, gene_b; found {found}. Make them with parse_labels."
        raise DataError(message)
    texts = conditions[columns].astype(object).where(conditions[columns].notna(), "").to_numpy(object)
    return [tuple(sorted({str(name) for name in row if name and not is_control(str(name))})) for row in texts]


def listing(names: Collection[str], what: str) -> str:
    """Return "what: a, b, c, ... (n)." for notes that list names.

    Examples
    --------
    >>> listing(["A", "B"], "Not measured")
    'Not measured: A, B (2).'
    """
    listed = list(names)
    return f"{what}: {', '.join(listed[:_SHOWN])}{', ...' if len(listed) > _SHOWN else ''} ({len(listed)})."
