"""Descriptors and folds of compounds as partners share them: hashed, permuted by a key, the same for all."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.data.chemistry import PARALLEL_FROM, quiet_rdkit
from screenwise.data.keyed_folds import LSH_BITS, NO_SCAFFOLD, lsh_texts, permuted_columns, text_folds
from screenwise.data.parent_form import parent_forms
from screenwise.data.scaffold_network import network_scaffolds
from screenwise.data.tune_settings import DescriptorRules, FoldRules, TuneSettings
from screenwise.errors import StructureError
from screenwise.processes import Workers
from screenwise.represent.fingerprint_store import how_computed
from screenwise.represent.sphere_exclusion import sphere_folds

_CHUNK = 500

REFERENCE_SET = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O",
    "C[C@]12CC[C@H]3[C@H]([C@@H]1CC[C@@H]2O)CCC4=CC(=O)CC[C@]34C",
    "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)[O-].[K+]",
    "Clc1ccc2c(c1)C(=NCC(=O)N2C)c1ccccc1",
    "CCN(CC)CCNC(=O)c1ccc(N)cc1.Cl",
    "COc1ccc2nc([nH]c2c1)S(=O)Cc1ncc(C)c(OC)c1C",
    "Oc1ccccn1",
    "CC(=O)CC(C)=O",
    "N=C(N)NCCCC(N)C(=O)O",
    "C[N+](C)(C)CC([O-])=O",
    "O=[N+]([O-])c1ccc(O)cc1",
    "CP(=O)(O)OC(C)C",
    "NCC[PH](=O)(=O)O",
    "[2H]C([2H])([2H])Oc1ccccc1",
    "CC[Hg]Sc1ccccc1C(=O)[O-].[Na+]",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "c1ccc2c(c1)ccc1ccccc12",
    "FC(F)(F)c1ccc(Oc2ccccc2CCN2CCOCC2)nc1",
    "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(n1)-c1cccnc1",
    "CC1CCCCCCCCCCC(=O)O1",
)
"""Structures that partners prepare to see that they do it alike: salts, ions, tautomers, isotopes, a metal, repairs."""


@dataclass(frozen=True)
class Compounds:
    """Structures as rows of X."""

    features: csr_array
    """(n, columns) uint8, 1 where a compound has a substructure; columns permuted by the key."""
    fold: NDArray[np.int64]
    """(n,)"""
    text: NDArray[Any]
    """(n,) what the fold was drawn from: lsh text, scaffold or structure; for sphere exclusion the cluster."""


def describe(smiles: Any, settings: TuneSettings, secret: str = "") -> Compounds:
    """Return the descriptor and the fold of structures in parent form.

    Morgan substructures are hashed to columns as RDKit does (id modulo columns), counted once, and the
    columns permuted by the key (`screenwise.data.keyed_folds` states every byte). Inside
    `screenwise.represent.fingerprint_store.computing` more processes are used and progress is told.

    Parameters
    ----------
    smiles
        n structures that can be read.
    settings
        Descriptor and folds.
    secret
        The partners' key; "" leaves the columns in place.

    Examples
    --------
    >>> compounds = describe(["CCO", "OCC", "c1ccccc1"], TuneSettings(), "secret")
    >>> compounds.features.shape, bool((compounds.features[[0]] != compounds.features[[1]]).nnz)
    ((3, 32000), False)
    >>> bool(compounds.fold[0] == compounds.fold[1])
    True
    """
    plain = hashed_substructures(smiles, settings.descriptor)
    fold, text = assign_folds(smiles, plain, settings.folds, secret)
    permuted = permuted_columns(settings.descriptor.columns, secret)[plain.indices]
    features = csr_array((plain.data, permuted, plain.indptr), shape=plain.shape)
    features.sort_indices()
    return Compounds(features, fold, text)


def hashed_substructures(smiles: Any, rules: DescriptorRules) -> csr_array:
    """Return (n, columns) uint8 features before any permutation.

    Raises
    ------
    StructureError
        If a structure cannot be read.

    Examples
    --------
    >>> hashed_substructures(["CCO"], DescriptorRules()).shape
    (1, 32000)
    """
    # a missing structure is an empty one, which is refused: without a code it would get the features of the last
    codes, distinct = pd.factorize(pd.Series(np.asarray(smiles, dtype=object)).fillna(""))
    jobs, progress = how_computed()

    def tell(chunks: int) -> None:
        if progress is not None:
            progress("Computing descriptors", min(chunks * _CHUNK, len(distinct)), len(distinct))

    chunks = [list(distinct[start : start + _CHUNK]) for start in range(0, len(distinct), _CHUNK)]
    with Workers(_columns_of_chunk, rules, jobs if len(distinct) >= PARALLEL_FROM else 1) as workers:
        parts = list(workers.in_order(chunks, tell))
    columns = np.concatenate([np.empty(0, np.int32), *(part[0] for part in parts)])
    starts = np.cumsum(np.concatenate([np.zeros(1, np.int64), *(part[1] for part in parts)]))
    table = csr_array((np.ones(len(columns), np.uint8), columns, starts), shape=(len(distinct), rules.columns))
    return table if len(distinct) == len(codes) else table[codes]


def _columns_of_chunk(rules: DescriptorRules, smiles: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the columns of structures, ascending in each, and how many each has."""
    from rdkit.Chem import rdFingerprintGenerator  # noqa: PLC0415

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=rules.radius, fpSize=rules.columns)
    with quiet_rdkit():
        found = [generator.GetCountFingerprint(_plain_molecule(text)).GetNonzeroElements() for text in smiles]
    rows = [np.array(sorted(columns), np.int32) for columns in found]
    return np.concatenate([np.empty(0, np.int32), *rows]), np.array([len(row) for row in rows], np.int64)


def _plain_molecule(text: str) -> Any:
    """Read what Morgan substructures ask for: atoms, rings and aromatic bonds, not stereochemistry or conjugation."""
    from rdkit import Chem  # noqa: PLC0415

    flags = Chem.SanitizeFlags
    asked = flags.SANITIZE_PROPERTIES | flags.SANITIZE_SYMMRINGS | flags.SANITIZE_KEKULIZE
    molecule = None if "[H" in text else Chem.MolFromSmiles(text, sanitize=False)
    try:
        if molecule is not None:
            Chem.SanitizeMol(molecule, asked | flags.SANITIZE_SETAROMATICITY | flags.SANITIZE_ADJUSTHS)
    except ValueError:  # a group that RDKit rewrites when it reads with all steps
        molecule = None
    molecule = Chem.MolFromSmiles(text) if molecule is None else molecule
    if molecule is None or molecule.GetNumAtoms() == 0:
        message = (
            f"The structure {text[:80]!r} cannot be read, so it has no descriptor. "
            "Give structures in the form that `parent_forms` returns, without the refused ones."
        )
        raise StructureError(message)
    return molecule


def assign_folds(
    smiles: Any, plain: csr_array, rules: FoldRules, secret: str
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return (n,) folds, and what each was drawn from.

    Parameters
    ----------
    smiles
        n structures in parent form.
    plain
        (n, columns) features before any permutation.
    rules
        The kind of fold. `lsh`, `scaffold` and `random` depend on the compound and the key alone; `sphere`
        depends on all compounds and on no key.
    secret
        The partners' key.
    """
    if rules.kind == "sphere":
        fold, cluster = sphere_folds(plain, rules.radii, rules.folds)
        return fold, cluster.astype(str).astype(object)
    if rules.kind == "lsh":
        text = lsh_texts(plain, rules.bits or LSH_BITS)
    elif rules.kind == "scaffold":
        jobs, progress = how_computed()
        text = network_scaffolds(smiles, jobs=jobs, progress=progress)
        text = np.where(text == "", NO_SCAFFOLD, text)
    else:
        text = np.asarray(smiles, dtype=object)
    return text_folds(text, secret, rules.folds), text


def reference_hash(settings: TuneSettings, secret: str = "") -> str:
    """Return 64 hexadecimal digits that partners compare: the reference set, prepared with these settings and key.

    It changes with the settings of structures, descriptor and folds, with the key, and with any
    version of RDKit that prepares one of `REFERENCE_SET` otherwise. It does not tell the key.

    Examples
    --------
    >>> reference_hash(TuneSettings()) == reference_hash(TuneSettings(), "secret")
    False
    """
    forms = parent_forms(REFERENCE_SET, settings.structures)
    good = forms[forms["reason"] == ""]["smiles"].to_numpy(object)
    compounds = describe(good, settings, secret)
    rows = np.split(compounds.features.indices, compounds.features.indptr[1:-1])
    lines = [
        f"{text} {fold} {','.join(map(str, row.tolist()))}"
        for text, fold, row in zip(good, compounds.fold.tolist(), rows, strict=True)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
