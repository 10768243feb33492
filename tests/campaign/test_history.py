"""Whatever order things happen in, the same facts hold."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.campaign.proposal import Proposal
from screenwise.design.plate import PlateRules
from screenwise.rng import stream


def propose(policy, measured, pool, request):
    closed = pool["condition_id"].isin([*measured.conditions["condition_id"], *request.pending]).to_numpy()
    keys = stream(request.seed, "pick").random(len(pool)) + closed
    rows = np.argsort(keys)[: request.wells]
    score = keys[rows] + measured.targets.dense().sum()
    return Proposal(rows, score, score, score, score > 0, np.full(len(rows), "", object), {})


class History(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        pool = pd.DataFrame({"gene": [f"G{place}" for place in range(12)]})
        rules = PlateRules(positive=1, negative=1, replicates=1)
        chosen = CampaignSettings("maximize:y", wells=4, plate=rules)
        self.campaign = Campaign.create(self.folder / "c", pool, chosen, proposer=propose)
        self.plates: list[pd.DataFrame] = []
        self.said: dict[tuple[str, str], float | None] = {}
        """(plate, well) -> last value, None = failed."""
        self.files = 0

    def write(self, table):
        self.files += 1
        table.to_csv(self.folder / f"{self.files}.csv", index=False)
        return self.folder / f"{self.files}.csv"

    @precondition(lambda self: self.campaign.state().name in ("created", "ingested", "partially_ingested"))
    @rule()
    def propose(self):
        state = self.campaign.state()
        standing = state.standing()
        open_ones = 12 - int((standing != "failed").sum())
        if open_ones == 0:
            return
        table = self.campaign.propose()
        assert len(table) == min(4, open_ones)
        before = standing.reindex(table["condition_id"]).dropna()
        assert set(before) <= {"failed"}  # no condition twice unless it failed

    @precondition(lambda self: self.campaign.state().name == "proposed")
    @rule()
    def export(self):
        self.plates.append(self.campaign.export(self.folder / "plate.csv"))

    @precondition(lambda self: self.plates)
    @rule(data=st.data())
    def ingest(self, data):
        plate = data.draw(st.sampled_from(self.plates))
        tested = plate[plate["role"].isin(["sample", "replicate"])]
        count = data.draw(st.integers(1, len(tested)))
        rows = tested.sample(count, random_state=data.draw(st.integers(0, 99)))
        values = [data.draw(st.one_of(st.none(), st.integers(-9, 9))) for _ in range(count)]
        table = rows[["well", "plate"]].assign(
            y=["" if value is None else str(value) for value in values],
            failed=["yes" if value is None else "" for value in values],
        )
        self.campaign.ingest(self.write(table))
        self.said |= dict(zip(zip(rows["plate"], rows["well"], strict=True), values, strict=True))
        self.last = table

    @precondition(lambda self: self.said)
    @rule()
    def ingest_the_same_again(self):
        head = self.campaign.store.events()[-1].hash
        self.campaign.ingest(self.write(self.last.assign(remark="again")))
        assert self.campaign.store.events()[-1].hash == head

    @precondition(lambda self: self.plates)
    @rule()
    def ingest_nonsense(self):
        before = self.campaign.state().current()
        self.campaign.ingest(self.write(pd.DataFrame({"gene": ["nobody"], "y": [1]})))
        pd.testing.assert_frame_equal(self.campaign.state().current(), before)

    @invariant()
    def measured_is_what_was_said_last(self):
        if not self.plates:
            return
        wells = pd.concat(self.plates).assign(key=lambda table: list(zip(table["plate"], table["well"], strict=True)))
        wells["value"] = wells["key"].map(self.said).astype(float)
        expected = wells.dropna(subset="value").groupby("condition_id")["value"].median()
        screen = self.campaign.measured()
        found = pd.Series(screen.targets.dense()[:, 0].astype(float), index=screen.conditions["condition_id"])
        assert found.sort_index().to_dict() == expected.sort_index().to_dict()

    @invariant()
    def the_record_is_whole(self):
        assert self.campaign.verify()["ok"]

    def teardown(self):
        assert self.campaign.replay()["ok"]
        shutil.rmtree(self.folder)


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=5, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
