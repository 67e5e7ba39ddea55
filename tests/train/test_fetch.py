import jax.numpy as jnp
import numpy as np
import pytest

from fx.train.fetch import CHUNK, as_arrays
from fx.train.record import Record


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 3])
@pytest.mark.parametrize("kind", [np.float32, jnp.float32, jnp.bfloat16, jnp.int32, float])
def test_calls_in_order(count, kind):
    calls = [({"loss": kind(i), "ok": jnp.array(i % 3 > 0)}, 1) for i in range(count)]
    arrays = as_arrays(calls)
    assert arrays["loss"].dtype == np.float64
    assert arrays["loss"].tolist() == list(range(count))
    assert arrays["ok"].tolist() == [i % 3 > 0 for i in range(count)]


def test_calls_of_several_steps_and_a_shorter_last_one():
    steps = [3] * CHUNK + [2]
    values = np.split(np.arange(sum(steps), dtype=np.float32), np.cumsum(steps)[:-1])
    arrays = as_arrays([({"loss": jnp.array(v)}, len(v)) for v in values])
    assert arrays["loss"].tolist() == list(range(sum(steps)))


def test_a_float_keeps_its_bits():
    values = [0.1 + i for i in range(CHUNK)]
    assert as_arrays([({"loss": v}, 1) for v in values])["loss"].tolist() == values


def test_another_number_of_values_is_named():
    calls = [({"loss": jnp.zeros(())}, 1)] * CHUNK + [({"loss": jnp.zeros(2)}, 1)]
    with pytest.raises(ValueError, match=r"'loss' to have one value for each of 1 steps, got .*2"):
        as_arrays(calls)


@pytest.mark.parametrize("cut", [1, 4, 9, 10])
def test_totals_have_the_same_bits_however_steps_are_grouped(cut):
    rng = np.random.default_rng(0)
    loss, sizes = rng.normal(size=10) * 10.0 ** rng.integers(-8, 8, 10), np.arange(3, 13)
    skipped = (rng.random(10) < 0.3).astype(float)
    whole, parts = Record({}), Record({})
    whole.add({"loss": loss, "skipped": skipped}, sizes)
    for at in range(0, 10, cut):
        some = slice(at, at + cut)
        parts.add({"loss": loss[some], "skipped": skipped[some]}, sizes[some])
    assert parts == whole
    total = 0.0
    for value, size, flag in zip(loss, sizes, skipped):
        total += 0.0 if flag else value * int(size)
    assert whole.sums["loss"] == total and whole.weights["loss"] == sizes[skipped == 0].sum()
