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
    "Campaign": "screenwise.campaign.campaign",
    "CampaignSettings": "screenwise.campaign.campaign",
    "compare": "screenwise.evaluate.compare",
    "load_dataset": "screenwise.data.datasets",
    "make_model": "screenwise.models",
    "read_assay": "screenwise.data.assay",
    "read_conditions": "screenwise.data.assay",
}

__all__ = [
    "Campaign",
    "CampaignSettings",
    "Prediction",
    "Run",
    "Screen",
    "ScreenwiseError",
    "Targets",
    "__version__",
    "compare",
    "load_dataset",
    "make_model",
    "make_screen",
    "read_assay",
    "read_conditions",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        message = f"module 'screenwise' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
