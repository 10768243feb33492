"""One parent form per structure, as partners of MELLODDY agreed on it: neutral, flat, the canonical tautomer."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from screenwise.data.chemistry import (
    MAX_LENGTH,
    PARALLEL_FROM,
    metal_pattern,
    quiet_rdkit,
    read_molecule,
    why_unreadable,
)
from screenwise.data.tautomer import canonical_tautomer, read_written
from screenwise.data.tune_settings import StructureRules
from screenwise.processes import Workers

_CHUNK = 500
_SHOWN = 80
_CHARGED = re.compile(r"\[[^\]]*[+-]")
_ISOTOPE = re.compile(r"\[\d")
_NITRO = re.compile(r"O=\[N\+\]\(\[O-\]\)|\[O-\]\[N\+\]\(=O\)|\[N\+\](?:\(=O\)\[O-\]|\(\[O-\]\)=O)")
_REWRITTEN = "[$([N,P,As,Sb;X3](=*)=*),$(n=*),$(N(=*)#N),$([S;X3]=O)]"
"""Uncharged atoms in groups that RDKit's Normalizer writes another way: nitro, N-oxide, azide, diazo, sulfoxide.

All its other rules ask for a charge; a nitro group, charged on neighbours, is what they lead to and matches none.
"""


def parent_forms(
    smiles: Sequence[str],
    rules: StructureRules = StructureRules(),
    *,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> pd.DataFrame:
    """Return the parent form of structures, one row per input, in order.

    Each structure is read (phosphorus written as [PH](=O)(=O)O is repaired); metals are cut off, functional
    groups written one way, the strongest acid ionised first, the largest organic fragment kept and neutralised;
    isotopes and (unless asked) stereochemistry are removed; the canonical tautomer is taken; and metals,
    groups and ions are cleaned once more. The form of one structure never depends on the others.

    Structures with too many atoms are rejected: atoms other than hydrogen, of all fragments, as given.
    That limit, the limit of `chemistry.MAX_LENGTH` characters, and the limit of tautomers bound the work
    on one structure; no clock does, so that a slow machine rejects the same structures as a quick one.

    Parameters
    ----------
    smiles
        n structures; empty or missing entries are refused with a reason.
    rules
        What to keep and where to stop.
    jobs
        Processes to use when there are many structures; the result is the same.
    progress
        Called as ``progress("Standardising structures", done, total)``.

    Returns
    -------
    DataFrame with `smiles` (empty where refused) and `reason` (empty where fine), n rows.

    References
    ----------
    The steps and their order are those of MELLODDY-TUNER 3.0.2; each is RDKit's MolStandardize.

    Examples
    --------
    >>> table = parent_forms(["C[C@H](N)C(=O)[O-].[Na+]", "Oc1ccccn1", "C" * 100])
    >>> table["smiles"].tolist()
    ['CC(N)C(=O)O', 'O=c1cccc[nH]1', '']
    >>> table["reason"].tolist()[2]
    '100 atoms other than hydrogen; structures with 100 or more are rejected'
    """
    codes, distinct = pd.factorize(pd.Series(list(smiles), dtype=object).fillna("").astype(str).str.strip())

    def tell(chunks: int) -> None:
        if progress is not None:
            progress("Standardising structures", min(chunks * _CHUNK, len(distinct)), len(distinct))

    tell(0)
    chunks = [list(distinct[start : start + _CHUNK]) for start in range(0, len(distinct), _CHUNK)]
    with Workers(_forms_of_chunk, rules, jobs if len(distinct) >= PARALLEL_FROM else 1) as workers:
        results = [result for part in workers.in_order(chunks, tell) for result in part]
    clean = np.array([result[0] for result in results] or [""], dtype=object)
    reason = np.array([result[1] for result in results] or [""], dtype=object)
    return pd.DataFrame({"smiles": clean[codes], "reason": reason[codes]})


def _forms_of_chunk(rules: StructureRules, smiles: list[str]) -> list[tuple[str, str]]:
    with quiet_rdkit():
        return [_parent_form(text, rules) for text in smiles]


def _parent_form(text: str, rules: StructureRules) -> tuple[str, str]:
    if not text or len(text) > MAX_LENGTH:
        long = f"SMILES has {len(text)} characters; more than {MAX_LENGTH} is no small molecule"
        return "", long if text else "SMILES is empty"
    molecule = (None if rules.stereo else _read_flat(text)) or read_molecule(text)
    if molecule is None:
        return "", f"SMILES cannot be read: {why_unreadable(text)}"
    atoms = molecule.GetNumHeavyAtoms()
    if atoms == 0:
        return "", "SMILES has no atoms other than hydrogen"
    if atoms >= rules.atoms:
        return "", f"{atoms} atoms other than hydrogen; structures with {rules.atoms} or more are rejected"
    try:
        return _form_of(molecule, text, rules), ""
    except (RuntimeError, ValueError) as error:  # RDKit's own errors are ValueErrors
        return "", f"no parent form: {(str(error).strip() or type(error).__name__).splitlines()[0][:_SHOWN]}"


def _read_flat(text: str) -> Any:
    """Read a structure without its stereochemistry, which costs as much to find as to lose; None if that is not enough.

    Explicit hydrogens and what cannot be read at once are left to `read_molecule`.
    """
    from rdkit import Chem  # noqa: PLC0415

    molecule = None if "[H" in text else Chem.MolFromSmiles(text, sanitize=False)
    if molecule is None:
        return None
    Chem.RemoveStereochemistry(molecule)
    try:
        Chem.SanitizeMol(molecule)
    except ValueError:
        return None
    return molecule


def _form_of(molecule: Any, text: str, rules: StructureRules) -> str:
    from rdkit import Chem  # noqa: PLC0415

    settled = _is_settled(molecule, text)
    parent = str(Chem.MolToSmiles(_parent(molecule, text, rules, settled=settled)))
    if not settled:
        read_written(parent)
    tautomer = canonical_tautomer(parent, rules.tautomers)
    if settled and tautomer == parent and "[H]" not in parent:
        return parent
    molecule = read_written(tautomer)
    if tautomer == parent and not _CHARGED.search(parent):
        return str(Chem.MolToSmiles(molecule))
    settled = _is_settled(molecule, tautomer)
    written = str(Chem.MolToSmiles(molecule if settled else _cleaned(molecule)))
    return written if settled and written == tautomer else str(Chem.MolToSmiles(read_written(written)))


def _parent(molecule: Any, text: str, rules: StructureRules, *, settled: bool) -> Any:
    """Return the neutral largest fragment without isotopes and stereochemistry, groups written one way."""
    from rdkit import Chem  # noqa: PLC0415
    from rdkit.Chem.MolStandardize import rdMolStandardize  # noqa: PLC0415

    if not settled and ("." in text or _CHARGED.search(text) or metal_pattern().search(text)):
        molecule = rdMolStandardize.ChargeParent(molecule)
    else:
        molecule = Chem.RemoveHs(molecule) if "[H]" in text else molecule
        molecule = molecule if settled else _cleaners()[1].normalize(molecule)
    if _ISOTOPE.search(text):
        for atom in molecule.GetAtoms():
            atom.SetIsotope(0)
        molecule = Chem.RemoveHs(molecule)
    if not rules.stereo:
        Chem.RemoveStereochemistry(molecule)
    return molecule


def _is_settled(molecule: Any, text: str) -> bool:
    """Tell whether no step of RDKit's cleaning can change it: one fragment, no metal, no charge but of nitro groups."""
    if "." in text or _CHARGED.search(_NITRO.sub("", text)) or metal_pattern().search(text):
        return False
    return not molecule.HasSubstructMatch(_rewritten_atoms())


@lru_cache(maxsize=1)
def _rewritten_atoms() -> Any:
    from rdkit import Chem  # noqa: PLC0415

    return Chem.MolFromSmarts(_REWRITTEN)


@lru_cache(maxsize=1)
def _cleaners() -> tuple[Any, Any, Any]:
    from rdkit.Chem.MolStandardize import rdMolStandardize  # noqa: PLC0415

    return rdMolStandardize.MetalDisconnector(), rdMolStandardize.Normalizer(), rdMolStandardize.Reionizer()


def _cleaned(molecule: Any) -> Any:
    disconnect, normalise, reionise = _cleaners()
    return reionise.reionize(normalise.normalize(disconnect.Disconnect(molecule)))
