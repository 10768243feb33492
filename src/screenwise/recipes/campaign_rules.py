"""The rules of a campaign as one TOML file: what rounds may hold, how plates are laid out, when to stop."""

import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from screenwise.campaign.state import CampaignSettings
from screenwise.config import from_mapping, to_toml
from screenwise.design.constraints import Constraints
from screenwise.design.plate import PlateRules
from screenwise.design.stop import StopRules
from screenwise.errors import ConfigError
from screenwise.run import write_text


@dataclass(frozen=True)
class CampaignRules:
    """Everything that `screenwise campaign new --constraints FILE` reads."""

    constraints: Constraints = field(default_factory=Constraints)
    """What a round may hold. A rule on `gene` or `compound` counts all members of a pair (gene_a, gene_b)."""
    plate: PlateRules = field(default_factory=PlateRules)
    """Format, controls, replicates and edge of the plates; what the command line says wins."""
    stop: StopRules = field(default_factory=StopRules)
    """When the campaign stops by itself, before a round; rules that are not set never do."""


def read_rules(path: Path) -> CampaignRules:
    """Read the rules of a campaign; a wrong name is an error that says the right one, or where it belongs.

    Raises
    ------
    ConfigError
        The file is missing or no TOML, or a setting is unknown or wrong.
    """
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = (
            f"cannot be read as TOML: {error}"
            if not isinstance(error, OSError)
            else f"cannot be read: {error.strerror}"
        )
        message = f"{path} {why}. `screenwise campaign rules RULES.toml` writes an example."
        raise ConfigError(message) from error
    sections = {"constraints": Constraints, "plate": PlateRules, "stop": StopRules}
    homes = [(name, key) for key in found for name, cls in sections.items() if key in {one.name for one in fields(cls)}]
    for name, key in homes:
        if key not in sections:
            message = f"{path}: {key!r} belongs into the section [{name}]; write that line above it."
            raise ConfigError(message)
    try:
        rules: CampaignRules = from_mapping(CampaignRules, found, str(path))
    except ConfigError as error:
        if str(path) in str(error):
            raise
        message = f"{path}: {error}"
        raise ConfigError(message) from error
    return rules


def with_rules(settings: CampaignSettings, rules: CampaignRules) -> CampaignSettings:
    """Return settings with the rules of a file; plate settings that differ from their defaults win over it.

    Examples
    --------
    >>> settings = CampaignSettings("maximize:growth", plate=PlateRules(positive=8))
    >>> found = with_rules(settings, CampaignRules(plate=PlateRules(format=384, positive=2)))
    >>> found.plate.format, found.plate.positive
    (384, 8)
    """
    usual = PlateRules()
    given = {one.name: getattr(settings.plate, one.name) for one in fields(PlateRules)}
    said = {name: value for name, value in given.items() if value != getattr(usual, name)}
    return replace(settings, plate=replace(rules.plate, **said), constraints=rules.constraints, stop=rules.stop)


def write_rules(path: Path) -> None:
    """Write the rules with their defaults and what each of them means; a file that is there already is kept."""
    if Path(path).exists():
        message = f"{path} exists already; give the name of a new file."
        raise ConfigError(message)
    write_text(Path(path), to_toml(CampaignRules()) + "\n")
