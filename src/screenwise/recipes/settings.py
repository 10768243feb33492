"""What a user can set in each journey: the same words in Python, TOML and on the command line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from screenwise.data.columns import Columns


@dataclass(frozen=True)
class Reading:
    """How to read a user's table."""

    columns: Columns = Columns()
    features: Path | None = None
    """Table of numbers per entity, joined on its id."""
    auxiliary: Path | None = None
    """Table of further tasks that teach and are not scored."""


@dataclass(frozen=True)
class Ask:
    """What `screenwise propose` is asked for."""

    wells: int = 96
    """Candidates to choose."""
    acquisition: str = "auto"
    """How candidates are chosen: auto, random, greedy, ucb, ei, log_ei, pi, thompson, probability_of_hit, and what the
    model knows enough for: standard_deviation, maxdet, bald, k_center, badge (an unknown name lists all)."""
    objective: str | None = None
    """maximize:TASK, minimize:TASK or absolute:TASK; by default maximize the only task."""
    seed: int = 0
    """Seed of the layout and of ties."""


@dataclass(frozen=True)
class PredictSettings:
    """What a table of predictions holds."""

    wide: bool = False
    """One row per input row instead of one per row and task."""
    only: tuple[str, ...] = ()
    """Tasks to predict, patterns such as 'EGFR*' allowed; none = all that are not auxiliary."""


@dataclass(frozen=True)
class FitSettings:
    """How to fit one model to one table."""

    model: str = "auto"
    """Model to fit: auto, or one that `screenwise fit --help` lists."""
    split: str = "none"
    """Held-out plan that scores the model: none, random, scaffold, cluster, or a column of the table
    with train and test (or fold numbers)."""
    seed: int = 0
    """Seed of everything random."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the model, such as --settings.borrow false."""


@dataclass(frozen=True)
class CompareSettings:
    """How to compare models on one table."""

    models: str = "auto"
    """Models, separated by commas; auto compares the default with what must be beaten."""
    splits: str = "random,scaffold"
    """Held-out plans, separated by commas: random, scaffold, cluster, or columns of the table."""
    seeds: int = 5
    """Seeds for models that are random; a model without chance is fitted once."""
    folds: int = 5
    """Folds of a split that has none of its own."""
    jobs: int = 1
    """Processes to use."""
    seed: int = 0
    """Seed of the splits."""


@dataclass(frozen=True)
class DomainSettings:
    """How sure a run must be of what it says."""

    error: float = 0.1
    """Share of conformal sets and intervals that may be wrong."""


@dataclass(frozen=True)
class GainSettings:
    """How two runs are compared."""

    error: float = 0.1
    """Share of conformal sets and intervals that may be wrong, for the gain in domain."""
    replicates: int = 1000
    """Bootstrap replicates over compounds."""
    seed: int = 0
    """Seed of the bootstrap."""


@dataclass(frozen=True)
class PseudolabelSettings:
    """Which labels a run is sure of, and how much they teach."""

    error: float = 0.1
    """Error level of the conformal sets: a label is written where it is alone in its set."""
    weight: float = 0.1
    """Weight of the auxiliary tasks in training."""


@dataclass(frozen=True)
class CampaignOptions:
    """What a new campaign looks for, with what, in how many wells."""

    objective: str
    """maximize:TASK, minimize:TASK or absolute:TASK."""
    model: str = "auto"
    """Model that learns from the results."""
    acquisition: str = "auto"
    """How candidates are chosen: auto, random, greedy, ucb, ei, log_ei, pi, thompson, probability_of_hit, and what the
    model knows enough for: standard_deviation, maxdet, bald, k_center, badge (an unknown name lists all)."""
    wells: int = 96
    """Wells of one round, controls and replicates not counted."""
    rounds: int | None = None
    """Rounds planned; the campaign may go on past them."""
    seed: int = 0
    """Seed of everything random."""
    start: int | None = None
    """Wells of the first round, chosen at random; as many as `wells` by default."""
    threshold: float | None = None
    """A measured value at least this good, in the direction of the objective, counts as a hit."""
    readouts: tuple[str, ...] = ()
    """Tasks read beside the objective's: each gets a column on the plate map and is kept."""
    plate_format: int = 96
    """Wells of a plate: 96, 384 or 1536."""
    positive: int = 4
    """Wells of the positive control on every plate."""
    negative: int = 4
    """Wells of the negative control on every plate."""
    positive_id: str = ""
    """What the positive control is: a condition_id of the pool, or a name of your own."""
    negative_id: str = ""
    """What the negative control is."""
    copies: int = 1
    """Wells of every candidate; those beyond the first are replicates."""
    replicates: int = 4
    """Further candidates of every plate, chosen at random, that are measured once more."""
    edge: str = "any"
    """What the outer wells of a plate hold: any, controls (and never samples), or empty."""


@dataclass(frozen=True)
class SimulateSettings:
    """How to replay a measured screen."""

    policy: str = "auto"
    """Policies, separated by commas; random and greedy (of genes also studied) are always run too. A policy is auto,
    random, greedy, greedy_gp, ucb, studied, or any acquisition (ei, thompson, maxdet, k_center, badge, entropy, bald
    ...: an unknown name lists all), alone or with a model before it, such as forest:ei."""
    rounds: int | None = None
    """Rounds after the random start; by default the pool's own, or 6."""
    wells: int | None = None
    """Wells of each round; by default the pool's own, or 96."""
    seeds: int = 5
    """Paired seeds: every policy begins from the same random start."""
    start: int | None = None
    """Wells of the start; by default the pool's own, or 32."""
    start_with: str = "random"
    """What is known at first. random: so many random wells. warm: a random tenth of the pool. cold: of classes one of
    each, of numbers the two conditions farthest apart. no_hits: random wells without any hit. region: a random
    condition and the most similar ones."""
    objective: str | None = None
    """maximize:TASK, minimize:TASK or absolute:TASK; by default the pool's own, or maximize its only task."""
    hits: float | None = None
    """Share of the pool, best first, that counts as hits; by default the pool's own, or 0.05."""
    jobs: int = 1
    """Processes to use."""
    resume: bool = True
    """Go on from the replays that an earlier call with the same settings and data finished in the folder."""
