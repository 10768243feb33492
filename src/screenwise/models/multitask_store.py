"""A fitted multi-task network as one file, without pickle."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from screenwise.config import from_mapping, to_mapping
from screenwise.errors import ModelError
from screenwise.models.multitask_calibration import Calibration
from screenwise.models.multitask_config import MultiTaskConfig, Settled, network_shape
from screenwise.models.multitask_inputs import JoinedInputs
from screenwise.models.multitask_kernel import KernelRidge, kernel_arrays, kernel_of
from screenwise.models.multitask_network import MultiTaskNetwork
from screenwise.models.multitask_scale import Scaling
from screenwise.prediction import CalibrationCells
from screenwise.train.checkpoint import read_checkpoint, write_checkpoint
from screenwise.train.device import choose_device

FORMAT = 4
"""Of the file; another one is refused."""


@dataclass(frozen=True)
class Fitted:
    """What `MultiTask.fit` learned."""

    tasks: pd.DataFrame
    """(t,) name, kind."""
    settled: Settled
    """Settings that were left open, as chosen."""
    inputs: JoinedInputs
    scaling: Scaling
    calibration: Calibration
    seen: CalibrationCells
    """Held-out cells as they were predicted before they were learned."""
    target: NDArray[np.int64] | None
    """(t,) which tasks share a part of their weights."""
    networks: tuple[MultiTaskNetwork, ...]
    kernel: KernelRidge | None = None
    """Beside the networks, for tasks that have one."""
    notes: tuple[str, ...] = ()
    """What a user should know of the fit."""


def save_fitted(path: Path, config: MultiTaskConfig, fitted: Fitted) -> None:
    """Write settings and learned state to one safetensors file."""
    facts, arrays = fitted.inputs.to_state()
    parts: dict[str, dict[str, Any]] = {"inputs": arrays, "scaling": vars(fitted.scaling), "seen": vars(fitted.seen)}
    tensors = {
        f"{part}.{name}": torch.from_numpy(np.ascontiguousarray(array))
        for part, own in parts.items()
        for name, array in own.items()
    }
    tensors["noise"] = torch.from_numpy(fitted.calibration.noise)
    if fitted.target is not None:
        tensors["target"] = torch.from_numpy(fitted.target)
    if fitted.kernel is not None:
        own = kernel_arrays(fitted.kernel).items()
        tensors |= {f"kernel.{name}": torch.from_numpy(np.ascontiguousarray(array)) for name, array in own}
    for member, network in enumerate(fitted.networks):
        tensors |= {f"member{member}.{name}": value for name, value in network.state_dict().items()}
    head = {
        "multitask": FORMAT,
        "config": to_mapping(config),
        "settled": asdict(fitted.settled),
        "tasks": fitted.tasks.to_dict("list"),
        "inputs": facts,
        "calibration": {name: value for name, value in vars(fitted.calibration).items() if name != "noise"},
        "share": None if fitted.kernel is None else fitted.kernel.share,
        "notes": list(fitted.notes),
    }
    write_checkpoint(path, tensors, head)


def load_fitted(path: Path) -> tuple[MultiTaskConfig, Fitted]:
    """Read what `save_fitted` wrote."""
    tensors, head = read_checkpoint(path)
    if head.get("multitask") != FORMAT:
        message = (
            f"{path} is a multi-task network of another version of screenwise (format {head.get('multitask', 1)}, "
            f"not {FORMAT}). Fit it again."
        )
        raise ModelError(message)

    def under(prefix: str) -> dict[str, Any]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    def arrays(prefix: str) -> dict[str, Any]:
        return {name: value.numpy() for name, value in under(prefix).items()}

    config = from_mapping(MultiTaskConfig, head["config"], str(path))
    settled = from_mapping(Settled, head["settled"], str(path))
    inputs = JoinedInputs.from_state(head["inputs"], arrays("inputs."))
    scaling = Scaling(**arrays("scaling."))
    target = tensors["target"].numpy() if "target" in tensors else None
    networks = []
    for member in range(settled.members):
        network = MultiTaskNetwork(inputs.width, scaling.binary, network_shape(config, settled), target=target)
        network.load_state_dict(under(f"member{member}."))
        networks.append(network.to(choose_device(config.device)).eval())
    fitted = Fitted(
        pd.DataFrame(head["tasks"]),
        settled,
        inputs,
        scaling,
        Calibration(noise=tensors["noise"].numpy(), **head["calibration"]),
        CalibrationCells(**arrays("seen.")),
        target,
        tuple(networks),
        None if head["share"] is None else kernel_of(arrays("kernel."), head["share"]),
        tuple(head["notes"]),
    )
    return config, fitted
