"""Columns permuted and folds drawn with a shared secret: partners agree without talking to each other.

Every choice is made from an HMAC-SHA256 of one thing with the secret, so it depends on nothing else:
not on the other compounds of a partner, and not on the order of a file. Byte encodings, all of them:

- the secret is the key's text in UTF-8; no key is the empty secret, and then columns stay in place;
- column i is hashed as its decimal digits (``b"31999"``); the digest is read as a big-endian integer
  modulo 2^63, and the rank of that number among all columns is the new column;
- a text (an lsh text, the SMILES of a scaffold or of a structure) is hashed as UTF-8 (SMILES are ASCII);
  the 32 bytes of the digest seed Python's ``random.Random``, whose ``randint(0, folds - 1)`` is the fold.

These are the encodings of MELLODDY-TUNER 3.0.2.
"""

import hashlib
import hmac
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.errors import DataError

LSH_BITS = (
    *(26490, 1787, 8648, 2991, 25216, 24189, 2487, 21099),
    *(11815, 12077, 17984, 8737, 9639, 14847, 14730, 27354),
)
"""Columns of the lsh text: the 16 of highest entropy among the 35,633 compounds of the embedded dataset chembl30.

Made once with `high_entropy_bits` from radius 3 and 32,000 columns. Partners who agreed on another list, such as that
of MELLODDY's parameter file, give it as the setting `folds.bits`.
"""
NO_SCAFFOLD = "None"
"""Text that stands for the scaffold of a compound without rings."""


def read_key(path: Path) -> str:
    r"""Read a secret from a file: its text, or the entry `key` where the file is a JSON object.

    Raises
    ------
    DataError
        The file cannot be read, or holds no key.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "key.json"
    >>> _ = path.write_text('{"key": "secret"}\n')
    >>> read_key(path)
    'secret'
    """
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"The key file {path} cannot be read: {error}. It must be a text file with the partners' shared key."
        raise DataError(message) from error
    if text.startswith("{"):
        try:
            found = json.loads(text).get("key")
        except ValueError as error:
            message = f'The key file {path} begins like JSON but is none: {error}. Write {{"key": "..."}} or the key.'
            raise DataError(message) from error
        text = found if isinstance(found, str) else ""
    if not text:
        message = f'The key file {path} holds no key. Write the key as plain text, or as {{"key": "..."}}.'
        raise DataError(message)
    return text


def permuted_columns(columns: int, secret: str) -> NDArray[np.int64]:
    """Return (columns,) the new place of each column; without a secret each keeps its own.

    Examples
    --------
    >>> permuted_columns(5, "secret").tolist()
    [0, 3, 1, 4, 2]
    >>> permuted_columns(3, "").tolist()
    [0, 1, 2]
    """
    if not secret:
        return np.arange(columns)
    begun = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    numbers = np.empty(columns, np.int64)
    for column in range(columns):
        one = begun.copy()
        one.update(str(column).encode())
        numbers[column] = int.from_bytes(one.digest(), "big") % 2**63
    place = np.empty(columns, np.int64)
    place[np.argsort(numbers, kind="stable")] = np.arange(columns)
    return place


def text_folds(texts: Any, secret: str, folds: int) -> NDArray[np.int64]:
    """Return (n,) folds of texts; the same text is in the same fold for whoever has the secret.

    Examples
    --------
    >>> text_folds(["c1ccccc1", "c1ccncc1", "c1ccccc1"], "secret", 5).tolist()
    [4, 3, 4]
    """
    codes, distinct = pd.factorize(np.asarray(texts, dtype=object))
    begun = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    fold = np.zeros(len(distinct), np.int64)
    for place, text in enumerate(distinct):
        one = begun.copy()
        one.update(text.encode())
        fold[place] = random.Random(one.digest()).randint(0, folds - 1)
    return fold[codes]


def lsh_texts(features: csr_array, bits: tuple[int, ...]) -> NDArray[Any]:
    """Return (n,) texts of 0 and 1: which of some columns a compound has, in the order of the list.

    Parameters
    ----------
    features
        (n, columns) features, before a key permutes the columns.
    bits
        Columns.

    Examples
    --------
    >>> lsh_texts(csr_array(np.array([[1, 0, 1], [0, 0, 1]])), (2, 0)).tolist()
    ['11', '10']
    """
    place = np.full(features.shape[1], -1, np.int64)
    place[list(bits)] = np.arange(len(bits))
    where = place[features.indices]
    row = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    present = np.full((features.shape[0], len(bits)), ord("0"), np.uint8)
    present[row[where >= 0], where[where >= 0]] = ord("1")
    joined = np.ascontiguousarray(present).view(f"S{len(bits)}").ravel()
    return np.char.decode(joined, "ascii").astype(object)


def high_entropy_bits(features: csr_array, count: int = 16) -> tuple[int, ...]:
    """Return the columns whose presence says most: nearest to half of the compounds, the lower column first on ties.

    A list made from one owner's compounds is that owner's alone; partners must circulate one list.

    Examples
    --------
    >>> high_entropy_bits(csr_array(np.array([[1, 0, 1], [1, 0, 0], [1, 1, 1], [1, 0, 0]])), 2)
    (2, 1)
    """
    share = np.bincount(features.indices, minlength=features.shape[1]) / max(features.shape[0], 1)
    order = np.lexsort((np.arange(features.shape[1]), np.abs(share - 0.5)))
    return tuple(order[:count].tolist())
