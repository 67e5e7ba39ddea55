"""kill -9, in a step, in a save, in a deletion: the run ends as if nothing had happened."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fx
from tests.train.killed_program import train
from tests.train.tiny_run import assert_same_bits

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(__file__).parent / "killed_program.py"


class Run:
    """One run's folder, and the processes that work on it one after the other."""

    def __init__(self, folder, epochs):
        self.out, self.cache, self.epochs = folder / "run", folder / "cache", epochs
        self.out.mkdir()

    @contextlib.contextmanager
    def process(self, *place):
        command = [sys.executable, PROGRAM, self.out, str(self.epochs), self.cache, *place]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        child = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            yield child
        finally:
            child.kill()
            child.wait()
            child.stdout.close()

    def wait_for(self, child, what, found):
        deadline = time.monotonic() + 120
        while not found():
            assert child.poll() is None, f"ended before {what}: {child.stdout.read()}"
            assert time.monotonic() < deadline, f"no {what} within two minutes"
            time.sleep(0.001)

    def paused(self, place, count=2, number=signal.SIGKILL):
        """Send a signal to a process that stands at a place; return what it left behind."""
        marker = self.out / "paused"
        with self.process(place, str(count)) as child:
            self.wait_for(child, place, marker.exists)
            marker.unlink()
            child.send_signal(number)
            child.wait()
        return self.left_behind()

    def killed_after(self, seconds):
        """Kill a process some time after it has begun to train."""
        lines = self.lines()
        with self.process() as child:
            self.wait_for(child, "a step", lambda: self.lines() > lines)
            time.sleep(seconds)
            if child.poll() is not None:
                return None  # it was through before
            child.send_signal(signal.SIGKILL)
            child.wait()
        return self.left_behind()

    def interrupted(self):
        """Press Ctrl-C when a process has begun to train."""
        lines = self.lines()
        with self.process() as child:
            self.wait_for(child, "a step", lambda: self.lines() > lines)
            child.send_signal(signal.SIGINT)
            output, _ = child.communicate(timeout=200)
        assert child.returncode == 0, output
        return output.splitlines()

    def finish(self):
        with self.process() as child:
            output, _ = child.communicate(timeout=200)
        assert child.returncode == 0, output
        return output.splitlines()

    def lines(self):
        log = self.out / "log.jsonl"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def left_behind(self):
        folder = self.out / "checkpoints"
        found = {path.suffix for path in folder.iterdir()} if folder.exists() else set()
        if any(folder.rglob("*.orbax-checkpoint-tmp")):
            found.add("orbax")
        return found - {""}

    def check(self, expected):
        ts, record = fx.checkpoint.restore(self.out, like=expected.ts, notify=pytest.fail)
        assert_same_bits(ts, expected.ts)
        assert record["history"] == expected.history
        assert record["best"] == expected.best
        written = json.loads((self.out / "history.json").read_text())
        assert written["history"] == expected.history
        events = [json.loads(line) for line in (self.out / "log.jsonl").read_text().splitlines()]
        rows = [event for event in events if event["kind"] == "epoch"]
        assert [row["train_loss"] for row in rows] == [
            row["train_loss"] for row in expected.history
        ]
        steps = [event["step"] for event in events if event["kind"] == "log"]
        assert steps == sorted(set(steps))
        assert self.left_behind() == set()


def test_an_interrupt_and_kills_in_a_save_a_deletion_and_a_step_change_nothing(tmp_path):
    run = Run(tmp_path, epochs=5)
    output = run.interrupted()
    assert output[0].endswith("has no checkpoint; starting from the beginning")
    assert output[-2].endswith("resume=True goes on") and output[-1] == "interrupted"
    assert ".tmp" in run.paused("arrays", 2)
    assert run.paused("deletion", 3) == {".deleted"}
    run.paused("step", 4)
    assert train(5, run.out).stopped == "finished"  # another process again: this one
    run.check(train(5))


EPOCHS = 120  # more than a fast machine is through with before it is killed 20 times


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_change_nothing(tmp_path):
    rng = random.Random(int(os.environ.get("FX_TEST_SEED", "0")))
    run = Run(tmp_path, epochs=EPOCHS)
    places = ["step", "arrays", "manifest", "rename", "prune", "deletion"]
    plan = places + [None] * 14
    rng.shuffle(plan)
    left, reached = {}, []
    for number, place in enumerate(plan):
        if place is None:
            left[number] = run.killed_after(rng.uniform(0, 0.8))
        else:
            left[place] = run.paused(place, rng.randint(2, 4))
        reached.append(max(fx.checkpoint.steps(run.out), default=0))
    assert None not in left.values(), "the run was over before it was killed 20 times"
    assert reached == sorted(reached)
    for place in ("arrays", "manifest", "rename"):
        assert ".tmp" in left[place]
    assert ".deleted" in left["deletion"]
    print(reached, left)
    assert run.finish()[-1] == "finished"
    run.check(train(EPOCHS))
