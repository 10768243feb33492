"""The commands of a campaign: propose, export, ingest, again."""

from pathlib import Path
from typing import Annotated

from cyclopts import App

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
    features: Features = None,
) -> Outcome:
    """Begin a campaign over a pool of candidates.

    Parameters
    ----------
    folder
        Folder of the campaign; it must not exist yet.
    pool
        Candidates; measured values in it are ignored.
    """
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.new(folder, pool, options, Reading(columns, features), progress=bars())


@campaign.command(name="propose")
def campaign_propose(folder: Path) -> Outcome:
    """Choose the wells of the next round."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.propose(folder)


@campaign.command(name="export")
def campaign_export(folder: Path, *, out: Path) -> Outcome:
    """Write the proposed round as a plate map (CSV), with controls and replicates."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.export(folder, out)


@campaign.command(name="ingest")
def campaign_ingest(folder: Path, results: Path) -> Outcome:
    """Take results: the filled plate map, or a table with id and value."""
    from screenwise.recipes import campaigns  # noqa: PLC0415

    return campaigns.ingest(folder, results)


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
