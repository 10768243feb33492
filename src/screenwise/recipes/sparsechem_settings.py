"""SparseChem's options, with its names and defaults; light enough for the command line to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from screenwise.errors import ConfigError

ZERO_ONE = (0, 1)
FLAGS = (
    "censored_loss",
    "normalize_regression",
    "normalize_regr_va",
    "inverse_normalization",
    "enable_cat_fusion",
    "mixed_precision",
    "eval_train",
    "save_model",
    "best_epoch",
    "trunk_embeddings",
    "dropout",
)
"""Options that are 0 or 1."""
CHOICES = {
    "input_transform": ("none", "binarize", "tanh", "log1p"),
    "middle_non_linearity": ("relu", "tanh"),
    "last_non_linearity": ("relu", "tanh"),
    "verbose": (0, 1, 2),
}
"""Options with few values."""


@dataclass(frozen=True)
class SparseChemData:
    """What is learned from: options of SparseChem's train.py."""

    x: Path
    """Features, sparse: .npz, .mtx, or a folder of memory-mapped rows."""
    folding: Path
    """Fold of each row (.npy of whole numbers)."""
    y_class: Annotated[Path | None, Parameter(alias=("--y", "--y_classification"))] = None
    """Classes, sparse, -1 and +1."""
    y_regr: Annotated[Path | None, Parameter(alias="--y_regression")] = None
    """Values, sparse."""
    y_censor: Path | None = None
    """Bounds among the values: -1 true value below, 0 exact, +1 above."""
    weights_class: Annotated[Path | None, Parameter(alias=("--task_weights", "--weights_classification"))] = None
    """CSV of the classes: task_id, training_weight, aggregation_weight, task_type, catalog_id."""
    weights_regr: Annotated[Path | None, Parameter(alias="--weights_regression")] = None
    """CSV of the regression tasks: the same, and censored_weight."""
    fold_va: tuple[int, ...] = (0,)
    """Validation fold, or several."""
    fold_te: tuple[int, ...] = ()
    """Test fold, or several: left out altogether. -1 = none."""
    fold_inputs: int | None = None
    """Columns that features are folded to (column modulo this)."""
    input_transform: str = "none"
    """none, binarize, tanh or log1p."""
    input_size_freq: int | None = None
    """Never worked in SparseChem; not accepted."""


@dataclass(frozen=True)
class SparseChemNet:
    """The network: options of SparseChem's train.py."""

    hidden_sizes: tuple[int, ...]
    """Units of each layer of the trunk."""
    dropouts_trunk: tuple[float, ...]
    """Dropout of each layer of the trunk."""
    last_hidden_sizes: tuple[int, ...] | None = None
    """Units of hidden layers of both heads."""
    last_hidden_sizes_class: tuple[int, ...] | None = None
    """Of the head of classes."""
    last_hidden_sizes_reg: tuple[int, ...] | None = None
    """Of the head of values."""
    dropouts_class: tuple[float, ...] = ()
    """One for each hidden layer of the head of classes."""
    dropouts_reg: tuple[float, ...] = ()
    """One for each hidden layer of the head of values."""
    middle_non_linearity: Annotated[str, Parameter(alias="--non_linearity")] = "relu"
    """relu or tanh, between the layers of the trunk."""
    last_non_linearity: str = "relu"
    """Without effect, as in SparseChem: classes have relu, values tanh."""
    class_feature_size: int = -1
    """Leftmost units of the trunk that classes see; -1 = all."""
    regression_feature_size: int = -1
    """Rightmost units of the trunk that values see; -1 = all."""
    scaling_regularizer: float = float("inf")
    """Penalty on a scale per unit before values; inf = no such scale."""
    enable_cat_fusion: int = 0
    """1 = classes with a catalog_id have a second output, in a head that partners share."""


@dataclass(frozen=True)
class SparseChemFit:
    """Loss and optimiser: options of SparseChem's train.py."""

    censored_loss: int = 1
    """0 = bounds are taken as values."""
    normalize_loss: float | None = None
    """Divides the loss of a step; by default the rows of the step."""
    regression_weight: float = 0.5
    """r in [0, 1]: losses of classes count 2 (1 - r), of values 2 r."""
    normalize_regression: int = 0
    """1 = values are standardised by task, with exact values of the training folds."""
    normalize_regr_va: int = 0
    """1 = scores of values are in standardised units; 0 = in the units of the file."""
    inverse_normalization: int = 0
    """Accepted: scores are in the units of the file without it, unless normalize_regr_va is 1."""
    optimizer: str = "Adam"
    """Adam, AdamW (decoupled decay, quicker than Adam's own) or SGD."""
    optimizer_params: tuple[float, ...] = ()
    """beta1 beta2 epsilon, or SGD's momentum."""
    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.0
    """Decay of all weights."""
    lr_steps: tuple[int, ...] = (10,)
    """Epochs at which the rate falls."""
    lr_alpha: float = 0.3
    """Factor of the rate at each of them."""
    epochs: int = 20
    """Passes over the training rows."""
    batch_ratio: float = 0.02
    """Rows of a step, as a share of the training rows."""
    internal_batch_max: int | None = None
    """Most rows that go through the network at once."""
    mixed_precision: int = 0
    """1 = matrix products in bfloat16, on an accelerator."""
    best_epoch: int = 0
    """1 = keep the epoch of the least validation loss instead of the last (not in SparseChem)."""
    seed: int = 0
    """Seed of first weights, order of rows and dropout (not in SparseChem)."""


@dataclass(frozen=True)
class SparseChemScoring:
    """What is scored and kept: options of SparseChem's train.py."""

    output_dir: Path = Path("models")
    """Folder for the model (.safetensors) and its conf and results (.json)."""
    run_name: str | None = None
    """Name of those files; by default made of the options."""
    prefix: str = "run"
    """Begins that name."""
    eval_train: int = 0
    """1 = score the training rows too."""
    eval_frequency: int = 1
    """Epochs between two validations; -1 = at the end only."""
    min_samples_class: int = 5
    """Positives and negatives in each fold that a class needs to count in the means."""
    min_samples_regr: int = 10
    """Exact values in each fold that a regression task needs to count."""
    min_samples_auc: int | None = None
    """Obsolete in SparseChem; not accepted: use min_samples_class."""
    pi_zero: float = 0.1
    """Share of positives that the calibrated precision supposes."""
    num_bins: int = 10
    """Bins of the calibration errors."""
    dev: str = "auto"
    """auto, cpu, cuda or cuda:N; without an accelerator the CPU does the work, and says so."""
    verbose: int = 2
    """2 = progress, 1 = none, 0 = no output."""
    save_model: int = 1
    """0 = do not keep the model."""
    save_board: int = 0
    """TensorBoard; 1 fails in SparseChem 1.0.0 and is not accepted."""
    profile: int = 0
    """1 fails in SparseChem 1.0.0 and is not accepted."""


@dataclass(frozen=True)
class SparseChemPredict:
    """Options of SparseChem's predict.py."""

    conf: Path
    """The .json that train wrote."""
    model: Path
    """The .safetensors that train wrote, or a converted .pt."""
    x: Path
    """Features, made as those of training."""
    outprefix: str
    """Begins the names of the output: -class.npy, -regr.npy, -hidden.npy (-class.npz for cells)."""
    y_class: Annotated[Path | None, Parameter(alias=("--y", "--y_classification"))] = None
    """Predict the classes of these cells only; a sparse file."""
    y_regr: Annotated[Path | None, Parameter(alias="--y_regression")] = None
    """Predict the values of these cells only."""
    folding: Path | None = None
    """Fold of each row."""
    predict_fold: tuple[int, ...] = ()
    """Predict cells of these folds only."""
    tasks_class: tuple[int, ...] | None = None
    """Predict these classes only, in this order (not in SparseChem)."""
    tasks_regr: tuple[int, ...] | None = None
    """Predict these regression tasks only, in this order (not in SparseChem)."""
    batch_size: int = 4000
    """Rows at a time."""
    trunk_embeddings: int = 0
    """1 = write the outputs of the trunk instead."""
    dropout: int = 0
    """1 = silence units as in training: one draw, of `seed`."""
    inverse_normalization: int = 0
    """1 = values in the units that they had before normalize_regression."""
    weights_class: Annotated[Path | None, Parameter(alias=("--task_weights", "--weights_classification"))] = None
    """CSV of the classes; its catalog_id says which are predicted by the catalogue head."""
    dev: str = "auto"
    """As in train."""
    num_workers: int = 4
    """Without effect: rows are read in this process."""
    seed: int = 0
    """Seed of dropout (not in SparseChem)."""


def check_options(*options: object) -> None:
    """Refuse options whose value is none of the few they may have, or that never worked.

    Examples
    --------
    >>> check_options(SparseChemScoring(save_board=1))
    Traceback (most recent call last):
    ...
    screenwise.errors.ConfigError: --save_board 1 fails in SparseChem 1.0.0 and is not offered here. Leave it out; ...
    """
    given = {name: value for one in options for name, value in vars(one).items()}
    for name, cure in _NEVER.items():
        if given.get(name):
            message = f"--{name} {given[name]} {cure}"
            raise ConfigError(message)
    for name, allowed in {**dict.fromkeys(FLAGS, ZERO_ONE), **CHOICES}.items():
        if name in given and given[name] not in allowed:
            message = f"--{name} is {given[name]!r}; it must be one of {', '.join(map(str, allowed))}."
            raise ConfigError(message)


_NEVER = {
    "save_board": "fails in SparseChem 1.0.0 and is not offered here. Leave it out; "
    "each epoch's scores are in metrics.jsonl of the run's folder.",
    "profile": "fails in SparseChem 1.0.0 and is not offered here. Leave it out.",
    "min_samples_auc": "is obsolete in SparseChem; say --min_samples_class: how many positives and negatives a task "
    "needs in each fold to count in the means.",
    "input_size_freq": "never worked in SparseChem. Leave it out: rare columns cost nothing here.",
}
