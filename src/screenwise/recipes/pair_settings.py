"""What a user can set for perturbed gene pairs: the same words in Python, TOML and on the command line."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProfileReading:
    """How to read cells (h5ad) or profiles (a table)."""

    condition_column: str = "condition"
    """Column that says what was perturbed: ctrl, A+ctrl, A+B."""
    control: str = "ctrl"
    """What the control is called."""
    batch_column: str | None = None
    """Column of batches: effects are taken against the control of the same batch."""
    separator: str | None = None
    """Text between the genes of a label; found out where not given."""
    layer: str | None = None
    """Layer of the h5ad to read in place of X."""
    covariate: str | None = None
    """Cells to keep, such as cell_type=A172."""
    counts: bool | None = None
    """Whether the h5ad holds counts (true) or log-normalised values (false); guessed where not given."""


@dataclass(frozen=True)
class PairFitSettings:
    """How to fit a model of gene pairs."""

    model: str = "auto"
    """auto, salt, scaled_salt, peper_gp or peper."""
    descriptors: Path | None = None
    """What is known of genes: a table of gene and numbers, or of gene and set (such as GO terms)."""
    seed: int = 0
    """Seed of everything random."""


@dataclass(frozen=True)
class PairEvaluation:
    """How to evaluate models of gene pairs on one screen."""

    splits: str = "id-25,id-50,id-75"
    """Held-out plans by commas: id-25,id-50,id-75,half,seen0,seen1,seen2,unseen1,unseen2,cluster,kfold."""
    models: str = "peper_gp"
    """Models by commas: salt, scaled_salt, peper_gp, peper; the simple ones are always there."""
    seeds: int = 5
    """Seeds of each plan."""
    descriptors: Path | None = None
    """What is known of genes, as for fit."""


@dataclass(frozen=True)
class PairAsk:
    """What `screenwise perturbseq suggest` is asked for."""

    wells: int = 96
    """Wells to fill: pairs, and the singles and controls they need."""
    controls: int = 4
    """Wells of the control on each plate."""
    genes: str | None = None
    """Genes to combine, separated by commas; by default all that were measured alone."""
    acquisition: str = "std"
    """std: the pairs that teach most; departure: the largest expected departure from addition; random."""
    seed: int = 0
    """Seed of ties and of the layout."""
