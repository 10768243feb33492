"""SparseChem's files: inputs, labels, bounds and folds, read with every check and without pickle.

| file | holds |
| --- | --- |
| X | sparse (n, d) features |
| Y class | sparse (n, t), -1 inactive, +1 active; what is not stored, or 0, is not measured |
| Y regr | sparse (n, t), every stored entry is a value, 0 too |
| censor | the entries of Y regr: -1 true value below, 0 exact, +1 above |
| folding | (n,) fold of each row |

Rows, columns and tasks are counted from 0, as in the files. Weights of tasks: `screenwise.data.sparsechem_tasks`.

References
----------
Heyndrickx et al., J. Chem. Inf. Model. 64, 2331 (2024); github.com/melloddy/SparseChem, version 1.0.0.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, load_npz, save_npz

from screenwise.data.sparsechem_tasks import TaskWeights, read_task_weights
from screenwise.errors import ConfigError, DataError
from screenwise.run import atomic_path

TRANSFORMS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "none": np.asarray,
    "binarize": lambda data: data > 0,
    "tanh": np.tanh,
    "log1p": np.log1p,
}
"""What `--input_transform` makes of each stored feature."""
_PICKLED_MATRIX = (
    "{path} holds a pickled object, and reading one may run any code. Convert it once, where you trust it: "
    "python -c \"import numpy, scipy.sparse; scipy.sparse.save_npz('{stem}.npz', "
    "numpy.load('{path}', allow_pickle=True).item().tocsr())\""
)
_PICKLED_FOLDING = (
    "{path} holds pickled objects, and reading them may run any code. Convert it once, where you trust it: "
    "python -c \"import numpy; numpy.save('{stem}-plain.npy', "
    "numpy.load('{path}', allow_pickle=True).astype('int64'))\""
)


@dataclass(frozen=True)
class SparseChemFiles:
    """Where the files of one data set are; what is not there is None."""

    x: Path
    """Features: .npz or .mtx, or a folder of memory-mapped rows."""
    y_class: Path | None = None
    """Labels of classification tasks."""
    y_regr: Path | None = None
    """Values of regression tasks."""
    y_censor: Path | None = None
    """Which values are bounds."""
    weights_class: Path | None = None
    """CSV of the classification tasks."""
    weights_regr: Path | None = None
    """CSV of the regression tasks."""
    folding: Path | None = None
    """Fold of each row (.npy)."""


@dataclass(frozen=True)
class SparseChemLabels:
    """What was measured of n rows: t classification and u regression tasks."""

    y_class: csr_array
    """(n, t) float32, -1 or +1 where measured."""
    y_regr: csr_array
    """(n, u) float32 values."""
    y_censor: csr_array
    """(n, u) int8, the pattern of `y_regr`: -1 true value below, 0 exact, +1 above."""
    class_tasks: TaskWeights
    regr_tasks: TaskWeights
    folding: NDArray[np.int64]
    """(n,) fold of each row; all 0 where no folds were given."""

    def __len__(self) -> int:
        return int(self.y_class.shape[0])

    def take(self, rows: NDArray[Any]) -> "SparseChemLabels":
        """Return some rows (integers or booleans) with all tasks."""
        parts = {name: getattr(self, name)[rows] for name in ("y_class", "y_regr", "y_censor", "folding")}
        return replace(self, **parts)


def read_labels(files: SparseChemFiles, rows: int) -> SparseChemLabels:
    """Read labels, values, bounds, weights and folds of the rows of X.

    Parameters
    ----------
    files
        Where they are; at least one of `y_class` and `y_regr`.
    rows
        Rows of X.

    Raises
    ------
    DataError
        A file has another number of rows than X, no label at all, a class that is not -1 or +1, a bound where there
        is no value, a number that is not finite, or weights that fit no task.
    """
    if files.y_class is None and files.y_regr is None:
        message = "No labels are given; name them with --y_class, --y_regr or both."
        raise DataError(message)
    for name, needs in (("y_censor", "y_regr"), ("weights_class", "y_class"), ("weights_regr", "y_regr")):
        if getattr(files, name) is not None and getattr(files, needs) is None:
            message = f"--{name} {getattr(files, name)} is given without --{needs}; give both."
            raise DataError(message)
    y_class = _labels(files.y_class, rows)
    y_regr = _labels(files.y_regr, rows)
    if files.y_class is not None:
        y_class = _classes(y_class, files.y_class)
    if not y_class.nnz + y_regr.nnz:
        message = (
            f"{' and '.join(str(path) for path in (files.y_class, files.y_regr) if path)}: there is no label at all."
        )
        raise DataError(message)
    y_censor = _bounds(y_regr, files)
    folding = np.zeros(rows, np.int64) if files.folding is None else read_folding(files.folding, rows)
    class_tasks = read_task_weights(files.weights_class, y_class.shape[1], "y_class")
    regr_tasks = read_task_weights(files.weights_regr, y_regr.shape[1], "y_regr")
    return SparseChemLabels(y_class, y_regr, y_censor, class_tasks, regr_tasks, folding)


def read_matrix(path: Path, *, repeats: bool = False) -> csr_array:
    """Read a sparse matrix: ``.npz`` (scipy.sparse.save_npz) or ``.mtx`` (Matrix Market).

    Parameters
    ----------
    path
        The file; a pickled ``.npy`` is refused with the command that converts it.
    repeats
        Whether entries that stand twice are added up; else they are an error.

    Returns
    -------
    csr_array
        (n, d) float32, columns ascending in each row, stored zeros kept.

    Raises
    ------
    DataError
        The file is missing, damaged, of another kind, or holds NaN or infinite numbers.
    """
    path = Path(path)
    found = _load(path)
    if found.dtype.kind not in "biuf":
        message = f"{path} holds values of type {found.dtype}; they must be real numbers."
        raise DataError(message)
    try:
        # csr_array() adds up repeated entries of the coordinate form without a word
        matrix = csr_array(found) if found.format != "coo" else _from_coo(found, path, repeats=repeats)
        matrix.check_format(full_check=True)
    except ValueError as error:
        message = f"{path} is a damaged sparse matrix: {error}. Write it again with scipy.sparse.save_npz."
        raise DataError(message) from error
    if not matrix.has_canonical_format:
        stored = matrix.nnz
        matrix.sum_duplicates()
        if matrix.nnz < stored and not repeats:
            message = f"{path} holds {stored - matrix.nnz} entries twice. One row and column must have one entry."
            raise DataError(message)
    with np.errstate(over="ignore"):  # found below
        single = matrix.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(single.data))
    if len(wrong):
        message = (
            f"{path}, {_place(matrix, wrong[0])}: the value is {matrix.data[wrong[0]]}; numbers must be finite in "
            f"single precision. {len(wrong)} such entries; leave them out of the file."
        )
        raise DataError(message)
    return single


def _load(path: Path) -> Any:
    if path.suffix == ".npy":
        try:
            np.load(path, allow_pickle=False, mmap_mode="r")
        except FileNotFoundError:
            pass
        except (ValueError, OSError, EOFError) as error:
            message = _PICKLED_MATRIX.format(path=path, stem=path.with_suffix(""))
            raise DataError(message) from error
        else:
            message = f"{path} is a dense array, not a sparse matrix. Write it with scipy.sparse.save_npz."
            raise DataError(message)
    elif path.suffix not in (".npz", ".mtx"):
        message = f"{path} must be a sparse matrix in .npz (scipy.sparse.save_npz) or .mtx (Matrix Market)."
        raise DataError(message)
    if not path.is_file():
        message = f"{path} does not exist."
        raise DataError(message)
    try:
        if path.suffix == ".npz":
            with path.open("rb") as stream:  # numpy leaves a damaged file open
                return load_npz(stream)
        from scipy.io import mmread  # noqa: PLC0415

        found = mmread(path)
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, OverflowError) as error:
        message = f"{path} cannot be read as a sparse matrix: {error}. Write it with scipy.sparse.save_npz."
        raise DataError(message) from error
    if isinstance(found, np.ndarray):
        message = f"{path} is a dense Matrix Market array; write the matrix in coordinate form."
        raise DataError(message)
    return found


def _from_coo(found: Any, path: Path, *, repeats: bool) -> csr_array:
    matrix = csr_array(found)
    if matrix.nnz < found.nnz and not repeats:
        order = np.lexsort((found.col, found.row))
        row, column = found.row[order], found.col[order]
        again = np.flatnonzero((row[1:] == row[:-1]) & (column[1:] == column[:-1]))[0]
        message = f"{path}, row {row[again]}, column {column[again]}: two entries; one row and column must have one."
        raise DataError(message)
    return matrix


def _place(matrix: csr_array, entry: int) -> str:
    row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
    return f"row {row}, column {matrix.indices[entry]}"


def _labels(path: Path | None, rows: int) -> csr_array:
    if path is None:
        return csr_array((rows, 0), dtype=np.float32)
    matrix = read_matrix(path)
    if matrix.shape[0] != rows:
        message = f"{path} has {matrix.shape[0]} rows, X has {rows}; each row of X needs its row of labels."
        raise DataError(message)
    return matrix


def _classes(y_class: csr_array, path: Path) -> csr_array:
    zeros = int((y_class.data == 0).sum())
    if zeros and not (y_class.data == -1).any():
        message = (
            f"{path}: {zeros} entries are 0 and none is -1. SparseChem takes 0 for not measured, so only actives would "
            "be left; write -1 (inactive) and +1 (active)."
        )
        raise DataError(message)
    y_class.eliminate_zeros()  # SparseChem: 0 = not measured
    wrong = np.flatnonzero(np.abs(y_class.data) != 1)
    if len(wrong):
        message = (
            f"{path}, {_place(y_class, wrong[0])}: the class is {y_class.data[wrong[0]]:g}; classes are -1 (inactive) "
            f"and +1 (active). {len(wrong)} entries are neither; measured values belong into --y_regr."
        )
        raise DataError(message)
    return y_class


def _bounds(y_regr: csr_array, files: SparseChemFiles) -> csr_array:
    exact = csr_array((np.zeros(y_regr.nnz, np.int8), y_regr.indices, y_regr.indptr), shape=y_regr.shape)
    if files.y_censor is None:
        return exact
    censor = read_matrix(files.y_censor)
    if censor.shape != y_regr.shape:
        message = f"{files.y_censor} is {censor.shape}, {files.y_regr} is {y_regr.shape}; they must agree."
        raise DataError(message)
    if censor.nnz == 0:  # SparseChem takes a matrix without entries for one without bounds
        return exact
    _refuse_other_entries(censor, y_regr, files)
    wrong = np.flatnonzero(~np.isin(censor.data, (-1, 0, 1)))
    if len(wrong):
        message = (
            f"{files.y_censor}, {_place(censor, wrong[0])}: {censor.data[wrong[0]]:g}; use -1 where the true value is "
            "below, 0 where it is exact, +1 where it is above."
        )
        raise DataError(message)
    return censor.astype(np.int8)


def _refuse_other_entries(censor: csr_array, y_regr: csr_array, files: SparseChemFiles) -> None:
    if np.array_equal(censor.indptr, y_regr.indptr) and np.array_equal(censor.indices, y_regr.indices):
        return
    rows = np.flatnonzero(np.diff(censor.indptr) != np.diff(y_regr.indptr))
    if not len(rows):
        entry = np.flatnonzero(censor.indices != y_regr.indices)[0]
        rows = np.searchsorted(y_regr.indptr, [entry], side="right") - 1
    row = int(rows[0])
    mine, other = (set(one.indices[one.indptr[row] : one.indptr[row + 1]].tolist()) for one in (censor, y_regr))
    column = min(mine ^ other)
    says = "a bound but no value" if column in mine else "a value but no bound"
    message = (
        f"{files.y_censor}, row {row}, column {column}: {says} in {files.y_regr} ({censor.nnz} entries against "
        f"{y_regr.nnz}). Store an entry for each value, 0 where it is exact."
    )
    raise DataError(message)


def read_folding(path: Path, rows: int) -> NDArray[np.int64]:
    """Read (n,) folds, whole numbers from 0, one for each row of X.

    Raises
    ------
    DataError
        The file is pickled, of another length, or holds anything but whole numbers from 0.
    """
    path = Path(path)
    try:
        folds = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        message = f"{path} does not exist."
        raise DataError(message) from error
    except (ValueError, OSError, EOFError) as error:
        if "pickle" in str(error):
            message = _PICKLED_FOLDING.format(path=path, stem=path.with_suffix(""))
        else:
            message = f"{path} is no .npy file of whole numbers: {error}. Write it with numpy.save."
        raise DataError(message) from error
    if not isinstance(folds, np.ndarray) or folds.shape != (rows,):
        has = folds.shape if isinstance(folds, np.ndarray) else "several arrays"
        message = f"{path} has shape {has}; X has {rows} rows, and each needs one fold: ({rows},)."
        raise DataError(message)
    numbers = folds.dtype.kind in "iuf"
    wrong = np.flatnonzero(~((folds >= 0) & (folds == np.floor(folds)))) if numbers else np.arange(rows)
    if len(wrong):
        message = f"{path}, row {wrong[0]}: fold {folds[wrong[0]]!s}; folds are whole numbers from 0."
        raise DataError(message)
    return folds.astype(np.int64)


def choose_folds(folding: NDArray[np.int64], folds: Sequence[int], option: str) -> NDArray[np.bool_]:
    """Return (n,) whether each row is in one of some folds; a fold that no row is in is an error.

    Examples
    --------
    >>> choose_folds(np.array([0, 1, 2, 1]), [1], "--fold_va").tolist()
    [False, True, False, True]
    """
    there = np.unique(folding)
    for fold in folds:
        if fold not in there:
            message = f"{option} {fold}: no row is in that fold; the folds are {', '.join(map(str, there.tolist()))}."
            raise DataError(message)
    return np.isin(folding, folds)


def fold_inputs(x: csr_array, columns: int | None, transform: str = "none") -> csr_array:
    """Return features folded to fewer columns (column modulo `columns`, values added), then transformed.

    Raises
    ------
    ConfigError
        There is no such transform.

    Examples
    --------
    >>> fold_inputs(csr_array(np.array([[1.0, 0, 2]])), 2, "binarize").toarray().tolist()
    [[1.0, 0.0]]
    """
    if transform not in TRANSFORMS:
        message = f"There is no input_transform {transform!r}; it is one of {', '.join(TRANSFORMS)}."
        raise ConfigError(message)
    if columns is not None and x.shape[1] > columns:
        x = csr_array((x.data.copy(), x.indices % columns, x.indptr.copy()), shape=(x.shape[0], columns))
        x.sum_duplicates()
    if transform == "none":
        return x
    data = TRANSFORMS[transform](x.data).astype(np.float32)
    return csr_array((data, x.indices, x.indptr), shape=x.shape)


def write_matrix(path: Path, matrix: Any) -> None:
    """Write a sparse matrix as SparseChem reads it (``.npz``), atomically; stored zeros stay."""
    with atomic_path(path) as draft:
        save_npz(draft, csr_matrix(matrix))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a plain array (``.npy``, no pickle), atomically."""
    with atomic_path(path) as draft:
        np.save(draft, array, allow_pickle=False)
