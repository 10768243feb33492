"""Screenwise: learn from screens, know where to believe the model, design the next plate.

Public names are loaded on first use, so that ``import screenwise`` stays light.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Screen": "screenwise.screen",
    "Targets": "screenwise.screen",
    "make_screen": "screenwise.screen",
    "Prediction": "screenwise.prediction",
    "ScreenwiseError": "screenwise.errors",
    "Run": "screenwise.run",
}

__all__ = ["Prediction", "Run", "Screen", "ScreenwiseError", "Targets", "__version__", "make_screen"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        message = f"module 'screenwise' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
