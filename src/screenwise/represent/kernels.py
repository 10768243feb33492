"""All kernels: what they are made of, which ones suit given conditions, to and from plain arrays."""

from typing import Any

from numpy.typing import NDArray

from screenwise.represent import features, fingerprint, genes, pairs, similarity, variants
from screenwise.represent.default import (
    context_kernels,
    default_kernels,
    entity_kernels,
    feature_kernels,
    gene_kernels,
    molecule_kernels,
    pair_kernels,
    variant_kernels,
)
from screenwise.represent.kernel import Kernel
from screenwise.represent.state import pack, unpack

__all__ = [
    "PARTS",
    "Kernel",
    "context_kernels",
    "default_kernels",
    "entity_kernels",
    "feature_kernels",
    "gene_kernels",
    "kernel_from_state",
    "kernel_state",
    "molecule_kernels",
    "pair_kernels",
    "variant_kernels",
]

State = tuple[Any, dict[str, NDArray[Any]]]


def kernel_state(kernel: Kernel) -> State:
    """Return a kernel as a JSON-able mapping and the arrays it holds.

    Examples
    --------
    >>> kernel = molecule_kernels()[0]
    >>> kernel_from_state(*kernel_state(kernel)) == kernel
    True
    """
    arrays: dict[str, NDArray[Any]] = {}
    return pack(kernel, arrays), arrays


def kernel_from_state(state: Any, arrays: dict[str, NDArray[Any]]) -> Kernel:
    """Return the kernel that `kernel_state` took apart."""
    return unpack(state, arrays, PARTS)


PARTS: dict[str, Any] = {
    part.__name__: part
    for part in (
        Kernel,
        fingerprint.Fingerprint,
        similarity.Cosine,
        similarity.CosineRbf,
        similarity.CountTanimoto,
        similarity.ExpHamming,
        similarity.Linear,
        similarity.Rbf,
        features.NumericFeatures,
        genes.Annotation,
        genes.GeneSets,
        genes.SymbolPrefixes,
        genes.Tokens,
        pairs.Average,
        pairs.Category,
        pairs.Doses,
        pairs.EachMember,
        pairs.Product,
        pairs.Same,
        pairs.SymmetricProduct,
        pairs.SymmetricSum,
        pairs.Together,
        variants.SharedSites,
        variants.SiteProperties,
        variants.Sites,
        variants.Words,
    )
}
"""What kernels are made of, by name: what a saved model may name."""
