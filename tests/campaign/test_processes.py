"""Killed at every event, and several processes at once: the record stays whole and the choices stay the same."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from screenwise.campaign import store as store_file
from screenwise.campaign.state import _STEPS
from screenwise.errors import CampaignError

CHILD = """
import importlib.util, os, signal, sys, time
from pathlib import Path

spec = importlib.util.spec_from_file_location("lab", sys.argv[1])
lab_file = importlib.util.module_from_spec(spec)
sys.modules["lab"] = lab_file
spec.loader.exec_module(lab_file)
from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.design.stop import StopRules
from screenwise.errors import CampaignError


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(*_):
    Path(sys.argv[2], "inside").touch()
    time.sleep(600)


def drive(folder, proposer, on_commit):
    folder.mkdir(exist_ok=True)
    lab = lab_file.Lab(folder)
    settings = CampaignSettings("maximize:growth", wells=20, seed=5, stop=StopRules(rounds=1))
    options = {"proposer": proposer, "on_commit": on_commit}
    while True:
        if not (folder / "campaign").exists():
            Campaign.create(folder / "campaign", lab.pool(), settings, **options)
        campaign = Campaign.open(folder / "campaign", **options)
        state = campaign.state()
        if state.name == "ingested" and state.round == 2:
            return
        if state.name == "stopped":
            campaign.resume("one more round")
        elif state.name == "partially_ingested" and f"R{state.round}P1" not in state.judged:
            campaign.judge(f"R{state.round}P1", good=True, reason="looked at")
        elif state.name in ("created", "ingested"):
            try:
                campaign.propose()
            except CampaignError:  # the rule stops it after a round
                assert campaign.state().halt["rule"] == "rounds"
        elif state.name == "proposed":
            campaign.export(folder / "plate.csv")
        else:
            filled = lab.fill(lab_file.pd.read_csv(folder / "plate.csv", dtype=str, keep_default_na=False))
            campaign.ingest(lab.write(filled.iloc[:10] if state.name == "exported" else filled))


def killed(folder, proposer, on_commit):
    child = os.fork()
    if child == 0:
        drive(folder, proposer, on_commit)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def race(folder, mine):
    # file by file, again as often as the other process is at it
    lab = lab_file.Lab(folder)
    filled = lab_file.pd.read_csv(folder / "filled.csv", dtype=str, keep_default_na=False)
    rows = filled[filled["role"] == "sample"].iloc[mine::2]
    for place in range(len(rows)):
        path = lab.write(rows.iloc[[place]], f"{mine}_{place}.csv")
        while True:
            try:
                Campaign.open(folder / "campaign").ingest(path)
                break
            except CampaignError as error:
                assert "Another process is working" in str(error), error
    os._exit(0)


folder, mode = Path(sys.argv[2]), sys.argv[3]
if mode == "race":
    children = []
    for mine in (0, 1):
        child = os.fork()
        if child == 0:
            try:
                race(folder, mine)
            finally:
                os._exit(1)
        children.append(child)
    print([os.waitpid(child, 0)[1] for child in children])
    sys.exit()
if mode == "hang":
    drive(folder, hang, None)
drive(folder / "through", lab_file.proposer, None)
assert killed(folder / "killed", lab_file.proposer, die)
assert killed(folder / "killed", die, None)
deaths = 0
while killed(folder / "killed", lab_file.proposer, die):
    deaths += 1
print(deaths)
"""


def start(folder, mode):
    folder.mkdir(exist_ok=True)
    conftest = Path(__file__).with_name("conftest.py")
    return subprocess.Popen([sys.executable, "-c", CHILD, str(conftest), str(folder), mode], stdout=subprocess.PIPE)


def test_killed_inside_and_after_every_event_it_goes_on_and_proposes_the_same(lab):
    child = start(lab.folder, "boundaries")
    said, _ = child.communicate(timeout=300)
    assert (child.returncode, said) == (0, b"12\n")
    whole, killed = (lab.open(f"{name}/campaign") for name in ("through", "killed"))
    kinds = [event.kind for event in killed.store.events()]
    a_round = ["proposed", "exported", "ingested", "judged", "ingested"]
    assert kinds == ["created", *a_round, "stopped", "resumed", *a_round][: len(kinds)]
    assert len(kinds) == 13
    assert set(kinds) == {"created", *_STEPS}, "every kind of event is among them"
    assert kinds == [event.kind for event in whole.store.events()]
    payloads = [[event.payload for event in one.store.events()] for one in (whole, killed)]
    assert payloads[0] == payloads[1]
    assert killed.verify()["ok"]
    assert killed.replay()["ok"]


def test_two_processes_at_once_lose_nothing(lab):
    campaign = lab.begin()
    campaign.propose()
    lab.fill(lab.export(campaign)).to_csv(lab.folder / "filled.csv", index=False)
    child = start(lab.folder, "race")
    said, _ = child.communicate(timeout=300)
    assert (child.returncode, said) == (0, b"[0, 0]\n")
    assert [event.kind for event in campaign.store.events()] == ["created", "proposed", "exported", *["ingested"] * 20]
    assert len(campaign.measured()) == 20
    assert campaign.verify()["ok"]


def test_killed_while_it_computes_nothing_happened_and_no_lock_is_left(lab, monkeypatch):
    monkeypatch.setattr(store_file, "WAIT", 0.05)
    with start(lab.folder, "hang") as child:
        deadline = time.monotonic() + 120
        while not (lab.folder / "inside").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        campaign = lab.open()
        assert campaign.status()["state"] == "created"  # reading is not kept out
        with pytest.raises(CampaignError, match="Another process is working"):
            campaign.propose()
        child.kill()
    assert len(campaign.propose()) == 20
    assert campaign.verify()["ok"]
