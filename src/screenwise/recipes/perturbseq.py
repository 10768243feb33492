"""Gene pairs, from cells or profiles to a fitted model, and to profiles nobody measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.config import to_mapping
from screenwise.data.labels import condition_columns, genes_of, parse_labels
from screenwise.data.profile_screen import Profiles
from screenwise.data.table import read_table, write_table
from screenwise.errors import ColumnError, DataError, ModelError, ScreenwiseError
from screenwise.models import load_model, make_model, model_class, save_model
from screenwise.prediction import Prediction
from screenwise.recipes.learn import environment, fingerprint, is_finished
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.pair_settings import PairFitSettings, ProfileReading
from screenwise.run import Run, read_json, write_json
from screenwise.screen import Screen

PAIR_MODELS = ("salt", "scaled_salt", "peper_gp", "peper")
"""Models of gene pairs, the simplest first."""
ASKED = ("condition", "pair", "perturbation", "label")
"""Columns of a table of questions that name conditions."""
_FORMATS = (".h5ad", ".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz")


def read_data(data: str, reading: ProfileReading, *, progress: Progress = silent) -> Profiles:
    """Read cells (h5ad) or a table of profiles.

    Raises
    ------
    DataError
        The file cannot be read, or holds no control.
    """
    path = Path(data)
    if not path.exists():
        message = f"{path} does not exist; name an h5ad of cells or a table of profiles (CSV, TSV, Parquet)."
        raise DataError(message)
    if path.suffix == ".h5ad":
        from screenwise.data.cells import CellColumns, read_cells  # noqa: PLC0415

        columns = CellColumns(
            condition=reading.condition_column,
            control=reading.control,
            batch=reading.batch_column,
            layer=reading.layer,
            separator=reading.separator,
            counts=reading.counts,
            covariate=reading.covariate,
        )
        return read_cells(path, columns, progress=progress)
    from screenwise.data.profile_table import read_profiles  # noqa: PLC0415

    cells_only = [
        f"--{name}"
        for name, value in (("layer", reading.layer), ("covariate", reading.covariate), ("counts", reading.counts))
        if value is not None
    ]
    if cells_only:
        message = f"{', '.join(cells_only)} is for cells (h5ad); {path} is a table of profiles. Leave it out."
        raise DataError(message)
    return read_profiles(
        path, reading.condition_column, reading.control, reading.batch_column, separator=reading.separator
    )


def fit(
    data: str,
    out: Path,
    settings: PairFitSettings = PairFitSettings(),
    reading: ProfileReading = ProfileReading(),
    *,
    progress: Progress = silent,
) -> Outcome:
    """Fit a model of gene pairs to cells or profiles and save it as a run.

    With ``model="auto"`` the model is chosen by its leave-one-out error on the measured pairs.
    """
    check_models([settings.model], auto=True)
    profiles = read_data(data, reading, progress=progress)
    screen = profiles.screen
    need_singles(profiles, data)
    descriptors = read_known(settings.descriptors)
    described = {
        "settings": to_mapping(settings),
        "reading": to_mapping(reading),
        "data": fingerprint(screen),
    }
    if is_finished(out, described):
        before = read_json(out / "metrics.json")
        return Outcome({"run": str(out)}, before["held_out"], ["This run is already fitted with these settings."])
    run = Run(out, progress)
    write_json(out / "config.json", described | {"source": data, "environment": environment()})
    model, name, scores, reason = fit_model(settings, screen, descriptors, run)
    screen.save(out / "screen")
    if len(profiles.rejected):
        write_table(profiles.rejected, out / "rejected.csv")
    save_model(model, name, run.model_folder)
    write_json(out / "metrics.json", {"held_out": scores, "reason": reason, "model": name, "floor": profiles.floor})
    write_json(out / "done.json", {"fitted": True})
    facts = screen_facts(profiles) | {"model": name, "why": reason}
    files = {"run": str(out)} | ({"rejected": str(out / "rejected.csv")} if len(profiles.rejected) else {})
    return Outcome(facts, scores, [*profiles.notes, *prior_only(profiles)], files)


def fit_model(
    settings: PairFitSettings, screen: Screen, descriptors: Any = None, run: Run | None = None
) -> tuple[Any, str, list[dict[str, Any]], str]:
    """Return the fitted model, its name, the held-out scores of what was tried, and why it was chosen."""
    if settings.model == "auto":
        from screenwise.models.pairwise_choice import choose_pairwise  # noqa: PLC0415

        choice = choose_pairwise(screen, descriptors=descriptors, run=run, seed=settings.seed)
        if not choice.scores[0]["doubles"]:
            return choice.model, choice.name, [], "no double with both singles was measured: nothing to choose by"
        return choice.model, choice.name, choice.scores, choice.reason
    model = pair_model(settings.model, descriptors)
    model.fit(screen, run=run, seed=settings.seed)
    return model, settings.model, [], "asked for"


def predict(run: Path, ask: Path, out: Path, *, progress: Progress = silent) -> Outcome:
    """Predict the profiles of a table's conditions (`A+B` in any order, `A+B+C`), in its order.

    `out` is an h5ad (layers std, lower, upper and delta; obs in_domain, novelty and note) or a table.
    """
    if not str(out).endswith(_FORMATS):
        message = f"{out}: write predictions as {', '.join(_FORMATS)}."
        raise DataError(message)
    model, screen = open_pair_run(run)
    conditions, problem = read_questions(ask, run, screen)
    progress("Predicting profiles", 0, len(conditions))
    answer = model.predict_profile(conditions)
    prediction, profile_std, novelty = _without(answer, problem)
    progress("Predicting profiles", len(conditions), len(conditions))
    from screenwise.data import predicted_profiles as files  # noqa: PLC0415

    metrics = read_json(run / "metrics.json")
    told = {"run": str(run), "model": metrics}
    output = files.ProfileOutput(novelty, profile_std, told, floor=metrics.get("floor"))
    labelled = conditions.assign(condition=conditions["asked"])
    if out.suffix == ".h5ad":
        control = control_level(screen)
        files.write_profiles_h5ad(out, labelled, prediction, screen.task_names, control, output=output)
    else:
        files.write_profiles_table(out, labelled, prediction, screen.task_names, output=output)
    inside = prediction.in_domain if prediction.in_domain is not None else np.zeros(len(conditions), bool)
    facts = {
        "conditions": len(conditions),
        "features": len(screen.tasks),
        "in domain": int(inside.sum()),
        "with unseen genes": int((novelty > 0).sum()),
        "without prediction": int((problem != "").sum()),
    }
    return Outcome(facts, _first_answers(labelled, profile_std, prediction), files={"predictions": str(out)})


def read_questions(path: Path, run: Path, screen: Screen) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the asked conditions with their genes, and what is wrong with each; "" where nothing.

    The label as it was asked stands in `asked`.
    """
    table = read_table(path)
    reading = read_json(run / "config.json")["reading"]
    column = next((name for name in (reading["condition_column"], *ASKED) if name in table.columns), None)
    pair = [name for name in table.columns if str(name).startswith("gene_") and len(str(name)) == len("gene_a")]
    if column is None and len(pair) > 1:
        labels = table[sorted(pair)].astype("string").fillna("").agg("+".join, axis=1).str.strip("+")
    elif column is None:
        message = f"{path} has no column `condition` (found {list(map(str, table.columns))[:12]}). Name it condition."
        raise ColumnError(message)
    else:
        labels = table[column].astype("string").fillna("").str.strip()
    if len(labels) == 0:
        message = f"{path} asks for nothing: it has a header and no row."
        raise DataError(message)
    known = {gene for genes in genes_of(screen.conditions) for gene in genes}
    parsed = parse_labels(labels.tolist(), control=reading["control"], separator=reading.get("separator"), known=known)
    reasons = parsed.rejected.set_index("label")["reason"] if len(parsed.rejected) else pd.Series(dtype=str)
    problem = np.array(
        [
            "" if genes is not None else str(reasons.get(label, "the label cannot be read"))
            for label, genes in zip(labels, parsed.genes, strict=True)
        ],
        dtype=object,
    )
    conditions = condition_columns([genes or () for genes in parsed.genes])
    return conditions.assign(asked=labels.to_numpy(object)), problem


def open_pair_run(run: Path) -> tuple[Any, Screen]:
    """Return the fitted model of a run of gene pairs, and the profile screen it learnt from."""
    if not (run / "done.json").exists() or not (run / "screen").is_dir():
        message = f"{run} is not a finished fit of gene pairs; run `screenwise perturbseq fit DATA --out {run}` first."
        raise ModelError(message)
    return load_model(Run(run).model_folder), Screen.load(run / "screen")


def pair_model(name: str, descriptors: Any = None) -> Any:
    """Return an unfitted model of gene pairs."""
    return make_model(name) if descriptors is None else model_class(name)(descriptors=descriptors)


def read_known(path: Path | None) -> Any:
    """Return what a table says of genes; None without a table."""
    if path is None:
        return None
    from screenwise.models.pairwise_descriptors import read_descriptors  # noqa: PLC0415

    if not path.is_file():
        message = f"--descriptors {path} {'is a directory' if path.is_dir() else 'does not exist'}; name a table."
        raise DataError(message)
    try:
        return read_descriptors(path)
    except ScreenwiseError as error:
        text = str(error)
        raise type(error)(text if str(path) in text else f"{path}: {text}") from error


def need_singles(profiles: Profiles, data: str) -> None:
    """Raise `DataError` where no gene was perturbed alone."""
    if not (profiles.size == 1).any():
        message = (
            f"{data} has no single perturbation (A+ctrl) beside {int((profiles.size > 1).sum())} combinations; these "
            "are predicted from their singles. Add the singles."
        )
        raise DataError(message)


def check_folder(out: Path) -> None:
    """Raise `DataError` where results cannot go: a file, or the folder of a run."""
    if out.is_file():
        message = f"{out} is a file; --out wants a folder."
        raise DataError(message)
    if (out / "config.json").exists():
        message = f"{out} holds a run; choose another folder."
        raise DataError(message)


def prior_only(profiles: Profiles) -> list[str]:
    """Return the warning of a screen whose combinations teach nothing; none where some do."""
    singles = {one[0] for one in profiles.genes if len(one) == 1}
    if any(len(one) > 1 and singles.issuperset(one) for one in profiles.genes):
        return []
    return [
        "No combination with all its singles was measured, so nothing here says how effects combine: predictions use a "
        "scale learnt on published screens, are noted 'prior only' and have wide intervals. Measure a dozen doubles."
    ]


def check_models(names: list[str], *, auto: bool = False) -> None:
    """Raise `ModelError` where a name is no model of gene pairs."""
    allowed = (*(("auto",) if auto else ()), *PAIR_MODELS)
    unknown = [name for name in names if name not in allowed]
    if unknown:
        message = f"There is no model of gene pairs called {unknown[0]!r}; there are {', '.join(allowed)}."
        raise ModelError(message)


def control_level(screen: Screen) -> np.ndarray:
    """Return (p,) the level of the control."""
    row = next(place for place, genes in enumerate(genes_of(screen.conditions)) if not genes)
    return np.asarray(screen.targets.dense()[row])


def screen_facts(profiles: Profiles) -> dict[str, Any]:
    """Return what was read, in numbers."""
    size, cells = profiles.size, profiles.screen.conditions["n_cells"].to_numpy(float)
    facts: dict[str, Any] = {
        "singles": int((size == 1).sum()),
        "doubles": int((size == 2).sum()),  # noqa: PLR2004
        "features": len(profiles.screen.tasks),
    }
    if (size > 2).any():  # noqa: PLR2004
        facts["larger combinations"] = int((size > 2).sum())  # noqa: PLR2004
    if np.isfinite(cells).any():
        facts["cells"] = int(np.nansum(cells))
    if len(profiles.rejected):
        facts["labels left out"] = len(profiles.rejected)
    return facts


def _without(answer: Any, problem: np.ndarray) -> tuple[Prediction, np.ndarray, np.ndarray]:
    """Empty the rows whose label could not be read, and say why."""
    bad = problem != ""
    given, profile_std, novelty = answer.prediction, answer.profile_std.astype(np.float64), answer.novelty.copy()
    mean, std = given.mean.copy(), None if given.std is None else given.std.copy()
    note = np.array([""] * len(problem), object) if given.note is None else given.note.astype(object)
    mean[bad], profile_std[bad], novelty[bad] = np.nan, np.nan, 0
    if std is not None:
        std[bad] = np.nan
    inside = None if given.in_domain is None else given.in_domain & ~bad
    return Prediction(mean, std, in_domain=inside, note=np.where(bad, problem, note)), profile_std, novelty


def _first_answers(
    conditions: pd.DataFrame, profile_std: np.ndarray, prediction: Prediction, most: int = 8
) -> list[dict[str, Any]]:
    inside = prediction.in_domain if prediction.in_domain is not None else [None] * len(conditions)
    note = prediction.note if prediction.note is not None else [""] * len(conditions)
    rows = zip(conditions["condition"], profile_std, inside, note, strict=True)
    return [
        {"condition": str(name), "profile_std": float(std), "in_domain": bool(good), "note": str(text)}
        for _, (name, std, good, text) in zip(range(most), rows, strict=False)
    ]
