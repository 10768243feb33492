import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array
from torch import nn

from screenwise.errors import ConfigError, ModelError
from screenwise.run import Run
from screenwise.train.checkpoint import read_checkpoint
from screenwise.train.loop import Job, Training, learning_rate, train
from screenwise.train.optimisers import clip_gradients, make_optimisers
from screenwise.train.sparse import SparseLinear
from screenwise.train.sparse_adam import DeferredAdam
from screenwise.train.sparse_batch import SparseBatch

QUICK = Training(epochs=3, batch_size=16, learning_rate=0.01)

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[3])
from test_loop import QUICK, make_job
from dataclasses import replace
from pathlib import Path
from screenwise.run import Run
from screenwise.train.loop import train

def progress(what, done, total):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
train(make_job(), replace(QUICK, checkpoint_seconds=0.0), seed=7, run=Run(Path(sys.argv[1]), progress))
"""


def make_job(rows=100, validate=True):
    """A sparse first layer, dropout and a dense head on a fixed toy."""
    rng = np.random.default_rng(0)
    x = csr_array(random_array((rows, 50), density=0.1, rng=rng, dtype=np.float32))
    y = torch.from_numpy(np.asarray(x.sum(axis=1), np.float32)[:, None])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(SparseLinear(50, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def loss(some):
        return (network(SparseBatch.from_csr(x[some])) - y[some]).square().mean()

    return Job(network, loss, rows, (lambda: float(loss(np.arange(rows)))) if validate else None, name="toy")


def weights(job):
    return {name: value.clone() for name, value in job.network.state_dict().items()}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def fitted(settings=QUICK, seed=7, run=None, **changes):
    job = replace(make_job(), **changes)
    history = train(job, settings, seed=seed, run=run)
    return weights(job), history


def test_same_seed_same_bits_other_seed_differs():
    first, _ = fitted()
    assert_same_bits(first, fitted()[0])
    other, _ = fitted(seed=8)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted()
    assert torch.equal(torch.rand(3), expected)


def test_checkpoints_do_not_change_the_result(tmp_path):
    plain, _ = fitted()
    kept, _ = fitted(replace(QUICK, checkpoint_seconds=0.0), run=Run(tmp_path))
    assert_same_bits(plain, kept)


@pytest.mark.parametrize("step", [7, 17])
def test_killed_and_resumed_gives_the_same_bits(tmp_path, step):
    """Killed at the end of the first epoch and in the middle of the third (7 steps each)."""
    with torch.random.fork_rng():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        expected, history = fitted()
        code = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(step), str(Path(__file__).parent)]
        done = subprocess.run(code, check=False, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        _, facts = read_checkpoint(tmp_path / "checkpoints" / "toy.safetensors")
        assert facts["history"]["epoch"] * 7 + facts["history"]["step"] == step
        run = Run(tmp_path)
        resumed, after = fitted(replace(QUICK, checkpoint_seconds=0.0), run=run)
        torch.set_num_threads(threads)
    assert_same_bits(expected, resumed)
    assert after.lines == history.lines
    assert [(line["epoch"], line["loss"]) for line in run.metrics()] == [
        (line["epoch"], line["loss"]) for line in history.lines
    ]


@pytest.mark.parametrize("during", ["progress", "loss"])
@pytest.mark.parametrize("step", [3, 17])
def test_ctrl_c_leaves_a_checkpoint_that_ends_with_the_same_bits(tmp_path, step, during):
    """Raised after a step, or by a signal in the middle of one; the checkpoint's own time is far away."""
    expected, history = fitted()
    told = []

    def progress(what, done, total):
        told.append(done)
        if during == "progress" and done == step:
            raise KeyboardInterrupt

    job = make_job()
    inner = job.loss

    def loss(rows):
        if during == "loss" and len(told) == step - 1:
            signal.raise_signal(signal.SIGINT)
        return inner(rows)

    with pytest.raises(KeyboardInterrupt):
        train(replace(job, loss=loss), QUICK, seed=7, run=Run(tmp_path, progress))
    assert told[-1] == step
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _, facts = read_checkpoint(tmp_path / "checkpoints" / "toy.safetensors")
    assert facts["history"]["epoch"] * 7 + facts["history"]["step"] == step
    told.clear()
    resumed, after = fitted(run=Run(tmp_path, lambda what, done, total: told.append(done)))
    assert told[0] == step + 1
    assert_same_bits(expected, resumed)
    assert after.lines == history.lines


def test_a_second_ctrl_c_does_not_wait_and_leaves_the_older_checkpoint(tmp_path):
    job = make_job()
    inner, calls = job.loss, []

    def loss(rows):
        calls.append(1)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return inner(rows)

    with pytest.raises(KeyboardInterrupt):
        train(replace(job, loss=loss), replace(QUICK, checkpoint_seconds=0.0), seed=7, run=Run(tmp_path))
    _, facts = read_checkpoint(tmp_path / "checkpoints" / "toy.safetensors")
    assert facts["history"]["step"] == 4
    assert_same_bits(fitted()[0], fitted(replace(QUICK, checkpoint_seconds=0.0), run=Run(tmp_path))[0])


def test_ctrl_c_in_the_last_validation_is_not_swallowed(tmp_path):
    job = make_job()
    seen = []

    def validate():
        seen.append(1)
        if len(seen) == QUICK.epochs:
            signal.raise_signal(signal.SIGINT)
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        train(replace(job, validate=validate), QUICK, seed=7, run=Run(tmp_path))
    _, facts = read_checkpoint(tmp_path / "checkpoints" / "toy.safetensors")
    assert facts["history"]["finished"]


def test_a_line_holds_the_mean_loss_of_its_own_epoch():
    job, losses = make_job(), []
    inner = job.loss

    def loss(rows):
        losses.append(inner(rows))
        return losses[-1]

    history = train(replace(job, loss=loss, validate=None), QUICK, seed=7)
    epochs = np.array([float(one.detach()) for one in losses]).reshape(QUICK.epochs, -1)
    np.testing.assert_allclose([line["loss"] for line in history.lines], epochs.mean(axis=1), rtol=1e-6)


def test_a_finished_fit_is_read_and_not_repeated(tmp_path):
    run = Run(tmp_path)
    first, _ = fitted(run=run)

    def never(rows):
        raise AssertionError

    again, history = fitted(run=run, loss=never)
    assert_same_bits(first, {name: again[name] for name in again} if history.finished else {})
    assert len(run.metrics()) == QUICK.epochs


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    fitted(run=Run(tmp_path))
    with pytest.raises(ModelError, match="belongs to another fit"):
        fitted(run=Run(tmp_path), seed=8)
    with pytest.raises(ModelError, match="belongs to another fit"):
        fitted(run=Run(tmp_path), key="other data")


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "checkpoints" / "toy.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00broken")
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        fitted(run=Run(tmp_path))


@pytest.mark.parametrize("killed_at", [None, 3])
def test_early_stopping_keeps_the_best_weights(tmp_path, killed_at):
    values = [3.0, 1.0, 2.0, 2.5, 0.5]
    seen = []
    job = make_job()

    def validate():
        seen.append(weights(job))
        if len(seen) == killed_at and not tmp_path.joinpath("killed").exists():
            tmp_path.joinpath("killed").touch()
            raise KeyboardInterrupt
        return values[len(seen) - 1]

    job = replace(job, validate=validate)
    settings = Training(epochs=10, batch_size=16, patience=2, checkpoint_seconds=0.0)
    run = Run(tmp_path)
    if killed_at:
        with pytest.raises(KeyboardInterrupt):
            train(job, settings, seed=1, run=run)
        seen.pop()
        fresh = make_job()
        fresh.network.load_state_dict(weights(job))
        history = train(job, settings, seed=1, run=run)
    else:
        history = train(job, settings, seed=1, run=run)
    assert (history.epoch, history.best_epoch, history.best) == (4, 1, 1.0)
    assert_same_bits(weights(job), seen[1])


def test_a_loss_that_is_no_number_is_an_error():
    with pytest.raises(ModelError, match="Lower learning_rate"):
        fitted(loss=lambda rows: torch.tensor(float("nan"), requires_grad=True))


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="no schedule"):
        Training(schedule="square")
    with pytest.raises(ConfigError, match="epochs is 0"):
        Training(epochs=0)
    with pytest.raises(ModelError, match="no training rows"):
        fitted(rows=0)


def test_schedule_rises_and_falls():
    settings = Training(epochs=4, learning_rate=1.0, warm_up=0.25, final_rate=0.1)
    rates = [learning_rate(settings, step, 10) for step in range(40)]
    assert np.argmax(rates) == 9
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] == pytest.approx(0.1)
    assert learning_rate(replace(settings, schedule="constant"), 39, 10) == 1.0


def test_clipping_counts_sparse_gradients():
    job = make_job()
    job.loss(np.arange(20)).backward()
    before = clip_gradients(job.network, 1e-3)
    after = clip_gradients(job.network, 1e9)
    assert before > 1e-3
    assert after == pytest.approx(1e-3, rel=1e-4)


def test_weights_are_shared_out_among_the_optimisers():
    network = make_job().network
    kinds = make_optimisers(network, 1e-3, 0.1)
    assert [type(one) for one in kinds] == [torch.optim.AdamW, DeferredAdam]
    assert [group["weight_decay"] for group in kinds[0].param_groups] == [0.1, 0.0]
    count = sum(len(group["params"]) for one in kinds for group in one.param_groups)
    assert count == len(list(network.parameters()))


def test_progress_reaches_the_end(tmp_path):
    told = []
    fitted(run=Run(tmp_path, lambda *what: told.append(what)))
    assert told[-1] == ("training toy", 21, 21)


def test_validation_now_and_then_logs_what_it_returns():
    job, asked = make_job(), []

    def validate():
        asked.append(0)
        return {"valid": float(len(asked)), "auc": 0.5}

    history = train(replace(job, validate=validate, validate_every=3), replace(QUICK, epochs=5))
    assert [line["epoch"] for line in history.lines if "valid" in line] == [2, 4]
    assert history.lines[2]["auc"] == 0.5
    assert (history.best, history.best_epoch) == (1.0, 2)


def test_parts_of_a_loss_sent_backward_early_are_not_lost():
    whole, parts = make_job(), make_job()
    whole.network[2].p = parts.network[2].p = 0.0

    def loss(rows):
        first, rest = rows[:3], rows[3:]
        if not len(rest):
            return parts.loss(rows)
        (parts.loss(first) * len(first) / len(rows)).backward()
        return parts.loss(rest) * len(rest) / len(rows)

    train(whole, QUICK)
    train(replace(parts, loss=loss), QUICK)
    for one, other in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_optimisers_of_ones_own_follow_the_schedule():
    job, rates = make_job(), []

    class Noting(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    settings = replace(QUICK, epochs=4, warm_up=0.0, schedule="steps", milestones=(1, 3), step_factor=0.5)
    train(replace(job, optimisers=lambda network: [Noting(network.parameters(), lr=1.0)]), settings)
    steps = len(rates) // 4
    wanted = np.repeat([1.0, 0.5, 0.5, 0.25], steps) * settings.learning_rate
    np.testing.assert_allclose(rates, wanted)
