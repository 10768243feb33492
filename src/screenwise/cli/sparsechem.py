"""SparseChem's commands, with its options spelled as there."""

from typing import Annotated

from cyclopts import App, Parameter

from screenwise.cli.root import Flat, app
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import bars
from screenwise.recipes.sparsechem_settings import (
    SparseChemData,
    SparseChemFit,
    SparseChemNet,
    SparseChemPredict,
    SparseChemScoring,
)

HELP = """SparseChem's train and predict: its files, its options, its results.

Options are those of SparseChem 1.0.0, with underscores and several values where it takes several."""


def _as_written(name: str) -> str:
    return name


# argparse's nargs="+", and names with underscores
_AS_THERE = Parameter(name_transform=_as_written, consume_multiple=True, negative=())
sparsechem = App(name="sparsechem", help=HELP, default_parameter=_AS_THERE)
app.command(sparsechem)


@sparsechem.command(name="train")
def sparsechem_train(
    *,
    data: Annotated[SparseChemData, Flat],
    net: Annotated[SparseChemNet, Flat],
    fit: Annotated[SparseChemFit, Flat] = SparseChemFit(),
    scoring: Annotated[SparseChemScoring, Flat] = SparseChemScoring(),
) -> Outcome:
    """Train a sparse multi-task network; writes OUTPUT_DIR/RUN_NAME.safetensors and .json.

    The same command goes on after a kill.
    """
    from screenwise.recipes import sparsechem as recipe  # noqa: PLC0415

    return recipe.train(data, net, fit, scoring, progress=bars())


@sparsechem.command(name="predict")
def sparsechem_predict(*, options: Annotated[SparseChemPredict, Flat]) -> Outcome:
    """Predict rows of X; writes OUTPREFIX-class.npy and -regr.npy, or .npz where Y names cells."""
    from screenwise.recipes import sparsechem_prediction as recipe  # noqa: PLC0415

    return recipe.predict(options, progress=bars())
