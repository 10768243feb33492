"""Effects against the control of the same experimental batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenwise.data.matched_control import MATCHING, GroupMeans, matched_levels
from screenwise.errors import ConfigError, DataError


def groups(rng, batches=3, p=4, controls=(40, 50, 60), noise=None):
    """Return means of two singles and their pair in every batch."""
    genes = [(), ("A",), ("B",), ("A", "B")] * batches
    batch = np.repeat([f"b{place}" for place in range(batches)], 4)
    weight = rng.integers(5, 80, len(genes)).astype(float)
    weight[::4] = controls
    return GroupMeans(genes, batch.tolist(), weight, rng.normal(size=(len(genes), p)), noise)


def by_hand(groups, controls):
    """Return the levels, one group after the other."""
    weight, batch = groups.weight, np.asarray(groups.batch)
    own = np.array([not one for one in groups.genes])
    overall = np.average(groups.mean[own], axis=0, weights=weight[own])
    levels = [overall]
    for genes in (("A",), ("B",), ("A", "B")):
        rows = [row for row, one in enumerate(groups.genes) if one == genes]
        effects = [groups.mean[row] - controls(batch[row], overall) for row in rows]
        levels.append(overall + np.average(effects, axis=0, weights=weight[rows]))
    return np.array(levels)


def own_control(groups):
    batch = np.asarray(groups.batch)
    return lambda name, overall: groups.mean[[not one for one in groups.genes] & (batch == name)][0]


@given(st.integers(0, 1_000))
def test_matched_and_pooled_by_hand(seed):
    data = groups(np.random.default_rng(seed))
    pooled = by_hand(data, lambda _, overall: overall)
    np.testing.assert_allclose(matched_levels(data, "pooled").level, pooled, atol=1e-12)
    matched = by_hand(data, own_control(data))
    np.testing.assert_allclose(matched_levels(data, "matched").level, matched, atol=1e-12)
    np.testing.assert_allclose(matched_levels(data, "shrunk").level, matched, atol=1e-12)
    assert matched_levels(data).genes == [(), ("A",), ("B",), ("A", "B")]


def test_a_shift_of_a_batch_cancels_when_controls_are_matched():
    rng = np.random.default_rng(0)
    data = groups(rng)
    shift = rng.normal(size=(3, 4)) * 10
    moved = GroupMeans(data.genes, data.batch, data.weight, data.mean + np.repeat(shift, 4, axis=0))
    before, after = (matched_levels(one, "matched").level for one in (data, moved))
    np.testing.assert_allclose(after[1:] - after[0], before[1:] - before[0], atol=1e-12)


def test_shrinking_lies_between_and_follows_the_evidence():
    # batches that do not differ beyond noise pool; batches that differ much are matched
    rng = np.random.default_rng(1)
    quiet = groups(rng, noise=1e6)
    np.testing.assert_allclose(matched_levels(quiet).level, matched_levels(quiet, "pooled").level)
    loud = groups(rng, noise=1e-6)
    np.testing.assert_allclose(matched_levels(loud).level, matched_levels(loud, "matched").level, atol=1e-5)
    middle = groups(rng, noise=30.0)
    own, all_, between = (matched_levels(middle, how).level for how in ("matched", "pooled", "shrunk"))
    inside = (between - all_) / np.where(own == all_, 1, own - all_)
    assert ((inside[1:] > 0.02) & (inside[1:] < 0.98)).mean() > 0.7


def test_shrinking_is_nearer_the_truth_than_both_on_average():
    rng = np.random.default_rng(2)
    errors = dict.fromkeys(MATCHING, 0.0)
    batches, p, spread, cell = 12, 30, 0.35, 1.0
    for _ in range(40):
        shift = rng.normal(0, spread, (batches, p))
        controls, cells = rng.integers(2, 30, batches), 40
        genes = [*[()] * batches, *[(f"A{place}",) for place in range(batches)]]
        mean = np.vstack([shift + rng.normal(size=(batches, p)) * cell / np.sqrt(controls)[:, None], shift + 1.0])
        names = [f"b{place}" for place in range(batches)] * 2
        weight = np.concatenate([controls, np.full(batches, cells)]).astype(float)
        data = GroupMeans(genes, names, weight, mean, noise=p * cell**2)
        for how in MATCHING:
            level = matched_levels(data, how).level
            errors[how] += float(((level[1:] - level[0] - 1.0) ** 2).mean())
    assert errors["shrunk"] < min(errors["matched"], errors["pooled"])


def test_a_batch_without_control_uses_all_controls_and_is_told():
    data = groups(np.random.default_rng(0), controls=(10, 50, 60))
    keep = np.arange(4, 12)
    genes = [*[data.genes[row] for row in keep], ("A",)]
    rest = GroupMeans(
        genes, [*np.asarray(data.batch)[keep], "lost"], np.ones(9), np.vstack([data.mean[keep], [[9.0] * 4]])
    )
    found = matched_levels(rest, "matched")
    assert "lost (1)" in found.notes[0]
    overall = found.level[0]
    effects = [data.mean[5] - data.mean[4], data.mean[9] - data.mean[8], 9.0 - overall]
    np.testing.assert_allclose(found.level[1] - overall, np.mean(effects, axis=0), atol=1e-12)
    assert "fewer than 25 control cells: b0 (10)" in matched_levels(data).notes[0]


def test_what_cannot_be_matched_is_an_error():
    data = GroupMeans([("A",)], [""], np.ones(1), np.ones((1, 2)))
    with pytest.raises(DataError, match="no control"):
        matched_levels(data)
    with pytest.raises(ConfigError, match="choose shrunk, matched, pooled"):
        matched_levels(data, "nearest")
