"""Which kernels suit which conditions: chosen by the columns alone, none tuned per screen."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from screenwise.condition import CONTEXT, ENTITIES, factor_columns
from screenwise.errors import ColumnError
from screenwise.represent.descriptors import MoleculeDescriptors, Ranked
from screenwise.represent.features import FEATURE, SETS, NumericFeatures, feature_blocks
from screenwise.represent.fingerprint import Fingerprint, together
from screenwise.represent.genes import Annotation, GeneSets, SymbolPrefixes
from screenwise.represent.kernel import Kernel
from screenwise.represent.pairs import (
    Average,
    Category,
    Doses,
    EachMember,
    Product,
    Same,
    SymmetricProduct,
    SymmetricSum,
    Together,
)
from screenwise.represent.similarity import Cosine, CosineRbf, CountTanimoto, ExpHamming, Linear, Rbf
from screenwise.represent.variants import SharedSites, SiteProperties, Sites, Words, is_mutation_list

CATEGORIES = ("cell_line", "organism", "medium", "donor")
"""Context that is the same or another."""
DOSES = {"dose_um": 1.0, "dose_m": 1e6}
"""Columns of doses, and micromolar in one unit."""
NUMBERS = ("time_h", "temperature_c")
"""Context that is more or less."""
PAIR_MEMBERS = ("chiral_ecfp6", "atom_pairs", "pathways", "prefixes", "shared_sites", "words")
"""Kernels of single entities that pairs are built from, besides those of features."""

_PAIR = 2


def default_kernels(
    conditions: pd.DataFrame, *, gene_sets: GeneSets | None = None, jobs: int = 1
) -> tuple[Kernel, ...]:
    """Return kernels that suit the columns of conditions, fitted to these conditions.

    What each kind of column brings: docs of `entity_kernels`; context and pairs: of
    `context_kernels` and `pair_kernels`. No column's values are tuned to any screen.

    Parameters
    ----------
    conditions
        (n,) conditions; numbers of the data (scales, lengths, rarity) are taken from them.
    gene_sets
        A table of gene sets, where conditions do not carry them (`join_features`).
    jobs
        Processes for fingerprints.

    Examples
    --------
    >>> [kernel.name for kernel in default_kernels(pd.DataFrame({"smiles": ["CCO", "CCN"]}))]
    ['chiral_ecfp6', 'fcfp6', 'atom_pairs', 'torsions']
    >>> pairs = pd.DataFrame({"gene_a": ["TP53", "MYC"], "gene_b": ["MYC", "RB1"]})
    >>> [kernel.name for kernel in default_kernels(pairs)][:2]
    ['sum(identity)', 'sum(prefixes)']
    """
    entity, suffixes = _entity(conditions)
    if suffixes == ("",):
        found = entity_kernels(conditions, entity, gene_sets, jobs=jobs)
        found = context_kernels(conditions, found)
    else:
        view = conditions[[name for name in conditions.columns if str(name).endswith(suffixes[0])]]
        view = view.rename(columns=lambda name: str(name).removesuffix(suffixes[0]))
        found = pair_kernels(view, entity, suffixes, entity_kernels(view, entity, gene_sets, jobs=jobs))
        found = context_kernels(conditions, found)
    return tuple(kernel.fit(conditions) for kernel in found)


def entity_kernels(
    conditions: pd.DataFrame, entity: str, gene_sets: GeneSets | None = None, *, jobs: int = 1
) -> list[Kernel]:
    """Return unfitted kernels of one entity per condition.

    - `smiles`: count Tanimoto on chiral ECFP6, FCFP6, atom pairs, torsions.
    - `gene`: cosine of symbol beginnings; with gene sets also their cosine, its squared exponential,
      and how well the gene is annotated.
    - `sequence`, `variant`: share of equal sites, exponential of the differences, squared
      exponentials (two lengths) and inner product of residue properties; sequences of several
      lengths and nucleotides by their words.
    - `feature:` columns: per block, squared exponentials of two lengths, and inner product.
    - names that repeat, or nothing else: identity.
    """
    found: list[Kernel] = []
    if entity == "smiles":
        found += molecule_kernels(jobs=jobs)
    elif entity == "gene":
        found += gene_kernels(conditions, gene_sets)
    elif entity in ("sequence", "variant"):
        found += variant_kernels(conditions, entity)
    found += feature_kernels(conditions)
    if entity and (not found or conditions[entity].duplicated().any()):
        found.append(Kernel("identity", Category((entity,)), Same()))
    return found


def molecule_kernels(*, jobs: int = 1) -> list[Kernel]:
    """Return count Tanimoto on chiral ECFP6, FCFP6, atom pairs and torsions, all unfolded.

    Examples
    --------
    >>> [kernel.name for kernel in molecule_kernels()]
    ['chiral_ecfp6', 'fcfp6', 'atom_pairs', 'torsions']
    """
    kinds = together(
        Fingerprint("morgan", radius=3, chiral=True, jobs=jobs),
        Fingerprint("feature_morgan", radius=3, jobs=jobs),
        Fingerprint("atom_pair", jobs=jobs),
        Fingerprint("torsion", jobs=jobs),
    )
    names = ("chiral_ecfp6", "fcfp6", "atom_pairs", "torsions")
    return [Kernel(name, kind, CountTanimoto()) for name, kind in zip(names, kinds, strict=True)]


def descriptor_kernels(conditions: pd.DataFrame) -> list[Kernel]:
    """Return kernels of the ranks of physical descriptors: two squared exponentials and an inner product.

    For pools of structures, where a property such as solubility may hang on size and polarity more
    than on substructures. A squared exponential is exp(-d^2 / (2 p)) over p descriptors: one over the quick
    ones, one over the whole list with functional groups and electrotopological states.
    """
    quick = Ranked(MoleculeDescriptors()).fit(conditions)
    whole = Ranked(MoleculeDescriptors(whole=True)).fit(conditions)
    return [
        Kernel("descriptors", quick, Rbf(factor=0.0, length=_root_width(quick))),
        Kernel("descriptors_linear", quick, Linear()),
        Kernel("descriptors_whole", whole, Rbf(factor=0.0, length=_root_width(whole))),
    ]


def _root_width(ranked: Ranked) -> float:
    return float(np.sqrt(1 if ranked.columns is None else max(len(ranked.columns), 1)))


def gene_kernels(conditions: pd.DataFrame, gene_sets: GeneSets | None = None) -> list[Kernel]:
    """Return kernels of gene symbols, and of gene sets where there are any."""
    found = [Kernel("prefixes", SymbolPrefixes(), Cosine())]
    carried = [GeneSets(sets=str(name)) for name in conditions.columns if str(name).startswith(SETS)]
    for sets in [*carried, *([gene_sets] if gene_sets is not None else [])]:
        found += [
            Kernel("pathways", sets, Cosine()),
            Kernel("pathways_rbf", sets, CosineRbf()),
            Kernel("annotation", Annotation(sets), Linear()),
        ]
    return found


def variant_kernels(conditions: pd.DataFrame, column: str) -> list[Kernel]:
    """Return kernels of variants of one protein, or of sequences of any length."""
    texts = conditions[column].astype("string").fillna("").str.strip()
    listed = is_mutation_list(texts)
    if not listed and texts.str.len().nunique() > 1:
        return [Kernel("words", Words(column), CountTanimoto()), Kernel("words_cosine", Words(column), Cosine())]
    sites = Sites(column)
    found = [Kernel("shared_sites", sites, SharedSites()), Kernel("hamming", sites, ExpHamming())]
    if not listed and texts.str.fullmatch("[ACGTUNacgtun-]*").all():
        return [*found, Kernel("words", Words(column), CountTanimoto())]
    properties = SiteProperties(sites)
    return [
        *found,
        Kernel("properties_near", properties, Rbf(0.5)),
        Kernel("properties_far", properties, Rbf(1.0)),
        Kernel("properties_linear", properties, Linear()),
    ]


def feature_kernels(conditions: pd.DataFrame) -> list[Kernel]:
    """Return two squared exponentials and an inner product for each block of `feature:` columns."""
    found = []
    for block, columns in feature_blocks(conditions).items():
        numbers, name = NumericFeatures(columns, block=bool(block)), f"features_{block}".rstrip("_")
        found += [
            Kernel(f"{name}_near", numbers, Rbf(0.5)),
            Kernel(f"{name}_far", numbers, Rbf(1.0)),
            Kernel(f"{name}_linear", numbers, Linear()),
        ]
    return found


def pair_kernels(
    member: pd.DataFrame, entity: str, suffixes: tuple[str, ...], kernels: Sequence[Kernel]
) -> list[Kernel]:
    """Return kernels of conditions with several members, unchanged when members change places.

    The identity of members, and each kernel of single members: as a sum (every member has its own
    effect) and, for two members, as a product of similarities and of their average with identity
    (the pair has one). Members' doses multiply in.

    Parameters
    ----------
    member
        Columns of a member, without suffix.
    entity
        Which of them names it.
    suffixes
        Of the members.
    kernels
        Of single members.
    """
    doses = tuple(name for name in DOSES if name in member.columns)
    carried = tuple(str(name) for name in member.columns if str(name).startswith((FEATURE, SETS)))
    keep = [kernel for kernel in kernels if kernel.name in PAIR_MEMBERS or kernel.name.endswith(("_far", "_linear"))]
    identity = Kernel("identity", Category((entity,)), Same())
    found = []
    for base in [identity, *keep]:
        mixed = Kernel(
            base.name,
            Together((identity.representation, base.representation)),
            Average((identity.similarity, base.similarity)),
        )
        for form, kernel, name in (
            (SymmetricSum, base, f"sum({base.name})"),
            (SymmetricProduct, base, f"product({base.name})"),
            (SymmetricProduct, mixed, f"product({base.name}+identity)"),
        ):
            if form is SymmetricProduct and (base is identity or len(suffixes) != _PAIR):
                continue
            dosed = kernel
            for dose in doses:
                dosed = _times(dosed, dose, Doses(dose, DOSES[dose]), Rbf(factor=0.0))
            each = EachMember(entity, dosed.representation, doses, carried, suffixes)
            found.append(Kernel(name, each, form(dosed.similarity)))
    return found


def context_kernels(conditions: pd.DataFrame, kernels: Sequence[Kernel]) -> list[Kernel]:
    """Return kernels times the context that varies: doses, times and temperatures; cell lines, donors, ...

    Numbers multiply every kernel. Names give each kernel a second form that holds within one context
    only, beside the one shared by all, and a kernel of the context alone.
    """
    varying = [name for name in CONTEXT if name in conditions.columns and conditions[name].nunique(dropna=False) > 1]
    names = tuple(name for name in varying if name in CATEGORIES)
    found = list(kernels)
    for dose in (name for name in varying if name in DOSES):
        found = [_times(kernel, dose, Doses(dose, DOSES[dose]), Rbf(factor=0.0)) for kernel in found]
    for number in (name for name in varying if name in NUMBERS):
        found = [_times(kernel, number, NumericFeatures((number,)), Rbf(factor=0.0)) for kernel in found]
    if not names:
        return found
    label = "_".join(names)
    within = [_times(kernel, label, Category(names), Same()) for kernel in found]
    return [*found, *within, Kernel(label, Category(names), Same())]


def _times(kernel: Kernel, name: str, representation: object, similarity: object) -> Kernel:
    return replace(
        kernel,
        name=f"{kernel.name} x {name}",
        representation=Together((kernel.representation, representation)),
        similarity=Product((kernel.similarity, similarity)),
    )


def _entity(conditions: pd.DataFrame) -> tuple[str, tuple[str, ...]]:
    """Return the column that names entities, without suffix, and the suffixes of its members."""
    try:
        factors = factor_columns(conditions)
    except ColumnError:
        if feature_blocks(conditions):
            return "", ("",)
        raise
    whole = [name for name in factors if name in ENTITIES]
    if whole:
        return whole[0], ("",)
    members = [name for name in factors if name not in CONTEXT and name[:-2] in ENTITIES]
    entity = members[0][:-2]
    suffixes = tuple(name[-2:] for name in members if name[:-2] == entity)
    return entity, suffixes
