"""Structures: one standard form per compound, or the reason why there is none.

The whole preparation of shared assay tables is made of this and of `tuner_tables` (tables in),
`parent_form` and `tautomer` (structures), `keyed_folds` and `scaffold_network` (folds that need no talk),
`assay_kinds`, `assay_replicates`, `thresholds` and `quorum` (values into tasks), `sparsechem` (matrices out).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from screenwise.processes import Workers

MAX_LENGTH = 2_000
"""SMILES longer than this are refused: a sequence or a damaged cell, not a small molecule."""
PARALLEL_FROM = 5_000
"""Structures below this number are not worth starting processes for."""

_CHARGED = re.compile(r"\[[^\]]*[+-]")
_SHOWN = 60
_CHUNK = 500
_KNOWN: ContextVar[dict[str, tuple[str, str]] | None] = ContextVar("standard forms", default=None)
"""Standard forms and reasons by text, inside `standardising_once`."""


def standardise(
    smiles: Sequence[str], *, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> pd.DataFrame:
    """Return the standard form of structures, one row per input, in order.

    Each structure is read by RDKit, metals are cut off, functional groups are written one way
    (nitro, sulfoxide, azide, ...), the largest fragment is kept (salts and solvents go), charges are
    neutralised where a hydrogen can do it, and the canonical SMILES is written. Stereochemistry,
    isotopes and tautomers stay as given. The form of one structure never depends on the others.

    Parameters
    ----------
    smiles
        n structures; empty or missing entries are refused with a reason.
    jobs
        Processes to use when there are many structures; the result is the same.
    progress
        Called as ``progress("Standardising structures", done, total)``.

    Returns
    -------
    DataFrame with `smiles` (empty where refused) and `reason` (empty where fine), n rows.

    References
    ----------
    The steps are those of RDKit's MolStandardize; the rules that decide which rows are kept follow
    MELLODDY-TUNER 3.0.2 (there stereochemistry is removed; here it stays).

    Examples
    --------
    >>> table = standardise(["CC(=O)[O-].[Na+]", "C1CC", ""])
    >>> table["smiles"].tolist()
    ['CC(=O)O', '', '']
    >>> table["reason"].tolist()[1:]
    ['SMILES cannot be read: ring 1 is never closed', 'SMILES is empty']
    """
    codes, distinct = pd.factorize(pd.Series(list(smiles), dtype=object).fillna("").astype(str).str.strip())
    known = _KNOWN.get()
    missing = list(distinct) if known is None else [text for text in distinct if text not in known]
    found = dict(zip(missing, _standardise_many(missing, jobs, progress), strict=True))
    if known is not None:
        known |= found
        found = known
    results = [found[text] for text in distinct]
    clean = np.array([result[0] for result in results] or [""], dtype=object)
    reason = np.array([result[1] for result in results] or [""], dtype=object)
    return pd.DataFrame({"smiles": clean[codes], "reason": reason[codes]})


@contextmanager
def standardising_once() -> Iterator[None]:
    """Keep the standard forms inside the block: a table that is read twice there is standardised once.

    Examples
    --------
    >>> with standardising_once():
    ...     bool((standardise(["OCC"]) == standardise(["OCC"])).all(axis=None))
    True
    """
    before = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(before)


def molecular_weights(smiles: Sequence[str]) -> np.ndarray:
    """Return (n,) molecular weights in g/mol; NaN where a structure cannot be read.

    Examples
    --------
    >>> molecular_weights(["CCO", "?"]).round(2).tolist()
    [46.07, nan]
    """
    from rdkit import Chem  # noqa: PLC0415
    from rdkit.Chem.rdMolDescriptors import _CalcMolWt  # noqa: PLC0415

    codes, distinct = pd.factorize(pd.Series(list(smiles), dtype=object))
    with quiet_rdkit():
        molecules = [Chem.MolFromSmiles(text) if text else None for text in distinct]
    weights = np.array([np.nan if molecule is None else _CalcMolWt(molecule) for molecule in molecules] or [np.nan])
    return weights[codes]


@contextmanager
def quiet_rdkit() -> Iterator[None]:
    """Keep RDKit's C++ messages off the screen inside this block; what they say becomes a reason."""
    from rdkit import rdBase  # noqa: PLC0415

    blocked = rdBase.BlockLogs()
    try:
        yield
    finally:
        del blocked


def _standardise_many(
    smiles: list[str], jobs: int, progress: Callable[[str, int, int], None] | None
) -> list[tuple[str, str]]:
    def tell(chunks: int) -> None:
        if progress is not None and smiles:
            progress("Standardising structures", min(chunks * _CHUNK, len(smiles)), len(smiles))

    tell(0)
    chunks = [smiles[start : start + _CHUNK] for start in range(0, len(smiles), _CHUNK)]
    with Workers(_standardise_chunk, None, jobs if len(smiles) >= PARALLEL_FROM else 1) as workers:
        return [result for part in workers.in_order(chunks, tell) for result in part]


def _standardise_chunk(_: None, smiles: list[str]) -> list[tuple[str, str]]:
    with quiet_rdkit():
        return [_standard_form(text) for text in smiles]


@lru_cache(maxsize=1)
def metal_pattern() -> re.Pattern[str]:
    """Return the pattern of a metal atom in a SMILES.

    Examples
    --------
    >>> bool(metal_pattern().search("C[Hg]C")), bool(metal_pattern().search("C[Se]C"))
    (True, False)
    """
    from rdkit import Chem  # noqa: PLC0415

    table = Chem.GetPeriodicTable()
    organic = {1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 52, 53, 54, 85, 86}
    metals = [table.GetElementSymbol(number) for number in range(1, 119) if number not in organic]
    return re.compile(r"\[\d*(?:" + "|".join(sorted(metals, key=len, reverse=True)) + r")(?![a-z])")


@lru_cache(maxsize=1)
def _steps() -> Any:
    """Return the metal cutter, normaliser, fragment chooser and neutraliser."""
    from rdkit.Chem.MolStandardize import rdMolStandardize as standard  # noqa: PLC0415

    neutral = standard.Uncharger(canonicalOrder=True)
    return standard.MetalDisconnector(), standard.Normalizer(), standard.LargestFragmentChooser(), neutral


@lru_cache(maxsize=200_000)
def _standard_form(text: str) -> tuple[str, str]:
    from rdkit import Chem  # noqa: PLC0415

    if not text or len(text) > MAX_LENGTH:
        long = f"SMILES has {len(text)} characters; more than {MAX_LENGTH} is no small molecule"
        return "", long if text else "SMILES is empty"
    molecule = read_molecule(text)
    if molecule is None:
        return "", f"SMILES cannot be read: {why_unreadable(text)}"
    if molecule.GetNumHeavyAtoms() == 0:
        return "", "SMILES has no atoms other than hydrogen"
    try:
        clean = Chem.MolToSmiles(_cleaned(molecule, text))
        # Written once more from its own text, so that the standard form of a standard form is itself.
        return (clean if clean == text else _rewritten(clean)), ""
    except (RuntimeError, ValueError, Chem.MolSanitizeException) as error:
        return "", f"no standard form: {str(error).strip().splitlines()[0][:_SHOWN]}"


def _rewritten(smiles: str) -> str:
    from rdkit import Chem  # noqa: PLC0415

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        message = f"RDKit cannot read its own result {smiles[:_SHOWN]!r}"
        raise ValueError(message)
    return Chem.MolToSmiles(molecule)


def _cleaned(molecule: Any, text: str) -> Any:
    """Apply the steps; each is skipped where it cannot change anything, which saves half of the time."""
    cut, normalise, choose, neutralise = _steps()
    metallic = metal_pattern().search(text) is not None
    if metallic:
        molecule = cut.Disconnect(molecule)
    molecule = normalise.normalize(molecule)
    if metallic or "." in text:
        molecule = choose.choose(molecule)
    return neutralise.uncharge(molecule) if metallic or _CHARGED.search(text) else molecule


def read_molecule(text: str) -> Any:
    """Return RDKit's molecule; phosphates written as [PH](=O)(=O) are repaired; None if unreadable.

    Examples
    --------
    >>> read_molecule("C[PH](=O)(=O)O").GetNumAtoms(), read_molecule("C1CC")
    (5, None)
    """
    from rdkit import Chem  # noqa: PLC0415

    molecule = Chem.MolFromSmiles(text)
    if molecule is not None or "[PH]" not in text:
        return molecule
    molecule = Chem.MolFromSmiles(text, sanitize=False)
    if molecule is None:
        return None
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 15 and atom.GetNumExplicitHs() == 1:  # noqa: PLR2004
            double = [bond for bond in atom.GetBonds() if bond.GetBondType() == Chem.BondType.DOUBLE]
            if len(double) > 1:
                # The hydrogen belongs to one of the two oxygens: P(=O)(O) instead of [PH](=O)(=O).
                atom.SetNumExplicitHs(0)
                atom.SetNoImplicit(what=False)
                double[-1].SetBondType(Chem.BondType.SINGLE)
    try:
        Chem.SanitizeMol(molecule)
    except (ValueError, Chem.MolSanitizeException):
        return None
    return molecule


def why_unreadable(text: str) -> str:
    """Return in plain words what is wrong with a SMILES.

    Examples
    --------
    >>> why_unreadable("C1CC")
    'ring 1 is never closed'
    """
    from rdkit import Chem  # noqa: PLC0415

    unreadable = re.search(r"[^\w\s@+\-\[\]()=#$:/\\.%*~<>{}|^,&;!?]", text)
    if unreadable or " " in text:
        return f"{text[:_SHOWN]!r} holds characters that no SMILES has"
    for left, right, name in ((("("), ")", "a round bracket"), ("[", "]", "a square bracket")):
        if text.count(left) != text.count(right):
            return f"{name} is never closed or opened"
    labels = re.findall(r"%\d\d|\d", re.sub(r"\[[^\]]*\]", "", text))
    odd = [label for label in dict.fromkeys(labels) if labels.count(label) % 2]
    if odd:
        return f"ring {odd[0].lstrip('%')} is never closed"
    molecule = Chem.MolFromSmiles(text, sanitize=False)
    if molecule is None:
        return f"{text[:_SHOWN]!r} is not a SMILES"
    problems = Chem.DetectChemistryProblems(molecule)
    return problems[0].Message() if problems else f"{text[:_SHOWN]!r} is not a SMILES"
