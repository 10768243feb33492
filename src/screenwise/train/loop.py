"""The one training loop: seeded, resumable after a kill, with early stopping and the best weights kept.

Random numbers depend on the seed and the position only, so the same seed gives the same bits on one
device, and a fit that was killed and started again ends with the same weights as one that was not.
"""

import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from screenwise.errors import ConfigError, ModelError
from screenwise.rng import derive_seed, stream
from screenwise.run import Run
from screenwise.train.checkpoint import fill_state, flatten_state, read_checkpoint, write_checkpoint
from screenwise.train.device import device_of, limit_threads, mixed_precision, same_bits, seeded
from screenwise.train.optimisers import clip_gradients, make_optimisers
from screenwise.train.sparse_adam import DeferredAdam

SCHEDULES = ("cosine", "constant", "steps")


@dataclass(frozen=True)
class Training:
    """Settings of the training loop."""

    epochs: int = 12
    """Passes over the training rows, at most."""
    batch_size: int = 256
    """Rows of one step."""
    learning_rate: float = 1e-3
    """Of Adam, at its highest."""
    weight_decay: float = 0.0
    """Decoupled decay of weight matrices (AdamW); biases never decay."""
    schedule: str = "cosine"
    """How the rate falls after the warm-up: "cosine" (to `final_rate`), "constant", or "steps" (at `milestones`)."""
    warm_up: float = 0.03
    """Share of all steps over which the rate rises from 0."""
    final_rate: float = 0.02
    """Rate of the last step, as a share of `learning_rate`."""
    milestones: tuple[int, ...] = ()
    """Epochs from which the rate is multiplied by `step_factor`, each once more."""
    step_factor: float = 0.1
    """See `milestones`."""
    clip: float | None = None
    """Largest length of the whole gradient; None = no limit."""
    patience: int | None = None
    """Stop after so many epochs without a better validation value, and keep the best epoch's weights;
    None = run all epochs and keep the last."""
    precision: str = "float32"
    """Of matrix products: "float32" or "bfloat16"."""
    threads: int | None = None
    """Threads of torch; None = torch's own choice. The same bits need the same count."""
    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints, when there is a run to keep them; 0 = after every step."""

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            message = f"There is no schedule {self.schedule!r}; use {' or '.join(SCHEDULES)}."
            raise ConfigError(message)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                message = f"{name} is {getattr(self, name)}; it must be at least 1."
                raise ConfigError(message)


@dataclass(frozen=True)
class Job:
    """What is trained: a network and how well it does on some rows."""

    network: nn.Module
    loss: Callable[[NDArray[np.int64]], Tensor]
    """Mean loss of some of the training rows (their positions); any randomness must come from torch. It may send
    parts of the loss backward itself, and return the rest."""
    rows: int
    """Number of training rows."""
    validate: Callable[[], float | Mapping[str, float]] | None = None
    """Value of the present weights on held-out rows, lower is better; without gradients. Or several, to be logged,
    of which "valid" is that value."""
    validate_every: int = 1
    """Epochs between two validations; the last epoch always has one."""
    optimisers: Callable[[nn.Module], list[torch.optim.Optimizer]] | None = None
    """Makes the optimisers of the network; None = `make_optimisers` with the rate and the decay of the settings."""
    name: str = "network"
    """Names the checkpoint and the metric lines; one run may hold many."""
    key: str = ""
    """Whatever else decides the result (data, loss): a checkpoint with another key is refused."""


@dataclass
class History:
    """What happened, and where the loop stands."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps finished in the present epoch."""
    loss: float = 0.0
    """Sum of the losses of the present epoch's steps."""
    best: float = math.inf
    """Best validation value."""
    best_epoch: int = -1
    """Epoch of the best validation value; -1 = none yet."""
    finished: bool = False
    """Whether nothing is left to do."""
    lines: list[dict[str, Any]] = field(default_factory=list)
    """One line of metrics per epoch."""


def train(job: Job, settings: Training | None = None, *, seed: int = 0, run: Run | None = None) -> History:
    """Train a network in place and return what happened.

    With a run, Ctrl-C ends the present step, writes a checkpoint and is raised then; a second one is
    raised at once. The same call goes on from there and ends with the same weights.

    Parameters
    ----------
    job
        The network, on its device, with its loss.
    settings
        Epochs, rates and so on.
    seed
        Decides the order of rows and torch's random numbers (dropout).
    run
        Where metrics and checkpoints go, and where a killed fit is taken up again. None = nothing is kept.

    Examples
    --------
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> network = nn.Linear(1, 1)
    >>> job = Job(network, lambda rows: (network(x[rows]) - 3 * x[rows]).square().mean(), rows=64)
    >>> history = train(job, Training(epochs=80, batch_size=8, learning_rate=0.05))
    >>> history.epoch, round(network.weight.item(), 2)
    (80, 3.0)
    """
    settings = settings or Training()
    device = device_of(job.network)
    with seeded(derive_seed(seed, "train", job.name), device), same_bits(device), limit_threads(settings.threads):
        loop = _Loop(job, settings, seed, run)
        try:
            loop.resume()
            with _interrupts_between_steps(loop):
                while not loop.history.finished:
                    loop.run_epoch()
                    loop.close_epoch()
                loop.answer_interrupt()
        finally:
            loop.release()
        loop.job.network.eval()
        return loop.history


@contextmanager
def _interrupts_between_steps(loop: "_Loop") -> Iterator[None]:
    """Let Ctrl-C wait for the end of a step, and write a checkpoint there; a second one does not wait."""

    def note(number: int, frame: Any) -> None:
        if loop.interrupted:
            raise KeyboardInterrupt
        loop.interrupted = True

    # Only a main thread may change handlers, and workers leave Ctrl-C to the process that started them.
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    if ours and loop.path is not None:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    except KeyboardInterrupt:
        if loop.whole and not loop.history.finished:
            loop.save()
        raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


class _Loop:
    """The state of one call of `train`."""

    def __init__(self, job: Job, settings: Training, seed: int, run: Run | None) -> None:
        if job.rows < 1:
            message = f"{job.name} has no training rows; nothing can be learned."
            raise ModelError(message)
        self.job, self.settings, self.seed, self.run = job, settings, seed, run
        self.device = device_of(job.network)
        if job.optimisers is None:
            self.optimisers = make_optimisers(job.network, settings.learning_rate, settings.weight_decay)
        else:
            self.optimisers = job.optimisers(job.network)
        self.steps = math.ceil(job.rows / settings.batch_size)
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self.path = None if run is None else run.checkpoint_folder / f"{job.name}.safetensors"
        self.written = time.monotonic()
        self.total = torch.zeros((), dtype=torch.float64)
        self.whole = False
        """Whether this is the state after a whole step, which a checkpoint may hold."""
        self.interrupted = False

    def run_epoch(self) -> None:
        """Take the remaining steps of the present epoch."""
        job, settings, history = self.job, self.settings, self.history
        order = stream(self.seed, "train", job.name, "order", history.epoch).permutation(job.rows)
        job.network.train()
        self.total = torch.tensor(history.loss, dtype=torch.float64, device=self.device)
        while history.step < self.steps:
            self.whole = False
            rows = order[history.step * settings.batch_size : (history.step + 1) * settings.batch_size]
            self._set_rate(learning_rate(settings, history.epoch * self.steps + history.step, self.steps))
            job.network.zero_grad(set_to_none=True)
            with mixed_precision(self.device, settings.precision):
                loss = job.loss(rows)
            loss.backward()
            if settings.clip is not None:
                clip_gradients(job.network, settings.clip)
            for optimiser in self.optimisers:
                optimiser.step()
            self.total += loss.detach()
            history.step += 1
            self.whole = True
            if time.monotonic() - self.written >= settings.checkpoint_seconds:
                self.save()
            self._tell_progress()
            self.answer_interrupt()
        history.loss = float(self.total)

    def close_epoch(self) -> None:
        """Validate, log, and decide whether to go on."""
        job, history = self.job, self.history
        self.whole = False
        mean = history.loss / self.steps
        if not math.isfinite(mean):
            message = (
                f"The loss of {job.name} became {mean} in epoch {history.epoch}. "
                "Lower learning_rate, set clip, or look for huge values in the targets."
            )
            raise ModelError(message)
        line: dict[str, Any] = {"fit": job.name, "epoch": history.epoch, "loss": mean}
        last = history.epoch + 1 >= self.settings.epochs
        judged = job.validate is not None and (last or (history.epoch + 1) % job.validate_every == 0)
        if judged or last:
            self.catch_up()
        if job.validate is not None and judged:
            job.network.eval()
            with torch.no_grad(), mixed_precision(self.device, self.settings.precision):
                found = job.validate()
            line |= dict(found) if isinstance(found, Mapping) else {"valid": float(found)}
            if line["valid"] < history.best:
                history.best, history.best_epoch = line["valid"], history.epoch
                self.best = _copy(job.network.state_dict()) if self.settings.patience is not None else {}
        self._log(line)
        history.epoch, history.step, history.loss = history.epoch + 1, 0, 0.0
        self.total = torch.zeros_like(self.total)
        waited = history.epoch - 1 - history.best_epoch
        patience = self.settings.patience if job.validate is not None else None
        if last or (patience is not None and waited >= patience):
            if self.best:
                job.network.load_state_dict(self.best)
            history.finished = True
            self.save()
        self.whole = True

    def catch_up(self) -> None:
        """Give every weight its present value: rows of sparse layers wait until they are used."""
        for optimiser in self.optimisers:
            if isinstance(optimiser, DeferredAdam):
                optimiser.catch_up()

    def release(self) -> None:
        """Give the network back with its present weights, to be used without the optimisers."""
        for optimiser in self.optimisers:
            if isinstance(optimiser, DeferredAdam):
                optimiser.close()

    def answer_interrupt(self) -> None:
        """Raise the Ctrl-C that was noted, if there was one."""
        if self.interrupted:
            raise KeyboardInterrupt

    def resume(self) -> None:
        """Take up the checkpoint of a killed or finished fit, if there is one."""
        if self.path is None or not self.path.exists():
            return
        tensors, facts = read_checkpoint(self.path)
        if facts["key"] != self._key():
            message = (
                f"{self.path} belongs to another fit (other data, settings or seed). "
                "Choose an empty folder for this one, or delete the checkpoint."
            )
            raise ModelError(message)
        self.history = History(**facts["history"])
        self.job.network.load_state_dict(_under("network", tensors))
        self.best = _under("best", tensors)
        if self.history.finished:
            return
        for place, optimiser in enumerate(self.optimisers):
            name = f"optimiser{place}"
            optimiser.load_state_dict(fill_state(name, optimiser.state_dict(), tensors, facts["optimisers"]))
        torch.set_rng_state(tensors["rng.cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)

    def save(self) -> None:
        """Write a checkpoint of the present state, which must be that after a whole step, if there is a run."""
        if self.path is None:
            return
        self.history.loss = float(self.total)
        tensors = {f"network.{name}": value for name, value in self.job.network.state_dict().items()}
        optimisers: dict[str, Any] = {}
        if not self.history.finished:
            tensors |= {f"best.{name}": value for name, value in self.best.items()}
            tensors["rng.cpu"] = torch.get_rng_state()
            if self.device.type == "cuda":
                tensors["rng.cuda"] = torch.cuda.get_rng_state(self.device)
            for place, optimiser in enumerate(self.optimisers):
                state, facts = flatten_state(f"optimiser{place}", optimiser.state_dict())
                tensors |= state
                optimisers |= facts
        write_checkpoint(
            self.path, tensors, {"key": self._key(), "history": asdict(self.history), "optimisers": optimisers}
        )
        self.written = time.monotonic()

    def _key(self) -> str:
        decisive = {name: value for name, value in asdict(self.settings).items() if name != "checkpoint_seconds"}
        shapes = {name: list(value.shape) for name, value in self.job.network.state_dict().items()}
        text = json.dumps([decisive, self.seed, self.job.rows, self.job.key, shapes])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _set_rate(self, rate: float) -> None:
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate

    def _log(self, line: dict[str, Any]) -> None:
        self.history.lines.append(line)
        if self.run is None:
            return
        # A fit killed between its last line and its next checkpoint goes through that epoch twice.
        known = [(old.get("fit"), old.get("epoch")) for old in self.run.metrics()]
        if (line["fit"], line["epoch"]) not in known:
            self.run.log(**line)

    def _tell_progress(self) -> None:
        if self.run is not None and self.run.progress is not None:
            done = self.history.epoch * self.steps + self.history.step
            self.run.progress(f"training {self.job.name}", done, self.settings.epochs * self.steps)


def learning_rate(settings: Training, step: int, steps: int) -> float:
    """Return the rate of a step, counted over all epochs of `steps` steps each.

    Examples
    --------
    >>> settings = Training(epochs=10, learning_rate=1.0, warm_up=0.1, final_rate=0.0)
    >>> [round(learning_rate(settings, step, 10), 2) for step in (0, 9, 54, 99)]
    [0.1, 1.0, 0.51, 0.0]
    >>> settings = Training(epochs=10, warm_up=0.0, learning_rate=1.0, schedule="steps", milestones=(4, 8))
    >>> [round(learning_rate(settings, step, 10), 2) for step in (39, 40, 79, 80)]
    [1.0, 0.1, 0.1, 0.01]
    """
    total = settings.epochs * steps
    rising = round(settings.warm_up * total)
    if step < rising:
        return settings.learning_rate * (step + 1) / rising
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "steps":
        passed = sum(step // steps >= epoch for epoch in settings.milestones)
        return settings.learning_rate * settings.step_factor**passed
    share = (step - rising) / max(1, total - 1 - rising)
    low = settings.final_rate
    return settings.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * share)))


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
