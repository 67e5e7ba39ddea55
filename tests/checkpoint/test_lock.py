"""One writer for a run's folder at a time."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

import fx
from fx import checkpoint
from fx.checkpoint import lock

ROOT = Path(__file__).parent.parent.parent
TINY = fx.train.TrainState(jnp.int32(0), {}, {}, (), jnp.zeros(1))


def test_another_process_is_named_and_its_death_frees_the_folder(tmp_path):
    code = (
        "import sys, time; from fx.checkpoint import only_writer\n"
        "with only_writer(sys.argv[1]): print('held', flush=True); time.sleep(120)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], env=env, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout.readline() == "held\n"
            who = rf"process {other.pid} on {socket.gethostname()} has done so since 20\d\d-"
            for write in (
                lambda: checkpoint.save(tmp_path, TINY, {}),
                lambda: checkpoint.Writer(tmp_path).__enter__(),
            ):
                with pytest.raises(BlockingIOError, match=f"only one who writes to .* but {who}"):
                    write()
            assert not (tmp_path / "checkpoints").exists()
        finally:
            other.send_signal(signal.SIGKILL)
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == other.pid
    checkpoint.save(tmp_path, TINY, {})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_a_second_writer_of_one_process_is_refused_too(tmp_path):
    with checkpoint.Writer(tmp_path) as writer:
        with pytest.raises(BlockingIOError, match="this very process: a Writer or a fit is open"):
            checkpoint.save(tmp_path, TINY, {})
        writer.save(TINY, {"at": "writer"})
    checkpoint.save(tmp_path, TINY, {"at": "save"})
    assert checkpoint.restore(tmp_path, like=TINY)[1] == {"at": "save"}


def test_who_has_not_signed_yet_is_not_named(tmp_path):
    with (tmp_path / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="but another process does; wait until"):
            checkpoint.save(tmp_path, TINY, {})


def test_a_file_that_was_removed_meanwhile_is_not_the_lock(tmp_path, monkeypatch):
    real, calls = fcntl.flock, []

    def flock(stream, operation):
        calls.append(operation)
        if len(calls) == 1:  # its holder ends between our open and our lock
            (tmp_path / ".lock").unlink()
        return real(stream, operation)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with lock.only_writer(tmp_path):
        assert len(calls) == 2
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        with pytest.raises(BlockingIOError), lock.only_writer(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def flock(stream, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    said = []
    with lock.only_writer(tmp_path, notify=said.append):
        pass
    assert len(said) == 1 and "cannot be locked (No locks available); see to it" in said[0]


def test_a_system_without_locks_goes_without(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    with lock.only_writer(tmp_path), lock.only_writer(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_the_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyError), lock.only_writer(tmp_path):
        raise KeyError
    with lock.only_writer(tmp_path):
        pass
