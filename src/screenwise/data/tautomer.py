"""The canonical tautomer of a structure, found region by region.

RDKit enumerates the tautomers of a whole molecule: with two amides and a pyrazole that is the product of
the numbers of each. But regions that saturated atoms or benzene rings part (`tautomer_regions`) change
independently, and RDKit's score is a sum over rings and groups (regions in one ring that may become aromatic
are one). So each region is cut out with its
surroundings, RDKit enumerates and scores the piece, and the best pieces are put back. Pieces return in
molecule after molecule, and each is solved once. Where several tautomers of the pieces score the same, all
are built, and the SMILES that is first in the alphabet wins, as in RDKit.

A piece is never guessed at: when RDKit changes an atom of it that was taken for surroundings, or the
piece cannot be read, the whole molecule is given to RDKit.
"""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.data.tautomer_regions import mobile_regions

MOST_TIES = 256
"""Combinations of equally good pieces that are built and compared; beyond it RDKit takes the whole molecule."""

_ARYL = 54
"""Xenon stands for a benzene ring that a piece is bonded to."""
_CAP = 0
"""A dummy atom stands for what was cut off an atom that had no hydrogen there."""


@dataclass(frozen=True)
class _Form:
    """One tautomer of a piece: what to set in the molecule, by place in the piece's SMILES."""

    bonds: tuple[tuple[int, int, Any], ...]
    """Two atoms of the region, and the kind of their bond (Kekule form)."""
    atoms: tuple[tuple[int, int, int], ...]
    """An atom of the region, its hydrogens, its charge."""


@dataclass(frozen=True)
class _Piece:
    """A region and its surroundings, as text."""

    smiles: str
    atoms: list[int]
    """Atoms of the molecule in the order of the SMILES."""
    inside: bytes
    """Of each of them, whether it is of the region."""


def canonical_tautomer(molecule: Any, smiles: str, most: int = 256) -> str:
    """Return the SMILES of the canonical tautomer: the best by RDKit's score, of equals the first in the alphabet.

    Parameters
    ----------
    molecule
        RDKit molecule, read from `smiles`.
    smiles
        Its canonical SMILES; one with stereochemistry or isotopes is given to RDKit whole.
    most
        Tautomers to enumerate of each region.

    References
    ----------
    Sitzmann, Ihlenfeldt and Nicklaus, J. Comput. Aided Mol. Des. 24, 521 (2010), as RDKit's
    ``rdMolStandardize.TautomerEnumerator`` has it.

    Examples
    --------
    >>> from rdkit import Chem
    >>> canonical_tautomer(Chem.MolFromSmiles("Oc1ccccn1"), "Oc1ccccn1")
    'O=c1cccc[nH]1'
    """
    if any(mark in smiles for mark in "@/\\") or "." in smiles:
        return whole_tautomer(molecule, most)
    found = []
    for piece in _pieces(molecule):
        forms = _solve(piece.smiles, piece.inside, most)
        if forms is None:
            return whole_tautomer(molecule, most)
        if forms:
            found.append((piece, forms))
    if not found:
        return smiles
    if math.prod(len(forms) for _, forms in found) > MOST_TIES:
        return whole_tautomer(molecule, most)
    return _best_of(molecule, found) or whole_tautomer(molecule, most)


def whole_tautomer(molecule: Any, most: int) -> str:
    """Return the SMILES of RDKit's canonical tautomer of a whole molecule.

    Examples
    --------
    >>> from rdkit import Chem
    >>> whole_tautomer(Chem.MolFromSmiles("CC(O)=NC"), 256)
    'CNC(C)=O'
    """
    from rdkit import Chem  # noqa: PLC0415

    return str(Chem.MolToSmiles(_enumerator(most).Canonicalize(molecule)))


@lru_cache(maxsize=4)
def _enumerator(most: int) -> Any:
    from rdkit.Chem.MolStandardize import rdMolStandardize  # noqa: PLC0415

    enumerator = rdMolStandardize.TautomerEnumerator()
    enumerator.SetMaxTautomers(most)
    enumerator.SetRemoveSp3Stereo(False)  # noqa: FBT003 - RDKit's signature
    return enumerator


@lru_cache(maxsize=1)
def _symbols() -> list[str]:
    from rdkit import Chem  # noqa: PLC0415

    table = Chem.GetPeriodicTable()
    return [table.GetElementSymbol(number) for number in range(119)]


def _pieces(molecule: Any) -> list[_Piece]:
    """Cut out each live region: itself, its neighbours, the whole rings and aromatic systems that it is part of."""
    from rdkit import Chem  # noqa: PLC0415

    facts = [(atom.GetAtomicNum(), atom.GetTotalNumHs(), atom.GetFormalCharge()) for atom in _atoms(molecule)]
    order = Chem.GetAdjacencyMatrix(molecule, useBO=True)
    number, hydrogens, charge = np.array(facts, np.int64).T.copy()
    region, system, live = mobile_regions(order, number, hydrogens, charge)
    if not live.any():
        return []
    # around a region, pyrrole's nitrogen looks like furan's oxygen: as many electrons, and no hydrogen to give
    pyrrole = (number == 7) & (system >= 0) & (charge == 0) & (hydrogens + (order > 0).sum(axis=1) == 3)  # noqa: PLR2004
    pieces = []
    rings = [list(ring) for ring in molecule.GetRingInfo().AtomRings()]
    _join_in_rings(region, live, rings, (number != 6) | (system >= 0))  # noqa: PLR2004 - carbon
    for each in np.flatnonzero(live):
        inside = region == each
        kept = inside.copy()
        for ring in rings:
            if inside[ring].any():
                kept[ring] = True
        for one in set(system[kept].tolist()) - {-1}:
            kept |= system == one
        use = kept | (order[inside] > 0).any(axis=0)
        still = (order[inside & (system >= 0)] > 0).any(axis=0)
        marks = (each.tolist() for each in (use, inside, kept, system >= 0, still))
        swapped = (pyrrole & ~inside & ((order[:, use] > 0).sum(axis=1) < 3)).tolist()  # noqa: PLR2004
        shown = [(8, 0, 0) if other else fact for fact, other in zip(facts, swapped, strict=True)]
        tokens = [_token(fact, *mark) if used else "C" for fact, used, *mark in zip(shown, *marks, strict=True)]
        smiles = Chem.MolFragmentToSmiles(molecule, np.flatnonzero(use).tolist(), atomSymbols=tokens)
        atoms = list(map(int, molecule.GetProp("_smilesAtomOutputOrder")[1:-1].split(",")))
        pieces.append(_Piece(smiles, atoms, inside[atoms].tobytes()))
    return pieces


def _join_in_rings(
    region: NDArray[np.int64], live: NDArray[np.bool_], rings: list[list[int]], electrons: NDArray[np.bool_]
) -> None:
    """Make one of regions that share a ring which may become aromatic: no atom of it is a carbon that never changes."""
    for ring in rings:
        own = region[ring]
        if (own[own >= 0] != own.max()).any() and ((own >= 0) | electrons[ring]).all():
            first, *others = np.unique(own[own >= 0]).tolist()
            live[first] = live[[first, *others]].any()
            live[others] = False
            region[np.isin(region, others)] = first


def _token(
    fact: tuple[int, int, int],
    inside: bool,  # noqa: FBT001
    kept: bool,  # noqa: FBT001
    aromatic: bool,  # noqa: FBT001
    still: bool,  # noqa: FBT001
) -> str:
    """Return an atom's text in a piece: exact in the region, as plain as RDKit's rules allow around it.

    Parameters
    ----------
    fact
        Atomic number, hydrogens, charge.
    inside, kept, aromatic
        Whether it is of the region; of a ring that is kept whole; of an aromatic ring.
    still
        Whether it is beside an aromatic atom of the region: a carbon there gives no hydrogen.
    """
    number, hydrogens, charge = fact
    symbol = _symbols()[number]
    if aromatic and not kept:
        return f"[{_symbols()[_ARYL]}]" if number == 6 else "F"  # noqa: PLR2004 - carbon
    if inside or charge:
        text = symbol.lower() if aromatic else symbol
        count = f"H{hydrogens}" if hydrogens else ""
        return f"[{text}{count}{f'{charge:+d}' if charge else ''}]"
    if aromatic:
        return f"[{symbol.lower()}]"
    if number == 6:  # noqa: PLR2004 - carbon: only whether it may give a hydrogen matters
        return "C" if hydrogens and not still else "[C]"
    # a heteroatom beside the region: any with one bond to it looks the same, but nitrogen
    return f"[{symbol}]" if kept or number == 7 else "F"  # noqa: PLR2004


@lru_cache(maxsize=200_000)
def _solve(smiles: str, inside: bytes, most: int) -> tuple[_Form, ...] | None:
    """Return the best tautomers of a piece: none if it is the only best one itself; None if the cut was wrong."""
    from rdkit import Chem  # noqa: PLC0415

    own = np.frombuffer(inside, np.bool_)
    molecule = _filled(smiles, own)
    if molecule is None:
        return None
    enumerator = _enumerator(most)
    found = enumerator.Enumerate(molecule)
    if any(place >= len(own) or not own[place] for place in found.modifiedAtoms):
        return None
    tautomers = list(found)
    if len(tautomers) == 1:
        return ()
    scores = [enumerator.ScoreTautomer(each) for each in tautomers]
    best = [place for place, score in enumerate(scores) if score == max(scores)]
    if len(best) == 1 and Chem.MolToSmiles(tautomers[best[0]]) == Chem.MolToSmiles(molecule):
        return ()
    return tuple(_form(tautomers[place], own) for place in best)


def _filled(smiles: str, own: NDArray[np.bool_]) -> Any:
    """Read a piece: benzene rings are put back, and what was cut off is capped.

    Surroundings that look alike may differ in the molecule, so each atom of them is told apart as an isotope:
    else tautomers that are mirror images in the piece would be taken for one.
    """
    from rdkit import Chem  # noqa: PLC0415

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return None
    piece = Chem.RWMol(molecule)
    for place in range(molecule.GetNumAtoms()):
        atom = piece.GetAtomWithIdx(place)
        cut = atom.GetNumRadicalElectrons()
        atom.SetIsotope(0 if own[place] else place + 1)
        if atom.GetAtomicNum() == _ARYL:
            atom.SetAtomicNum(6)
            atom.SetNoImplicit(False)  # noqa: FBT003 - RDKit's signature
            ring = [place, *(piece.AddAtom(Chem.Atom(6)) for _ in range(5))]
            for left, right in zip(ring, [*ring[1:], place], strict=True):
                piece.AddBond(left, right, Chem.BondType.AROMATIC)
                piece.GetAtomWithIdx(left).SetIsAromatic(True)  # noqa: FBT003
            cut = 0
        for _ in range(cut):
            piece.AddBond(place, piece.AddAtom(Chem.Atom(_CAP)), Chem.BondType.SINGLE)
        piece.GetAtomWithIdx(place).SetNumRadicalElectrons(0)
    try:
        Chem.SanitizeMol(piece)
    except ValueError:
        return None
    return piece.GetMol()


def _atoms(molecule: Any) -> list[Any]:
    """Return the atoms; three times as quick as going through `GetAtoms`."""
    return [molecule.GetAtomWithIdx(place) for place in range(molecule.GetNumAtoms())]


def _form(tautomer: Any, own: NDArray[np.bool_]) -> _Form:
    from rdkit import Chem  # noqa: PLC0415

    kekule = Chem.RWMol(tautomer)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondType()) for bond in kekule.GetBonds()]
    size = len(own)
    bonds = tuple(end for end in ends if max(end[:2]) < size and own[end[0]] and own[end[1]])
    atoms = _atoms(tautomer)[:size]
    states = ((place, atom.GetTotalNumHs(), atom.GetFormalCharge()) for place, atom in enumerate(atoms) if own[place])
    return _Form(bonds, tuple(states))


def _best_of(molecule: Any, found: list[tuple[_Piece, tuple[_Form, ...]]]) -> str:
    """Return the first SMILES of all combinations of equally good pieces; "" if one cannot be built."""
    from rdkit import Chem  # noqa: PLC0415

    plain = Chem.RWMol(molecule)
    Chem.Kekulize(plain, clearAromaticFlags=True)
    texts = []
    for combination in itertools.product(*(forms for _, forms in found)):
        built = Chem.RWMol(plain)
        for (piece, _), form in zip(found, combination, strict=True):
            for left, right, kind in form.bonds:
                built.GetBondBetweenAtoms(piece.atoms[left], piece.atoms[right]).SetBondType(kind)
            for place, hydrogens, charge in form.atoms:
                atom = built.GetAtomWithIdx(piece.atoms[place])
                atom.SetNoImplicit(True)  # noqa: FBT003 - RDKit's signature
                atom.SetNumExplicitHs(hydrogens)
                atom.SetFormalCharge(charge)
        try:
            Chem.SanitizeMol(built)
        except ValueError:
            return ""
        texts.append(Chem.MolToSmiles(built))
    return str(min(texts))
