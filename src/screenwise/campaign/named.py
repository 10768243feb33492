"""Policies by the names that a command line takes, and whether their model can serve them."""

from screenwise.campaign.capabilities import KNOWN_TO_FORESTS, MEANS, WANTED, usual_model
from screenwise.campaign.policy import POLICIES, Objective
from screenwise.campaign.proposal import Policy
from screenwise.design.choose import BATCHES
from screenwise.errors import ConfigError
from screenwise.models import MODELS, model_class
from screenwise.protocols import Embeds, HasPosterior, KnowsFunctions


def named_policy(name: str) -> Policy:
    """Return a policy by its name: one of `POLICIES`, an acquisition, or MODEL:ACQUISITION.

    An acquisition alone is asked of a Gaussian process, or of a forest where it needs an embedding or classes
    under several functions.

    Examples
    --------
    >>> named_policy("maxdet").model, named_policy("bald").model, named_policy("forest:ei").acquisition
    ('gp', 'forest', 'ei')
    """
    if name in POLICIES:
        return POLICIES[name]
    model, colon, acquisition = name.rpartition(":")
    if acquisition not in BATCHES or (colon and model not in MODELS):
        message = (
            f"There is no policy {name!r}; the policies are {', '.join(POLICIES)}, and the acquisitions "
            f"{', '.join(one for one in BATCHES if one not in POLICIES)}, alone or with a model before them, "
            f"MODEL:ACQUISITION, such as forest:ei; the models are {', '.join(MODELS)}."
        )
        raise ConfigError(message)
    if acquisition == "random":
        return POLICIES["random"]
    model = model or usual_model(acquisition)
    return Policy(model=model, acquisition=acquisition, scaled=model == "gp")


def check_policy(
    name: str, policy: Policy, objective: Objective, *, classes: bool | None = None, costs: bool = False
) -> None:
    """Refuse a policy whose model can never give what its acquisition needs, before anything is computed.

    Parameters
    ----------
    name
        As the user calls it.
    policy
        Which.
    objective
        What is looked for.
    classes
        Whether the task's values are classes 0 and 1; None = not known yet.
    costs
        Whether candidates have costs.

    Examples
    --------
    >>> check_policy("gp:k_center", named_policy("gp:k_center"), Objective("maximize", "growth"))
    Traceback (most recent call last):
    ...
    screenwise.errors.ConfigError: The policy gp:k_center needs an embedding of conditions ... A forest does: ...
    """
    if not policy.model or policy.acquisition == "random":
        return
    model = model_class(policy.model)
    joint, sign = issubclass(model, HasPosterior), objective.direction != "absolute"
    yes_no = classes is not False
    there = {
        "posterior": joint and (sign or policy.acquisition not in MEANS),
        "draws": joint or issubclass(model, KnowsFunctions),
        "probability": yes_no,
        "class_draws": yes_no and issubclass(model, KnowsFunctions),
        "embedding": issubclass(model, Embeds),
        "measured": issubclass(model, Embeds),
        "cost": costs,
    }
    lacking = [need for need in BATCHES[policy.acquisition].needs if not there.get(need, True)]
    if not lacking or (policy.model == "auto" and not set(lacking) & {"cost", "probability"}):
        return  # which model `auto` becomes is known when it is fitted
    other = named_policy(policy.acquisition).model
    able = "class_draws" not in lacking or yes_no
    cure = ""
    if other != policy.model and set(lacking) & set(KNOWN_TO_FORESTS) and able:
        ways = f"{other}:{policy.acquisition} in a replay, --model {other} in a campaign"
        cure = f" A {other} does: {ways}."
    message = f"The policy {name} needs {' and '.join(WANTED[need] for need in lacking)}.{cure}"
    raise ConfigError(message)
