"""One seed, many independent and named streams of random numbers."""

import hashlib

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, splitmix64's step: added or multiplied, it makes words differ in all bits."""


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


def scramble(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Turn 64-bit words that differ into ones that look random (finaliser of splitmix64).

    References
    ----------
    Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014, figure 16.

    Examples
    --------
    >>> hex(int(scramble(GOLDEN)))
    '0xe220a8397b1dcdaf'
    """
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))
