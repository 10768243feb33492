import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.design.constraints import Constraints
from screenwise.design.plate import PlateRules
from screenwise.errors import CampaignError, ColumnError, ConfigError, DataError, ScreenwiseError


def test_the_states_follow_one_another(lab):
    campaign = lab.begin()
    said = [campaign.status()["state"]]
    campaign.propose()
    said.append(campaign.status()["state"])
    filled = lab.fill(lab.export(campaign))
    said.append(campaign.status()["state"])
    campaign.ingest(lab.write(filled.iloc[:9], "a.csv"))
    said.append(campaign.status()["state"])
    campaign.ingest(lab.write(filled, "b.csv"))
    said.append(campaign.status()["state"])
    campaign.propose()
    said.append(campaign.status()["state"])
    campaign.stop("enough")
    said.append(campaign.status()["state"])
    assert said == ["created", "proposed", "exported", "partially_ingested", "ingested", "proposed", "stopped"]
    assert [event.kind for event in campaign.store.events()] == [
        "created", "proposed", "exported", "ingested", "ingested", "proposed", "stopped",
    ]  # fmt: skip
    assert campaign.status()["stopped"] == "enough"


def test_no_condition_comes_twice_until_the_pool_is_used_up(lab):
    campaign = lab.begin(wells=50)
    seen = []
    for _ in range(3):
        lab.run_round(campaign)
        seen += campaign.state().proposals["condition_id"].tolist()[len(seen) :]
    assert len(seen) == len(set(seen)) == 120
    assert campaign.status()["by_round"][-1]["proposed"] == 20
    with pytest.raises(CampaignError, match="used up"):
        campaign.propose()


def test_what_awaits_its_result_is_passed_on_and_not_chosen_again(lab):
    asked = []

    def spy(policy, measured, pool, request):
        asked.append((len(measured), len(pool), request.wells, sorted(request.pending)))
        return lab.proposer(policy, measured, pool, request)

    lab.begin()
    campaign = lab.open(proposer=spy)
    first = campaign.propose()
    filled = lab.fill(lab.export(campaign))
    with pytest.raises(CampaignError, match="no result of it is back"):
        campaign.propose()
    campaign.ingest(lab.write(filled.loc[filled["role"] == "sample"].iloc[:12]))
    waiting = sorted(campaign.pending()["condition_id"])
    second = campaign.propose()
    assert len(waiting) == 8
    assert asked == [(0, 120, 20, []), (12, 120, 20, waiting)]
    assert not set(first["condition_id"]) & set(second["condition_id"])
    campaign.export(lab.folder / "p.csv")
    assert len(campaign.propose(ahead=True)) == 20


def test_a_proposal_and_an_export_asked_for_again_are_the_same(lab):
    campaign = lab.begin()
    first = campaign.propose()
    pd.testing.assert_frame_equal(campaign.propose(), first)
    campaign.export(lab.folder / "a.csv")
    lab.open().export(lab.folder / "b.csv")
    assert (lab.folder / "a.csv").read_bytes() == (lab.folder / "b.csv").read_bytes()
    assert len(campaign.store.events()) == 3


def test_the_plate_map_has_the_promised_columns(lab):
    campaign = lab.begin(readouts=("viability",))
    campaign.propose()
    plate = lab.export(campaign)
    own = ["gene", "catalogue", "pool_note"]
    assert list(plate.columns) == ["well", "plate", "role", "condition_id", *own, "growth", "viability"]
    assert set(plate["role"]) == {"sample", "replicate", "positive", "negative"}
    assert (plate[["growth", "viability"]] == "").all(axis=None)
    assert plate.loc[plate["role"] == "sample", "catalogue"].str.len().eq(4).all()
    pool = campaign.pool().set_index("condition_id")
    tested = plate[plate["catalogue"] != ""]
    assert tested["gene"].tolist() == pool.loc[tested["condition_id"], "gene"].tolist()


def test_plates_of_all_rounds_have_names_of_their_own(lab):
    campaign = lab.begin()
    lab.run_round(campaign)
    campaign.propose()
    second = lab.export(campaign)
    assert set(second["plate"]) == {"R2P1"}


def test_the_status_is_json_and_counts(lab):
    campaign = lab.begin(threshold=10.0, rounds=4)
    assert campaign.status()["best"] is None
    filled = lab.run_round(campaign)
    campaign.propose()
    status = json.loads(json.dumps(campaign.status()))
    values = pd.to_numeric(filled.loc[filled["role"] == "sample", "growth"])
    assert status["best"]["value"] == pytest.approx(values.max())
    assert status["best"]["gene"] == filled.loc[values.idxmax(), "gene"]
    assert status["hits"] == int((values >= 10).sum())
    assert (status["measured"], status["pending"], status["candidates"]) == (20, 20, 80)
    assert status["wells"] == {"exported": 23, "controls": 8, "measured": 23, "failed": 0, "pending": 0}
    assert status["evidence"] == {"measured": 20, "loo_rank_correlation": 0.5}
    assert [line["best"] for line in status["by_round"]] == [pytest.approx(values.max()), None]
    assert status["events"][-1]["kind"] == "proposed"
    assert status["flagged"] == []


@pytest.mark.parametrize(("objective", "best"), [("minimize:growth", "-2"), ("absolute:growth", "-9")])
def test_the_best_follows_the_objective(lab, objective, best):
    campaign = lab.begin(objective=objective, threshold=2.0 if "abs" in objective else -1.0)
    campaign.propose()
    filled = lab.fill(lab.export(campaign))
    rows = filled.index[filled["role"] == "sample"]
    filled.loc[rows, "growth"] = "1"
    filled = filled.loc[rows]
    filled.loc[rows[:3], "growth"] = ["-2", ">-9" if "min" in objective else "-9", "8"]
    campaign.ingest(lab.write(filled))
    status = campaign.status()
    if "min" in objective:  # ">-9" may be anything above: the best that is shown says so, and it is no sure hit
        assert (status["best"]["value"], status["best"]["relation"], status["hits"]) == (-9.0, ">", 1)
    else:
        assert (status["best"]["value"], status["hits"]) == (float(best), 3)


def test_a_plate_whose_controls_overlap_goes_back_to_the_queue_unless_a_person_says_otherwise(lab):
    campaign = lab.begin()
    first = campaign.propose()
    filled = lab.fill(lab.export(campaign))
    dead = filled.assign(growth=filled["growth"].mask(filled["role"] == "positive", "0.03"))
    assert "z prime" in campaign.ingest(lab.write(dead))["rejected"]["R1P1"]
    status = campaign.status()
    assert {(flag["plate"], flag["check"]) for flag in status["flagged"]} >= {("R1P1", "z prime")}
    assert (status["measured"], status["failed"], status["state"]) == (0, 20, "ingested")
    campaign.judge("R1P1", good=True, reason="the positive control was forgotten")
    assert (len(campaign.measured()), campaign.status()["rejected"]) == (20, {})
    campaign.judge("R1P1", good=False, reason="it was not")
    assert set(campaign.propose()["condition_id"]) & set(first["condition_id"]), "its conditions are candidates again"
    campaign.ingest(lab.write(filled, "corrected.csv"))
    assert campaign.status()["rejected"] == {"R1P1": "it was not"}, "what a person said stays"
    assert campaign.verify()["ok"]
    assert campaign.replay()["ok"]
    for plate, reason in (("R9P1", "x"), ("R1P1", " ")):
        with pytest.raises(CampaignError):
            campaign.judge(plate, good=True, reason=reason)


def test_the_checks_of_a_status_leave_rejected_plates_aside(lab):
    campaign = lab.begin()
    lab.run_round(campaign)
    campaign.propose()
    filled = lab.fill(lab.export(campaign))
    control = filled["role"].isin(["positive", "negative"])
    off = filled.assign(growth=filled["growth"].mask(control, (filled["growth"].astype(float) + 9).astype(str)))
    campaign.ingest(lab.write(off))
    drifting = {(flag["plate"], flag["check"]) for flag in campaign.status()["flagged"]}
    assert {("R1P1", "negative control drift"), ("R2P1", "negative control drift")} <= drifting
    campaign.judge("R2P1", good=False, reason="another batch of controls")
    drifting = {(flag["plate"], flag["check"]) for flag in campaign.status()["flagged"]}
    assert ("R1P1", "negative control drift") not in drifting
    checks = campaign.qc().set_index(["plate", "check"])["ok"]
    assert ("R1P1", "negative control drift") not in checks.index, "there is no other plate that counts"


def test_what_is_only_proposed_has_cost_nothing_yet(lab):
    campaign = lab.begin(constraints=Constraints(cost_per_well=2.0))
    campaign.propose()
    assert campaign.status()["spent"] == 0.0
    lab.export(campaign)
    first = campaign.status()["spent"]
    assert first == 2.0 * len(campaign.state().wells)
    campaign.propose(ahead=True)
    assert campaign.status()["spent"] == first
    said = {rule["rule"]: rule["value"] for rule in campaign.status()["rules"] if rule["round"] == 2}
    assert said["budget"] == 2 * first, "a stop rule looks at what the next round would bring it to"


def test_corrected_controls_bring_a_plate_back_and_accept_takes_any(lab):
    for name, accept in (("a", False), ("b", True)):
        campaign = lab.begin(name)
        campaign.propose()
        filled = lab.fill(lab.export(campaign))
        dead = filled.assign(growth=filled["growth"].mask(filled["role"] == "positive", "0.03"))
        campaign.ingest(lab.write(dead), accept=accept)
        assert len(campaign.measured()) == (20 if accept else 0)
        assert campaign.ingest(lab.write(filled, "corrected.csv"))["rejected"] == {}
        assert len(campaign.measured()) == 20


def test_a_replay_gives_the_same_bits_and_finds_another_policy(lab):
    campaign = lab.begin()
    for _ in range(3):
        lab.run_round(campaign)
    seen = []
    report = campaign.replay(lambda what, done, total: seen.append((done, total)))
    assert report["ok"]
    assert [line["same"] for line in report["rounds"]] == [True] * 3
    assert seen == [(0, 3), (1, 3), (2, 3)]

    def other(policy, measured, pool, request):
        proposal = lab.proposer(policy, measured, pool, request)
        return replace(proposal, score=np.nextafter(proposal.score, 9e9), reason=np.full(20, "luck", object))

    report = lab.open(proposer=other).replay()
    assert not report["ok"]
    assert report["rounds"][0]["differs"] == ["score", "reason"]


def test_late_results_and_corrections_do_not_change_the_replay_of_earlier_rounds(lab):
    campaign = lab.begin()
    campaign.propose()
    filled = lab.fill(lab.export(campaign))
    campaign.ingest(lab.write(filled.iloc[:15], "a.csv"))
    campaign.propose()
    campaign.ingest(lab.write(filled.assign(growth="5"), "late.csv"))
    assert campaign.replay()["ok"]


def test_a_campaign_can_be_zipped_and_moved(lab):
    campaign = lab.begin()
    lab.run_round(campaign)
    before = campaign.status()
    shutil.make_archive(str(lab.folder / "mail"), "zip", campaign.folder)
    shutil.rmtree(campaign.folder)
    shutil.unpack_archive(lab.folder / "mail.zip", lab.folder / "elsewhere ä?#")
    moved = lab.open("elsewhere ä?#")
    assert moved.verify()["ok"]
    assert {**moved.status(), "folder": ""} == {**before, "folder": ""}
    assert len(moved.propose()) == 20


def test_tampering_stops_the_work_and_is_named(lab):
    campaign = lab.begin()
    lab.run_round(campaign)
    digest = campaign.store.events()[1].payload["objects"]["proposal"]
    path = campaign.folder / "objects" / f"{digest}.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    report = campaign.verify()
    assert not report["ok"]
    assert digest in report["problems"][0]
    with pytest.raises(CampaignError, match="was changed"):
        campaign.propose()


@pytest.mark.parametrize(
    ("pool", "error", "said"),
    [
        (pd.DataFrame({"gene": []}), DataError, "no rows"),
        (pd.DataFrame({"gene": ["MYC", "TP53", "MYC"]}), DataError, r"MYC \(2 rows\)"),
        (pd.DataFrame({"score": [1.0]}), ColumnError, "No column names what was applied"),
        (pd.DataFrame({"condition_id": ["a", None]}), DataError, "Row 2"),
        (pd.DataFrame([["a", 1, 2]], columns=["condition_id", "x", "x"]), ColumnError, "stand twice"),
        (pd.DataFrame({"condition_id": ["a", "b"], "x": ["text", 5]}), DataError, "one kind of value"),
    ],
)
def test_a_pool_that_will_not_do_is_refused_and_leaves_nothing(tmp_path, pool, error, said):
    with pytest.raises(error, match=said):
        Campaign.create(tmp_path / "c", pool, CampaignSettings("maximize:y"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"objective": "growth"}, "maximize:growth"),
        ({"objective": "maximize:well"}, "cannot be a column"),
        ({"wells": 0}, "wells"),
        ({"rounds": 0}, "rounds"),
        ({"seed": -1}, "seed"),
        ({"readouts": ("growth",)}, "stands twice"),
    ],
)
def test_settings_that_will_not_do_are_refused(lab, settings, said):
    with pytest.raises(ConfigError, match=said):
        lab.begin(**settings)
    assert list(lab.folder.iterdir()) == []


def test_a_folder_in_use_is_not_touched(lab):
    lab.begin()
    with pytest.raises(CampaignError, match="exists already"):
        lab.begin()
    (lab.folder / "empty").mkdir()
    assert lab.begin("empty").status()["state"] == "created"


def test_values_known_beforehand_are_not_in_the_pool(lab):
    pool = lab.pool().assign(growth=1.0)
    campaign = Campaign.create(lab.folder / "c", pool, CampaignSettings("maximize:growth"))
    assert "growth" not in campaign.pool().columns


@pytest.mark.parametrize("rows", [[0, 0], [-1], [120], [], np.arange(21), [0.5]])
def test_a_policy_that_proposes_nonsense_is_an_error_and_nothing_is_written(lab, rows):
    lab.begin()
    campaign = lab.open(proposer=lambda *_: lab.plain(rows))
    with pytest.raises(CampaignError, match="different row numbers"):
        campaign.propose()
    assert campaign.status()["state"] == "created"


def test_a_stopped_campaign_proposes_nothing_but_takes_late_results(lab):
    campaign = lab.begin()
    campaign.propose()
    filled = lab.fill(lab.export(campaign))
    campaign.stop("no money")
    with pytest.raises(CampaignError, match="no money"):
        campaign.propose()
    with pytest.raises(CampaignError, match="stopped already"):
        campaign.stop()
    assert campaign.ingest(lab.write(filled))["new"] == 31
    assert campaign.status()["state"] == "stopped"


def test_nothing_to_export_is_said(lab):
    with pytest.raises(CampaignError, match="propose a round first"):
        lab.begin().export(lab.folder / "p.csv")


def test_the_default_policy_learns_and_replays_with_pending_wells(lab):
    settings = CampaignSettings("maximize:growth", wells=15, plate=PlateRules(replicates=0))
    pool = lab.pool().assign(**{"feature:b": np.arange(120.0)})
    campaign = Campaign.create(lab.folder / "auto", pool, settings)
    for _ in range(3):
        campaign.propose()
        filled = lab.fill(lab.export(campaign))
        campaign.ingest(lab.write(filled[filled["role"] == "sample"].iloc[:13]))
    status = campaign.status()
    assert status["evidence"]["loo_rank_correlation"] > 0.5
    assert (status["measured"], status["pending"]) == (39, 6)
    assert status["best"]["value"] > 11
    assert campaign.replay()["ok"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("step", ["propose", "export", "ingest"])
def test_a_full_disk_changes_nothing(lab, monkeypatch, call, step):
    campaign = lab.begin()
    if step != "propose":
        campaign.propose()
    if step == "ingest":
        path = lab.write(lab.fill(lab.export(campaign)))
    action = {
        "propose": campaign.propose,
        "export": lambda: campaign.export(lab.folder / "full.csv"),
        "ingest": lambda: campaign.ingest(path),
    }[step]
    before = campaign.status()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(ScreenwiseError, match="No space left"):
            action()
    assert campaign.status() == before
    assert campaign.verify()["ok"]
    assert not (lab.folder / "full.csv").exists()
    action()
    assert campaign.status()["head"] != before["head"]
