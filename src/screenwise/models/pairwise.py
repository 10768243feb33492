"""Gene combinations: Salt (the sum of single effects), scaled Salt, and Peper as a Gaussian process, the default.

After Gaudelet et al., Season combinatorial intervention predictions with Salt & Peper, arXiv 2404.16907
(2024): effects mostly add (Salt); what they do beyond is learnt from measured combinations (Peper). The
network form of Peper is in `screenwise.models.pairwise_peper`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.errors import ModelError
from screenwise.models.pairwise_model import PairModel
from screenwise.models.pairwise_rule import (
    ENOUGH_DOUBLES,
    Rule,
    RuleGuess,
    SumRule,
    Training,
    WeighedRule,
    lengths,
    weigh_rule,
)
from screenwise.models.pairwise_scale import Scale, leave_one_out_scale
from screenwise.models.pairwise_singles import MEASURED, Asked
from screenwise.models.pairwise_unseen import SHARE, Pretend, fit_pretend
from screenwise.models.pairwise_views import VIEWS, Learnt, Pairs
from screenwise.rng import stream
from screenwise.run import Run


@dataclass(frozen=True)
class SaltConfig:
    """The sum of single effects has no settings."""


class Salt(PairModel):
    """control + sum of the measured effects of all genes: what a combination does if effects add.

    Nothing is learnt but how wide intervals must be.

    Examples
    --------
    >>> import pandas as pd
    >>> from screenwise.screen import make_screen
    >>> conditions = pd.DataFrame({"gene_a": ["", "A", "B"], "gene_b": ["", "", ""]})
    >>> screen = make_screen(conditions, np.array([[1.0], [3.0], [0.5]]), ["growth"])
    >>> Salt().fit(screen).predict(pd.DataFrame({"gene_a": ["B"], "gene_b": ["A"]})).mean.tolist()
    [[2.5]]
    """

    Config = SaltConfig
    kind = "salt"

    def _shrinks(self) -> bool:
        return False

    def _scale(
        self, total: NDArray[np.float64], effect: NDArray[np.float64], size: NDArray[np.int64], prior: float
    ) -> Scale:
        return Scale(1.0, np.zeros(total.shape[1]), {})

    def _learn(
        self, training: Training, scale: Scale, context: tuple[int, Run | None], learnt: dict[str, Any] | None
    ) -> Rule:
        return SumRule(scale, training.effect - training.pairs.total(), lengths(training.pairs))

    def _departures(self, pairs: Pairs) -> RuleGuess | None:
        return None


@dataclass(frozen=True)
class ScaledSaltConfig:
    """Settings of the scaled sum."""

    prior: float | None = None
    """Coefficient of the sum before any double is seen, which counts as six doubles; None = 0.85, or 0.9 where
    singles are shrunk by their known errors (what published screens say)."""
    shrink: bool = True
    """Shrink singles by their known noise (column `squared_error`)."""


class ScaledSalt(PairModel):
    """control + b x sum of single effects + offset; b and the offset are learnt from measured doubles, shrunk.

    The offset takes up the control's noise, which a sum of two effects counts twice. See
    `screenwise.models.pairwise_scale.learn_scale`.

    Examples
    --------
    >>> import pandas as pd
    >>> from screenwise.screen import make_screen
    >>> conditions = pd.DataFrame({"gene_a": ["", "A", "B"], "gene_b": ["", "", ""]})
    >>> screen = make_screen(conditions, np.array([[1.0], [3.0], [0.5]]), ["growth"])
    >>> prediction = ScaledSalt().fit(screen).predict(pd.DataFrame({"gene_a": ["B"], "gene_b": ["A"]}))
    >>> round(float(prediction.mean[0, 0]), 3), prediction.note[0][:10]
    (2.275, 'prior only')
    """

    Config = ScaledSaltConfig
    kind = "scaled_salt"

    def _shrinks(self) -> bool:
        return bool(self.config.shrink)

    def _prior(self) -> float:
        return super()._prior() if self.config.prior is None else float(self.config.prior)

    def _learn(
        self, training: Training, scale: Scale, context: tuple[int, Run | None], learnt: dict[str, Any] | None
    ) -> Rule:
        total = training.pairs.total()
        held = training.effect - leave_one_out_scale(total, training.effect, training.prior)
        return SumRule(scale, held, lengths(training.pairs))

    def _departures(self, pairs: Pairs) -> RuleGuess | None:
        return None


@dataclass(frozen=True)
class PeperGPConfig:
    """Settings of Peper as a Gaussian process."""

    prior: float | None = None
    """Prior coefficient of the sum; None = 0.85, or 0.9 where singles are shrunk by their known errors."""
    shrink: bool = True
    """Shrink singles by their known noise (column `squared_error`)."""
    max_pairs: int = 6000
    """Most measured doubles: memory grows with their square, time with their cube."""


class PeperGP(PairModel):
    """Scaled sum of single effects in bands of axes, and departures learnt from similar pairs.

    Two Gaussian processes on two similarities of pairs predict together
    (`screenwise.models.pairwise_views`); their leave-one-out errors weigh them against the scaled sum and
    the mean of the combinations, and calibrate the intervals. Fewer than six doubles teach the scaled
    sum only. Pairs stronger than or unlike all measured ones get the scaled sum, and a note. Genes
    without a single are imputed from descriptors, where there are, else by the mean. Exactly
    symmetric: genes of a pair are sorted.

    Examples
    --------
    >>> import pandas as pd
    >>> from screenwise.screen import make_screen
    >>> rng = np.random.default_rng(0)
    >>> names, single = list("ABCDEFGH"), rng.normal(size=(8, 6))
    >>> place = [(a, b) for a in range(8) for b in range(a + 1, 8)]
    >>> double = np.array([np.tanh(single[a] + single[b]) for a, b in place])
    >>> conditions = pd.DataFrame(
    ...     {"gene_a": ["", *names, *(names[a] for a, _ in place)], "gene_b": [""] * 9 + [names[b] for _, b in place]}
    ... )
    >>> level = np.vstack([np.zeros(6), np.tanh(single), double])
    >>> train = make_screen(conditions.iloc[:27], level[:27], list("uvwxyz"))
    >>> error = PeperGP().fit(train).predict(conditions.iloc[27:]).mean - level[27:]
    >>> plain = Salt().fit(train).predict(conditions.iloc[27:]).mean - level[27:]
    >>> bool(np.square(error).mean() < 0.5 * np.square(plain).mean())
    True
    """

    Config = PeperGPConfig
    kind = "peper_gp"

    def _shrinks(self) -> bool:
        return bool(self.config.shrink)

    def _prior(self) -> float:
        return super()._prior() if self.config.prior is None else float(self.config.prior)

    def _learn(
        self, training: Training, scale: Scale, context: tuple[int, Run | None], learnt: dict[str, Any] | None
    ) -> Rule:
        self._training = training
        self._pretend: Pretend | None = None
        if len(training) > self.config.max_pairs:
            message = (
                f"{len(training)} measured doubles are more than an exact process holds ({self.config.max_pairs}). "
                "Use the model peper, or raise Config.max_pairs on a large machine."
            )
            raise ModelError(message)
        if len(training) < ENOUGH_DOUBLES:
            held = training.effect - leave_one_out_scale(training.pairs.total(), training.effect, training.prior)
            return SumRule(scale, held, lengths(training.pairs))
        known = None if learnt is None else _unpack(learnt)
        return weigh_rule(training, scale, known, stream(context[0], "peper_gp", "rows"))

    def _new_pairs(self, asked: Asked, pairs: Pairs, novelty: NDArray[np.int64]) -> NDArray[np.float64]:
        """Join the process on imputed singles with one that learnt from pretending; two new genes: scaled sum."""
        mean = super()._new_pairs(asked, pairs, novelty)
        one = np.flatnonzero(novelty == 1)
        if not isinstance(self.rule_, WeighedRule) or len(one) == 0:
            return mean
        process, _, _ = self.rule_.weights
        place = pairs.place[one]
        new_first = asked.source[place[:, 0]] != MEASURED
        known, new = np.where(new_first, place[:, 1], place[:, 0]), np.where(new_first, place[:, 0], place[:, 1])
        genes, code = np.unique(new, return_inverse=True)
        similarity = self.singles_.similarity(asked.genes[genes])[code]
        told = self._pretended_process().predict(asked.single[known], asked.single[new], similarity)
        imputed = self.rule_.predict(Pairs(pairs.single, place))
        both = (1 - SHARE) * imputed.mean + SHARE * told
        mean[one] = np.where(imputed.far[:, None], mean[one], process * both + (1 - process) * imputed.mean)
        return mean

    def _pretended_process(self) -> Pretend:
        """Fit it when it is first asked for; nothing in it is random."""
        if self._pretend is None:
            training = self._training
            self._pretend = fit_pretend(self.singles_, training.pairs.place, training.effect, training.prior)
        return self._pretend

    def _departures(self, pairs: Pairs) -> RuleGuess | None:
        return super()._departures(pairs) if isinstance(self.rule_, WeighedRule) else None

    def _learnt(self) -> dict[str, Any]:
        if not isinstance(self.rule_, WeighedRule):
            return {}
        out: dict[str, Any] = {}
        for view, (weights, noise, beta, variance) in self.rule_.views.learnt.items():
            out |= {f"{view}_weights": weights, f"{view}_noise": np.array(noise), f"{view}_beta": beta}
            out[f"{view}_variance"] = np.array(variance)
        return out


def _unpack(learnt: dict[str, Any]) -> Learnt:
    return {
        view: (
            learnt[f"{view}_weights"],
            float(learnt[f"{view}_noise"]),
            learnt[f"{view}_beta"],
            float(learnt[f"{view}_variance"]),
        )
        for view in VIEWS
    }
