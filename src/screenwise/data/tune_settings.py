"""What a user can set of the preparation of assay tables: the same words in Python, TOML and on the command line."""

from dataclasses import dataclass

from screenwise.errors import ConfigError

FOLD_KINDS = ("lsh", "scaffold", "random", "sphere")
"""How compounds are dealt to folds; all but `sphere` agree among partners who never talk."""


@dataclass(frozen=True)
class StructureRules:
    """Which form a structure is given."""

    stereo: bool = False
    """Keep stereochemistry; it is removed by default, since one fold must hold all stereoisomers."""
    tautomers: int = 256
    """Most tautomers to look at for the canonical one, in each part of a structure that changes by itself."""
    atoms: int = 100
    """Structures with this many atoms or more (hydrogens not counted, as they were given) are rejected."""

    def __post_init__(self) -> None:
        if self.tautomers < 1 or self.atoms < 1:
            message = f"structures: tautomers ({self.tautomers}) and atoms ({self.atoms}) must be at least 1."
            raise ConfigError(message)


@dataclass(frozen=True)
class DescriptorRules:
    """What the columns of X are."""

    radius: int = 3
    """Bonds around an atom: circular substructures (Morgan, ECFP6)."""
    columns: int = 32_000
    """Columns that substructures are hashed to."""

    def __post_init__(self) -> None:
        if self.radius < 0 or self.columns < 1:
            message = f"descriptor: radius ({self.radius}) must be >= 0 and columns ({self.columns}) >= 1."
            raise ConfigError(message)


@dataclass(frozen=True)
class FoldRules:
    """How compounds are dealt to folds."""

    kind: str = "lsh"
    """lsh: 16 common substructures, hashed with the key; scaffold: a node of the scaffold network, hashed with the
    key; random: the structure, hashed with the key; sphere: clusters of this table's own compounds (for one owner)."""
    folds: int = 5
    """Number of folds."""
    bits: tuple[int, ...] = ()
    """Columns (before the key permutes them) whose presence is the lsh text; empty = the list of the documentation,
    which is for radius 3 and 32,000 columns."""
    radii: tuple[float, ...] = (0.2, 0.4, 0.6)
    """Tanimoto distances of sphere exclusion, growing: the leaders of one are clustered with the next."""

    def __post_init__(self) -> None:
        if self.kind not in FOLD_KINDS:
            message = f"folds: there is no kind {self.kind!r}; the kinds are {', '.join(FOLD_KINDS)}."
            raise ConfigError(message)
        if self.folds < 2:  # noqa: PLR2004
            message = f"folds: there must be at least 2 folds, not {self.folds}."
            raise ConfigError(message)
        if not self.radii or any(not 0 <= radius < 1 for radius in self.radii):
            message = f"folds: radii are Tanimoto distances from 0 to below 1; got {self.radii}."
            raise ConfigError(message)


@dataclass(frozen=True)
class ValueRules:
    """Which values are credible."""

    panel: tuple[float, ...] = (3.0, 10.0)
    """Least and most of p values: assays of the types CATALOG-PANEL, NON-CATALOG-PANEL and OTHER."""
    hts: tuple[float, ...] = (-10.0, 10.0)
    """Least and most of scores of AUX_HTS assays."""
    adme: tuple[float, ...] = (-1e12, 1e12)
    """Least and most of values of ADME assays."""
    spread: float = 1e-12
    """The standard deviation of an assay's values must be above this in every fold."""

    def __post_init__(self) -> None:
        for name in ("panel", "hts", "adme"):
            limits = getattr(self, name)
            if len(limits) != 2 or not limits[0] < limits[1]:  # noqa: PLR2004
                message = f"values: {name} must be two numbers, the least and the most; got {limits}."
                raise ConfigError(message)


@dataclass(frozen=True)
class ThresholdRules:
    """Where active begins."""

    automatic: tuple[float, ...] = (8.0, 7.0, 6.0, 5.0, 4.7, 4.4)
    """Tried in this order for dose-response assays without a threshold of an expert."""
    share: float = 0.2
    """Least share of actives that an automatic threshold must give."""
    step: float = 0.5
    """Auxiliary thresholds lie this far below the lowest and above the highest."""
    hts: float = 3.0
    """Threshold of AUX_HTS assays; with direction low, its negative."""


@dataclass(frozen=True)
class QuorumRules:
    """How much is needed to train on a task, and to count it in the mean score."""

    actives: int = 25
    """Actives of a classification task."""
    inactives: int = 25
    """Inactives of a classification task."""
    auxiliary_actives: int = 10
    """Actives of a task of an AUX_HTS or AUX_PL assay."""
    auxiliary_inactives: int = 10_000
    """Inactives of a task of an AUX_HTS or AUX_PL assay."""
    catalogue: int = 400
    """Labels of a catalogue task; with fewer, its assay is taken as NON-CATALOG-PANEL."""
    values: int = 50
    """Values of a regression task."""
    exact_values: int = 25
    """Values of a regression task that are no bounds."""
    fold_actives: int = 10
    """Actives in each fold, to count in the mean score."""
    fold_inactives: int = 10
    """Inactives in each fold, to count in the mean score."""
    fold_exact_values: int = 25
    """Exact values in each fold, to count in the mean score."""
    fold_spread: float = 0.5
    """Least standard deviation of exact values in each fold, to count in the mean score; ADME is exempt."""


@dataclass(frozen=True)
class WeightRules:
    """How much tasks weigh in training."""

    auxiliary: float = 0.1
    """Weight that the tasks of an AUX_HTS or AUX_PL assay share; other assays share 1."""
    censored: float = 0.05
    """Share of bounds up to which they weigh 1; bounds beyond it weigh together as if they were this share."""

    def __post_init__(self) -> None:
        if not 0 < self.auxiliary <= 1 or not 0 < self.censored < 1:
            message = f"weights: auxiliary ({self.auxiliary}) and censored ({self.censored}) must be between 0 and 1."
            raise ConfigError(message)


@dataclass(frozen=True)
class TuneSettings:
    """How assay tables become matrices; the defaults are those of MELLODDY-TUNER 3.0.2.

    Examples
    --------
    >>> from screenwise.config import from_mapping
    >>> from_mapping(TuneSettings, {"folds": {"kind": "scaffold"}}).folds.kind
    'scaffold'
    """

    reference: str = ""
    """Hash of the reference set that partners circulated; where this installation gives another, nothing is done."""
    structures: StructureRules = StructureRules()
    """Standard form of structures."""
    descriptor: DescriptorRules = DescriptorRules()
    """Columns of X."""
    folds: FoldRules = FoldRules()
    """Folds of compounds."""
    values: ValueRules = ValueRules()
    """Credible values."""
    thresholds: ThresholdRules = ThresholdRules()
    """Classification thresholds."""
    quorum: QuorumRules = QuorumRules()
    """How much a task needs."""
    weights: WeightRules = WeightRules()
    """Weights of tasks."""

    def __post_init__(self) -> None:
        bits, rules = self.folds.bits, self.descriptor
        if bits and (len(set(bits)) < len(bits) or min(bits) < 0 or max(bits) >= rules.columns):
            message = f"folds: bits must be different columns from 0 to {rules.columns - 1}; got {bits}."
            raise ConfigError(message)
        usual = DescriptorRules()
        if self.folds.kind == "lsh" and not bits and rules != usual:
            message = (
                f"folds: the list of lsh bits is for radius {usual.radius} and {usual.columns} columns; for radius "
                f"{rules.radius} and {rules.columns} columns give folds.bits, or another kind of fold."
            )
            raise ConfigError(message)
