"""What a fit needs to go on after it was killed, in one file that is whole or not there.

A checkpoint is one safetensors file: tensors under dotted names, everything else as JSON in its header.
No pickle, so reading a file from elsewhere runs no code.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from screenwise.errors import ModelError
from screenwise.run import atomic_path

FORMAT = "screenwise-checkpoint-1"


def write_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON-able facts to one file, atomically.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "state.safetensors"
    >>> write_checkpoint(path, {"w": torch.ones(2)}, {"epoch": 3})
    >>> tensors, facts = read_checkpoint(path)
    >>> tensors["w"].tolist(), facts
    ([1.0, 1.0], {'epoch': 3})
    """
    for draft in Path(path).parent.glob(f".{Path(path).name}.*"):
        draft.unlink(missing_ok=True)  # a killed writer left it; it may be as large as memory
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as draft:
        save_file(plain, draft, metadata={"format": FORMAT, "facts": json.dumps(facts)})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors (on the CPU) and the facts of a checkpoint."""
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            header = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        message = f"{path} is not a readable checkpoint: {error}. Delete it to start the fit again."
        raise ModelError(message) from error
    if header.get("format") != FORMAT:
        message = (
            f"{path} is no checkpoint of this version (format {header.get('format')!r}). Delete it to start again."
        )
        raise ModelError(message)
    return tensors, json.loads(header["facts"])


def flatten_state(prefix: str, state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the state dictionary of an optimiser into tensors with dotted names and plain facts.

    Examples
    --------
    >>> import torch
    >>> tensors, facts = flatten_state("adam", {"state": {0: {"step": torch.tensor(2.0), "exp_avg": torch.ones(1)}}})
    >>> sorted(tensors), facts
    (['adam.0.exp_avg', 'adam.0.step'], {})
    """
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for place, values in state["state"].items():
        for name, value in values.items():
            target: dict[str, Any] = tensors if isinstance(value, Tensor) else facts
            target[f"{prefix}.{place}.{name}"] = value
    return tensors, facts


def fill_state(prefix: str, empty: dict[str, Any], tensors: dict[str, Tensor], facts: dict[str, Any]) -> dict[str, Any]:
    """Return the state dictionary that `flatten_state` split; `empty` gives its parameter groups."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *facts.items()]:
        if name.startswith(f"{prefix}."):
            place, key = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(place), {})[key] = value
    return {"state": state, "param_groups": empty["param_groups"]}
