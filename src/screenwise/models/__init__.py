"""One file, one model: fit and predict. `MODELS` names them all."""

from importlib import import_module
from pathlib import Path
from typing import Any

from screenwise.errors import ConfigError, ModelError
from screenwise.protocols import Model
from screenwise.run import read_json, write_json

MODELS: dict[str, str] = {
    "mean": "screenwise.models.baseline:Mean",
    "neighbours": "screenwise.models.baseline:Neighbours",
    "ridge": "screenwise.models.ridge:Ridge",
    "forest": "screenwise.models.adapter:Forest",
    "svr": "screenwise.models.adapter:SupportVector",
    "gp": "screenwise.models.gp:GaussianProcess",
    "pooled_gp": "screenwise.models.pooled:PooledProcess",
    "gp_network": "screenwise.models.pooled_network:PooledNetwork",
    "multitask": "screenwise.models.multitask:MultiTask",
    "salt": "screenwise.models.pairwise:Salt",
    "scaled_salt": "screenwise.models.pairwise:ScaledSalt",
    "peper_gp": "screenwise.models.pairwise:PeperGP",
    "peper": "screenwise.models.pairwise_peper:Peper",
    "growth_interaction": "screenwise.models.growth_interaction:GrowthInteraction",
    "auto": "screenwise.models.auto:Auto",
}
"""Name -> where the model class is; imported when it is used. Each class has a frozen dataclass `Config`."""


def model_class(name: str) -> Any:
    """Return the class of a model; an unknown name is an error that lists the known ones."""
    if name not in MODELS:
        message = f"There is no model {name!r}; the models are {', '.join(MODELS)}."
        raise ConfigError(message)
    module, _, attribute = MODELS[name].partition(":")
    return getattr(import_module(module), attribute)


def make_model(name: str, config: Any = None) -> Model:
    """Return an unfitted model with its default settings, or with `config` (its class's `Config`)."""
    model = model_class(name)
    return model() if config is None else model(config)


def save_model(model: Model, name: str, folder: Path) -> None:
    """Write a fitted model so that `load_model` finds its class again."""
    model.save(folder)
    write_json(folder / "model.json", {"model": name})


def load_model(folder: Path) -> Model:
    """Read a fitted model from the folder that `save_model` wrote."""
    name = read_json(folder / "model.json").get("model")
    if name not in MODELS:
        message = f"{folder / 'model.json'} names the model {name!r}, which this version does not know."
        raise ModelError(message)
    return model_class(name).load(folder)
