"""Checkpoints that are written while training goes on."""

import re
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import checkpoint
from fx.checkpoint import tree, writing
from fx.checkpoint.tree import copies
from tests.train.tiny_run import assert_same_bits

TINY = fx.train.TrainState(jnp.int32(0), {}, {}, (), jnp.zeros(1))


def at(step):
    return TINY.replace(step=jnp.int32(step))


@pytest.fixture
def gate(monkeypatch):
    """Holds the background thread where the manifest would be written."""

    class Gate:
        reached, opened = threading.Event(), threading.Event()

    real = writing.write_manifest

    def held(*args):
        Gate.reached.set()
        assert Gate.opened.wait(60)
        return real(*args)

    monkeypatch.setattr(writing, "write_manifest", held)
    yield Gate
    Gate.opened.set()


def test_a_step_may_reuse_the_memory_at_once(tmp_path):
    add = jax.jit(lambda ts: jax.tree.map(lambda leaf: leaf + 1, ts), donate_argnums=0)
    params = {
        "large": jnp.zeros(3_000_000),
        "small": jnp.zeros(()),
        "whole": jnp.zeros(7, jnp.int8),
    }
    ts = fx.train.TrainState(jnp.int32(0), params, {}, (), jnp.zeros(()))
    with checkpoint.Writer(tmp_path) as writer:
        for expected in range(1, 6):
            ts = add(ts)
            writer.save(ts, {}, keep=9)
            ts = add(add(ts)).replace(step=jnp.int32(expected))
            for leaf in jax.tree.leaves(ts.params):
                assert np.all(np.asarray(leaf) == 3 * expected)
    for step, value in zip(checkpoint.steps(tmp_path), (1, 4, 7, 10, 13), strict=True):
        back, _ = checkpoint.restore(tmp_path, like=ts, which=step)
        for leaf in jax.tree.leaves(back.params):
            assert np.all(np.asarray(leaf) == value), (step, value)


def test_it_writes_what_save_writes(tmp_path):
    optimizer = fx.optim.adam(0.1)
    params = {
        "half": jnp.arange(3, dtype=jnp.bfloat16),
        "numpy": np.arange(4.0, dtype=np.float32),
        "empty": jnp.zeros((0, 3)),
        "keys": jax.random.split(jax.random.key(0), 2),
    }
    ts = TINY.replace(params=params, opt_state=optimizer.init({"w": jnp.ones(3)}))
    one = checkpoint.save(tmp_path / "one", ts, {"a": [1]}, best=True)
    with checkpoint.Writer(tmp_path / "other") as writer:
        other = writer.save(ts, {"a": [1]}, best=True)
        params["numpy"][:] = 9  # the caller's array is the caller's again
    params["numpy"][:] = np.arange(4.0)
    assert other == tmp_path / "other/checkpoints/0"
    manifests = [writing.json.loads((path / "manifest.json").read_text()) for path in (one, other)]
    for name in ("format", "fx", "step", "best", "optimizer", "tree"):
        assert manifests[0][name] == manifests[1][name]
    first, _ = checkpoint.restore(tmp_path / "one", like=ts)
    second, loop_state = checkpoint.restore(tmp_path / "other", like=ts)
    assert_same_bits(first, second)
    assert_same_bits(second, ts)
    assert loop_state == {"a": [1]}


def test_64_bits_stay_on_every_thread(tmp_path, x64):
    params = {"w": jnp.array([1 / 3]), "n": jnp.array(2**60 + 1), "c": jnp.array([1j / 3])}
    ts = TINY.replace(params=params)
    assert [str(leaf.dtype) for leaf in params.values()] == ["float64", "int64", "complex128"]
    checkpoint.save(tmp_path / "one", ts, {})
    with checkpoint.Writer(tmp_path / "other") as writer:
        writer.save(ts, {})
    for run in ("one", "other"):
        back, _ = checkpoint.restore(tmp_path / run, like=ts)
        assert_same_bits(back, ts)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(back))


def test_save_returns_before_it_is_written_and_wait_after(tmp_path, gate):
    with checkpoint.Writer(tmp_path) as writer:
        loop_state = {"at": [1]}
        path = writer.save(at(1), loop_state)
        assert gate.reached.wait(60) and not path.exists()
        loop_state["at"].append(2)  # what the loop does meanwhile is not in it
        gate.opened.set()
        writer.wait()
        assert checkpoint.verify(path) == []
        assert checkpoint.restore(tmp_path, like=TINY)[1] == {"at": [1]}


def test_one_at_a_time(tmp_path, gate):
    with checkpoint.Writer(tmp_path) as writer:
        writer.save(at(1), {})
        assert gate.reached.wait(60)
        second = threading.Thread(target=writer.save, args=(at(2), {}))
        second.start()
        second.join(0.2)
        assert second.is_alive() and checkpoint.steps(tmp_path) == []
        gate.opened.set()
        second.join(60)
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_the_end_waits(tmp_path, monkeypatch):
    slow = writing.write_manifest
    monkeypatch.setattr(writing, "write_manifest", lambda *args: (time.sleep(0.3), slow(*args))[1])
    with checkpoint.Writer(tmp_path) as writer:
        path = writer.save(at(1), {})
    assert checkpoint.verify(path) == []
    assert not [t.name for t in threading.enumerate() if t.name.startswith("fx-checkpoint")]


def fail_once(monkeypatch):
    real = writing.write_manifest

    def failing(*args):
        monkeypatch.setattr(writing, "write_manifest", real)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_manifest", failing)


def test_an_error_comes_up_at_the_next_save(tmp_path, monkeypatch):
    fail_once(monkeypatch)
    with checkpoint.Writer(tmp_path) as writer:
        writer.save(at(1), {})
        with pytest.raises(OSError, match="step 1 could not be written .*No space left on device"):
            writer.save(at(2), {})
        assert checkpoint.steps(tmp_path) == []
        writer.save(at(3), {})  # said once, it is over
    assert checkpoint.steps(tmp_path) == [3]


def test_an_error_comes_up_at_the_end(tmp_path, monkeypatch):
    for end in (lambda writer: None, lambda writer: writer.wait()):
        fail_once(monkeypatch)
        with pytest.raises(OSError, match="step 1 could not be written"):
            with checkpoint.Writer(tmp_path) as writer:
                writer.save(at(1), {})
                end(writer)


def test_an_error_of_the_block_is_not_hidden_by_one_of_the_thread(tmp_path, monkeypatch):
    fail_once(monkeypatch)
    with pytest.raises(KeyError, match="mine") as caught:
        with checkpoint.Writer(tmp_path) as writer:
            writer.save(at(1), {})
            raise KeyError("mine")
    assert re.match("OSError while its end was waited for: .*step 1", caught.value.__notes__[0])


def test_wrong_use(tmp_path):
    writer = checkpoint.Writer(tmp_path)
    with pytest.raises(RuntimeError, match="inside of `with Writer"):
        writer.save(TINY, {})
    with writer:
        with pytest.raises(ValueError, match="expected keep of 1 or more, got 0"):
            writer.save(TINY, {}, keep=0)
        with pytest.raises(TypeError, match=r"loop_state\['a'\]: .* got tuple"):
            writer.save(TINY, {"a": ()})
        gone = at(1).replace(params={"w": jnp.ones(2)})
        gone.params["w"].delete()
        with pytest.raises(ValueError, match="params/w went into a later step"):
            writer.save(gone, {})
    assert checkpoint.steps(tmp_path) == []


def test_copies_keep_kind_and_place():
    device = jax.devices()[0]
    arrays = {
        "a": jax.device_put(jnp.ones(3), device),
        "key": jax.random.key(1),
        "host": jax.device_put(
            jnp.ones(3), jax.sharding.SingleDeviceSharding(device, memory_kind="pinned_host")
        ),
        "number": 3,
    }
    made = copies(arrays)
    assert set(made) == set(arrays) and made["number"] == 3
    for name in ("a", "key", "host"):
        assert made[name].sharding == arrays[name].sharding
        assert made[name].dtype == arrays[name].dtype
    pointer = made["a"].unsafe_buffer_pointer()
    assert pointer != arrays["a"].unsafe_buffer_pointer()


def test_copies_of_an_accelerator_go_to_the_host(tmp_path, monkeypatch):
    ts = TINY.replace(params={"w": jnp.arange(5.0)}, key=jax.random.key(3))

    class Gpu:  # a CPU has the same kinds of memory, so that only its name has to change
        platform = "gpu"
        addressable_memories = jax.devices()[0].addressable_memories

    real = jax.sharding.SingleDeviceSharding.device_set
    kind = jax.sharding.SingleDeviceSharding
    monkeypatch.setattr(kind, "device_set", property(lambda self: {Gpu()}))
    where = [tree._beside(leaf).memory_kind for leaf in jax.tree.leaves(ts)]
    monkeypatch.undo()
    assert where == ["pinned_host"] * 3 and kind.device_set is real
    beside = lambda leaf: leaf.sharding.with_memory_kind("pinned_host")
    monkeypatch.setattr(tree, "_beside", beside)
    with checkpoint.Writer(tmp_path) as writer:
        writer.save(ts, {})
    back, _ = checkpoint.restore(tmp_path, like=ts)
    assert_same_bits(back, ts)
    assert back.params["w"].sharding.memory_kind == "device"
