"""A small lab: a pool of 120 genes, a known truth, and someone who fills in plate maps."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.campaign.proposal import Policy, Proposal, Request
from screenwise.design.plate import PlateRules
from screenwise.rng import stream
from screenwise.screen import Screen


def proposer(policy: Policy, measured: Screen, pool: pd.DataFrame, request: Request) -> Proposal:
    """Depends on everything a real policy depends on: measured values, the pool, pending ones, the seed."""
    known = measured.targets.dense()[:, 0]
    mean = pool["feature:a"].to_numpy() + (np.nanmean(known) if len(known) else 0.0)
    score = mean + 3 * stream(request.seed, "noise").standard_normal(len(pool)) - request.progress_share
    score -= 0.01 * len(request.pending)
    closed = pool["condition_id"].isin([*measured.conditions["condition_id"], *request.pending])
    rows = np.argsort(np.where(closed, np.inf, -score), kind="stable")[: request.wells]
    said = {"measured": len(measured), "loo_rank_correlation": 0.5}
    return Proposal(
        rows, score[rows], mean[rows], score[rows], score[rows] > 0, np.full(len(rows), "high", object), said
    )


def plain(rows: object) -> Proposal:
    """Only the rows; nothing else is known."""
    rows = np.asarray(rows)
    nothing = np.full(len(rows), np.nan)
    return Proposal(rows, nothing, nothing, nothing, np.zeros(len(rows), bool), np.full(len(rows), "", object), {})


@dataclass(frozen=True)
class Lab:
    folder: Path
    proposer = staticmethod(proposer)
    plain = staticmethod(plain)

    def pool(self) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        return pd.DataFrame(
            {
                "gene": [f"G{place:03d}" for place in range(120)],
                "catalogue": [f"{place:04d}" for place in range(120)],
                "note": "",
                "feature:a": rng.standard_normal(120),
            }
        )

    def begin(self, name: str = "campaign", **settings) -> Campaign:
        settings = {"objective": "maximize:growth", "wells": 20, "plate": PlateRules(replicates=3), **settings}
        return Campaign.create(self.folder / name, self.pool(), CampaignSettings(**settings), proposer=proposer)

    def open(self, name: str = "campaign", proposer=proposer) -> Campaign:
        return Campaign.open(self.folder / name, proposer=proposer)

    def export(self, campaign: Campaign) -> pd.DataFrame:
        """The plate map as text, as a person sees it."""
        campaign.export(self.folder / "plate.csv")
        return pd.read_csv(self.folder / "plate.csv", dtype=str, keep_default_na=False)

    def fill(self, plate: pd.DataFrame, task: str = "growth") -> pd.DataFrame:
        """What is measured: the gene's number over ten; controls 20 and 0, a little apart."""
        value = pd.to_numeric(plate["catalogue"], errors="coerce") / 10
        jitter = np.arange(len(plate)) % 5 / 100
        value = value.where(value.notna(), np.where(plate["role"] == "positive", 20.0, 0.0) + jitter)
        return plate.assign(**{task: value.map("{:.3f}".format)})

    def write(self, table: pd.DataFrame, name: str = "results.csv") -> Path:
        table.to_csv(self.folder / name, index=False)
        return self.folder / name

    def run_round(self, campaign: Campaign) -> pd.DataFrame:
        campaign.propose()
        filled = self.fill(self.export(campaign))
        campaign.ingest(self.write(filled))
        return filled


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
