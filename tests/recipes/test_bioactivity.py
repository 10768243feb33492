"""The main job on a few targets: it ends with a page and a plate, and goes on where it was interrupted."""

import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from screenwise.data.datasets import load_dataset
from screenwise.recipes.bioactivity import CELL, COMPOUND, TARGET, Plan, demo
from screenwise.recipes.campaigns import replayed_campaign

SMALL = Plan(
    tasks=2, slow_tasks=1, new_tasks=2, network_seeds=1, network_epochs=4, replay_seeds=1, rounds=1, wells=48, jobs=1
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, demo(folder, plan=SMALL)


def test_the_page_shows_both_protocols_and_both_folds(done):
    folder, outcome = done
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert "http" not in page.split("<style")[1].split("</style>")[0]
    assert [row["RMSE"] > 0 for row in outcome.table] == [True] * 4
    summary = pd.read_csv(folder / "comparison" / "summary.csv")
    published = summary[(summary["split"] == "moleculeace") & (summary["metric"] == "rmse")].set_index("model")["mean"]
    assert {CELL, COMPOUND, "multitask", "svr", "ridge", "neighbours", "mean"} <= set(published.index)
    assert published[CELL] < published["ridge"] < published["mean"]
    cliffs = summary[(summary["split"] == "moleculeace") & (summary["metric"] == "rmse_cliff")]
    assert cliffs.set_index("model")["mean"][CELL] > published[CELL]


def test_the_next_plate_has_controls_and_replicates(done):
    plate = pd.read_csv(done[1].files["next plate"])
    assert plate["role"].value_counts().to_dict() == {"sample": 84, "positive": 4, "negative": 4, "replicate": 4}
    assert plate["well"].nunique() == 96
    samples = plate[plate["role"] == "sample"]
    measured = pd.read_csv(done[0] / "plates" / "round_1.csv")
    assert not set(samples["condition_id"]) & set(measured["condition_id"].dropna())


def test_again_gives_the_same_page_without_fitting(done):
    folder, _ = done
    before, times = (folder / "report.html").read_bytes(), {}
    for path in (folder / "comparison" / "fits").iterdir():
        times[path.name] = path.stat().st_mtime_ns
    demo(folder, plan=SMALL)
    assert (folder / "report.html").read_bytes() == before
    for path in (folder / "comparison" / "fits").iterdir():
        assert path.stat().st_mtime_ns == times[path.name]


def test_ctrl_c_leaves_a_campaign_that_status_reads_and_that_goes_on(tmp_path):
    command = [sys.executable, "-m", "screenwise.cli"]
    process = subprocess.Popen([*command, "demo", "--out", "demo"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (tmp_path / "demo" / "plates" / "round_2.csv").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    status = subprocess.run(
        [*command, "campaign", "status", "demo/campaign"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "round" in status.stdout
    screen = load_dataset("chembl30").screen
    one = screen.take_tasks([screen.task_index(TARGET)])
    one = one.take(np.unique(one.targets.cells().row))
    gone_on = replayed_campaign(one, f"maximize:{TARGET}", tmp_path / "demo" / "campaign")
    straight = replayed_campaign(one, f"maximize:{TARGET}", tmp_path / "other" / "campaign")
    pd.testing.assert_frame_equal(
        pd.read_csv(gone_on)[["well", "role", "condition_id"]], pd.read_csv(straight)[["well", "role", "condition_id"]]
    )
