"""Options that take several values: with commas between them or one by one, whichever a hand is used to."""

from collections.abc import Sequence

COMMAS = ("--policy", "--pool", "--models", "--splits", "--genes")
"""Options whose values are one text with commas; given again, they are joined. The other lists are tuples, which
`screenwise.data.columns.listed` takes apart where the names are known."""


def joined(tokens: Sequence[str]) -> list[str]:
    """Return a command line in which each option of `COMMAS` stands once.

    Examples
    --------
    >>> joined(["simulate", "--policy", "auto", "--seeds", "2", "--policy=ei"])
    ['simulate', '--policy', 'auto,ei', '--seeds', '2']
    """
    found: list[str] = []
    first: dict[str, int] = {}
    place = 0
    while place < len(tokens):
        name, equals, value = tokens[place].partition("=")
        place += 1
        if name not in COMMAS or not (equals or place < len(tokens)):
            found.append(tokens[place - 1])
            continue
        if not equals:
            value = tokens[place]
            place += 1
        if name in first:
            found[first[name]] += f",{value}"
        else:
            found += [name, value]
            first[name] = len(found) - 1
    return found
