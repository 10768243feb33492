"""Frozen parts of kernels as plain values and arrays, to be written without pickle."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from screenwise.errors import DataError

Arrays = dict[str, NDArray[Any]]


def pack(value: Any, arrays: Arrays) -> Any:
    """Return a JSON-able form of a frozen dataclass; arrays inside it are put into `arrays`.

    Examples
    --------
    >>> arrays = {}
    >>> pack(((1, 2.5), np.zeros(3)), arrays)
    {'items': [{'items': [1, 2.5]}, {'array': 'a0'}]}
    >>> arrays["a0"].shape
    (3,)
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"array": _keep(value.astype(str) if value.dtype == object else value, arrays)}
    if issparse(value):
        parts = [_keep(part, arrays) for part in (value.data, value.indices, value.indptr)]
        return {"sparse": parts, "shape": [int(size) for size in value.shape]}
    if isinstance(value, tuple):
        return {"items": [pack(item, arrays) for item in value]}
    if is_dataclass(value):
        inside = {each.name: pack(getattr(value, each.name), arrays) for each in fields(value)}
        return {"part": type(value).__name__, "fields": inside}
    message = f"A kernel holds a {type(value).__name__}, which cannot be saved; use numbers, text, arrays, dataclasses."
    raise DataError(message)


def unpack(form: Any, arrays: Arrays, parts: dict[str, Any]) -> Any:
    """Return what `pack` packed; `parts` names the dataclasses that may occur."""
    if not isinstance(form, dict):
        return form
    if "array" in form:
        return arrays[form["array"]]
    if "sparse" in form:
        return csr_array(tuple(arrays[key] for key in form["sparse"]), shape=tuple(form["shape"]))
    if "items" in form:
        return tuple(unpack(item, arrays, parts) for item in form["items"])
    name = form.get("part")
    if name not in parts:
        message = (
            f"A saved kernel is made of {name!r}, which this version does not know; use the version that saved it."
        )
        raise DataError(message)
    return parts[name](**{key: unpack(value, arrays, parts) for key, value in form["fields"].items()})


def _keep(array: NDArray[Any], arrays: Arrays) -> str:
    key = f"a{len(arrays)}"
    arrays[key] = array
    return key
