"""Which atoms of a structure can change together when it becomes another tautomer."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_AROMATIC = 1.5
_CARBON, _NITROGEN = 6, 7


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
    system, inert = _aromatic_systems(order, number, charge)
    link, taking, unsaturated = _links(order, number, hydrogens, system, inert)
    region, count = _components(link, taking)
    live = np.zeros(count, np.bool_)
    inside = region >= 0
    hetero = inside & (number != _CARBON)
    donor = inside & (hydrogens > 0) & ~((number == _CARBON) & (system >= 0))
    for each in range(count):
        own = region == each
        live[each] = (own & hetero).any() and (own & donor).any() and (own & unsaturated).any()
    return region, system, live


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
