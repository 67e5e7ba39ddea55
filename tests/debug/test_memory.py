import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fx
from fx.debug import memory
from tests.train.tiny_run import Net, data, loss_fn

ERROR = jax.errors.JaxRuntimeError(
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 85899345920 bytes.\nmore"
)


def make(**options):
    step = fx.train.make_step(Net(), loss_fn, optax.adam(1e-3), **options)
    return step, fx.train.create(Net(), step.optimizer, jax.random.key(0)), data(64)


def test_what_is_out_of_memory():
    assert memory.is_out_of_memory(ERROR)
    assert not memory.is_out_of_memory(jax.errors.JaxRuntimeError("INTERNAL: no"))
    assert not memory.is_out_of_memory(ValueError("RESOURCE_EXHAUSTED"))


def test_the_figures_are_those_of_the_compiled_step():
    step, ts, batch = make()
    text = memory.explain_memory(step, ts, batch)
    shown = dict(re.findall(r"  (.+?)  +(\d[\d.]* \w+)", text))
    analysis = step.compiled.lower(ts, batch).compile().memory_analysis()
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(ts.replace(key=None)))
    assert shown["the state"] == memory.show_bytes(size + 8)  # the key is two 32-bit words
    assert shown["the batch"] == memory.show_bytes(batch[0].nbytes + batch[1].nbytes)
    assert shown["temporaries"] == memory.show_bytes(analysis.temp_size_in_bytes)
    assert "accumulate=2" in text and 'precision="bf16"' in text and "remat=True" in text
    assert "donate=True" not in text and "which does not tell its memory" in text


def test_without_donation_it_is_the_first_advice():
    text = memory.explain_memory(*make(donate=False))
    assert "what to try:\n  - make_step(donate=True)" in text


def test_donated_arrays_have_their_shapes_still():
    step, ts, batch = make()
    step(ts, batch)
    assert "together" in memory.explain_memory(step, ts, batch)


def test_a_large_state_gets_other_advice():
    step = fx.train.make_step(fx.nn.Linear(512, 512), lambda y, t: y.mean(), optax.adam(1e-3))
    ts = fx.train.create(fx.nn.Linear(512, 512), step.optimizer, jax.random.key(0))
    text = memory.explain_memory(step, ts, (np.ones((1, 512), np.float32), None))
    assert "an optimizer with less state" in text and "FSDP" in text


def test_the_error_says_both():
    step, ts, batch = make()
    error = memory.out_of_memory(step, ts, batch, ERROR)
    assert isinstance(error, MemoryError)
    text = str(error)
    assert text.startswith("train step: the device is out of memory (RESOURCE_EXHAUSTED")
    assert "85899345920 bytes" in text and "more" not in text.splitlines()[0]
    assert "what the step needs on the device" in text and "what to try" in text


def test_a_step_that_really_does_not_fit():
    """The array to sort has 2**48 bytes, which is more than there are addresses."""

    class Wide(fx.nn.Module):
        def __init__(self):
            self.weight = fx.nn.Parameter((1,), fx.nn.init.ones)

        def forward(self, x):
            x = x * jnp.arange(2**23, dtype=jnp.float32)
            return jnp.sum(self.weight * jnp.sort(x[:, None] - x))

    class Once:
        def __len__(self):
            return 1

        def epoch(self, number):
            yield jnp.ones(1), None

    step = fx.train.make_step(Wide(), lambda y, t: y, optax.sgd(0.1))
    ts = fx.train.create(Wide(), step.optimizer, jax.random.key(0))
    # The step returns before it has run, so that it is the loop that meets the error.
    with pytest.raises(MemoryError, match="train step: the device is out of memory") as caught:
        fx.fit(step, ts, Once(), epochs=1, progress=False)
    assert isinstance(caught.value.__cause__, jax.errors.JaxRuntimeError)
    needs = re.search(r"temporaries +([\d.]+) TiB \(activations", str(caught.value))
    assert needs is not None and float(needs[1]) >= 256
    assert "what to try:\n  - a smaller batch" in str(caught.value)


def test_a_callback_that_runs_out_of_memory_is_not_the_step():
    step, ts, batch = make()

    class Once:
        def __len__(self):
            return 1

        def epoch(self, number):
            yield batch

    def greedy(event):
        raise ERROR

    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED") as caught:
        fx.fit(step, ts, Once(), epochs=1, callbacks=[greedy], log_every=1, progress=False)
    assert caught.value is ERROR


def test_compiling_that_fails_too_is_said():
    class Fails:
        def lower(self, *_):
            raise ERROR

    step, ts, batch = make()
    text = memory.explain_memory(Fails(), ts, batch)
    assert "the rest is not known: compiling failed too (RESOURCE_EXHAUSTED" in text
    assert "the state" in text and "a smaller batch" in text


@pytest.mark.parametrize(
    "stats, said", [(None, "does not tell"), ({"bytes_limit": 2**31}, "2.0 GiB")]
)
def test_the_device(stats, said, monkeypatch):
    class Device:
        platform, device_kind = "gpu", "H200"

        def memory_stats(self):
            return stats

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    text = memory.explain_memory(lambda ts, batch: ts, jnp.ones(3), jnp.ones(3))
    assert said in text and "XLA_PYTHON_CLIENT_MEM_FRACTION" in text
