"""A measured screen that answers one round at a time, and policies run against it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from screenwise.design.acquisition import pick_top, tie_keys
from screenwise.errors import ConfigError, DataError, DesignError
from screenwise.processes import Workers, check_sendable
from screenwise.rng import derive_seed, stream
from screenwise.run import atomic_path
from screenwise.screen import Screen
from screenwise.simulate.start import STARTS, begin, start_size

CURVE_COLUMNS = ["policy", "seed", "round", "measured", "hits", "hit_fraction", "best"]


class Replay:
    """An oracle whose answers were measured long ago (see `screenwise.protocols.Oracle`).

    Rounds are answered in the order they come; the next one waits until the results of the last were
    taken, as in a laboratory.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> screen = make_screen(pd.DataFrame({"gene": ["TP53", "MYC"]}), np.array([[0.5], [2.0]]), ["growth"])
    >>> oracle = Replay(screen)
    >>> ticket = oracle.submit(screen.conditions.iloc[[1]])
    >>> oracle.results(ticket)["growth"].tolist()
    [2.0]
    """

    def __init__(self, screen: Screen, tasks: Sequence[str] | None = None) -> None:
        chosen = [screen.task_index(name) for name in (screen.task_names if tasks is None else tasks)]
        self.screen = screen.take_tasks(chosen)
        ids = self.screen.conditions["condition_id"].astype(str)
        if ids.duplicated().any():
            message = (
                f"Condition {ids[ids.duplicated()].iloc[0]} stands twice in the screen; aggregate replicates first."
            )
            raise DataError(message)
        self._place = pd.Series(np.arange(len(ids)), index=ids)
        self._open: tuple[str, NDArray[np.int64]] | None = None
        self.rounds = 0
        """Rounds answered or under way."""

    def submit(self, round: pd.DataFrame) -> str:
        """Take a round (`condition_id`) and return its ticket."""
        if self._open is not None:
            message = f"Round {self._open[0]} is not taken yet; call results({self._open[0]!r}) before the next round."
            raise DesignError(message)
        ids = round["condition_id"].astype(str)
        unknown = ids[~ids.isin(self._place.index)]
        if len(unknown):
            message = f"{len(unknown)} conditions of the round were never measured, such as {unknown.iloc[0]}."
            raise DesignError(message)
        self.rounds += 1
        ticket = f"round-{self.rounds}"
        self._open = (ticket, self._place[ids].to_numpy(np.int64))
        return ticket

    def results(self, ticket: str) -> pd.DataFrame | None:
        """Return `condition_id` and one column per task (NaN where never measured); None = not that round."""
        if self._open is None or self._open[0] != ticket:
            return None
        rows = self._open[1]
        self._open = None
        values = pd.DataFrame(self.screen.targets.take(rows).dense(), columns=self.screen.task_names)
        values.insert(0, "condition_id", self.screen.conditions["condition_id"].to_numpy(object)[rows])
        return values


@dataclass(frozen=True)
class Turn:
    """What a policy is asked in one round of a replay."""

    wells: int
    """Candidates to choose."""
    progress_share: float
    """Wells used over all wells of the replay, 0 to 1."""
    seed: int
    """For what is random in the policy; another one in every round."""


class Proposer(Protocol):
    """Chooses a round: returns positions in the pool, the best first."""

    def __call__(self, measured: Screen, pool: pd.DataFrame, turn: Turn) -> NDArray[np.int64]:
        """Choose from `pool`, all candidates of the screen, what `measured` does not hold yet."""
        ...


def choose_at_random(measured: Screen, pool: pd.DataFrame, turn: Turn) -> NDArray[np.int64]:
    """Choose any candidates not measured yet: what every policy must beat."""
    known = pool["condition_id"].isin(measured.conditions["condition_id"]).to_numpy(bool)
    keys = tie_keys(pool["condition_id"].to_numpy(object), stream(turn.seed, "random"))
    return pick_top(np.where(known, -np.inf, 0.0), turn.wells, keys)


@dataclass(frozen=True)
class ReplaySettings:
    """How a replay goes."""

    task: str
    """Task that is looked for."""
    utility: Callable[[NDArray[Any]], NDArray[np.float64]] = np.asarray
    """Turns values of the task into what is wanted: higher = better."""
    rounds: int = 6
    """Rounds after the random start."""
    wells: int = 96
    """Wells of each round."""
    start: int = 32
    """Wells of the start, the same for all policies of one seed."""
    start_with: str = "random"
    """What they hold (`screenwise.simulate.start.STARTS`); some kinds say themselves how many there are."""
    hits: float = 0.05
    """Share of the pool, best first, that counts as hits; ties at the edge count too."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Paired seeds."""
    cost: Callable[[pd.DataFrame, NDArray[np.bool_], NDArray[np.int64]], float] | None = None
    """Returns what a round costs, of the (n,) pool, the (n,) mask of what was known and the rows chosen; None =
    nothing costs anything."""

    def __post_init__(self) -> None:
        for name in ("rounds", "wells", "start"):
            if getattr(self, name) < 1:
                message = f"The setting {name} of a replay is {getattr(self, name)}; it must be at least 1."
                raise ConfigError(message)
        if self.start_with not in STARTS:
            message = f"A replay cannot start with {self.start_with!r}; it may start with {', '.join(STARTS)}."
            raise ConfigError(message)
        if not self.seeds:
            message = "A replay needs at least one seed; the setting seeds is 0."
            raise ConfigError(message)
        if not 0 < self.hits <= 1:
            message = f"The setting hits of a replay is {self.hits}; it is a share of the pool, above 0 and at most 1."
            raise ConfigError(message)


def run_replay(
    policies: Mapping[str, Proposer],
    screen: Screen,
    settings: ReplaySettings,
    *,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
    folder: Path | None = None,
) -> pd.DataFrame:
    """Run policies on a measured screen, each from the same random starts.

    Parameters
    ----------
    policies
        Name -> proposer. Random and greedy belong in every comparison; recipes add them.
    screen
        Measured conditions; those without a value of the task are left out.
    settings
        Task, utility, rounds, wells, hits, seeds.
    jobs
        Processes; with more than one, policies and the utility must be picklable.
    progress
        Called as ``progress("Replays", done, total)``, one step per policy and seed.
    folder
        Where each finished policy and seed is kept under a digest of the screen, the settings, the
        policy and the version, so that the same call goes on where it was interrupted. A policy whose
        `repr` does not tell its settings (a lambda, a closure) is run again each time.

    Returns
    -------
    DataFrame
        `policy, seed, round, measured, hits, hit_fraction, best`: after round 0 (the start) and every
        further one, how many conditions were measured, how many hits they hold, what share of all hits
        that is, and the best value in the task's units. With costs also `cost`, of all that was measured.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene": [f"G{i}" for i in range(40)]})
    >>> screen = make_screen(genes, np.arange(40.0)[:, None], ["growth"])
    >>> settings = ReplaySettings("growth", rounds=2, wells=10, start=20, seeds=(0,))
    >>> run_replay({"random": choose_at_random}, screen, settings)["measured"].tolist()
    [20, 30, 40]
    """
    pool = _pool_of(screen, settings)
    kept = None if folder is None else (Path(folder), _data_digest(pool, settings))
    game = _Game(dict(policies), pool, settings, kept)
    units = [(name, seed) for name in policies for seed in settings.seeds]
    if jobs > 1:
        for name, policy in policies.items():
            check_sendable((policy, settings), f"The policy {name!r}")
    tell = progress or _silent
    tell("Replays", 0, len(units))
    with Workers(_run_unit, game, min(jobs, len(units))) as workers:
        found = list(workers.in_order(units, lambda done: tell("Replays", done, len(units))))
    return pd.concat(found, ignore_index=True)


def _silent(what: str, done: int, total: int) -> None: ...


def _pool_of(screen: Screen, settings: ReplaySettings) -> Screen:
    task = screen.task_index(settings.task)
    pool = screen.take(screen.targets.task(task).row).take_tasks([task])
    start = start_size(settings.start_with, len(pool), settings.start)
    if len(pool) <= start:
        message = (
            f"Only {len(pool)} conditions have a value of {settings.task!r}; "
            f"a start of {start} wells leaves nothing to choose from."
        )
        raise DataError(message)
    ids = pool.conditions["condition_id"]
    if ids.duplicated().any():
        message = f"Condition {ids[ids.duplicated()].iloc[0]} stands twice in the screen; aggregate replicates first."
        raise DataError(message)
    return pool


@dataclass(frozen=True)
class _Game:
    """What the units of a replay have in common."""

    policies: dict[str, Proposer]
    pool: Screen
    settings: ReplaySettings
    kept: tuple[Path, str] | None
    """Folder of finished units, and the digest of the screen; None = nothing is kept."""


def _run_unit(game: _Game, unit: tuple[str, int]) -> pd.DataFrame:
    """Return the curve of one policy and seed, from the folder if it is finished."""
    path = _path(game, unit)
    if path is None:
        return _curve(game, unit)
    if path.exists():
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            message = f"{path} cannot be read ({error}); delete it to run {unit[0]}, seed {unit[1]}, again."
            raise DataError(message) from error
    curve = _curve(game, unit)
    with atomic_path(path) as draft:
        curve.to_parquet(draft, index=False)
    return curve


def _path(game: _Game, unit: tuple[str, int]) -> Path | None:
    """Name a unit's file by all that its curve depends on; None where it cannot or need not be kept."""
    settings = game.settings
    numbers: tuple[Any, ...] = (settings.rounds, settings.wells, settings.start, settings.hits)
    if settings.start_with != "random":
        numbers = (*numbers, settings.start_with)
    if settings.cost is not None:
        numbers = (*numbers, settings.cost)
    told = f"{game.policies[unit[0]]!r}\x1f{unit}\x1f{numbers}\x1f{version('screenwise')}"
    if game.kept is None or " at 0x" in told:  # the address of a function says nothing of what it does
        return None
    folder, data = game.kept
    return folder / f"{hashlib.blake2b(f'{told}{data}'.encode(), digest_size=12).hexdigest()}.parquet"


def _data_digest(pool: Screen, settings: ReplaySettings) -> str:
    """Return a digest of conditions, values and what they are worth."""
    words = hashlib.blake2b(f"{settings.task}\x1f{list(pool.conditions.columns)}".encode(), digest_size=12)
    hashed = pd.util.hash_pandas_object(pool.conditions, index=False).to_numpy()
    cells, utility = pool.targets.cells(), settings.utility(pool.targets.dense()[:, 0])
    for array in (hashed, cells.value, cells.relation, np.asarray(utility, np.float64)):
        words.update(np.ascontiguousarray(array).tobytes())
    return words.hexdigest()


def _curve(game: _Game, unit: tuple[str, int]) -> pd.DataFrame:
    """Return a row after every round of one policy and seed."""
    pool, settings = game.pool, game.settings
    proposer, seed = game.policies[unit[0]], unit[1]
    value = pool.targets.dense()[:, 0]
    utility = np.asarray(settings.utility(value), np.float64)
    hit = mark_hits(utility, settings.hits)
    known = np.zeros(len(pool), bool)
    chosen = begin(pool, hit, settings.start_with, settings.start, seed)
    most = min(len(chosen) + settings.rounds * settings.wells, len(pool))
    lines: list[tuple[Any, ...]] = []
    cost, columns = 0.0, [*CURVE_COLUMNS, *(["cost"] if settings.cost else [])]
    for number in range(settings.rounds + 1):
        if number:
            used = int(known.sum())
            turn = Turn(min(settings.wells, most - used), used / most, derive_seed(seed, "replay", number))
            chosen = proposer(pool.take(known), pool.conditions, turn) if turn.wells > 0 else chosen[:0]
        _check_choice(chosen, known)
        cost += settings.cost(pool.conditions, known, chosen) if settings.cost else 0.0
        known[chosen] = True
        best = np.flatnonzero(known)[np.argmax(utility[known])]
        count = int(hit[known].sum())
        line = (*unit, number, int(known.sum()), count, count / int(hit.sum()), float(value[best]))
        lines.append((*line, cost)[: len(columns)])
    return pd.DataFrame(lines, columns=columns)


def _check_choice(chosen: NDArray[np.int64], known: NDArray[np.bool_]) -> None:
    if len(np.unique(chosen)) != len(chosen) or known[chosen].any():
        message = "A policy chose a condition twice, or one that was measured before; each may be measured once."
        raise DesignError(message)


def mark_hits(utility: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """Return the (n,) mask of the best `share` of all, ties at its edge included.

    Examples
    --------
    >>> mark_hits(np.array([1.0, 2.0, 2.0, 0.0]), 0.25).tolist()
    [False, True, True, False]
    """
    count = max(1, round(share * len(utility)))
    edge = np.sort(utility)[-count]
    return np.asarray(utility >= edge)


def t_interval(values: pd.Series, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean, lower and upper of a t interval over seeds; NaN bounds with one seed.

    Examples
    --------
    >>> [round(one, 2) for one in t_interval(pd.Series([1.0, 2.0, 3.0]))]
    [2.0, -0.48, 4.48]
    """
    count = len(values)
    if count == 0:
        return (np.nan, np.nan, np.nan)
    mean = float(values.mean())
    if count == 1:
        return (mean, np.nan, np.nan)
    half = float(student.ppf(0.5 + level / 2, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half
