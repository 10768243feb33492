"""Settings of the multi-task network, and how those left open are chosen by what a screen has."""

from dataclasses import dataclass, replace
from typing import Literal

from screenwise.errors import ConfigError
from screenwise.models.multitask_network import NetworkShape
from screenwise.represent.fingerprint import KINDS
from screenwise.train.loop import Training

SMALL_SCREEN = 200_000
"""Conditions up to which labels are learned by several networks, each trained twice, and values beside a kernel."""
Labels = Literal["beside", "alone", "none"]
"""Whether assays have labels beside their values, the screen has labels alone, or neither."""
CENSORED = ("squared", "tobit", "value", "drop")


@dataclass(frozen=True)
class MultiTaskConfig:
    """Settings of the multi-task network. None = chosen by what the screen has.

    "With labels" is said of screens in which assays have labels beside their values, or that have labels alone.
    """

    kinds: tuple[str, ...] = ("morgan", "feature_morgan", "torsion")
    """Kinds of substructures that are counted."""
    radius: int = 2
    """Bonds around an atom that a circular substructure reaches (2 = ECFP4)."""
    chiral: bool = False
    """Whether stereocentres make substructures different."""
    minimum_count: int | None = None
    """Training compounds that a substructure must occur in to have weights of its own; None = 3, and with labels
    one in a thousand, 10 at most."""
    equal_length: bool = True
    """Whether compounds' rows of counts are scaled to one length, so that large molecules do not speak louder."""
    hidden: tuple[int, ...] | None = None
    """Units of each layer of the trunk; None = 500, and twice 400 where conditions have numbers (`feature:`)."""
    dropout: float | None = None
    """Share of the trunk's units silenced in training; None = 0.3, or 0.2 with labels."""
    layer_norm: bool | None = None
    """Whether sums are normalised before each activation; None = unless conditions have numbers, whose size counts."""
    class_hidden: tuple[int, ...] = ()
    """Units of hidden layers that only classes have."""
    regression_hidden: tuple[int, ...] = ()
    """Units of hidden layers that only values have."""
    share_targets: bool | None = None
    """Whether tasks of one `target` share a part of their output weights; None = unless the screen has labels alone."""
    kernel: bool | None = None
    """Whether a value's prediction is the weighted mean of the networks' and of kernel ridge regression of its task (of
    10 to 3,000 exact values) alone; None = where compounds have values alone, up to 200,000 conditions. The kernel is
    one of counts: not for numbers (``feature:``), which may be negative."""
    common: float | None = None
    """Factor of a part of the output weights that all classes share, and one that all values share; 0 = none; None =
    0.4, and 0 for labels alone: nothing tells there which of them run the other way."""
    censored: str = "squared"
    """What a bound teaches: "squared" = only an error on its wrong side counts, squared; "tobit" = the probability
    of its side, with a noise learned per task; "value" = it is a value; "drop" = nothing."""
    censored_weight: float = 1.0
    """Weight of a bound against that of an exact value, times the task's own `censored_weight`."""
    regression_weight: float | None = None
    """r: losses of classes count 2 (1 - r), of values 2 r; None = 0.5, and 0.13 with labels."""
    members: int | None = None
    """Networks that differ by their seed; their mean predicts, more than one give draws; None = 1, or 3 with labels
    and at most 200,000 conditions."""
    heads: int = 1
    """Heads on each network's trunk, each with exponential weights of the cells; more than one give draws, cheaply."""
    epochs: int | None = None
    """Passes over the training conditions; None = 12 (7 with labels), and more for small screens."""
    batch_size: int | None = None
    """Conditions of one step, at most an eighth of the screen; None = 256, or 1024 with labels."""
    learning_rate: float | None = None
    """Of Adam, at its highest; None = 2e-3, or 1e-3 with labels."""
    weight_decay: float | None = None
    """Decoupled decay of weight matrices; None = 0, or 0.1 with labels."""
    patience: int | None = None
    """Stop after so many epochs without gain on held-out cells and keep the best; None = all epochs."""
    held_out: float = 0.1
    """Share of the conditions kept from training to learn how wide intervals must be; not with `valid`."""
    device: str = "auto"
    """"auto" = an accelerator when there is one, else the CPU."""
    precision: str = "float32"
    """Of matrix products in training: "float32" or "bfloat16"."""
    threads: int | None = None
    """Threads in training; None = torch's own choice."""
    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints, when the fit has a run."""

    def __post_init__(self) -> None:
        widths = [*(self.hidden if self.hidden is not None else (1,)), *self.class_hidden, *self.regression_hidden]
        members = 1 if self.members is None else self.members
        if self.hidden == () or min(*widths, members, self.heads, self.batch_size or 1) < 1:
            message = (
                f"MultiTaskConfig: hidden {self.hidden}, class_hidden {self.class_hidden}, regression_hidden "
                f"{self.regression_hidden}, members {members}, heads {self.heads} and batch_size "
                f"{self.batch_size} must all be at least 1."
            )
            raise ConfigError(message)
        if not (0 <= (self.dropout or 0) < 1 and 0 <= self.held_out < 1 and 0 <= (self.regression_weight or 0) <= 1):
            message = (
                f"MultiTaskConfig: dropout {self.dropout} and held_out {self.held_out} must be in [0, 1), "
                f"regression_weight {self.regression_weight} in [0, 1]."
            )
            raise ConfigError(message)
        if self.censored not in CENSORED:
            message = f"MultiTaskConfig.censored is {self.censored!r}; use one of {', '.join(CENSORED)}."
            raise ConfigError(message)
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            message = f"MultiTaskConfig.kinds is {self.kinds}; use some of {', '.join(KINDS)}."
            raise ConfigError(message)


@dataclass(frozen=True)
class Settled:
    """The settings that may be left open, all chosen."""

    minimum_count: int
    hidden: tuple[int, ...]
    dropout: float
    layer_norm: bool
    regression_weight: float
    epochs: int
    share_targets: bool
    common: float
    members: int
    kernel: bool
    """Whether kernel ridge regression per task stands beside the networks."""
    anew: bool
    """Whether networks are trained anew on all conditions after the calibration, at twice the cost, rather than on."""
    steps: int
    """Small screens are gone through often enough for about so many steps, where `epochs` is left open."""
    batch_size: int
    learning_rate: float
    weight_decay: float


VALUES = Settled(
    minimum_count=3,
    hidden=(500,),
    dropout=0.3,
    layer_norm=True,
    regression_weight=0.5,
    epochs=12,
    share_targets=True,
    common=0.4,
    members=1,
    kernel=True,
    anew=False,
    steps=1500,
    batch_size=256,
    learning_rate=2e-3,
    weight_decay=0.0,
)
"""Best of what was tried on values alone: 30 targets of ChEMBL, 1,300 values each."""
LABELS = replace(
    VALUES,
    dropout=0.2,
    regression_weight=0.13,
    epochs=7,
    members=3,
    kernel=False,
    anew=True,
    steps=400,
    batch_size=1024,
    learning_rate=1e-3,
    weight_decay=0.1,
)
"""Best of what was tried on labels, beside values: 995 assays of ChEMBL, 280 values each."""


def settle(config: MultiTaskConfig, rows: int, *, labels: Labels = "none", numbers: bool = False) -> Settled:
    """Return all settings that may be left open.

    Parameters
    ----------
    config
        What was said.
    rows
        Conditions that are learned from.
    labels
        Whether assays have labels "beside" their values, the screen has labels "alone", or "none" of both.
    numbers
        Whether conditions have numbers, beside or instead of structures.

    Examples
    --------
    >>> settled = settle(MultiTaskConfig(epochs=3), 50_000, labels="beside")
    >>> settled.epochs, settled.batch_size, settled.hidden, settled.members
    (3, 1024, (500,), 3)
    """
    default = replace(VALUES, kernel=rows <= SMALL_SCREEN)
    if labels != "none":
        few = rows <= SMALL_SCREEN
        default = replace(
            LABELS, minimum_count=min(10, max(3, rows // 1000)), members=LABELS.members if few else 1, anew=few
        )
    if labels == "alone":
        default = replace(default, share_targets=False, common=0.0)
    if numbers:
        default = replace(default, hidden=(400, 400), layer_norm=False, kernel=False)
        if config.kernel:
            message = "MultiTaskConfig.kernel compares counts of substructures; with columns feature: leave it out."
            raise ConfigError(message)
    if config.epochs is not None:
        default = replace(default, steps=0)
    given = {name: getattr(config, name) for name in vars(default) if getattr(config, name, None) is not None}
    return replace(default, **given)


def network_shape(config: MultiTaskConfig, settled: Settled) -> NetworkShape:
    """Return the form of the network that the settings ask for."""
    return NetworkShape(
        settled.hidden,
        (settled.dropout,),
        layer_norm=settled.layer_norm,
        class_hidden=config.class_hidden,
        class_dropouts=(settled.dropout,),
        regression_hidden=config.regression_hidden,
        regression_dropouts=(settled.dropout,),
        common=settled.common,
        heads=config.heads,
        learned_noise=config.censored == "tobit",
    )


def training_settings(config: MultiTaskConfig, settled: Settled) -> Training:
    """Return the settings of the training loop, before epochs and batches are fitted to the size of a screen."""
    return Training(
        epochs=settled.epochs,
        batch_size=settled.batch_size,
        learning_rate=settled.learning_rate,
        weight_decay=settled.weight_decay,
        patience=config.patience,
        precision=config.precision,
        threads=config.threads,
        checkpoint_seconds=config.checkpoint_seconds,
    )
