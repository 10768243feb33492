"""The canonical tautomer of a structure."""

from functools import lru_cache
from typing import Any


def canonical_tautomer(molecule: Any, smiles: str, most: int) -> str:
    """Return the canonical tautomer."""
    from rdkit import Chem  # noqa: PLC0415

    return str(Chem.MolToSmiles(_enumerator(most).Canonicalize(molecule)))


@lru_cache(maxsize=4)
def _enumerator(most: int) -> Any:
    from rdkit.Chem.MolStandardize import rdMolStandardize  # noqa: PLC0415

    enumerator = rdMolStandardize.TautomerEnumerator()
    enumerator.SetMaxTautomers(most)
    enumerator.SetRemoveSp3Stereo(False)  # noqa: FBT003
    return enumerator
