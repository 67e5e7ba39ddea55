import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import fx
from fx.train.processes import any_process, barrier, distributed
from tests.train.mesh_run import BATCH, loader, loss_fn, network, optimizer
from tests.train.tiny_run import assert_same_bits

ROOT = Path(__file__).parent.parent.parent
SOON_S = 10  # a test machine may be busy; what was measured is 0.1 s


def start(out, port, count, index, *options, devices=1):
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.train.join_run",
            *map(str, (out, port, count, index)),
            *options,
        ],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pair(out, first=(), second=()):
    """Two processes of one run, which find each other at a port that is free."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return start(out, port, 2, 0, *first), start(out, port, 2, 1, *second)


def ends(*processes, timeout=200):
    """What each came to: exit status, what it wrote, and seconds after the first that ended."""
    begun, found = time.monotonic(), {}
    while len(found) < len(processes):
        assert time.monotonic() - begun < timeout, [p.kill() for p in processes]
        for process in processes:
            if process not in found and process.poll() is not None:
                found[process] = time.monotonic()
        time.sleep(0.02)
    first = min(found.values())
    return [(p.returncode, *p.communicate(), found[p] - first) for p in processes]


def read(out):
    ts = fx.train.create(network(), optimizer(), jax.random.key(0))
    return fx.checkpoint.restore(out, like=ts)


def assert_same_run(out, other):
    (ts, record), (expected, whole) = read(out), read(other)
    assert int(ts.step) == 12 and record["history"] == whole["history"]
    assert len(record["history"]) == 3
    assert_same_bits(ts, expected)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run in one process that has two devices."""
    out = tmp_path_factory.mktemp("alone") / "run"
    [(status, said, errors, _)] = ends(start(out, 0, 1, 0, devices=2))
    assert status == 0, errors
    assert said.splitlines()[-1] == "finished 12"
    return out


@pytest.mark.slow
def test_one_of_two_is_killed_and_the_run_goes_on(tmp_path, alone):
    out = tmp_path / "run"
    (status, _, errors, after_s), victim = ends(*pair(out, (), ["die=8"]))
    assert victim[0] == -signal.SIGKILL
    assert status == 1 and after_s < SOON_S
    assert "process 0 of 2 lost another one, which died or was cut off" in errors
    assert "fit(..., resume=True) goes on from the last checkpoint" in errors
    assert "process 1 of 2 died before its end" in victim[2]
    steps = fx.checkpoint.steps(out)
    assert steps and 3 <= steps[-1] <= 8
    both = ends(*pair(out, ["predict=1", "alone=1"], ["predict=1"]))
    assert [status for status, *_ in both] == [0, 0], both
    assert f"step {steps[-1]}, " in both[0][1].splitlines()[1]
    assert all(said.splitlines()[-1] == "finished 12" for _, said, _, _ in both)
    assert_same_run(out, alone)
    assert_each_predicted_everything(out)
    assert_one_exported(out)


def assert_one_exported(out):
    """The first process alone read the last weights, and made a bundle of them."""
    data, (ts, _) = loader(dtype=np.float32).dataset, read(out)
    expected, _ = network().apply(ts.params, ts.state, data.inputs)
    (found,) = fx.load_bundle(out / "bundle")(data.inputs).values()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def assert_each_predicted_everything(out):
    """Both have all examples, in the data set's order, though each read only half of each batch."""
    ts, _ = read(out)
    data = loader(dtype=np.float32)
    outputs, targets = fx.train.predict(network(), ts.params, ts.state, data)
    np.testing.assert_array_equal(targets, data.dataset.targets)
    for index in range(2):
        found = np.load(out / f"{index}.npz")
        np.testing.assert_allclose(found["outputs"], outputs, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found["targets"], targets)


@pytest.mark.slow
def test_when_the_first_dies_the_other_ends_too(tmp_path):
    victim, (status, _, errors, after_s) = ends(*pair(tmp_path / "run", ["die=4"], ()))
    assert victim[0] == -signal.SIGKILL
    assert status in (1, -signal.SIGABRT) and after_s < SOON_S  # whoever notices first
    assert re.search("process 1 of 2 (lost another one|died before its end)", errors)
    assert "resume=True" in errors


@pytest.mark.slow
def test_an_exception_in_one_ends_both(tmp_path):
    other, (status, _, errors, _) = ends(*pair(tmp_path / "run", (), ["raise=4"]))
    assert status == 1 and "OSError: the disk is gone" in errors and "died" not in errors
    assert other[0] == 1 and other[3] < SOON_S
    assert "process 0 of 2 lost another one" in other[2]


@pytest.mark.slow
def test_a_process_that_falls_silent_is_given_up(tmp_path):
    first, second = pair(tmp_path / "run", ["timeout=5"], ["hang=4", "timeout=5"])
    try:
        [(status, _, errors, _)] = ends(first)
        assert status == -signal.SIGABRT
        assert "heartbeat" in errors  # JAX says which process it was
        assert "process 0 of 2 died before its end: a run ends in all of its processes" in errors
    finally:
        second.kill()
        second.communicate()


@pytest.mark.slow
def test_fsdp_over_two_processes(tmp_path, alone):
    both = ends(*pair(tmp_path / "run", ["fsdp=1"], ["fsdp=1"]))
    assert [status for status, *_ in both] == [0, 0], both
    (ts, record), (expected, whole) = read(tmp_path / "run"), read(alone)
    for row, other in zip(record["history"], whole["history"], strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    for a, b in zip(jax.tree.leaves(ts.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)  # float32, 12 steps of Adam


@pytest.mark.slow
def test_a_bad_step_of_two_processes_is_explained_as_of_one(tmp_path):
    """The example is the second process's, the first layer's weights lie half on each."""
    out = tmp_path / "run"
    both = ends(*pair(out, ["nan=6", "fsdp=1"], ["nan=6", "fsdp=1"]))
    assert [status for status, *_ in both] == [1, 1], both
    for _, _, errors, _ in both:
        assert "fit: loss or gradients of step 3 of epoch 2 are not finite" in errors
        assert (out / "crash/report.txt").read_text().strip() in errors
    step = fx.train.make_step(network(), loss_fn, optimizer(), check_finite=True)
    fresh = fx.train.create(network(), step.optimizer, jax.random.key(1))
    ts, batch = fx.debug.load_crash(out / "crash", fresh, next(loader(dtype=np.float32).epoch(0)))
    assert int(ts.step) == 6 and batch[0].shape == (BATCH, 1, 6, 6)
    assert np.argwhere(np.isnan(batch[0])).tolist() == [[9, 0, 2, 3]]
    report = fx.debug.xray(step, ts, batch)
    assert report.phase == "input" and report.samples == (9,)
    assert str(report) == (out / "crash/report.txt").read_text().strip()


@pytest.mark.slow
def test_both_stop_at_the_same_step_where_one_is_asked_to(tmp_path, alone):
    out = tmp_path / "run"
    both = ends(*pair(out, (), ["stop=5"]))
    assert [status for status, *_ in both] == [0, 0], both
    assert [said.splitlines()[-1] for _, said, _, _ in both] == ["interrupted 6"] * 2
    both = ends(*pair(out))
    assert [said.splitlines()[-1] for _, said, _, _ in both] == ["finished 12"] * 2
    assert_same_run(out, alone)


def test_one_process_joins_nothing():
    with distributed(count=1):
        assert jax.process_count() == 1
    barrier("nobody else")
    assert any_process(True) and not any_process(False)


def test_a_state_of_two_processes_is_read_by_one(alone):
    ts, _ = read(alone)
    validate = fx.train.make_eval(network(), loss_fn, loader(dtype=np.float32))
    history = json.loads((alone / "history.json").read_text())["history"]
    assert validate(ts)["loss"] == pytest.approx(history[-1]["val_loss"], rel=1e-5)


@pytest.mark.parametrize(
    "text, options",
    [
        ("expected timeout_s of 2 or more, got 1", {"timeout_s": 1}),
        ("expected index from 0 to 1, got 2", {"count": 2, "index": 2}),
        ("expected index from 0 to 1, got -1", {"count": 2, "index": -1}),
    ],
)
def test_wrong_arguments(text, options):
    with pytest.raises(ValueError, match=f"distributed: {text}"):
        with distributed("127.0.0.1:1", **options):
            pass
