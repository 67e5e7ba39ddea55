"""A disk that is full, a folder that is read-only: a clear error, and nothing lost."""

import contextlib
import errno
import os
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import fx
from fx import checkpoint
from fx.checkpoint import folder, manifest, writing
from tests.train.tiny_run import Batches, assert_same_bits

TINY = fx.train.TrainState(jnp.int32(0), {}, {}, (), jnp.zeros(1))


def at(step):
    return TINY.replace(step=jnp.int32(step))


@pytest.fixture
def run(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, at(step), {"at": step})
    return tmp_path


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_in_tensorstore(path, *args):
    (Path(path) / "d").mkdir(parents=True)
    raise ValueError("RESOURCE_EXHAUSTED: Failed writing: ... [os_error_code='28']")


def full_for(name, real=Path.write_text):
    def write(path, text):
        if path.name == name:
            real(path, text[:10])
            full()
        return real(path, text)

    return Path, "write_text", write


PLACES = {
    "folder": (folder.Path, "mkdir", full),
    "arrays": (writing, "_write_arrays", full_in_tensorstore),
    "loop": full_for("loop.json"),
    "manifest": full_for("manifest.json"),
    "flush": (manifest.os, "fsync", full),
    "rename": (folder.Path, "rename", full),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("writer", [False, True])
def test_a_full_disk_loses_nothing_wherever_it_is_met(run, monkeypatch, place, writer):
    # What is patched is used for other things too, the lock among them: only the job is to fail.
    real = writing._Job.write

    def write(job):
        with monkeypatch.context() as patch:
            patch.setattr(*PLACES[place])
            real(job)

    monkeypatch.setattr(writing._Job, "write", write)
    text = (
        r"checkpoint: step 3 could not be written to .*checkpoints \(No space left on device\); "
        r"the checkpoints there are untouched: \[1, 2\]; make room, or lower keep, and go on"
    )
    with pytest.raises(OSError, match=text) as error:
        if writer:
            with checkpoint.Writer(run) as writes:
                writes.save(at(3), {})
        else:
            checkpoint.save(run, at(3), {})
    assert error.value.errno == errno.ENOSPC
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["1", "2"]
    assert checkpoint.restore(run, like=TINY, notify=pytest.fail)[1] == {"at": 2}
    monkeypatch.undo()
    checkpoint.save(run, at(3), {"at": 3})
    assert checkpoint.steps(run) == [2, 3]


@jax.jit
def step(ts, batch):
    weights = ts.params["w"] * jnp.float32(0.9) + jnp.mean(batch[0])
    return ts.replace(step=ts.step + 1, params={"w": weights}), {"loss": jnp.sum(weights)}


def fit(out=None, **options):
    ts = TINY.replace(params={"w": jnp.zeros(3)})
    return fx.fit(step, ts, Batches(), epochs=4, out=out, progress=False, **options)


@contextlib.contextmanager
def limit(size_bytes):
    """No file of this process may become larger; the system refuses it as it does on a full disk.

    Python ignores the signal that would end the process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_system_refuses_to_write(run, capfd):
    large = at(3).replace(params={"w": jax.random.normal(jax.random.key(0), (500_000,))})
    with limit(1_000_000), pytest.raises(OSError, match="step 3 .*File too large.*make room"):
        checkpoint.save(run, large, {})
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["1", "2"]
    assert "Traceback" not in capfd.readouterr().err  # orbax logs one for each of its threads
    checkpoint.save(run, large, {"at": 3})
    assert_same_bits(checkpoint.restore(run, like=large)[0], large)


def test_training_ends_with_the_error_and_goes_on_when_there_is_room(tmp_path, monkeypatch):
    expected = fit()
    real, calls = writing.write_manifest, []

    def fills_up(*args):
        calls.append(args)
        if len(calls) > 3:
            full()
        return real(*args)

    monkeypatch.setattr(writing, "write_manifest", fills_up)
    text = r"step 8 could not be written .*No space left.* untouched: \[4, 6\]"
    with pytest.raises(OSError, match=text):
        fit(tmp_path, checkpoint_every=2)
    assert len(calls) == 4
    assert not (tmp_path / ".lock").exists()
    monkeypatch.undo()
    result = fit(tmp_path, resume=True, checkpoint_every=2)
    assert_same_bits(result.ts, expected.ts)
    assert result.history == expected.history


def test_an_error_at_the_very_end_is_raised_too(tmp_path, monkeypatch):
    real = writing.write_manifest

    def last(path, facts):
        return full() if facts["step"] == 24 else real(path, facts)

    monkeypatch.setattr(writing, "write_manifest", last)
    with pytest.raises(OSError, match=r"step 24 could not be written .* untouched: \[12, 18\]"):
        fit(tmp_path)


def test_old_ones_that_cannot_be_removed(run, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(folder, "remove", lambda path: path.name == "1" and refuse(path))
    text = (
        r"step 3 is written, but not all old ones could be removed \(Permission denied\); .* "
        r"\[1, 2, 3\]; see to it that the folder can be written to"
    )
    with pytest.raises(PermissionError, match=text):
        checkpoint.save(run, at(3), {"at": 3})
    assert checkpoint.restore(run, like=TINY)[1] == {"at": 3}


@contextlib.contextmanager
def somebody():
    """Root may write everywhere; somebody else may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(0o555)
    text = "expected a folder that can be written to, but .* cannot .Permission denied.; choose"
    try:
        with somebody():
            for write in (
                lambda: checkpoint.save(run, at(1), {}),
                lambda: checkpoint.Writer(run).__enter__(),
            ):
                with pytest.raises(PermissionError, match=text):
                    write()
    finally:
        run.chmod(0o755)
    assert list(run.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(FileExistsError, match="run cannot .File exists.; choose another"):
        checkpoint.save(tmp_path / "run", at(1), {})
