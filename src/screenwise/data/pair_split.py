"""Held-out plans over the conditions of a profile screen: pairs, both orders at once, genes, clusters."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.data.labels import canonical, genes_of, listing
from screenwise.errors import ConfigError, DataError
from screenwise.rng import stream
from screenwise.run import read_json, write_json
from screenwise.screen import Screen

FORMAT = "screenwise pair split 1"
SEEN_GENES = 0.75
"""Share of genes that are seen in training in seen0, seen1, seen2 (GEARS's default)."""
SEEN_PAIRS = 0.75
"""Share of pairs of two seen genes that stay in training in these splits (GEARS's default)."""
UNSEEN_GENES = 0.25
"""Share of the genes of combinations that are withheld in unseen1 and unseen2."""
CLUSTERS = 5
PAIR = 2


@dataclass(frozen=True)
class PairFold:
    """One part of a held-out plan: masks over the conditions; use ``screen.take(fold.train)``."""

    train: NDArray[np.bool_]
    """(n,)"""
    test: NDArray[np.bool_]
    """(n,), never true where `train` is; conditions may be in neither."""
    name: str
    seed: int


@dataclass(frozen=True)
class _Design:
    """What was perturbed: one group per distinct set of genes, so that both orders of a pair are one."""

    genes: tuple[tuple[str, ...], ...]
    """(g,) sorted genes of each group, groups ascending; () = the control."""
    group: NDArray[np.int64]
    """(n,) group of each condition."""
    size: NDArray[np.int64]
    """(g,) number of genes."""
    names: tuple[str, ...]
    """(k,) genes of combinations, ascending."""
    member: NDArray[np.bool_]
    """(g, k) whether the group perturbs the gene."""

    def fold(self, train: NDArray[np.bool_], test: NDArray[np.bool_], plan: "_Plan") -> PairFold:
        """Return the fold of (g,) masks over groups."""
        return PairFold(train[self.group], test[self.group], plan.name, plan.seed)


@dataclass(frozen=True)
class _Plan:
    name: str
    seed: int
    folds: int
    singles: bool


def pair_folds(
    name: str, screen: Screen, *, seed: int = 0, folds: int = CLUSTERS, test_singles: bool = False
) -> list[PairFold]:
    """Return the folds of a named split; the control is always in training.

    ==================  ======================================================================== =====
    name                what is tested                                                            folds
    ==================  ======================================================================== =====
    id-25 id-50 id-75   25, 50, 75 % of combinations; all singles in training                     1
    half                half of the combinations, rounded down; all singles in training           1
    seen0 seen1 seen2   combinations with 0, 1, 2 genes seen in training; a quarter of the genes
                        is unseen, singles too; a quarter of the seen-seen pairs is unseen        1
    unseen1 unseen2     combinations with 1, or 2 and more, of a quarter of the genes withheld,
                        their singles too; every other combination is in training                 1
    cluster             each of `folds` clusters (k-means) of combinations by their effects       `folds`
    kfold               combinations with a gene of one part; genes are dealt to `folds` parts,
                        singles of that part are withheld                                         `folds`
    ==================  ======================================================================== =====

    The draw of id-25, id-50 and id-75 is ``numpy.random.default_rng(seed).permutation`` over the
    lexicographically sorted list of combinations; the first ``round(share * number)`` are tested. The
    draw of unseen1 and unseen2 is ``default_rng(seed).choice`` of the sorted genes of combinations,
    without replacement. seen0, seen1, seen2 follow the rule of GEARS with draws of our own.

    Parameters
    ----------
    name
        One of the names above.
    screen
        Conditions with columns gene_a, gene_b, ...; `cluster` also reads the (n, p) targets.
    seed
        Seed of splits that draw; `cluster` does not.
    folds
        Parts of cluster and kfold.
    test_singles
        Whether withheld singles are tested too, where a split withholds any; else they are in neither part.

    Returns
    -------
    list of PairFold
        A set of genes is never on both sides, whatever the order of its columns.

    Raises
    ------
    ConfigError
        If there is no such split.
    DataError
        If a fold would have nothing to test.

    References
    ----------
    Gaudelet et al. 2024, arXiv 2404.16907 (in-distribution splits); Ahlmann-Eltze, Huber and Anders,
    Nature Methods 2025 (half); Roohani, Huang and Leskovec, Nature Biotechnology 2024 (seen0, seen1, seen2).

    Examples
    --------
    >>> import pandas as pd
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene_a": ["", "A", "B", "C", "A", "C", "B"], "gene_b": [""] * 4 + ["B", "A", "C"]})
    >>> fold = pair_folds("id-25", make_screen(genes, np.zeros((7, 1)), ["x"]), seed=1)[0]
    >>> int(fold.test.sum()), bool((fold.train | fold.test).all())
    (1, True)
    """
    if name not in PAIR_SPLITS:
        message = f"There is no split {name!r} of gene pairs; the splits are {', '.join(PAIR_SPLITS)}."
        raise ConfigError(message)
    if folds < 2:  # noqa: PLR2004
        message = f"A split has at least 2 folds, not {folds}."
        raise ConfigError(message)
    design = _design(screen)
    if not (design.size >= PAIR).any():
        message = "The screen has no combination of genes; there is nothing to hold out. Give doubles."
        raise DataError(message)
    plan = _Plan(name, seed, folds, test_singles)
    found = PAIR_SPLITS[name](design, plan, screen)
    empty = [fold for fold in found if not fold.test.any()]
    if empty:
        message = (
            f"The split {name!r} (seed {seed}) has {len(empty)} of {len(found)} folds with nothing to test among "
            f"{int((design.size >= PAIR).sum())} combinations of {len(design.names)} genes. Use another split, seed "
            "or fewer folds."
        )
        raise DataError(message)
    return found


def unseen_count(screen: Screen, fold: PairFold) -> NDArray[np.int64]:
    """Return (n,) how many genes of each condition stand in no training condition: its novelty, 0, 1, 2, ...

    Examples
    --------
    >>> import pandas as pd
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene_a": ["", "A", "A"], "gene_b": ["", "", "B"]})
    >>> fold = PairFold(np.array([True, True, False]), np.array([False, False, True]), "own", 0)
    >>> unseen_count(make_screen(genes, np.zeros((3, 1)), ["x"]), fold).tolist()
    [0, 0, 1]
    """
    genes = genes_of(screen.conditions)
    seen = {gene for row in np.flatnonzero(fold.train).tolist() for gene in genes[row]}
    return np.array([sum(gene not in seen for gene in one) for one in genes], np.int64)


def write_pair_folds(path: Path, folds: list[PairFold], screen: Screen) -> None:
    """Write folds as JSON, conditions by their canonical labels, atomically.

    Raises
    ------
    DataError
        If a set of genes is on both sides, or in one part only with some of its rows.
    """
    design = _design(screen)
    labels = np.array([canonical(genes) for genes in design.genes], dtype=object)
    parts = []
    for fold in folds:
        sides = {}
        for side in ("train", "test"):
            mask = np.asarray(getattr(fold, side), bool)
            some, every = np.zeros(len(labels), bool), np.ones(len(labels), bool)
            np.logical_or.at(some, design.group, mask)
            np.logical_and.at(every, design.group, mask)
            if (some & ~every).any():
                message = (
                    f"Rows of {labels[some & ~every][0]} are not all in the {side} part of {fold.name!r}; a set of "
                    "genes must be on one side as a whole."
                )
                raise DataError(message)
            sides[side] = labels[some].tolist()
        parts.append({"name": fold.name, "seed": int(fold.seed), **sides})
    write_json(Path(path), {"format": FORMAT, "folds": parts})


def read_pair_folds(path: Path, screen: Screen) -> list[PairFold]:
    """Read what `write_pair_folds` wrote, as masks over the conditions of a screen.

    Labels may name genes in any order. A condition of the screen that the file does not name is in neither part.

    Raises
    ------
    DataError
        If the file has another form, names a condition twice or on both sides (also in another order of its
        genes), or names one that the screen does not have.
    """
    content = read_json(Path(path))
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("folds"), list):
        message = f"{path} is no split of gene pairs: it must say format {FORMAT!r} and hold a list of folds."
        raise DataError(message)
    design = _design(screen)
    place = {canonical(genes): group for group, genes in enumerate(design.genes)}
    return [_read_fold(path, number, part, design, place) for number, part in enumerate(content["folds"])]


def _read_fold(path: Path, number: int, part: Any, design: _Design, place: dict[str, int]) -> PairFold:
    where = f"{path}, fold {number + 1}"
    kinds = {"name": str, "seed": int, "train": list, "test": list}
    if not isinstance(part, dict) or any(not isinstance(part.get(key), kind) for key, kind in kinds.items()):
        message = f"{where} must have name (text), seed (whole number), train and test (lists of conditions)."
        raise DataError(message)
    masks, owner = {}, dict[str, str]()
    for side in ("train", "test"):
        labels = [canonical(_names(str(label))) for label in part[side]]
        for label in labels:
            if label in owner:
                both = "twice" if owner[label] == side else "in training and in test"
                message = f"{where} has {label} {both}; a set of genes, in any order, stands on one side once."
                raise DataError(message)
            owner[label] = side
        unknown = [label for label in labels if label not in place]
        if unknown:
            message = listing(unknown, f"{where} names conditions that the screen does not have") + " Is it another's?"
            raise DataError(message)
        masks[side] = np.zeros(len(design.genes), bool)
        masks[side][[place[label] for label in labels]] = True
    if not masks["train"].any() or not masks["test"].any():
        message = f"{where} has an empty side; both train and test need conditions."
        raise DataError(message)
    return design.fold(masks["train"], masks["test"], _Plan(part["name"], part["seed"], 1, singles=False))


def _names(label: str) -> list[str]:
    names = label.split("+")
    return [] if label == canonical(()) else [name for name in names if name and name != canonical(())]


def _design(screen: Screen) -> _Design:
    genes = genes_of(screen.conditions)
    distinct = sorted(set(genes))
    place = {one: group for group, one in enumerate(distinct)}
    group = np.fromiter((place[one] for one in genes), np.int64, len(genes))
    size = np.fromiter(map(len, distinct), np.int64, len(distinct))
    names = sorted({gene for one in distinct if len(one) >= PAIR for gene in one})
    column = {gene: k for k, gene in enumerate(names)}
    member = np.zeros((len(distinct), len(names)), bool)
    for row, one in enumerate(distinct):
        member[row, [column[gene] for gene in one if gene in column]] = True
    return _Design(tuple(distinct), group, size, tuple(names), member)


def _share(share: float) -> Callable[[_Design, _Plan, Screen], list[PairFold]]:
    def split(design: _Design, plan: _Plan, screen: Screen) -> list[PairFold]:
        combinations = np.flatnonzero(design.size >= PAIR)
        drawn = np.random.default_rng(plan.seed).permutation(len(combinations))
        return [_without(design, plan, combinations[drawn[: round(share * len(combinations))]])]

    return split


def _half(design: _Design, plan: _Plan, screen: Screen) -> list[PairFold]:
    combinations = np.flatnonzero(design.size >= PAIR)
    drawn = stream(plan.seed, "split", "half").permutation(len(combinations))
    return [_without(design, plan, combinations[drawn[: len(combinations) // 2]])]


def _without(design: _Design, plan: _Plan, groups: NDArray[np.int64]) -> PairFold:
    test = np.zeros(len(design.size), bool)
    test[groups] = True
    return design.fold(~test, test, plan)


def _seen(level: int) -> Callable[[_Design, _Plan, Screen], list[PairFold]]:
    def split(design: _Design, plan: _Plan, screen: Screen) -> list[PairFold]:
        rng = stream(plan.seed, "split", "seen")
        every = sorted({gene for one in design.genes for gene in one})
        known = set(rng.choice(every, int(SEEN_GENES * len(every)), replace=False).tolist())
        seen = np.array([sum(gene in known for gene in one) for one in design.genes])
        combined, whole = design.size >= PAIR, seen == design.size
        candidates = np.flatnonzero(combined & whole)
        kept = rng.permutation(candidates)[: int(SEEN_PAIRS * len(candidates))]
        train = whole & ~combined
        train[kept] = True
        # of a wider combination than a pair, all genes but so many are seen
        tested = combined & ~train & (design.size - seen == PAIR - level)
        if plan.singles and level < PAIR:
            tested |= (design.size == 1) & ~whole
        return [design.fold(train, tested, plan)]

    return split


def _unseen(level: int) -> Callable[[_Design, _Plan, Screen], list[PairFold]]:
    def split(design: _Design, plan: _Plan, screen: Screen) -> list[PairFold]:
        number = max(1, round(UNSEEN_GENES * len(design.names)))
        held = set(np.random.default_rng(plan.seed).choice(design.names, number, replace=False).tolist())
        unseen = np.array([sum(gene in held for gene in one) for one in design.genes])
        tested = (design.size >= PAIR) & (unseen >= level)
        if level == 1:
            tested &= unseen == 1
        if plan.singles:
            tested |= (design.size == 1) & (unseen > 0)
        return [design.fold(unseen == 0, tested, plan)]

    return split


def _cluster(design: _Design, plan: _Plan, screen: Screen) -> list[PairFold]:
    from sklearn.cluster import KMeans  # noqa: PLC0415

    value = screen.targets.dense().astype(np.float64)
    control = value[design.size[design.group] == 0]
    if not len(control):
        message = "The split 'cluster' needs the control: it compares effects. Add a row whose genes are empty."
        raise DataError(message)
    combinations = np.flatnonzero(design.size >= PAIR)
    if len(combinations) < plan.folds:
        message = f"{len(combinations)} combinations cannot make {plan.folds} clusters; ask for fewer folds."
        raise DataError(message)
    number = np.bincount(design.group, minlength=len(design.size))
    total = np.zeros((len(design.size), value.shape[1]))
    np.add.at(total, design.group, value)
    effect = total[combinations] / number[combinations, None] - control.mean(axis=0)
    if not np.isfinite(effect).all():
        message = "The split 'cluster' compares whole profiles, and some features are missing. Leave these out."
        raise DataError(message)
    label = KMeans(plan.folds, random_state=0, n_init=10).fit_predict(effect)
    return [_without(design, plan, combinations[label == one]) for one in range(plan.folds)]


def _kfold(design: _Design, plan: _Plan, screen: Screen) -> list[PairFold]:
    part = np.empty(len(design.names), np.int64)
    part[stream(plan.seed, "split", "kfold").permutation(len(part))] = np.arange(len(part)) % plan.folds
    folds = []
    for one in range(plan.folds):
        held = np.asarray(design.member[:, part == one].any(axis=1), bool)
        folds.append(design.fold(~held, held & ((design.size >= PAIR) | plan.singles), plan))
    return folds


PAIR_SPLITS: dict[str, Callable[[_Design, _Plan, Screen], list[PairFold]]] = {
    "id-25": _share(0.25),
    "id-50": _share(0.5),
    "id-75": _share(0.75),
    "half": _half,
    "seen0": _seen(0),
    "seen1": _seen(1),
    "seen2": _seen(2),
    "unseen1": _unseen(1),
    "unseen2": _unseen(2),
    "cluster": _cluster,
    "kfold": _kfold,
}
"""Splits of gene pairs by name."""
