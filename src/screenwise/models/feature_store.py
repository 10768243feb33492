"""What models learned as plain arrays, written and read without pickle."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from screenwise.errors import ModelError
from screenwise.represent.pairs import Members, Parts

Arrays = dict[str, NDArray[Any]]


def pack_features(features: Any) -> Arrays:
    """Return arrays that hold features: dense, sparse, `Members` or `Parts` of such.

    63-bit feature ids become places in a list of ids, counts below 256 bytes.

    Examples
    --------
    >>> ids = csr_array((np.array([2.0], np.float32), np.array([2**62]), np.array([0, 1])), shape=(1, 2**63 - 1))
    >>> packed = pack_features(ids)
    >>> packed["place"].dtype, int(unpack_features(packed).indices[0]) == 2**62
    (dtype('uint16'), True)
    """
    if isinstance(features, Parts):
        out: Arrays = {"parts": np.array(len(features.parts))}
        for number, part in enumerate(features.parts):
            out |= {f"part{number}.{name}": array for name, array in pack_features(part).items()}
        return out
    if isinstance(features, Members):
        inside = {f"distinct.{name}": array for name, array in pack_features(features.distinct).items()}
        return {"codes": features.codes} | inside
    if issparse(features):
        return _pack_sparse(features)
    if isinstance(features, np.ndarray) and features.dtype.kind in "fiubU":
        return {"dense": features}
    message = f"Features of type {type(features).__name__} cannot be saved; use arrays, CSR, Members or Parts."
    raise ModelError(message)


def _pack_sparse(features: csr_array) -> Arrays:
    ids, place = np.unique(features.indices, return_inverse=True)
    small = features.data.astype(np.uint8)
    return {
        "ids": ids,
        "place": place.astype(np.uint16 if len(ids) < 2**16 else np.int32),
        "data": small if np.array_equal(small, features.data) else features.data,
        "indptr": features.indptr,
        "columns": np.array(features.shape[1], np.int64),
        "type": np.array(features.data.dtype.str),
    }


def unpack_features(arrays: Arrays) -> Any:
    """Return the features that `pack_features` packed."""
    if "parts" in arrays:
        return Parts(tuple(unpack_features(part_of(arrays, f"part{one}.")) for one in range(int(arrays["parts"]))))
    if "codes" in arrays:
        return Members(unpack_features(part_of(arrays, "distinct.")), arrays["codes"])
    if "dense" in arrays:
        return arrays["dense"]
    indptr = arrays["indptr"]
    parts = (arrays["data"].astype(str(arrays["type"])), arrays["ids"][arrays["place"]], indptr)
    return csr_array(parts, shape=(len(indptr) - 1, int(arrays["columns"])))


def part_of(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with a prefix, without it.

    Examples
    --------
    >>> list(part_of({"a.x": np.zeros(1), "b.x": np.zeros(1)}, "a."))
    ['x']
    """
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of an npz file of a saved model; nothing in it is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}. Fit again."
        raise ModelError(message) from error
