"""SparseChem's predict: a conf, a model and features in, arrays out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.sparse import csr_array
from scipy.special import expit

from screenwise.data.sparsechem import choose_folds, read_folding, read_matrix, write_matrix
from screenwise.data.sparsechem_tasks import read_task_weights
from screenwise.errors import ConfigError, DataError, ModelError
from screenwise.models.sparsechem import Statistics, first_network
from screenwise.models.sparsechem_network import SparseChemTasks, fill_network, network_shape
from screenwise.models.sparsechem_predict import Asked, predict_cells, predict_hidden, predict_outputs
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.sparsechem import pick_device, read_features
from screenwise.recipes.sparsechem_settings import SparseChemPredict, check_options
from screenwise.rng import derive_seed
from screenwise.run import atomic_path, read_json
from screenwise.train.device import seeded

_PICKLED_MODEL = (
    "{path} is a pickled model, and reading one may run any code. Convert it once, where it was made: "
    'python -c "import torch; from safetensors.torch import save_file; '
    "state = torch.load('{path}', map_location='cpu', weights_only=True); "
    "save_file({{name: value.clone().contiguous() for name, value in state.items()}}, '{stem}.safetensors')\""
)
_PICKLED_CONF = (
    "{path} is pickled, and reading it may run any code. Convert it once, where it was made: "
    "python -c \"import json, numpy; conf = numpy.load('{path}', allow_pickle=True).item()['conf']; "
    "json.dump({{'conf': vars(conf)}}, open('{stem}.json', 'w'))\""
)


def predict(options: SparseChemPredict, *, progress: Progress = silent) -> Outcome:
    """Predict rows with a model that `train` wrote, or a converted one of SparseChem's.

    Writes plain float32 arrays: ``<outprefix>-class.npy`` (n, t) probabilities, ``-regr.npy`` (n, u) values, or
    ``-hidden.npy``. Where `y_class` or `y_regr` name cells, sparse matrices of those cells instead: ``-class.npz``,
    ``-regr.npz``.
    """
    check_options(options)
    if options.batch_size < 1:
        message = f"--batch_size is {options.batch_size}; it must be at least 1."
        raise ConfigError(message)
    conf, results = _read_conf(options.conf)
    tasks, speaker = _tasks(conf, options.weights_class)
    device, notes = pick_device(options.dev)
    network = first_network(int(conf["input_size"]), tasks, network_shape(conf), 0)
    fill_network(network, tasks, _read_model(options.model), str(options.model))
    x = read_features(options.x, conf.get("fold_inputs"), conf.get("input_transform") or "none")
    asked = Asked(network.to(device), x, options.batch_size, bool(options.dropout))
    statistics = _statistics(results, options, tasks.values)
    outputs = {
        "class": (tasks.classes, speaker, options.y_class, options.tasks_class),
        "regr": (tasks.values, tasks.first_value + np.arange(tasks.values), options.y_regr, options.tasks_regr),
    }
    keep = _kept_rows(options, x.shape[0])
    cells = options.y_class is not None or options.y_regr is not None
    files = {}
    with seeded(derive_seed(options.seed, "sparsechem", "dropout"), device):
        if options.trunk_embeddings:
            shape = x.shape[0], int(network.shape.hidden[-1])
            files["hidden"] = _write_rows(options, "hidden", shape, _told(predict_hidden(asked), x.shape[0], progress))
        for kind, (count, output, pattern, some) in outputs.items():
            if options.trunk_embeddings or not count or (cells and pattern is None):
                continue
            own = statistics if kind == "regr" else None
            if pattern is not None:
                files[kind] = _write_cells(
                    options, kind, asked, _pattern(pattern, (x.shape[0], count), keep), output, own
                )
                continue
            chosen = _chosen(some, count, f"--tasks_{kind}")
            found = _told(predict_outputs(asked, output[chosen]), x.shape[0], progress)
            finished = ((part, _finish(values, chosen, kind, own)) for part, values in found)
            files[kind] = _write_rows(options, kind, (x.shape[0], len(chosen)), finished)
    facts = {"rows": x.shape[0], "features": x.shape[1], "device": str(device)}
    return Outcome(facts, notes=notes, files={what: str(path) for what, path in files.items()})


def _read_conf(path: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    if path.suffix == ".npy":
        raise DataError(_PICKLED_CONF.format(path=path, stem=path.with_suffix("")))
    found = read_json(path)
    if not isinstance(found, dict) or not {"hidden_sizes", "input_size"} <= set(found.get("conf", ())):
        message = f"{path} is no result of SparseChem's train: it has no conf with hidden_sizes and input_size."
        raise DataError(message)
    conf = dict(found["conf"])
    if "class_output_size" not in conf:  # versions before 0.8 know classes only
        conf |= {"class_output_size": conf["output_size"], "regr_output_size": 0}
    return conf, found


def _read_model(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        message = f"{path} does not exist."
        raise ModelError(message)
    if path.suffix != ".safetensors":
        raise ModelError(_PICKLED_MODEL.format(path=path, stem=path.with_suffix("")))
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        message = f"{path} is not a readable model: {error}. Write it again."
        raise ModelError(message) from error


def _tasks(conf: Mapping[str, Any], weights: Path | None) -> tuple[SparseChemTasks, NDArray[np.int64]]:
    """Return the outputs of a model, and which of them speaks for each class."""
    classes, shared = int(conf["class_output_size"]), int(conf.get("cat_id_size") or 0)
    tasks = SparseChemTasks(classes, int(conf["regr_output_size"]), np.arange(shared))
    if weights is None:
        return tasks, tasks.shown(catalogue=False)
    names = read_task_weights(weights, classes, "the model").catalogue
    named = np.zeros(0, np.int64) if names is None else np.flatnonzero(names != "")
    if shared and len(named) != shared:
        message = (
            f"{weights} gives {len(named)} classes a catalog_id, the model was trained with {shared}. "
            "Give the same file as in training."
        )
        raise DataError(message)
    tasks = SparseChemTasks(classes, tasks.values, named[:shared])
    return tasks, tasks.shown()


def _statistics(results: Mapping[str, Any], options: SparseChemPredict, values: int) -> Statistics | None:
    if not options.inverse_normalization:
        return None
    if "stats" not in results:
        message = (
            f"{options.conf} has no stats: the model was trained without --normalize_regression 1. "
            "Leave out --inverse_normalization."
        )
        raise ConfigError(message)
    mean, variance = (np.asarray(results["stats"][name], np.float64).reshape(-1) for name in ("mean", "var"))
    if not len(mean) == len(variance) == values:
        message = f"{options.conf}: stats are of {len(mean)} tasks, the model has {values} regression tasks."
        raise DataError(message)
    return Statistics(mean, variance)


def _kept_rows(options: SparseChemPredict, rows: int) -> NDArray[np.bool_]:
    asked = options.folding is not None, bool(options.predict_fold)
    if not any(asked):
        return np.ones(rows, bool)
    if not all(asked) or (options.y_class is None and options.y_regr is None):
        message = "--folding and --predict_fold go together, with --y_class or --y_regr, whose cells they choose among."
        raise ConfigError(message)
    return choose_folds(read_folding(Path(str(options.folding)), rows), options.predict_fold, "--predict_fold")


def _pattern(path: Path, shape: tuple[int, int], keep: NDArray[np.bool_]) -> csr_array:
    found = read_matrix(path)
    if found.shape != shape:
        message = f"{path} is {found.shape}; rows of X and tasks of the model are {shape}."
        raise DataError(message)
    cells = np.repeat(keep, np.diff(found.indptr))
    counts = np.where(keep, np.diff(found.indptr), 0)
    return csr_array((found.data[cells], found.indices[cells], np.concatenate([[0], np.cumsum(counts)])), shape=shape)


def _chosen(some: tuple[int, ...] | None, count: int, option: str) -> NDArray[np.int64]:
    if some is None:
        return np.arange(count)
    wrong = [task for task in some if not 0 <= task < count]
    if wrong:
        message = f"{option} {wrong[0]}: the model has {count} such tasks, 0 to {count - 1}."
        raise ConfigError(message)
    return np.asarray(some, np.int64)


def _finish(
    outputs: NDArray[np.float32], task: NDArray[np.int64], kind: str, statistics: Statistics | None
) -> NDArray[np.float32]:
    if kind == "class":
        return np.asarray(expit(outputs), np.float32)
    if statistics is None:
        return outputs
    return np.asarray(outputs * statistics.scale[task] + statistics.mean[task], np.float32)


def _write_cells(
    options: SparseChemPredict,
    kind: str,
    asked: Asked,
    pattern: csr_array,
    output: NDArray[np.int64],
    statistics: Statistics | None,
) -> Path:
    found = predict_cells(asked, pattern.indptr, output[pattern.indices])
    values = _finish(found, pattern.indices, kind, statistics)
    path = Path(f"{options.outprefix}-{kind}.npz")
    write_matrix(path, csr_array((values, pattern.indices, pattern.indptr), shape=pattern.shape))
    return path


def _write_rows(
    options: SparseChemPredict, kind: str, shape: tuple[int, int], found: Iterator[tuple[slice, NDArray[np.float32]]]
) -> Path:
    """Write rows as they come, so that no more than a batch of them is in memory."""
    path = Path(f"{options.outprefix}-{kind}.npy")
    with atomic_path(path) as draft:
        out = np.lib.format.open_memmap(draft, mode="w+", dtype=np.float32, shape=shape)
        for part, values in found:
            out[part] = values
        out.flush()
    return path


def _told(
    found: Iterator[tuple[slice, NDArray[np.float32]]], rows: int, progress: Progress
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    for part, values in found:
        yield part, values
        progress("Predicting rows", part.stop, rows)
