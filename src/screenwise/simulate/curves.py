"""What the curves of replays say: the area under them, and policies against a baseline, seed by seed."""

import numpy as np
import pandas as pd

from screenwise.simulate.replay import t_interval

BASELINES = ("random", "greedy")
"""Policies that every other one is compared with, where the curves have them."""


def mean_curves(curves: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return the mean learning curve of each pool and policy, with intervals over seeds.

    Parameters
    ----------
    curves
        As `screenwise.simulate.replay.run_replay` returns them; those of several pools have a column `pool`.
    level
        Of the t intervals; NaN with one seed.

    Returns
    -------
    DataFrame
        `pool, policy, round, measured, seeds, hit_fraction, lower, upper, best`, and `cost` of replays with costs.
    """
    lines = []
    for (pool, policy, number), part in _of_pools(curves).groupby(["pool", "policy", "round"], sort=False):
        found = share_interval(part["hit_fraction"], level)
        line = (pool, policy, number, part["measured"].mean(), len(part), *found, part["best"].mean())
        lines.append((*line, *([part["cost"].mean()] if "cost" in part else [])))
    names = ["pool", "policy", "round", "measured", "seeds", "hit_fraction", "lower", "upper", "best", "cost"]
    return pd.DataFrame(lines, columns=names if "cost" in curves else names[:-1])


def share_interval(values: pd.Series, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean, lower and upper of shares over seeds: a t interval of few seeds may pass 0 or 1, a share does not.

    Examples
    --------
    >>> [round(one, 2) for one in share_interval(pd.Series([0.1, 0.5]))]
    [0.3, 0.0, 1.0]
    """
    mean, lower, upper = np.clip(t_interval(values, level), 0.0, 1.0).tolist()
    return mean, lower, upper


def _of_pools(curves: pd.DataFrame) -> pd.DataFrame:
    return curves if "pool" in curves else curves.assign(pool="")


def area_under_curve(measured: pd.Series, found: pd.Series) -> float:
    """Return the mean share of hits known while wells are used: the area under the curve by its width.

    Examples
    --------
    >>> area_under_curve(pd.Series([10, 20, 30]), pd.Series([0.0, 0.5, 1.0]))
    0.5
    """
    wells = measured.to_numpy(np.float64)
    if wells[-1] == wells[0]:
        return float(found.iloc[-1])
    return float(np.trapezoid(found.to_numpy(np.float64), wells) / (wells[-1] - wells[0]))


def saved_share(curve: pd.DataFrame, baseline: pd.DataFrame) -> float:
    """Return the share of wells that a policy saves against a baseline of the same seed, for the same hits.

    Both reach the hits of whichever found fewer in the end: the policy after w wells, the baseline after b (start
    included, straight lines between rounds). The share is (b - w) / max(b, w): 0.5 = half the wells, -0.5 = twice
    as many. What the better one found beyond those hits does not count.

    Examples
    --------
    >>> good = pd.DataFrame({"measured": [10, 20, 30], "hits": [0, 8, 10]})
    >>> poor = pd.DataFrame({"measured": [10, 20, 30], "hits": [0, 2, 4]})
    >>> saved_share(good, poor), saved_share(poor, good)
    (0.5, -0.5)
    """
    hits = float(min(curve["hits"].iloc[-1], baseline["hits"].iloc[-1]))
    mine, other = _wells_for(curve, hits), _wells_for(baseline, hits)
    return (other - mine) / max(other, mine)


def _wells_for(curve: pd.DataFrame, hits: float) -> float:
    """Return after how many wells a curve that rises to `hits` first holds as many."""
    wells, found = curve["measured"].to_numpy(np.float64), curve["hits"].to_numpy(np.float64)
    after = int(np.argmax(found >= hits))
    if after == 0:
        return float(wells[0])
    share = (hits - found[after - 1]) / (found[after] - found[after - 1])
    return float(wells[after - 1] + share * (wells[after] - wells[after - 1]))


def summarise_policies(curves: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return one row per pool and policy, with t intervals over paired seeds.

    Parameters
    ----------
    curves
        As `mean_curves` takes them.
    level
        Of the intervals; NaN with one seed.

    Returns
    -------
    DataFrame
        `pool, policy, seeds, measured, hits, hit_fraction, lower, upper, area, area_lower, area_upper`, and of each
        baseline B among the policies `over_B` (difference of the shares of hits), `saved_B` (`saved_share`), both
        with `_lower` and `_upper`, and `won_B`, `lost_B` (seeds). Of replays with costs also `cost` (of all that was
        measured) and `hits_per_cost`, with `_lower` and `_upper`, before the comparisons.
    """
    lines = []
    for pool, mine in _of_pools(curves).groupby("pool", sort=False):
        runs = {
            key: part.sort_values("round", kind="stable") for key, part in mine.groupby(["policy", "seed"], sort=False)
        }
        for policy in dict.fromkeys(mine["policy"]):
            own = {seed: part for (name, seed), part in runs.items() if name == policy}
            lines.append({"pool": pool, "policy": policy} | _of_policy(own, runs, level))
    return pd.DataFrame(lines)


def _of_policy(
    own: dict[int, pd.DataFrame], runs: dict[tuple[str, int], pd.DataFrame], level: float
) -> dict[str, object]:
    last = pd.DataFrame({seed: part.iloc[-1] for seed, part in own.items()}).T
    areas = [area_under_curve(part["measured"], part["hit_fraction"]) for part in own.values()]
    line: dict[str, object] = {"seeds": len(own), "measured": round(last["measured"].mean())}
    line["hits"] = float(last["hits"].mean())
    shares = {("hit_fraction", "lower", "upper"): last["hit_fraction"].astype(float)}
    shares[("area", "area_lower", "area_upper")] = pd.Series(areas)
    for told, values in shares.items():
        line |= dict(zip(told, share_interval(values, level), strict=True))
    if "cost" in last:
        line["cost"] = float(last["cost"].mean())
        names = ("hits_per_cost", "hits_per_cost_lower", "hits_per_cost_upper")
        line |= _told(names, last["hits"].astype(float) / last["cost"].astype(float).replace(0.0, np.nan), level)
    for name in BASELINES:
        pairs = [(part, runs[name, seed]) for seed, part in own.items() if (name, seed) in runs]
        over = pd.Series(
            [one["hit_fraction"].iloc[-1] - other["hit_fraction"].iloc[-1] for one, other in pairs], dtype=float
        )
        saved = pd.Series([saved_share(one, other) for one, other in pairs], dtype=float)
        for what, values in (("over", over), ("saved", saved)):
            column = f"{what}_{name}"
            line |= _told((column, f"{column}_lower", f"{column}_upper"), values, level)
        line |= {f"won_{name}": int((over > 0).sum()), f"lost_{name}": int((over < 0).sum())}
    return line


def _told(names: tuple[str, str, str], values: pd.Series, level: float) -> dict[str, object]:
    return dict(zip(names, t_interval(values, level), strict=True))
