"""What a journey tells its user: facts, one short table, notes and where the files are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Outcome:
    """The result of a command, the same on the screen and as JSON."""

    facts: dict[str, Any] = field(default_factory=dict)
    """Name -> number or text, JSON-able."""
    table: list[dict[str, Any]] = field(default_factory=list)
    """Rows of one short table."""
    notes: list[str] = field(default_factory=list)
    """Sentences the user should read."""
    files: dict[str, str] = field(default_factory=dict)
    """What was written: what it is -> path."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further facts, in the JSON only."""
