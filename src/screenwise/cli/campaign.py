"""The commands of a campaign: propose, export, ingest, again."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from screenwise.cli.root import Features, Flat, app
from screenwise.data.columns import Columns
from screenwise.recipes.outcome import Outcome
from screenwise.recipes.progress import bars
from screenwise.recipes.settings import CampaignOptions, Reading

campaign = App(name="campaign", help="A discovery campaign that lasts: propose, export, ingest, again.")
app.command(campaign)


@campaign.command(name="new")
def campaign_new(
    folder: Path,
    *,
    pool: str,
    options: Annotated[CampaignOptions, Flat],
    columns: Annotated[Columns, Flat] = Columns(),
    constraints: Path | None = None,
    features: Features = None,
) -> Outcome:
    """Begin a campaign over a pool of candidates.

    Parameters
    ----------
    folder
        Folder of the campaign; it must not exist yet.
    pool
        Candidates; measured values in it are ignored.
    constraints
        TOML file of rules: caps, costs, stock, one value per plate, plates, when to stop; `campaign rules` writes one.
    """
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.new(folder, pool, options, Reading(columns, features), constraints=constraints, progress=bars())


@campaign.command(name="propose")
def campaign_propose(folder: Path, *, ahead: Annotated[bool, Parameter(negative=())] = False) -> Outcome:
    """Choose the wells of the next round.

    Parameters
    ----------
    ahead
        Propose although nothing of the last round is back: its wells count as about to be known.
    """
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.propose(folder, ahead=ahead)


@campaign.command(name="rules")
def campaign_rules(out: Path) -> Outcome:
    """Write an example of the rules that `campaign new --constraints` reads, each with its meaning."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.rules(out)


@campaign.command(name="explain")
def campaign_explain(
    folder: Path, *, number: Annotated[int | None, Parameter(name="--round")] = None, out: Path | None = None
) -> Outcome:
    """Say why each well was chosen, and what the rules cost in expected hits.

    Parameters
    ----------
    number
        Round to explain; the last one by default.
    out
        CSV file for all wells; the prices of the rules go beside it.
    """
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.explain(folder, number, out)


@campaign.command(name="report")
def campaign_report(folder: Path, *, out: Path | None = None) -> Outcome:
    """Write the page of the campaign; the same as `screenwise report`."""
    from screenwise.recipes.reporting import report  # noqa: PLC0415

    return report(folder, out)


@campaign.command(name="export")
def campaign_export(folder: Path, *, out: Path) -> Outcome:
    """Write the proposed round as a plate map (CSV), with controls and replicates."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.export(folder, out)


@campaign.command(name="ingest")
def campaign_ingest(folder: Path, results: Path, *, accept: Annotated[bool, Parameter(negative=())] = False) -> Outcome:
    """Take results: the filled plate map, or a table with id and value.

    Parameters
    ----------
    accept
        Let the plates of this file count whatever their checks say; that you did so is kept.
    """
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.ingest(folder, results, accept=accept)


@campaign.command(name="accept")
def campaign_accept(folder: Path, plate: str, *, reason: str) -> Outcome:
    """Let a plate count that its checks rejected."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.judge(folder, plate, reason, good=True)


@campaign.command(name="reject")
def campaign_reject(folder: Path, plate: str, *, reason: str) -> Outcome:
    """Let a plate not count: its candidates may be chosen again."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.judge(folder, plate, reason, good=False)


@campaign.command(name="status")
def campaign_status(folder: Path) -> Outcome:
    """Say where the campaign stands."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.status(folder)


@campaign.command(name="stop")
def campaign_stop(folder: Path, *, reason: str = "stopped by the user") -> Outcome:
    """End the campaign; its record stays readable."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.stop(folder, reason)


@campaign.command(name="resume")
def campaign_resume(folder: Path, *, reason: str = "resumed by the user") -> Outcome:
    """Go on with a stopped campaign; a stop rule that stopped it counts no more."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.resume(folder, reason)


@campaign.command(name="verify")
def campaign_verify(folder: Path) -> Outcome:
    """Check that no event and no table was changed since it was written."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.verify(folder)


@campaign.command(name="replay")
def campaign_replay(folder: Path) -> Outcome:
    """Compute every proposal again from the record and compare them bit for bit."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.replay(folder, progress=bars())
