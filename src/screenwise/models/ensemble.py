"""Several models of one kind that differ by their seed: their disagreement shows what was not learned."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ConfigError, ModelError
from screenwise.models import MODELS, load_model, save_model
from screenwise.prediction import Prediction
from screenwise.protocols import Model
from screenwise.rng import derive_seed
from screenwise.run import Run, read_json, write_json
from screenwise.screen import Screen


@dataclass(frozen=True)
class EnsembleConfig:
    """Settings of an ensemble."""

    members: int = 5
    """How many models are fitted."""

    def __post_init__(self) -> None:
        if self.members < 2:  # noqa: PLR2004 - one model has nobody to disagree with
            message = f"An ensemble of {self.members} members cannot disagree; members must be at least 2."
            raise ConfigError(message)


class DeepEnsemble:
    """Members fitted with different seeds (Lakshminarayanan et al. 2017).

    The mean is that of the members. The variance is the mean of theirs plus that of their means (the law
    of total variance, their equation of section 2.4); where members do not say how sure they are, only
    the latter. Draw s is member s, the same function on every chunk of a pool.

    Parameters
    ----------
    factory
        Returns a new, unfitted model.
    config
        How many.

    Examples
    --------
    >>> from screenwise.models.baseline import Mean
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene": ["A", "B"]})
    >>> screen = make_screen(genes, np.array([[1.0], [2.0]]), ["growth"])
    >>> DeepEnsemble(Mean, EnsembleConfig(members=3)).fit(screen).predict(genes).draws.shape
    (3, 2, 1)
    """

    Config = EnsembleConfig

    def __init__(self, factory: Callable[[], Model], config: EnsembleConfig | None = None) -> None:
        self.factory = factory
        self.config = config or EnsembleConfig()
        self.members_: tuple[Model, ...] = ()

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Fit the members one after another, each with a folder of its own in the run."""
        members = []
        for place in range(self.config.members):
            own_run = None if run is None else Run(run.folder / f"member-{place}", run.progress)
            own_seed = derive_seed(seed, "ensemble", place)
            members.append(self.factory().fit(screen, valid=valid, run=own_run, seed=own_seed))
        self.members_ = tuple(members)
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks; a condition is in the domain if it is in every member's."""
        answers = [member.predict(conditions) for member in self._members()]
        draws = np.stack([answer.mean for answer in answers])
        variance = draws.var(axis=0, ddof=1, dtype=np.float64)
        own = [answer.std for answer in answers if answer.std is not None]
        if own:
            variance += np.mean([np.square(std, dtype=np.float64) for std in own], axis=0)
        inside = [answer.in_domain for answer in answers if answer.in_domain is not None]
        notes = [answer.note for answer in answers if answer.note is not None]
        return Prediction(
            draws.mean(axis=0),
            np.sqrt(variance).astype(np.float32),
            draws,
            np.logical_and.reduce(inside) if inside else None,
            _first_note(notes) if notes else None,
        )

    def save(self, folder: Path) -> None:
        """Write each member to a folder of its own, and ``ensemble.json``."""
        names = {place: name for name, place in MODELS.items()}
        for place, member in enumerate(self._members()):
            kind = f"{type(member).__module__}:{type(member).__qualname__}"
            if kind not in names:
                message = f"Members of the kind {kind} cannot be saved; the models that can are {', '.join(MODELS)}."
                raise ModelError(message)
            save_model(member, names[kind], Path(folder) / f"member-{place}")
        write_json(Path(folder) / "ensemble.json", {"members": len(self.members_)})

    def _members(self) -> tuple[Model, ...]:
        if not self.members_:
            message = "This ensemble is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.members_

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; fitted again, it makes members as the first one is, with its settings."""
        count = int(read_json(Path(folder) / "ensemble.json")["members"])
        members = tuple(load_model(Path(folder) / f"member-{place}") for place in range(count))
        first: Any = members[0]
        model = cls(lambda: type(first)(first.config), EnsembleConfig(count))
        model.members_ = members
        return model


def _first_note(notes: list[NDArray[Any]]) -> NDArray[Any]:
    found = notes[0].astype(object).copy()
    for note in notes[1:]:
        empty = found == ""
        found[empty] = note[empty]
    return found
