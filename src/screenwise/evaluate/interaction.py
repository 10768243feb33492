"""Departures of gene pairs from addition: how large, of what type, in which features, and how sure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from screenwise.data.labels import canonical, genes_of
from screenwise.errors import ConfigError, DataError
from screenwise.evaluate.grouped import divide
from screenwise.evaluate.interaction_null import (
    empirical_scores,
    norm_p_value,
    outlier_p_value,
    two_sided,
)
from screenwise.evaluate.significance import benjamini_hochberg
from screenwise.screen import Screen

Floats = NDArray[np.float64]

TYPES = ("additive", "synergy", "suppression", "redundancy", "epistasis", "neomorphic", "potentiation")
"""Types of interaction, as in Norman et al., Science 2019, 365, 786, figure 5 (both synergies are one here)."""
PAIR = 2
NULLS = ("auto", "known", "bootstrap", "empirical")


@dataclass(frozen=True)
class TypeRules:
    """Bounds of the types, on numbers of the fit double = c_a single_a + c_b single_b.

    The quantities are those of Norman et al. 2019: size of the coefficients, how well the fit describes the double,
    how alike the singles are, how unequal their shares. Later rules win: suppression, synergy, potentiation,
    redundancy, epistasis, neomorphic.

    The defaults were set on the 86 doubles of Norman 2019 with a published type and 50 components of their means;
    they agree with the published type for 59 % of these (48 % in five-fold cross-validation of the bounds;
    the commonest type: 28 %). On other screens read the numbers beside the type.
    """

    suppression: float = 0.95
    """Magnitude sqrt(c_a^2 + c_b^2) below which the double is weaker than the singles say (addition: 1.41)."""
    synergy: float = 1.25
    """Magnitude from which the double is stronger than is usual."""
    potentiation: float = 1.3
    """Magnitude from which singles that are unlike reinforce each other."""
    unlike: float = 0.5
    """Similarity of the singles below which they are unlike."""
    redundancy: float = 0.9
    """Similarity of the singles from which they are the same."""
    epistasis: float = 0.9
    """|log10| of the ratio of the two shares from which one single hides the other."""
    neomorphic: float = 0.9
    """Fit (cosine of the double and its description by the singles) below which the double is something new."""


PUBLISHED_RULES = TypeRules(0.65, 0.8, 0.98, 0.4, 0.7, 0.4, 0.72)
"""Bounds for the numbers that Norman et al. give per double (Theil-Sen coefficients, their plain ratio,
distance correlations for fit and similarity): 81 % agreement with the published types of 86 doubles, 76 % in
five-fold cross-validation of the bounds."""


@dataclass(frozen=True)
class InteractionSettings:
    """How departures are tested."""

    null: str = "auto"
    """bootstrap (lengths of sampling errors given), known (standard errors given), empirical (the bulk of all
    departures), or auto: the first of these that there is."""
    level: float = 0.05
    """False discovery rate at which a departure is called."""
    rules: TypeRules = field(default_factory=TypeRules)


@dataclass(frozen=True)
class Interactions:
    """Departures of m pairs from addition, on p features."""

    pairs: pd.DataFrame
    """(m,) condition, gene_a, gene_b, departure (length), relative (to the effect's length), noise (expected length
    without interaction; NaN unknown), p_value, q_value, called, c_a, c_b, magnitude, fit, similarity, dominance,
    type. With errors known, a pair that is not called is additive; with the empirical null its type is what the
    rules say."""
    features: pd.DataFrame
    """(m p,) condition, feature, departure, z, p_value, q_value, called: all entries tested together, pair by pair."""
    departure: Floats
    """(m, p) effect of the double less those of the singles."""
    null: str
    """known, bootstrap or empirical."""
    notes: tuple[str, ...] = ()

    @property
    def called(self) -> NDArray[np.bool_]:
        """(m, p) entries whose false discovery rate is at most the level asked for."""
        return self.features["called"].to_numpy(bool).reshape(self.departure.shape)


def pair_rows(screen: Screen) -> tuple[NDArray[np.int64], list[str]]:
    """Return (m, 4) rows of double, first single, second single and control, and what was left out.

    Raises
    ------
    DataError
        Without a control, with two rows of one condition, or without a pair whose singles are both there.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene_a": ["", "A", "B", "B"], "gene_b": ["", "", "", "A"]})
    >>> pair_rows(make_screen(genes, np.zeros((4, 1)), ["x"]))[0].tolist()
    [[3, 1, 2, 0]]
    """
    genes = genes_of(screen.conditions)
    place: dict[tuple[str, ...], int] = {}
    for row, one in enumerate(genes):
        if one in place:
            message = f"The condition {canonical(one)} stands in several rows; average its rows first."
            raise DataError(message)
        place[one] = row
    if () not in place:
        message = "The screen has no control; effects are differences from it. Add one row whose genes are empty."
        raise DataError(message)
    doubles = [one for one in genes if len(one) == PAIR]
    full = [one for one in doubles if (one[0],) in place and (one[1],) in place]
    if not full:
        message = f"None of {len(doubles)} pairs has both of its singles; a departure from addition needs them."
        raise DataError(message)
    notes = []
    if len(full) < len(doubles):
        notes.append(f"{len(doubles) - len(full)} pairs were left out: a single of theirs was not measured.")
    rows = [(place[one], place[(one[0],)], place[(one[1],)], place[()]) for one in full]
    return np.array(rows, np.int64), notes


def interactions(
    screen: Screen,
    *,
    standard_error: ArrayLike | None = None,
    null_norms: ArrayLike | None = None,
    settings: InteractionSettings | None = None,
) -> Interactions:
    """Return the departures of all measured pairs from addition, tested and typed.

    d = y_ab - y_a - y_b + y_control, feature by feature. With standard errors of the four means, known, the
    variance of d is the sum of the four squares: z = d / sd per feature, and |d|^2 against its distribution
    without interaction. Each family of tests has Benjamini-Hochberg false discovery rates.

    Parameters
    ----------
    screen
        One row per condition, levels as targets (n, p), a control row; conditions with columns gene_a, gene_b.
        Features with a missing value in any condition used are left out.
    standard_error
        (n, p) of each condition's mean: known from cells, or `interaction_null.replicate_error`.
    null_norms
        (m, b) lengths of sampling errors of the pairs in the order of `pair_rows`
        (`interaction_null.bootstrap_norms`), for the test of |d|.
    settings
        Null, level, rules of the types.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene_a": ["", "A", "B", "A"], "gene_b": ["", "", "", "B"]})
    >>> level = np.array([[0, 0], [1, 0], [0, 1], [2, 2]], float)
    >>> found = interactions(make_screen(genes, level, ["x", "y"]), standard_error=np.full((4, 2), 0.1))
    >>> found.pairs[["departure", "c_a", "c_b", "type"]].round(3).to_numpy().tolist()
    [[1.414, 2.0, 2.0, 'potentiation']]
    """
    settings = settings or InteractionSettings()
    rows, notes = pair_rows(screen)
    value = screen.targets.dense().astype(np.float64)
    used = np.asarray(np.isfinite(value[np.unique(rows)]).all(axis=0), bool)
    if not used.any():
        message = "No feature was measured in all conditions used; leave conditions with many gaps out."
        raise DataError(message)
    if not used.all():
        notes.append(f"{int((~used).sum())} features were left out: not measured in every condition used.")
    double, first, second, control = (value[rows[:, k]][:, used] for k in range(4))
    effect, single_a, single_b = double - control, first - control, second - control
    departure = effect - single_a - single_b
    variance = None if standard_error is None else _variance(standard_error, value.shape, rows, used)
    null = _choose_null(settings.null, variance, null_norms)
    z = _scores(departure, None if null == "empirical" else variance)
    p_value, noise = _test_lengths(null, departure, z, variance, null_norms)
    if null == "empirical":
        notes.append("No errors were given: a pair's p-value says that it departs more than most pairs do.")
    table = screen.conditions.iloc[rows[:, 0]]
    pairs = _pair_table(genes_of(table), departure, effect, p_value, noise)
    fits = coefficients(effect, single_a, single_b)
    pairs["called"] = pairs["q_value"] <= settings.level
    for name, column in fits.items():
        pairs[name] = column
    pairs["type"] = interaction_types(fits, settings.rules)
    if null != "empirical":
        # what cannot be told from addition has no other type
        pairs.loc[~pairs["called"], "type"] = "additive"
    names = [name for name, there in zip(screen.task_names, used.tolist(), strict=True) if there]
    features = _feature_table(pairs["condition"].tolist(), names, departure, z)
    features["called"] = features["q_value"] <= settings.level
    return Interactions(pairs, features, departure, null, tuple(notes))


def coefficients(effect: Floats, single_a: Floats, single_b: Floats) -> dict[str, Floats]:
    """Return the least-squares fit double = c_a single_a + c_b single_b of (m, p) effects, and what is read off it.

    Norman et al. 2019 fit the same model (robustly, by Theil-Sen). Noise in the singles pulls the coefficients
    towards 0, so that of an additive pair they are somewhat below 1.

    Returns
    -------
    dict
        (m,) each: c_a, c_b; magnitude sqrt(c_a^2 + c_b^2); fit, the cosine of the double and its description;
        similarity, the cosine of the singles; dominance, |log10| of the ratio of |c_a single_a| and |c_b single_b|.

    Examples
    --------
    >>> found = coefficients(np.array([[2.0, 1.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    >>> {name: round(float(value[0]), 3) for name, value in found.items()}["c_a"]
    2.0
    """
    aa, bb, ab = (_dot(one, other) for one, other in ((single_a, single_a), (single_b, single_b), (single_a, single_b)))
    ay, by = _dot(single_a, effect), _dot(single_b, effect)
    determinant = aa * bb - ab**2
    apart = determinant > COLLINEAR * aa * bb
    # of parallel singles only the sum is known: the fit of least length
    safe = np.where(apart, determinant, 1.0)
    total = np.maximum(aa + bb, np.finfo(np.float64).tiny)
    along_a, along_b = np.sqrt(aa), np.copysign(np.sqrt(bb), ab)
    along_y = divide(along_a * ay + along_b * by, total)
    c_a = np.where(apart, (bb * ay - ab * by) / safe, divide(along_a * along_y, total))
    c_b = np.where(apart, (aa * by - ab * ay) / safe, divide(along_b * along_y, total))
    fitted = c_a[:, None] * single_a + c_b[:, None] * single_b
    shares = [np.maximum(np.abs(c) * np.sqrt(size), SMALLEST_SHARE) for c, size in ((c_a, aa), (c_b, bb))]
    return {
        "c_a": c_a,
        "c_b": c_b,
        "magnitude": np.hypot(c_a, c_b),
        "fit": divide(_dot(fitted, effect), np.sqrt(_dot(fitted, fitted) * _dot(effect, effect))),
        "similarity": divide(ab, np.sqrt(aa * bb)),
        "dominance": np.abs(np.log10(shares[0] / shares[1])),
    }


COLLINEAR = 1e-10
"""1 - cos^2 of two singles below which they are parallel."""
SMALLEST_SHARE = 1e-9


def interaction_types(fits: Mapping[str, ArrayLike], rules: TypeRules | None = None) -> NDArray[np.str_]:
    """Return (m,) types of pairs from magnitude, fit, similarity and dominance, (m,) each; see `TypeRules`.

    Examples
    --------
    >>> one = {"magnitude": [1.1, 1.6, 0.5], "fit": [0.99] * 3, "similarity": [0.6, 0.6, 0.1], "dominance": [0.1] * 3}
    >>> interaction_types(one).tolist()
    ['additive', 'synergy', 'suppression']
    """
    rules = rules or TypeRules()
    magnitude, fit, similarity, dominance = (
        np.asarray(fits[name], np.float64) for name in ("magnitude", "fit", "similarity", "dominance")
    )
    found = np.full(len(magnitude), "additive", dtype="<U12")
    found[magnitude < rules.suppression] = "suppression"
    found[magnitude >= rules.synergy] = "synergy"
    found[(magnitude >= rules.potentiation) & (similarity < rules.unlike)] = "potentiation"
    found[similarity >= rules.redundancy] = "redundancy"
    found[dominance >= rules.epistasis] = "epistasis"
    found[(fit < rules.neomorphic) & (magnitude < rules.synergy)] = "neomorphic"
    return found


def _variance(
    standard_error: ArrayLike, shape: tuple[int, ...], rows: NDArray[np.int64], used: NDArray[np.bool_]
) -> Floats:
    """Return (m, p) variances of departures: the squared errors of double, singles and control, added."""
    error = np.asarray(standard_error, np.float64)
    if error.shape != shape:
        message = f"Standard errors are {error.shape}, the profiles {shape}; they must agree."
        raise DataError(message)
    return np.asarray(np.square(error[:, used])[rows].sum(axis=1))


def _test_lengths(
    null: str, departure: Floats, z: Floats, variance: Floats | None, null_norms: ArrayLike | None
) -> tuple[Floats, Floats]:
    """Return (m,) p-values of the departures' lengths, and the lengths that noise alone would have."""
    if null == "bootstrap":
        norms = np.asarray(null_norms, np.float64)
        if norms.ndim != PAIR or len(norms) != len(departure):
            message = f"Lengths of sampling errors are {norms.shape}; there must be one row for each of "
            raise DataError(message + f"{len(departure)} pairs.")
        length = np.sqrt(_dot(departure, departure))
        above = (norms >= length[:, None]).sum(axis=1)
        return (1 + above) / (1 + norms.shape[1]), np.sqrt(np.square(norms).mean(axis=1))
    if null == "known" and variance is not None:
        return norm_p_value(departure, variance), np.sqrt(variance.sum(axis=1))
    return outlier_p_value(np.square(z).sum(axis=1)), np.full(len(departure), np.nan)


def _choose_null(asked: str, variance: Floats | None, norms: ArrayLike | None) -> str:
    there = {"bootstrap": norms is not None, "known": variance is not None, "empirical": True}
    if asked not in NULLS:
        message = f"The null is {asked!r}; it must be one of {', '.join(NULLS)}."
        raise ConfigError(message)
    if asked != "auto" and not there[asked]:
        need = "standard errors" if asked == "known" else "lengths of resampled errors"
        message = f"The null {asked!r} needs {need}, which were not given; give them or use empirical."
        raise ConfigError(message)
    return next(name for name, given in there.items() if given) if asked == "auto" else asked


def _scores(departure: Floats, variance: Floats | None) -> Floats:
    if variance is None:
        return empirical_scores(departure)
    return np.where(variance > 0, departure / np.sqrt(np.where(variance > 0, variance, 1.0)), np.nan)


def _dot(a: Floats, b: Floats) -> Floats:
    return np.einsum("ij,ij->i", a, b)


def _pair_table(
    genes: list[tuple[str, ...]], departure: Floats, effect: Floats, p_value: Floats, noise: Floats
) -> pd.DataFrame:
    length = np.sqrt(_dot(departure, departure))
    return pd.DataFrame(
        {
            "condition": [canonical(one) for one in genes],
            "gene_a": [one[0] for one in genes],
            "gene_b": [one[1] for one in genes],
            "departure": length,
            "relative": divide(length, np.sqrt(_dot(effect, effect))),
            "noise": noise,
            "p_value": p_value,
            "q_value": benjamini_hochberg(p_value),
        }
    )


def _feature_table(conditions: list[str], names: list[str], departure: Floats, z: Floats) -> pd.DataFrame:
    p_value = two_sided(z)
    return pd.DataFrame(
        {
            "condition": np.repeat(np.array(conditions, dtype=object), len(names)),
            "feature": np.tile(np.array(names, dtype=object), len(conditions)),
            "departure": departure.ravel(),
            "z": z.ravel(),
            "p_value": p_value.ravel(),
            "q_value": benjamini_hochberg(p_value).ravel(),
        }
    )
