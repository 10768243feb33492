"""One seed, many independent and named streams of random numbers."""

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to `seed` and a path of names.

    Two different paths give independent streams, so that adding a draw in one place never
    changes the numbers of another.

    Parameters
    ----------
    seed
        Non-negative integer.
    *names
        What the numbers are for, such as ``"split", "scaffold", 3``.

    Examples
    --------
    >>> bool(stream(0, "fold").random() == stream(0, "fold").random())
    True
    >>> bool(stream(0, "fold").random() == stream(0, "start").random())
    False
    """
    return np.random.default_rng(derive_seed(seed, *names))


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for a library that wants an integer.

    Examples
    --------
    >>> derive_seed(0, "forest") == derive_seed(0, "forest")
    True
    """
    path = "/".join([str(int(seed)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big") >> 1
