"""Every acquisition is a policy, and one that its model cannot serve is refused before anything is computed."""

import pytest

from screenwise.campaign.named import check_policy, named_policy
from screenwise.campaign.policy import POLICIES, Objective
from screenwise.design.choose import BATCHES
from screenwise.errors import ConfigError

MAXIMIZE, ABSOLUTE = Objective("maximize", "t"), Objective("absolute", "t")


@pytest.mark.parametrize("name", [*POLICIES, *BATCHES])
def test_every_name_is_a_policy_and_classes_allow_all(name):
    policy = named_policy(name)
    assert name in (policy.acquisition, *POLICIES)
    check_policy(name, policy, MAXIMIZE, classes=True, costs=True)


def test_a_model_may_stand_before_an_acquisition():
    policy = named_policy("forest:ucb")
    assert (policy.model, policy.acquisition, policy.scaled) == ("forest", "ucb", False)
    assert named_policy("gp:random") == POLICIES["random"]
    for wrong in ("gredy", "forst:ei", "forest:gredy", "forest:", ":ei"):
        with pytest.raises(ConfigError, match=r"There is no policy .* k_center.* the models are mean"):
            named_policy(wrong)


@pytest.mark.parametrize(
    ("name", "objective", "classes", "says"),
    [
        ("entropy", MAXIMIZE, False, "needs class probabilities"),
        ("bald", MAXIMIZE, False, "needs class probabilities under several functions"),
        ("gp:bald", MAXIMIZE, True, "A forest does: forest:bald"),
        ("gp:k_center", MAXIMIZE, False, "A forest does: forest:k_center in a replay, --model forest"),
        ("forest:maxdet", MAXIMIZE, False, "needs a joint posterior"),
        ("batch_ucb", ABSOLUTE, False, "needs a joint posterior"),
        ("hits_per_cost", MAXIMIZE, False, "needs costs"),
        ("auto:hits_per_cost", MAXIMIZE, False, "needs costs"),
    ],
)
def test_what_cannot_be_served_is_refused(name, objective, classes, says):
    with pytest.raises(ConfigError, match=f"The policy {name} {says}" if says.startswith("needs") else says):
        check_policy(name, named_policy(name), objective, classes=classes)
