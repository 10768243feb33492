"""Stop rules say stop where their own definition does, and tell their values always."""

import numpy as np
import pytest

from screenwise.design.stop import Outcomes, StopRules, judge, top_gain
from screenwise.errors import ConfigError


def fired(rules, **known):
    return [one.rule for one in judge(rules, Outcomes(**{"rounds": 2, **known})) if one.fired]


@pytest.mark.parametrize(
    ("rule", "limit", "quiet", "loud"),
    [
        ("budget", 100.0, {"spent": 60.0, "cost": 40.0}, {"spent": 60.0, "cost": 41.0}),
        ("rounds", 3, {"rounds": 2}, {"rounds": 3}),
        ("expected_improvement", 0.1, {"improvement": 0.1}, {"improvement": 0.09}),
        ("probability_of_improvement", 0.05, {"better": 0.2}, {"better": 0.01}),
        ("hits_per_plate", 2.0, {"hits": 4.0, "plates": 2}, {"hits": 3.0, "plates": 2}),
        ("worth_of_hit", 50.0, {"hits": 4.0, "cost": 100.0}, {"hits": 1.0, "cost": 100.0}),
        ("recall", 0.9, {"found": 8, "unfound": 1.0}, {"found": 9, "unfound": 1.0}),
        ("no_signal", 2, {"signals": (False, True, False)}, {"signals": (True, False, False)}),
    ],
)
def test_a_rule_fires_beyond_its_limit_only_and_says_why(rule, limit, quiet, loud):
    rules = StopRules(**{rule: limit})
    assert fired(rules, **quiet) == []
    assert fired(rules, **loud) == [rule]
    assert fired(StopRules(), **loud) == []
    line = next(one for one in judge(rules, Outcomes(**{"rounds": 2, **loud})) if one.fired)
    assert line.why
    assert line.limit == limit
    told = next(one for one in judge(StopRules(), Outcomes(**{"rounds": 2, **loud})) if one.rule == rule)
    assert told.value == line.value


def test_what_is_not_known_does_not_stop():
    rules = StopRules(expected_improvement=9.0, hits_per_plate=9.0, worth_of_hit=0.0, recall=0.0, stagnation=1)
    assert fired(rules) == []


def test_stagnation_counts_rounds_without_a_gain_of_the_best():
    rng = np.random.default_rng(0)
    start = tuple(rng.normal(size=30))
    still = (start, (0.0,) * 5, (0.1,) * 5)
    assert fired(StopRules(stagnation=2, top=5), utilities=still) == ["stagnation"]
    assert fired(StopRules(stagnation=2, top=5), utilities=(*still, (9.0,) * 5)) == []
    assert fired(StopRules(stagnation=1, top=50), utilities=still) == []


def test_the_gain_has_no_scale_and_no_origin():
    rng = np.random.default_rng(1)
    rounds = [rng.normal(size=20) for _ in range(3)]
    gain = top_gain(rounds, 1, 5)
    assert gain == pytest.approx(top_gain([7.0 - 0.5 + 3.0 * one for one in rounds], 1, 5))
    before, after = np.sort(np.concatenate(rounds[:2]))[-5:], np.sort(np.concatenate(rounds))[-5:]
    assert gain == pytest.approx((after.mean() - before.mean()) / np.concatenate(rounds).std())


@pytest.mark.parametrize("wrong", [{"recall": 1.5}, {"rounds": 0}, {"budget": -1.0}, {"top": 0}])
def test_limits_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        StopRules(**wrong)
