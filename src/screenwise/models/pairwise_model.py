"""What all models of gene combinations share: reading, controls, singles, wider combinations, notes, intervals."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from screenwise.config import from_mapping, to_mapping
from screenwise.errors import ModelError
from screenwise.models.pairwise_descriptors import Descriptors
from screenwise.models.pairwise_rule import Rule, RuleGuess, Training, lengths
from screenwise.models.pairwise_scale import RAW_SCALE, SHRUNK_SCALE, Scale, learn_scale
from screenwise.models.pairwise_singles import (
    SOURCE_NOTE,
    Asked,
    learn_singles,
    with_partial,
)
from screenwise.models.pairwise_spread import (
    ENOUGH,
    NEW_RATIO,
    SUM_RATIO,
    WIDE_FACTOR,
    Spread,
    Width,
    learn_shape,
    learn_width,
    prior_shape,
)
from screenwise.models.pairwise_store import load_pairwise, save_pairwise
from screenwise.models.pairwise_table import PAIR, ProfileTable, read_genes, read_profile_screen
from screenwise.models.pairwise_views import Pairs
from screenwise.prediction import Z90, Prediction
from screenwise.run import Run
from screenwise.screen import Screen

FEW_DOUBLES = 6
"""Fewer measured doubles than this are told with every prediction."""
NEW_ERRORS = 400
"""Most held-out errors that decide the width of pairs with unmeasured singles."""
ONE_THREAD_ROWS = 2000
"""Up to this many combinations one BLAS thread is as fast as many."""
REPEAT_REACH = 1.1
"""90 % quantile over root mean square of the length of pure noise in some tens of dimensions."""
PRIOR_ONLY = "prior only: no combination was measured, the scale of the sum comes from published screens"


@dataclass(frozen=True)
class ProfilePrediction:
    """A prediction of whole profiles."""

    prediction: Prediction
    profile_std: NDArray[np.float32]
    """(n,) 1.645 of it is meant to hold the distance between predicted and measured profile in 90 % of cases."""
    novelty: NDArray[np.int64]
    """(n,) genes of a condition whose single was not measured."""


class PairModel:
    """Base of the models of gene combinations; a member says how it learns pairs (`_learn`).

    `fit` takes a profile screen: one row per condition with `gene_a`, `gene_b`, ..., one row the control,
    one task per feature, values as levels. ``config`` is its class's `Config`, ``descriptors`` what is known
    of genes besides (`screenwise.models.pairwise_descriptors.Descriptors`), kept with the saved model.
    """

    Config: Any = None
    kind = ""

    def __init__(self, config: Any = None, *, descriptors: Descriptors | None = None) -> None:
        self.config = config or type(self).Config()
        self.descriptors = descriptors
        self.table_: ProfileTable | None = None

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Learn from the control, the singles and the combinations of a profile screen.

        Parameters
        ----------
        screen
            One row per condition, exactly one of them the control.
        valid
            Not used: held-out errors are made from the screen's own combinations.
        run
            Takes one line of metrics.
        seed
            Decides what is random; see the model.
        """
        table = read_profile_screen(screen)
        with _blas(table):
            self._build(table, (seed, run), None)
        if run is not None:
            held = np.linalg.norm(self.rule_.held_error, axis=1)
            run.log(
                fit=self.kind,
                doubles=len(held),
                coefficient=self.rule_.scale.coefficient,
                held_out_distance=float(held.mean()) if len(held) else float("nan"),
            )
        return self

    def _build(self, table: ProfileTable, context: tuple[int, Run | None], learnt: dict[str, Any] | None) -> None:
        """Learn, or take what was learnt, and derive all that follows from it."""
        self.table_ = table
        self.singles_ = learn_singles(table, self.descriptors, shrink=self._shrinks())
        prior = self._prior()
        places = table.places
        whole = (places != -1).all(axis=1)
        two = whole & ((places >= 0).sum(axis=1) == PAIR)
        self.rows_ = table.rows[two]
        training = Training(Pairs(self.singles_.single, places[two][:, :PAIR]), table.effect[two], prior)
        asked = self.singles_.ask([table.combinations[place] for place in np.flatnonzero(whole)])
        scale = self._scale(asked.total(), table.effect[whole], asked.size, prior)
        self.rule_ = self._learn(training, scale, context, learnt)
        self.singles_ = with_partial(self.singles_, table, self.rule_.scale)
        self.spread_ = self._spread(training, scale)
        self.doubles_ = int(two.sum())

    def _shrinks(self) -> bool:
        return True

    def _prior(self) -> float:
        return SHRUNK_SCALE if self.singles_.shrunk else RAW_SCALE

    def _scale(
        self, total: NDArray[np.float64], effect: NDArray[np.float64], size: NDArray[np.int64], prior: float
    ) -> Scale:
        return learn_scale(total, effect, size, prior)

    def _learn(
        self, training: Training, scale: Scale, context: tuple[int, Run | None], learnt: dict[str, Any] | None
    ) -> Rule:
        """Learn pairs from the measured doubles; the member's own."""
        raise NotImplementedError

    def _new_pairs(self, asked: Asked, pairs: Pairs, novelty: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (n, p) effects of pairs with one or two imputed singles: here the scaled sum."""
        return self.rule_.scale.predict(pairs.total(), np.full(len(novelty), PAIR))

    def _learnt(self) -> dict[str, Any]:
        """Return arrays that `_learn` takes back; {} = learning again gives the same."""
        return {}

    def _spread(self, training: Training, scale: Scale) -> Spread:
        """Learn how wide intervals must be."""
        singles, rule = self.singles_, self.rule_
        prior = prior_shape(singles.single)
        shape = learn_shape(prior, rule.held_error, rule.held_size)
        sums = training.effect - scale.predict(training.pairs.total(), np.full(len(training), PAIR))
        sizes = lengths(training.pairs)
        # a fitted coefficient and offset hide little of m profiles: (m + 1) / m of the error
        sums = sums * (1 + 1 / max(len(training), 1))
        by_sum = learn_width(sums, sizes, shape, SUM_RATIO)
        own_ratio = SUM_RATIO if np.array_equal(rule.held_size, sizes) else 1.0
        held = rule.held_error
        if own_ratio != SUM_RATIO and len(held) < ENOUGH:
            # weights and coefficients were learnt from the rows left out, too: a few rows hide that
            held = held * (1 + 1 / len(held))
        widths = {"pair": learn_width(held, rule.held_size, shape, own_ratio), "sum": by_sum}
        widths["wide"] = Width(WIDE_FACTOR * by_sum.profile, WIDE_FACTOR * by_sum.feature)
        for unseen in (1, 2):
            error, size = self._pretended(training, scale, unseen)
            widths[f"new{unseen}"] = learn_width(error, size, shape, NEW_RATIO[unseen])
        apart = singles.single - singles.imputer.held_out
        widths["single"] = learn_width(apart, np.full(len(apart), singles.typical), shape, 1.0)
        return Spread(shape, widths)

    def _pretended(
        self, training: Training, scale: Scale, unseen: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return errors (k, p) and sizes (k,) of doubles whose singles were imputed from the other genes."""
        single, imputed = self.singles_.single, self.singles_.imputer.held_out
        place = training.pairs.place[:: max(1, len(training) // NEW_ERRORS)]
        effect = training.effect[:: max(1, len(training) // NEW_ERRORS)]
        first, second = place[:, 0], place[:, 1]
        both = np.full(len(place), PAIR)
        squared, typical = np.square(single).sum(axis=1), self.singles_.typical**2
        if unseen == PAIR:
            error = effect - scale.predict(imputed[first] + imputed[second], both)
            return error, np.sqrt(np.full(len(place), 2 * typical))
        left = effect - scale.predict(single[first] + imputed[second], both)
        right = effect - scale.predict(imputed[first] + single[second], both)
        size = np.sqrt(np.concatenate([squared[first], squared[second]]) + typical)
        return np.vstack([left, right]), size

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict the levels of all features for (n,) conditions: control, singles, pairs and wider ones."""
        return self.predict_profile(conditions).prediction

    def predict_profile(self, conditions: pd.DataFrame) -> ProfilePrediction:
        """Predict (n,) conditions, with the spread of whole profiles and how many of the genes are new."""
        table = self._state()
        genes = read_genes(conditions)
        draft = _Draft.empty(len(genes), len(table.control))
        with _blas(table):
            asked = self.singles_.ask(genes)
            size, novelty = asked.size, asked.novelty
            self._answer_measured(draft, asked, genes)
            self._answer_pairs(draft, asked, (size == PAIR) & (novelty == 0))
            self._answer_new(draft, asked, np.flatnonzero((size == PAIR) & (novelty > 0)))
            self._answer_wide(draft, asked, np.flatnonzero(size > PAIR))
        self._tell(draft, asked, size)
        prediction = Prediction(
            table.level(draft.mean),
            table.spread(draft.std),
            in_domain=draft.in_domain & (novelty == 0),
            note=draft.note,
        )
        return ProfilePrediction(prediction, draft.profile.astype(np.float32), novelty)

    def _answer_measured(self, draft: "_Draft", asked: Asked, genes: list[tuple[str, ...]]) -> None:
        """Give the control's and the measured singles' own levels; impute the other singles."""
        table, singles = self._state(), self.singles_
        known = pd.Index(table.genes.astype(object)).get_indexer([one[0] if len(one) == 1 else "" for one in genes])
        alone = asked.size == 1
        measured = np.flatnonzero(alone & (known >= 0))
        draft.mean[measured] = table.single[known[measured]]
        # the weakest single is mostly noise, twice: its own and the control's, as of a repeat
        least = float(np.square(table.single).sum(axis=1).min())
        noise = np.where(np.isfinite(table.single_error), table.single_error, least)
        rows = np.concatenate([np.flatnonzero(asked.size == 0), measured])
        squared = np.concatenate([np.full(len(rows) - len(measured), np.median(noise)), noise[known[measured]]])
        draft.profile[rows] = REPEAT_REACH * np.sqrt(squared) / Z90
        draft.std[rows] = np.sqrt(squared / len(self.spread_.shape))[:, None] * self.spread_.shape
        draft.in_domain[rows] = True
        new = np.flatnonzero(alone & (known < 0))
        if len(new):
            draft.mean[new] = asked.single[asked.place[new, 0]]
            draft.widths(new, self.spread_.std("single", np.full(len(new), singles.typical)))

    def _answer_pairs(self, draft: "_Draft", asked: Asked, mine: NDArray[np.bool_]) -> None:
        """Predict pairs whose singles were both measured."""
        rows = np.flatnonzero(mine)
        if len(rows) == 0:
            return
        pairs = Pairs(asked.single, asked.place[rows][:, :PAIR])
        guess = self.rule_.predict(pairs)
        draft.mean[rows], draft.in_domain[rows] = guess.mean, guess.in_domain
        near, far = rows[~guess.far], rows[guess.far]
        draft.widths(near, self.spread_.std("pair", guess.size[~guess.far]))
        draft.widths(far, self.spread_.std("sum", lengths(pairs)[guess.far]))
        draft.note[far] = "far from the measured combinations: the scaled sum stands"

    def _answer_new(self, draft: "_Draft", asked: Asked, rows: NDArray[np.int64]) -> None:
        """Predict pairs with genes whose single was not measured."""
        if len(rows) == 0:
            return
        novelty = asked.novelty[rows]
        draft.mean[rows] = self._new_pairs(asked, Pairs(asked.single, asked.place[rows][:, :PAIR]), novelty)
        size = asked.length(self.singles_.typical)[rows]
        for unseen in (1, 2):
            some = novelty == unseen
            draft.widths(rows[some], self.spread_.std(f"new{unseen}", size[some]))

    def _answer_wide(self, draft: "_Draft", asked: Asked, rows: NDArray[np.int64]) -> None:
        """Predict three genes and more: the scaled sum, and the supported departures of their pairs.

        Each gene is in size - 1 pairs; departures weigh 2 / size, so that together they count as often
        as the genes do beyond the first.
        """
        if len(rows) == 0:
            return
        total, size, novelty = asked.total()[rows], asked.size[rows], asked.novelty[rows]
        mean = self.rule_.scale.predict(total, size)
        used = np.zeros(len(rows), np.int64)
        measured = np.append(asked.source == 0, [False, False])
        for first, second in combinations(range(asked.place.shape[1]), PAIR):  # members, not rows
            place = asked.place[rows][:, [first, second]]
            there = np.flatnonzero(measured[place].all(axis=1))
            guess = self._departures(Pairs(asked.single, place[there]))
            if guess is not None:
                mean[there] += (2.0 / size[there])[:, None] * guess.departure * guess.in_domain[:, None]
                used[there] += guess.in_domain
        draft.mean[rows] = mean
        kind = np.minimum(novelty, 2)
        lengths_ = asked.length(self.singles_.typical)[rows]
        for unseen, name in enumerate(("wide", "new1", "new2")):
            some = kind == unseen
            draft.widths(rows[some], self.spread_.std(name, lengths_[some]))
        draft.in_domain[rows] = False
        draft.note[rows] = [
            f"{genes} genes: the scaled sum" + (f" and the departures of {pairs} pairs" if pairs else "")
            for genes, pairs in zip(size.tolist(), used.tolist(), strict=True)
        ]

    def _departures(self, pairs: Pairs) -> RuleGuess | None:
        """Return what similar pairs taught of pairs; None where the model learns no departures."""
        return self.rule_.predict(pairs) if len(pairs.place) else None

    def _tell(self, draft: "_Draft", asked: Asked, size: NDArray[np.int64]) -> None:
        """Add what must be known of genes without a single, and of a scale that is hardly learnt."""
        for gene, source in zip(asked.genes.tolist(), asked.source.tolist(), strict=True):
            if source:
                place = int(np.searchsorted(asked.genes, gene))
                _add(draft.note, (asked.place == place).any(axis=1), f"single of {gene} {SOURCE_NOTE[source]}")
        if self.kind == "salt":
            return
        # wider combinations have a scale of their own where such ones were measured
        told = (size >= PAIR) & ~np.isin(size, list(self.rule_.scale.wider))
        if self.doubles_ == 0:
            _add(draft.note, told, PRIOR_ONLY)
        elif self.doubles_ < FEW_DOUBLES:
            few = f"only {self.doubles_} measured doubles: the scale is shrunk to that of published screens"
            _add(draft.note, told, few)

    def leave_one_out(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and std, (n, t) each, of the measured doubles predicted from all others; NaN elsewhere."""
        table = self._state()
        mean = np.full((table.size, len(table.used)), np.nan, np.float32)
        std = mean.copy()
        position = np.flatnonzero(np.isin(table.rows, self.rows_))
        mean[self.rows_] = table.level(table.effect[position] - self.rule_.held_error)
        std[self.rows_] = table.spread(self.spread_.std("pair", self.rule_.held_size)[0])
        return mean, std

    def save(self, folder: Path) -> None:
        """Write ``pairwise.json`` and ``pairwise.npz``: settings, what was measured, what was learnt."""
        head = {"kind": self.kind, "config": to_mapping(self.config)}
        save_pairwise(folder, head, (self._state(), self.singles_.descriptors, self._learnt()))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        head, (table, descriptors, learnt) = load_pairwise(folder)
        if head["kind"] != cls.kind:
            message = f"{folder} holds a {head['kind']} model, not {cls.kind}. Load it with load_model."
            raise ModelError(message)
        model = cls(from_mapping(cls.Config, head["config"], str(folder)), descriptors=descriptors)
        with _blas(table):
            model._build(table, (0, None), learnt)
        return model

    def _state(self) -> ProfileTable:
        if self.table_ is None:
            message = "This model of gene combinations is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.table_


@dataclass
class _Draft:
    """A prediction of n conditions in the making, as effects."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    profile: NDArray[np.float64]
    in_domain: NDArray[np.bool_]
    note: NDArray[Any]

    @classmethod
    def empty(cls, n: int, p: int) -> Self:
        return cls(
            np.zeros((n, p)), np.full((n, p), np.nan), np.full(n, np.nan), np.zeros(n, bool), np.full(n, "", object)
        )

    def widths(self, rows: NDArray[np.int64], std: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
        """Set the standard deviations of some rows."""
        self.std[rows], self.profile[rows] = std


def _blas(table: ProfileTable) -> threadpool_limits:
    """One BLAS thread for small factors: more only spin and wait for each other."""
    return threadpool_limits(1 if len(table.effect) <= ONE_THREAD_ROWS else None, user_api="blas")


def _add(note: NDArray[Any], where: NDArray[np.bool_], text: str) -> None:
    """Append a sentence to some notes."""
    note[where] = [f"{old}; {text}" if old else text for old in note[where]]
