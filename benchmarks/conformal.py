"""Conformal efficiency and validity on fsmol_chembl27, the applicability domain as MELLODDY measured it.

Train on scaffold folds 2, 3 and 4; calibrate each task's two classes on fold 0; judge fold 1. Tasks with at
least 10 negatives and 10 positives in the calibration fold. Efficiency: share of compounds whose set at error level
0.1, 0.2 or 0.3 is one label. Validity of a class: share of its compounds whose set holds it. Figures are means
over tasks, ``_cells`` those over all measured cells, ``_panel`` means over the panel (376 assays of the same 154
compounds: one draw of 30 compounds a fold, seen 233 times among the tasks), ``_rest`` without it. Bars: the
specification's efficiencies, on about 505 tasks of folds that cannot be rebuilt; validity within 0.02 of 1 - error.

P-values are the product's, which interpolate between calibration scores; ``plain_`` count the compound itself in full
(crepes without smoothing), ``smoothed_`` a random share of it. ``network``: multitask, labels only; ``pooled``:
pooled_gp, values and labels; ``both``: gp_network, that and three networks; ``own``: pooled_gp as `screenwise domain`
uses it, trained on folds 0, 2, 3 and 4 and calibrated with its own training cells, each predicted without its
scaffold; the same tasks. ``own_values``: its intervals likewise, ``width`` over that of knowing the task's calibration
values only, means over tasks with 10 exact values; ``bounds``: share of bounds that a value inside the interval would
satisfy. Peer: crepes (class-conditional, a bin for each task and class) on the same scores; its p-values equal our
plain ones. CPU seconds of one thread. ``--cache FOLDER`` keeps structures and folds for the next call.
"""

import argparse
import json
import os
import sys
import time
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from pathlib import Path  # noqa: E402 - after the number of threads

import fsmol_data  # noqa: E402
import numpy as np  # noqa: E402

from screenwise.evaluate.conformal import (  # noqa: E402
    calibration_cells,
    class_p_values,
    conformal_table,
    interval_table,
    label_sets,
    learn_widths,
)
from screenwise.evaluate.metrics import roc_auc  # noqa: E402
from screenwise.models import make_model  # noqa: E402

ERRORS = {0.1: 0.394, 0.2: 0.626, 0.3: 0.782}
"""Error level -> efficiency of the specification."""
LEAST, CALIBRATION, JUDGED = 10, 0, 1
"""Labels of each class that a task must have in the calibration fold; that fold, and the one that is judged."""
DECIMALS = 4
NOT_HERE = 3


class Labels:
    """Measured labels and what a model says of them."""

    def __init__(self, task, label, score, tasks):
        self.task, self.label, self.score, self.tasks = task, label, np.asarray(score, np.float64), tasks

    def numbers(self):
        """Return (t, 2) labels of each class."""
        return np.stack([np.bincount(self.task[self.label == one], minlength=self.tasks) for one in (0, 1)], axis=1)

    def cells(self):
        """Return them as calibration."""
        return calibration_cells(self.task, self.label, self.score)


def of_fold(model, data, fold, first):
    """Return what a model says of the labels of one fold; `first` = its task that is the first label."""
    part = data.labels().take(data.rows(fold))
    cells = part.targets.cells()
    score = model.predict_cells(part.conditions, cells.row, cells.task + first)[0]
    return Labels(cells.task, cells.value, score, data.assays)


def of_training(model, data, first):
    """Return what a model says of its own training labels, without having learned from them."""
    cells = model.calibration_cells()
    mine = cells.task >= first
    return Labels(cells.task[mine] - first, cells.value[mine], cells.mean[mine], data.assays)


def judge(seen, new, panel, used):
    """Return figures of one model, calibrated on `seen`, judged on `new`.

    `panel`, `used`: (t,) tasks of the panel, and those that are judged.
    """
    tested = (new.numbers() >= LEAST // 2).all(axis=1)
    figures = {"auc": np.nanmean(roc_auc(new.label, new.score, new.task, new.tasks)[tested])}
    chance = np.random.default_rng(0).random(len(new.task))
    for kind, tau in (("", None), ("plain_", 1.0), ("smoothed_", chance)):
        p = class_p_values(seen.cells(), new.score, new.task, tau=tau)
        for error in ERRORS:
            table = conformal_table(label_sets(p, error), new.task, new.tasks, new.label)
            for part, tasks in (("", used), ("_rest", used & ~panel), ("_panel", used & panel)):
                if part == "" or kind == "":
                    figures |= averages(table[tasks], kind, error, part)
    return figures


def judge_values(model, data):
    """Return figures of the intervals of a pooled process's values, calibrated by its own training cells."""
    known, part = model.calibration_cells(), data.values().take(data.rows(JUDGED))
    known, cells = known.take(known.task < data.assays), part.targets.cells()
    mean, std = model.predict_cells(part.conditions, cells.row, cells.task)
    figures = {}
    for error in ERRORS:
        widths = learn_widths(known, data.assays, error)
        half = widths.factor[cells.task] * std
        table = interval_table((mean - half, mean + half), (cells.task, cells.value, cells.relation), data.assays)
        # of a task whose calibration values are all equal no width can be told
        some = (table["exact"] >= LEAST) & np.isfinite(widths.factor) & (widths.blank > 0)
        figures[f"values_width_{error}"] = (table["width"] / widths.blank)[some].mean()
        figures[f"values_validity_{error}"] = table["validity"][some].mean()
        figures[f"values_bounds_{error}"] = table["validity_bounds"][some].mean()
    return figures


def averages(table, kind, error, part):
    """Return efficiency and validities: means over tasks and, of all tasks, over cells."""
    figures = {}
    for name, of in (("efficiency", "cells"), ("validity_0", "negatives"), ("validity_1", "positives")):
        bar = ERRORS[error] if name == "efficiency" else None
        means = {part: table[name].mean()}
        if part == "":
            means["_cells"] = (table[name].fillna(0) * table[of]).sum() / table[of].sum()
        for where, mean in means.items():
            figures[f"{kind}{name}_{error}{where}"] = mean if bar is None else {"value": mean, "bar": bar}
    return figures


def against_crepes(seen, new):
    """Return CPU seconds of both, and the share of p-values and of sets that are equal."""
    from crepes import ConformalClassifier  # noqa: PLC0415 - a peer need not be here

    known = seen.cells()
    class_p_values(known, new.score[:1], new.task[:1])  # compiles
    start = time.process_time()
    ours = class_p_values(known, new.score, new.task, least=1, tau=1.0)
    seconds = time.process_time() - start
    start = time.process_time()
    strange = np.where(seen.label == 1, -seen.score, seen.score)
    home = seen.task * 2 + seen.label.astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bins without calibration
        other = ConformalClassifier().fit(strange, bins=home)
        there = [np.isin(new.task * 2 + one, home) for one in (0, 1)]
        theirs = np.full((len(new.task), 2), np.nan)
        for one, sign in ((0, 1.0), (1, -1.0)):
            asked = there[one]
            p = other.predict_p((sign * new.score[asked])[:, None], bins=new.task[asked] * 2 + one, smoothing=False)
            theirs[asked, one] = p[:, 0]
    peer = time.process_time() - start
    both = np.isfinite(theirs)
    same = np.mean([(label_sets(ours, error) == label_sets(theirs, error))[both].mean() for error in ERRORS])
    return {
        "p_values_cpu_s": {"value": seconds, "bar": peer},
        "crepes_cpu_s": peer,
        "times_crepes": peer / seconds,
        "p_values_equal_crepes": float(np.isclose(ours[both], theirs[both], rtol=1e-12).mean()),
        "sets_equal_crepes": same,
    }


def main():
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    if not fsmol_data.FOLDER.exists():
        sys.stderr.write(f"{fsmol_data.FOLDER} is not here; set SCREENWISE_DATA.\n")
        return NOT_HERE
    wall, start = time.time(), time.process_time()
    data = fsmol_data.load(options.cache)
    panel, figures = data.clusters() == 0, {}
    for name, (model, screen, first, learned) in {
        "network": ("multitask", data.labels(), 0, (2, 3, 4)),
        "pooled": ("pooled_gp", data.screen, data.assays, (2, 3, 4)),
        "own": ("pooled_gp", data.screen, data.assays, (0, 2, 3, 4)),
        "both": ("gp_network", data.screen, data.assays, (2, 3, 4)),
    }.items():
        begin = time.process_time()
        fitted = make_model(model).fit(screen.take(data.rows(*learned)), seed=0)
        figures[f"{name}_fit_cpu_s"] = time.process_time() - begin
        seen = of_training(fitted, data, first) if name == "own" else of_fold(fitted, data, CALIBRATION, first)
        new = of_fold(fitted, data, JUDGED, first)
        if name == "network":
            used = (seen.numbers() >= LEAST).all(axis=1)
            figures |= {"tasks": int(used.sum()), "tasks_rest": int((used & ~panel).sum())} | against_crepes(seen, new)
        found = judge(seen, new, panel, used) | (judge_values(fitted, data) if name == "own" else {})
        figures |= {f"{name}_{figure}": value for figure, value in found.items()}
    figures = {name: rounded(value) for name, value in figures.items()}
    result = {
        "figures": figures,
        "units": {name: "s" for name in figures if name.endswith("_s")},
        "peer": "crepes, class-conditional with a bin for each task and class; efficiencies of the specification",
        "data": "fsmol_chembl27, 995 assays, scaffold folds: 2, 3, 4 teach, 0 calibrates (own: all four), 1 is judged",
        "seeds": 1,
        "cpu_seconds": round(time.process_time() - start, 1),
        "wall_seconds": round(time.time() - wall, 1),
    }
    sys.stdout.write(json.dumps(result if options.json else figures, indent=None if options.json else 1) + "\n")
    return 0


def rounded(value):
    """Return a number with few digits, also inside a figure with a bar."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return value if isinstance(value, int) else round(float(value), DECIMALS)


if __name__ == "__main__":
    sys.exit(main())
