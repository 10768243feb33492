"""Peper as an ensemble of networks: the scaled sum, and a symmetric network for what it leaves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from screenwise.errors import ConfigError
from screenwise.models.feature_store import part_of
from screenwise.models.pairwise_kernel import GeneMetric, learn_metric, principal_axes
from screenwise.models.pairwise_model import PairModel
from screenwise.models.pairwise_network import PairNetwork, PairTable, outputs
from screenwise.models.pairwise_rule import (
    ENOUGH_DOUBLES,
    STRENGTH_RATIO,
    Rule,
    RuleGuess,
    SumRule,
    Training,
    lengths,
)
from screenwise.models.pairwise_scale import Scale, leave_one_out_scale
from screenwise.models.pairwise_singles import Asked
from screenwise.models.pairwise_views import Pairs
from screenwise.rng import derive_seed, stream
from screenwise.run import Run
from screenwise.train.device import choose_device, seeded
from screenwise.train.loop import Job, train
from screenwise.train.loop import Training as Settings

MOST_INPUTS = 64
"""Axes of the gene metric that the encoder sees, the strongest first."""
STOP, JUDGE = 1, 2
"""What a member withholds a row for."""
MOST_OUTPUTS = 64
"""Principal axes of the departures that are learnt; the others keep the scaled sum."""


@dataclass(frozen=True)
class PeperConfig:
    """Settings of Peper as an ensemble of networks."""

    members: int = 8
    """Networks; their mean predicts."""
    hidden: int = 256
    """Units of every layer."""
    dropout: float = 0.1
    """Share of units silenced in training."""
    epochs: int = 200
    """Passes over the training pairs, at most."""
    patience: int = 30
    """Stop after so many epochs without gain on the withheld pairs, and keep the best."""
    withheld: float = 0.25
    """Share of the pairs that a member does not learn from: half of it stops the training, half judges the member."""
    batch_size: int = 16
    """Pairs of one step."""
    learning_rate: float = 3e-3
    """Of Adam, at its highest."""
    weight_decay: float = 0.02
    """Decoupled decay of weight matrices."""
    prior: float | None = None
    """Prior coefficient of the sum; None = 0.85, or 0.9 where singles are shrunk by their known errors."""
    shrink: bool = True
    """Shrink singles by their known noise (column `squared_error`)."""
    device: str = "auto"
    """"auto" = an accelerator when there is one, else the CPU."""
    threads: int | None = 1
    """Threads in training: the networks are small. None = torch's own choice."""

    def __post_init__(self) -> None:
        if min(self.members, self.hidden, self.epochs, self.batch_size, self.patience) < 1:
            message = (
                f"PeperConfig: members {self.members}, hidden {self.hidden}, epochs {self.epochs}, patience "
                f"{self.patience} and batch_size {self.batch_size} must all be at least 1."
            )
            raise ConfigError(message)
        if not (0 < self.withheld < 1 and 0 <= self.dropout < 1):
            message = f"PeperConfig: withheld {self.withheld} must be in (0, 1), dropout {self.dropout} in [0, 1)."
            raise ConfigError(message)


@dataclass(frozen=True)
class NetworkRule:
    """The scaled sum and the mean departure of the members."""

    scale: Scale
    metric: GeneMetric
    axes: NDArray[np.float64]
    """(p, r) principal axes of the departures that were learnt."""
    unit: float
    """Departures are divided by it for the networks."""
    networks: tuple[PairNetwork, ...]
    strength: float
    """Longest sum of a measured double."""
    noise: float
    """Mean squared length of the error that the members' spread leaves unexplained."""
    held_error: NDArray[np.float64]
    held_size: NDArray[np.float64]

    def predict(self, pairs: Pairs) -> RuleGuess:
        """Predict pairs; those much stronger than all measured ones by the scaled sum."""
        total = pairs.total()
        sums = self.scale.predict(total, np.full(len(total), 2))
        members = self.members(pairs)
        far = np.linalg.norm(total, axis=1) > STRENGTH_RATIO * self.strength
        departure = np.where(far[:, None], 0.0, members.mean(axis=0) @ self.axes.T)
        size = error_size(pairs, self.noise + member_spread(members))
        return RuleGuess(sums + departure, departure, size, far, ~far)

    def members(self, pairs: Pairs) -> NDArray[np.float64]:
        """Return (k, n, r) departures of the members, along the axes."""
        genes = inputs(self.metric, pairs.single)
        return self.unit * outputs(self.networks, genes, pairs.place)


def inputs(metric: GeneMetric, single: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (g, inputs) what the encoder sees of genes: places in the metric, numbers of about 1.5."""
    place = metric.place(single)[:, :MOST_INPUTS]
    return (place / np.sqrt(metric.gene_distance / 2)).astype(np.float32) * np.float32(1.5 * np.sqrt(place.shape[1]))


def member_spread(members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) variances between members, summed over outputs."""
    return members.var(axis=0, ddof=1).sum(axis=1) if len(members) > 1 else np.zeros(members.shape[1])


def error_size(pairs: Pairs, variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) sizes of errors, up to a factor: strong pairs err more than members disagree."""
    return np.sqrt(np.sqrt(variance) * np.maximum(lengths(pairs), 1e-12))


class Peper(PairModel):
    """control + scaled sum of single effects + a symmetric network of both genes; an ensemble.

    Each member withholds its share of the measured doubles, stops early on them, and tells on them how
    wide intervals must be. Untrained it is the scaled sum. For some hundred doubles the process
    (`screenwise.models.pairwise.PeperGP`) is as good and faster; this form takes any number.

    Examples
    --------
    >>> import pandas as pd
    >>> from screenwise.screen import make_screen
    >>> conditions = pd.DataFrame({"gene_a": ["", "A", "B"], "gene_b": ["", "", ""]})
    >>> screen = make_screen(conditions, np.array([[1.0], [3.0], [0.5]]), ["growth"])
    >>> prediction = Peper().fit(screen).predict(pd.DataFrame({"gene_a": ["B"], "gene_b": ["A"]}))
    >>> round(float(prediction.mean[0, 0]), 3)
    2.275
    """

    Config = PeperConfig
    kind = "peper"

    def _shrinks(self) -> bool:
        return bool(self.config.shrink)

    def _prior(self) -> float:
        return super()._prior() if self.config.prior is None else float(self.config.prior)

    def _learn(
        self, training: Training, scale: Scale, context: tuple[int, Run | None], learnt: dict[str, Any] | None
    ) -> Rule:
        total = training.pairs.total()
        if len(training) < ENOUGH_DOUBLES:
            held = training.effect - leave_one_out_scale(total, training.effect, training.prior)
            return SumRule(scale, held, lengths(training.pairs))
        departure = training.effect - scale.predict(total, np.full(len(total), 2))
        axes = principal_axes(departure)[0][:, :MOST_OUTPUTS]
        unit = max(float(np.sqrt(np.mean((departure @ axes) ** 2))), 1e-12)
        metric = learn_metric(training.pairs.single)
        device = choose_device(self.config.device)
        genes = inputs(metric, training.pairs.single)
        table = PairTable(
            torch.from_numpy(genes).to(device),
            torch.from_numpy(np.ascontiguousarray(training.pairs.place)).to(device),
            torch.from_numpy((departure @ axes / unit).astype(np.float32)).to(device),
        )
        seed = context[0] if learnt is None else int(learnt["seed"])
        self._seed = seed
        withheld = withheld_rows(len(training), self.config, seed)
        networks = []
        for member in range(self.config.members):
            network = self._first_network(table, seed, member)
            if learnt is None:
                self._train(network, table, withheld[member], (member, *context))
            else:
                state = part_of(learnt, f"member{member}_")
                network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
            networks.append(network.eval())
        members = unit * outputs(tuple(networks), genes, training.pairs.place)
        error = self._held_errors(departure, members, axes, withheld)
        spread = member_spread(members)
        noise = max(float(np.square(error).sum(axis=1).mean() - spread.mean()), float(spread.mean()) / 4, 1e-12)
        strength = float(np.linalg.norm(total, axis=1).max())
        size = error_size(training.pairs, noise + spread)
        return NetworkRule(scale, metric, axes, unit, tuple(networks), strength, noise, error, size)

    def _first_network(self, table: PairTable, seed: int, member: int) -> PairNetwork:
        config = self.config
        with seeded(derive_seed(seed, "peper", "weights", member), torch.device("cpu")):
            network = PairNetwork(table.genes.shape[1], table.departure.shape[1], config.hidden, dropout=config.dropout)
        return network.to(choose_device(config.device))

    def _train(
        self, network: PairNetwork, table: PairTable, held: NDArray[np.int8], context: tuple[int, int, Run | None]
    ) -> None:
        member, seed, run = context
        config, rows, judge = self.config, np.flatnonzero(held == 0), np.flatnonzero(held == STOP)
        job = Job(
            network,
            lambda some: table.loss(network, rows[some]),
            rows=len(rows),
            validate=lambda: float(table.loss(network, judge)),
            name=f"member-{member}",
            key=table.digest(),
        )
        settings = Settings(
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience,
            threads=config.threads,
        )
        train(job, settings, seed=derive_seed(seed, "peper", member), run=run)

    def _held_errors(
        self,
        departure: NDArray[np.float64],
        members: NDArray[np.float64],
        axes: NDArray[np.float64],
        held: NDArray[np.int8],
    ) -> NDArray[np.float64]:
        """Return (m, p) errors on each pair of the members that did not learn from it."""
        told = np.einsum("km,kmr->mr", judged(held), members)
        return departure - told @ axes.T

    def _new_pairs(self, asked: Asked, pairs: Pairs, novelty: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predict one new gene by the networks on its imputed single; two by the scaled sum."""
        mean = super()._new_pairs(asked, pairs, novelty)
        one = np.flatnonzero(novelty == 1)
        if isinstance(self.rule_, NetworkRule) and len(one):
            mean[one] = self.rule_.predict(pairs.part(one)).mean
        return mean

    def _departures(self, pairs: Pairs) -> RuleGuess | None:
        return super()._departures(pairs) if isinstance(self.rule_, NetworkRule) else None

    def _learnt(self) -> dict[str, Any]:
        if not isinstance(self.rule_, NetworkRule):
            return {}
        out: dict[str, Any] = {"seed": np.array(self._seed)}
        for member, network in enumerate(self.rule_.networks):
            out |= {f"member{member}_{name}": value.cpu().numpy() for name, value in network.state_dict().items()}
        return out


def withheld_rows(count: int, config: PeperConfig, seed: int) -> NDArray[np.int8]:
    """Return (members, count): 0 = the member learns from the row, 1 = it stops by it, 2 = it is judged by it.

    Rows that decide when to stop flatter the member, so that others tell how wide intervals must be.

    Examples
    --------
    >>> held = withheld_rows(20, PeperConfig(), seed=0)
    >>> (held == 1).sum(axis=0).tolist() == (held == 2).sum(axis=0).tolist() == [1] * 20
    True
    """
    held = np.zeros((config.members, count), np.int8)
    folds = max(2, round(1 / config.withheld))
    order = stream(seed, "peper", "withheld").permutation(count)
    for member in range(config.members):
        fold = order[member % folds :: folds]
        # the next round of members swaps both halves
        held[member, fold] = 1 + (np.arange(len(fold)) + member // folds) % 2
    return held


def judged(held: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return (members, count) weights of sum 1 over members: those a row judges, else those it stopped, else all."""
    weight = np.where((held == JUDGE).any(axis=0), held == JUDGE, held == STOP).astype(np.float64)
    weight[:, weight.sum(axis=0) == 0] = 1.0
    return weight / weight.sum(axis=0)
