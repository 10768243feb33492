"""The scaffold that decides a compound's fold: a node of its scaffold network with about three rings."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.chemistry import PARALLEL_FROM, quiet_rdkit
from screenwise.processes import Workers

RINGS = 3
"""Rings that the scaffold should have."""
_CHUNK = 500
_MACROCYCLE = 9
_USUAL = (5, 6)


def network_scaffolds(
    smiles: Sequence[str], *, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> NDArray[Any]:
    """Return (n,) scaffolds as SMILES; empty where a compound has no ring.

    Up to three rings, the Murcko scaffold itself. Above, the scaffold is cut ring by ring into the nodes
    of its network, and one node is chosen: the number of rings nearest to three; then, in this order, one with a
    macrocycle (more than 9 atoms), fewer rotatable bonds, more bridgehead atoms, more spiro atoms, one with a
    ring of other than 5 or 6 atoms, more heterocycles, fewer aromatic rings, the SMILES first in the alphabet.
    Nothing but the compound itself is asked, so partners agree without talking.

    Parameters
    ----------
    smiles
        n structures, in parent form.
    jobs
        Processes to use when there are many structures; the result is the same.
    progress
        Called as ``progress("Finding scaffolds", done, total)``.

    References
    ----------
    Simm et al., J. Cheminform. 13, 96 (2021); Kruger et al., J. Chem. Inf. Model. 60, 3331 (2020), as RDKit has it.

    Examples
    --------
    >>> network_scaffolds(["CCO", "Cc1ccccc1", "c1ccc(-c2ccc(-c3ccc(-c4ccccc4)nc3)cc2)cc1"]).tolist()
    ['', 'c1ccccc1', 'c1ccc(-c2ccc(-c3ccccc3)nc2)cc1']
    """
    from screenwise.data.split import scaffolds  # noqa: PLC0415

    codes, distinct = pd.factorize(scaffolds(smiles))

    def tell(chunks: int) -> None:
        if progress is not None:
            progress("Finding scaffolds", min(chunks * _CHUNK, len(distinct)), len(distinct))

    chunks = [list(distinct[start : start + _CHUNK]) for start in range(0, len(distinct), _CHUNK)]
    with Workers(_nodes_of_chunk, None, jobs if len(distinct) >= PARALLEL_FROM else 1) as workers:
        nodes = [node for part in workers.in_order(chunks, tell) for node in part]
    return np.array(nodes or [""], dtype=object)[codes]


def _nodes_of_chunk(_: None, scaffolds: list[str]) -> list[str]:
    with quiet_rdkit():
        return [_node(text) for text in scaffolds]


@lru_cache(maxsize=200_000)
def _node(murcko: str) -> str:
    from rdkit import Chem  # noqa: PLC0415
    from rdkit.Chem.rdMolDescriptors import CalcNumRings  # noqa: PLC0415
    from rdkit.Chem.Scaffolds import rdScaffoldNetwork  # noqa: PLC0415

    molecule = Chem.MolFromSmiles(murcko) if murcko else None
    if molecule is None or CalcNumRings(molecule) <= RINGS:
        return murcko
    network = rdScaffoldNetwork.CreateScaffoldNetwork([molecule], _parameters())
    return min((str(node) for node in network.nodes), key=_rank)


@lru_cache(maxsize=1)
def _parameters() -> Any:
    from rdkit.Chem.Scaffolds import rdScaffoldNetwork  # noqa: PLC0415

    parameters: Any = rdScaffoldNetwork.ScaffoldNetworkParams()
    parameters.flattenIsotopes = True
    parameters.includeGenericBondScaffolds = False
    parameters.includeGenericScaffolds = False
    parameters.includeScaffoldsWithAttachments = False
    parameters.includeScaffoldsWithoutAttachments = True
    parameters.pruneBeforeFragmenting = True
    return parameters


@lru_cache(maxsize=200_000)
def _rank(smiles: str) -> tuple[Any, ...]:
    """Return what nodes are compared by, the least first."""
    from rdkit import Chem  # noqa: PLC0415
    from rdkit.Chem import rdMolDescriptors as count  # noqa: PLC0415

    molecule = Chem.MolFromSmiles(smiles)
    sizes = [len(ring) for ring in molecule.GetRingInfo().AtomRings()]
    return (
        abs(len(sizes) - RINGS),
        not any(size > _MACROCYCLE for size in sizes),
        count.CalcNumRotatableBonds(molecule, count.NumRotatableBondsOptions.NonStrict),
        -count.CalcNumBridgeheadAtoms(molecule),
        -count.CalcNumSpiroAtoms(molecule),
        all(size in _USUAL for size in sizes),
        -count.CalcNumHeterocycles(molecule),
        count.CalcNumAromaticRings(molecule),
        smiles,
    )
