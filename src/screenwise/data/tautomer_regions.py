"""Which atoms of a structure can change together when it becomes another tautomer."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_AROMATIC = 1.5
_CARBON, _NITROGEN, _OXYGEN = 6, 7, 8
_EXACT, _RING_TAIL, _PLAIN, _GIVES, _BARE = range(5)
_PLAIN_TEXTS = {_RING_TAIL: "[Xe]", _PLAIN: "F", _GIVES: "C", _BARE: "[C]"}
"""How an atom around a region is written: a benzene ring, a heteroatom, a carbon that may give a hydrogen or not."""


def mobile_regions(
    order: NDArray[np.float64], number: NDArray[np.int64], hydrogens: NDArray[np.int64], charge: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the regions of a structure that may change, apart from each other, by moving hydrogens and double bonds.

    A region is made of unsaturated atoms that are bonded to each other, and of the saturated neighbours whose
    hydrogen may leave: on N, O, P, S, Se, Te and on carbon. A carbon that may become unsaturated passes it on
    to its own O-H, S-H, NH2 and aryl-NH, and these to its other carbons. Aromatic systems of nothing but neutral
    carbon part regions, and saturated carbon gives no hydrogen into an aromatic ring: to take a ring apart costs far
    more, by RDKit's score, than any other change may win.

    Parameters
    ----------
    order
        (n, n) orders of bonds, 1.5 aromatic, 0 none.
    number, hydrogens, charge
        (n,) atomic numbers, hydrogens on each atom, formal charges.

    Returns
    -------
    region
        (n,) region of each atom, -1 for atoms that never change.
    system
        (n,) aromatic system of each atom, -1 for others.
    live
        (k,) whether a region has a heteroatom, an unsaturated atom and a hydrogen that may move.

    Examples
    --------
    >>> acid = np.zeros((4, 4))  # C-C(=O)-O
    >>> acid[0, 1] = acid[1, 0] = acid[1, 3] = acid[3, 1] = 1
    >>> acid[1, 2] = acid[2, 1] = 2
    >>> region, _, live = mobile_regions(acid, np.array([6, 6, 8, 8]), np.array([3, 0, 0, 1]), np.zeros(4, int))
    >>> region.tolist(), live.tolist()
    ([0, 0, 0, 0], [True])
    """
    region, system, live = _regions(order, number, hydrogens, charge)
    return region, system, live


def cut_pieces(
    order: NDArray[np.float64], facts: NDArray[np.int64], rings: Sequence[Sequence[int]]
) -> list[tuple[NDArray[np.int64], bytes]]:
    """Return each live region with its surroundings: its neighbours, its whole rings and aromatic systems.

    Regions in one ring that may become aromatic are one.

    Parameters
    ----------
    order
        (n, n) orders of bonds, 1.5 aromatic, 0 none.
    facts
        (3, n) atomic numbers, hydrogens on each atom, formal charges.
    rings
        Atoms of each ring.

    Returns
    -------
    For each piece its m atoms, ascending, and a key of 4-byte numbers: m codes of atoms, m, and the bonds by place.
    Pieces with one key are one piece: `atom_text` tells what a code is, its first bit whether the atom is of the
    region.

    Examples
    --------
    >>> acid = np.zeros((4, 4))  # C-C(=O)-O
    >>> acid[0, 1] = acid[1, 0] = acid[1, 3] = acid[3, 1] = 1
    >>> acid[1, 2] = acid[2, 1] = 2
    >>> [(atoms, key)] = cut_pieces(acid, np.array([[6, 6, 8, 8], [3, 0, 0, 1], [0, 0, 0, 0]]), [])
    >>> [atom_text(code) for code in np.frombuffer(key, np.int32)[: len(atoms)].tolist()]
    ['[CH3]', '[C]', '[O]', '[OH1]']
    """
    starts = np.zeros(len(rings) + 1, np.int64)
    np.cumsum([len(ring) for ring in rings], out=starts[1:])
    members = np.fromiter(chain.from_iterable(rings), np.int64, starts[-1])
    atoms, sizes, keys, lengths = _cut(order, facts, members, starts)
    pieces, first, begin = [], 0, 0
    for size, length in zip(sizes.tolist(), lengths.tolist(), strict=True):
        pieces.append((atoms[first : first + size], keys[begin : begin + length].tobytes()))
        first, begin = first + size, begin + length
    return pieces


@lru_cache(maxsize=10_000)
def atom_text(code: int) -> str:
    """Return the SMILES of an atom of a piece: exact in the region, as plain as RDKit's rules allow around it.

    Examples
    --------
    >>> atom_text(3 << 18)
    'C'
    """
    from rdkit import Chem  # noqa: PLC0415

    if code >> 18 in _PLAIN_TEXTS:
        return _PLAIN_TEXTS[code >> 18]
    number, hydrogens, charge = code >> 11 & 127, code >> 7 & 15, (code >> 2 & 31) - 16
    symbol = Chem.GetPeriodicTable().GetElementSymbol(number)
    text = symbol.lower() if code & 2 else symbol
    return f"[{text}{f'H{hydrogens}' if hydrogens else ''}{f'{charge:+d}' if charge else ''}]"


@njit(cache=True)
def _regions(order: Any, number: Any, hydrogens: Any, charge: Any) -> Any:  # pragma: no cover
    system, inert = _aromatic_systems(order, number, charge)
    link, taking, unsaturated = _links(order, number, hydrogens, system, inert)
    region, count = _components(link, taking)
    hetero, donor, double = np.zeros(count, np.bool_), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for atom in range(len(number)):
        own = region[atom]
        if own < 0:
            continue
        hetero[own] |= number[atom] != _CARBON
        donor[own] |= hydrogens[atom] > 0 and not (number[atom] == _CARBON and system[atom] >= 0)
        double[own] |= unsaturated[atom]
    return region, system, hetero & donor & double


@njit(cache=True)
def _cut(order: Any, facts: Any, members: Any, starts: Any) -> Any:  # pragma: no cover
    """Return the atoms of all pieces, how many each has, their keys, and the length of each."""
    number, hydrogens, charge = facts[0], facts[1], facts[2]
    region, system, live = _regions(order, number, hydrogens, charge)
    _join_in_rings(region, live, members, starts, (number != _CARBON) | (system >= 0))
    n, count = len(number), live.sum()
    degree = (order > 0).sum(axis=1)
    atoms, keys = np.empty(count * n, np.int64), np.empty(count * (n + 1 + degree.sum() // 2), np.int32)
    sizes, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
    code, first, begin, done = np.empty(n, np.int32), 0, 0, 0
    for each in np.flatnonzero(live):
        _write_codes(region == each, order, number, hydrogens, charge, system, members, starts, code)
        used = np.flatnonzero(code >= 0)
        size, end = len(used), begin + len(used) + 1
        atoms[first : first + size] = used
        keys[begin : end - 1] = code[used]
        keys[end - 1] = size
        for left in range(size):
            for right in range(left + 1, size):
                bond = order[used[left], used[right]]
                if bond > 0:
                    keys[end] = (left * size + right) * 8 + np.int64(2 * bond)
                    end += 1
        sizes[done], lengths[done] = size, end - begin
        first, begin, done = first + size, end, done + 1
    return atoms[:first], sizes, keys[:begin], lengths


@njit(cache=True)
def _join_in_rings(region: Any, live: Any, members: Any, starts: Any, electrons: Any) -> None:  # pragma: no cover
    """Make one of regions that share a ring which may become aromatic: no atom of it is a carbon that never changes."""
    for ring in range(len(starts) - 1):
        first, several, open_ring = np.int64(-1), False, True
        for atom in members[starts[ring] : starts[ring + 1]]:
            own = region[atom]
            open_ring = open_ring and (own >= 0 or electrons[atom])
            several = bool(several or (own >= 0 and first >= 0 and own != first))
            first = own if first < 0 or 0 <= own < first else first
        if not (several and open_ring):
            continue
        for atom in members[starts[ring] : starts[ring + 1]]:
            other = region[atom]
            if other >= 0 and other != first:
                live[first], live[other] = live[first] or live[other], False
                region[region == other] = first


@njit(cache=True)
def _write_codes(  # noqa: PLR0913, PLR0917 - compiled: arrays of one structure
    inside: Any,
    order: Any,
    number: Any,
    hydrogens: Any,
    charge: Any,
    system: Any,
    members: Any,
    starts: Any,
    code: Any,
) -> None:  # pragma: no cover
    """Write what each atom is in the piece around a region; -1 for atoms that are not of the piece."""
    n = len(number)
    kept = inside.copy()
    for ring in range(len(starts) - 1):
        atoms = members[starts[ring] : starts[ring + 1]]
        if inside[atoms].any():
            kept[atoms] = True
    whole = np.zeros(n + 1, np.bool_)
    for atom in range(n):
        if kept[atom] and system[atom] >= 0:
            whole[system[atom]] = True
    used, still = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for atom in range(n):
        kept[atom] = kept[atom] or (system[atom] >= 0 and whole[system[atom]])
        used[atom] = used[atom] or kept[atom]
        if not inside[atom]:
            continue
        for other in range(n):
            if order[atom, other] > 0:
                used[other] = True
                # a carbon beside an aromatic atom of the region gives no hydrogen
                still[other] = still[other] or system[atom] >= 0
    for atom in range(n):
        code[atom] = -1
        if used[atom]:
            shown = np.array([number[atom], hydrogens[atom], charge[atom]])
            if not inside[atom] and _like_furan(atom, order, number, hydrogens, charge, system, used):
                shown = np.array([_OXYGEN, 0, 0])
            code[atom] = _code(shown, inside[atom], kept[atom], system[atom] >= 0, still[atom])


@njit(cache=True)
def _like_furan(  # noqa: PLR0913, PLR0917 - compiled: arrays of one structure
    atom: int, order: Any, number: Any, hydrogens: Any, charge: Any, system: Any, used: Any
) -> bool:  # pragma: no cover
    """Tell a pyrrole's nitrogen around a region: as many electrons as furan's oxygen, and no hydrogen to give."""
    if number[atom] != _NITROGEN or system[atom] < 0 or charge[atom] != 0:
        return False
    bonds, shown = 0, 0
    for other in range(len(number)):
        if order[atom, other] > 0:
            bonds += 1
            shown += used[other]
    return bool(hydrogens[atom] + bonds == 3 and shown < 3)  # noqa: PLR2004


@njit(cache=True)
def _code(shown: Any, inside: bool, kept: bool, aromatic: bool, still: bool) -> int:  # noqa: FBT001  # pragma: no cover
    """Return kind, atomic number, hydrogens, charge, aromatic, inside as one number, nothing told that is not needed.

    Parameters
    ----------
    shown
        Atomic number, hydrogens, charge.
    inside, kept, aromatic
        Whether the atom is of the region; of a ring or aromatic system that is kept whole; of an aromatic ring.
    still
        Whether it is beside an aromatic atom of the region.
    """
    number, hydrogens, charge, kind = shown[0], shown[1], shown[2], _EXACT
    if aromatic and not kept:
        kind = _RING_TAIL if number == _CARBON else _PLAIN
    elif not inside and charge == 0:
        if number == _CARBON and not aromatic:
            kind = _GIVES if hydrogens > 0 and not still else _BARE
        elif not kept and not aromatic and number != _NITROGEN:
            kind = _PLAIN  # any heteroatom with one bond to the region looks the same, but nitrogen
        hydrogens = 0
    if kind != _EXACT:
        number, hydrogens, charge = 0, 0, 0
    return kind << 18 | number << 11 | hydrogens << 7 | (charge + 16) << 2 | aromatic << 1 | inside


@njit(cache=True)
def _aromatic_systems(order: Any, number: Any, charge: Any) -> Any:  # pragma: no cover
    """Give atoms that aromatic bonds connect one number, and mark systems of neutral carbon alone."""
    n = len(number)
    system, inert, stack = np.full(n, -1, np.int64), np.zeros(n, np.bool_), np.empty(n + 1, np.int64)
    found = 0
    for first in range(n):
        if system[first] >= 0 or not (order[first] == _AROMATIC).any():
            continue
        system[first], stack[0], top, carbon = found, first, 1, True
        while top:
            top -= 1
            atom = stack[top]
            carbon = carbon and number[atom] == _CARBON and charge[atom] == 0
            for other in range(n):
                if order[atom, other] == _AROMATIC and system[other] < 0:
                    system[other], stack[top] = found, other
                    top += 1
        if carbon:
            inert[system == found] = True
        found += 1
    return system, inert


@njit(cache=True)
def _links(order: Any, number: Any, hydrogens: Any, system: Any, inert: Any) -> Any:  # pragma: no cover
    """Return the bonds along which hydrogens may move, the atoms that take part, and the unsaturated ones."""
    n = len(number)
    unsaturated = np.zeros(n, np.bool_)
    for atom in range(n):
        unsaturated[atom] = not inert[atom] and (order[atom] > 1).any()
    link, taking = np.zeros((n, n), np.bool_), unsaturated.copy()
    stack, waiting, top = np.empty(n + 1, np.int64), np.zeros(n, np.bool_), 0
    for atom in range(n):
        if not unsaturated[atom]:
            continue
        for other in range(n):
            if order[atom, other] == 0 or inert[other]:
                continue
            gives = hydrogens[other] > 0 and _may_give(number[other])
            if unsaturated[other] or (gives and not (system[atom] >= 0 and number[other] == _CARBON)):
                link[atom, other] = link[other, atom] = taking[other] = True
                if not unsaturated[other] and number[other] == _CARBON and not waiting[other]:
                    waiting[other], stack[top] = True, other
                    top += 1
    while top:
        top -= 1
        atom = stack[top]
        if not _pass_on(atom, order, number, hydrogens, system, unsaturated, link, taking):
            continue
        for other in range(n):
            if order[atom, other] > 0 and number[other] == _CARBON and hydrogens[other] > 0 and not inert[other]:
                link[atom, other] = link[other, atom] = taking[other] = True
                if not unsaturated[other] and not waiting[other]:
                    waiting[other], stack[top] = True, other
                    top += 1
    return link, taking, unsaturated


@njit(cache=True)
def _may_give(number: int) -> bool:  # pragma: no cover
    return number in (6, 7, 8, 15, 16, 34, 52)


@njit(cache=True)
def _pass_on(  # noqa: PLR0913, PLR0917 - compiled: arrays of one structure
    atom: int, order: Any, number: Any, hydrogens: Any, system: Any, unsaturated: Any, link: Any, taking: Any
) -> bool:  # pragma: no cover
    """Link a carbon that may become unsaturated to its heteroatoms that would give a hydrogen then."""
    passed = False
    for other in range(len(number)):
        if order[atom, other] == 0 or hydrogens[other] == 0 or unsaturated[other]:
            continue
        gives = number[other] in (8, 16, 34, 52)
        if number[other] == _NITROGEN:
            gives = hydrogens[other] > 1 or ((order[other] > 0) & (system >= 0)).any()
        if gives:
            passed = link[atom, other] = link[other, atom] = taking[other] = True
    return passed


@njit(cache=True)
def _components(link: Any, taking: Any) -> Any:  # pragma: no cover
    n = len(taking)
    region, stack, found = np.full(n, -1, np.int64), np.empty(n + 1, np.int64), 0
    for first in range(n):
        if not taking[first] or region[first] >= 0:
            continue
        region[first], stack[0], top = found, first, 1
        while top:
            top -= 1
            atom = stack[top]
            for other in range(n):
                if link[atom, other] and region[other] < 0:
                    region[other], stack[top] = found, other
                    top += 1
        found += 1
    return region, found
