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
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.data.tautomer_regions import atom_text, cut_pieces

MOST_TIES = 256
"""Combinations of equally good pieces that are built and compared; beyond it RDKit takes the whole molecule."""

_ARYL = 54
"""Xenon stands for a benzene ring that a piece is bonded to."""
_CAP = 0
"""A dummy atom stands for what was cut off an atom that had no hydrogen there."""
_REMEMBERED = 400_000
"""Pieces whose text is kept."""
_SHOWN = 80
_UNUSUAL_BONDS = re.compile("[<>~$]")


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
    places: NDArray[np.int64]
    """Of each atom of the SMILES, which of the atoms that were cut out it is."""
    inside: bytes
    """Of each of them, whether it is of the region."""


def canonical_tautomer(smiles: str, most: int = 256) -> str:
    """Return the SMILES of the canonical tautomer: the best by RDKit's score, of equals the first in the alphabet.

    Parameters
    ----------
    smiles
        Canonical SMILES, as RDKit wrote it: what it shows as aromatic is. One with stereochemistry or several
        fragments is given to RDKit whole.
    most
        Tautomers to enumerate of each region.

    References
    ----------
    Sitzmann, Ihlenfeldt and Nicklaus, J. Comput. Aided Mol. Des. 24, 521 (2010), as RDKit's
    ``rdMolStandardize.TautomerEnumerator`` has it.

    Examples
    --------
    >>> canonical_tautomer("Oc1ccccn1")
    'O=c1cccc[nH]1'
    """
    if any(mark in smiles for mark in "@/\\") or "." in smiles:
        return whole_tautomer(read_written(smiles), most)
    molecule, found = _skeleton(smiles), []
    # keys tell single from double bonds and no more: what they do not tell is not remembered
    texts = {} if _UNUSUAL_BONDS.search(smiles) else _texts()
    for atoms, key in _cut_out(molecule):
        piece = texts.get(key)
        if piece is None:
            piece = texts[key] = _written(molecule, atoms, key)
        forms = _solve(piece.smiles, piece.inside, most)
        if forms is None:
            return whole_tautomer(read_written(smiles), most)
        if forms:
            found.append((atoms[piece.places].tolist(), forms))
    if not found:
        return smiles
    if math.prod(len(forms) for _, forms in found) > MOST_TIES:
        return whole_tautomer(read_written(smiles), most)
    molecule = read_written(smiles)
    return _best_of(molecule, found) or whole_tautomer(molecule, most)


def read_written(smiles: str) -> Any:
    """Return the molecule of a SMILES that RDKit wrote.

    Raises
    ------
    ValueError
        If RDKit cannot read it.

    Examples
    --------
    >>> read_written("CCO").GetNumAtoms()
    3
    """
    from rdkit import Chem  # noqa: PLC0415

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        message = f"RDKit cannot read its own result {smiles[:_SHOWN]!r}"
        raise ValueError(message)
    return molecule


def _skeleton(smiles: str) -> Any:
    """Read atoms, bonds and rings of a SMILES that RDKit wrote: what is aromatic is known, and need not be found."""
    from rdkit import Chem  # noqa: PLC0415

    if "[H]" in smiles:
        return read_written(smiles)
    molecule = Chem.MolFromSmiles(smiles, sanitize=False)
    molecule.UpdatePropertyCache()
    Chem.GetSymmSSSR(molecule)
    return molecule


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
    enumerator.SetReassignStereo(False)  # noqa: FBT003 - as RDKit's own Canonicalize does
    return enumerator


@lru_cache(maxsize=1)
def _all_texts() -> dict[bytes, _Piece]:
    return {}


def _texts() -> dict[bytes, _Piece]:
    """Return the pieces that were written before, by key; started again when there are very many."""
    texts = _all_texts()
    if len(texts) > _REMEMBERED:
        texts.clear()
    return texts


def _cut_out(molecule: Any) -> list[tuple[NDArray[np.int64], bytes]]:
    from rdkit import Chem  # noqa: PLC0415

    facts = [(atom.GetAtomicNum(), atom.GetTotalNumHs(), atom.GetFormalCharge()) for atom in _atoms(molecule)]
    order = Chem.GetAdjacencyMatrix(molecule, useBO=True)
    return cut_pieces(order, np.array(facts, np.int64).T.copy(), molecule.GetRingInfo().AtomRings())


def _written(molecule: Any, atoms: NDArray[np.int64], key: bytes) -> _Piece:
    """Write a piece as SMILES, canonical for what its key tells: RDKit ranks atoms with a text by text and bonds."""
    from rdkit import Chem  # noqa: PLC0415

    codes = np.frombuffer(key, np.int32)[: len(atoms)]
    kept, tokens = atoms.tolist(), ["C"] * molecule.GetNumAtoms()
    for atom, code in zip(kept, codes.tolist(), strict=True):
        tokens[atom] = atom_text(code)
    smiles = Chem.MolFragmentToSmiles(molecule, kept, atomSymbols=tokens)
    order = list(map(int, molecule.GetProp("_smilesAtomOutputOrder")[1:-1].split(",")))
    places = np.array([kept.index(atom) for atom in order])
    return _Piece(smiles, places, (codes[places] & 1).astype(np.bool_).tobytes())


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


def _best_of(molecule: Any, found: list[tuple[list[int], tuple[_Form, ...]]]) -> str:
    """Return the first SMILES of all combinations of equally good pieces; "" if one cannot be built."""
    from rdkit import Chem  # noqa: PLC0415

    plain = Chem.RWMol(molecule)
    Chem.Kekulize(plain, clearAromaticFlags=True)
    texts = []
    for combination in itertools.product(*(forms for _, forms in found)):
        built = Chem.RWMol(plain)
        for (atoms, _), form in zip(found, combination, strict=True):
            for left, right, kind in form.bonds:
                built.GetBondBetweenAtoms(atoms[left], atoms[right]).SetBondType(kind)
            for place, hydrogens, charge in form.atoms:
                atom = built.GetAtomWithIdx(atoms[place])
                atom.SetNoImplicit(True)  # noqa: FBT003 - RDKit's signature
                atom.SetNumExplicitHs(hydrogens)
                atom.SetFormalCharge(charge)
        try:
            Chem.SanitizeMol(built)
        except ValueError:
            return ""
        texts.append(Chem.MolToSmiles(built))
    return str(min(texts))
