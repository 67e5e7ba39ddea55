import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fx
from fx.debug import load_crash, save_crash, xray
from tests.train.tiny_run import Net, assert_same_bits, loss_fn

INPUTS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
BATCH = (INPUTS, np.zeros(6, np.int32))


def make(impl="threefry2x32"):
    step = fx.train.make_step(Net(), loss_fn, optax.adam(1e-3), donate=False)
    return step, fx.train.create(Net(), step.optimizer, jax.random.key(3, impl=impl))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_state_key_and_batch_come_back_to_the_bit(impl, tmp_path):
    step, ts = make(impl)
    folder = save_crash(tmp_path / "a" / "crash", step, ts, BATCH, "why")
    read_ts, read_batch = load_crash(folder, make(impl)[1], BATCH)
    assert_same_bits((ts, BATCH), (read_ts, read_batch))
    assert jax.random.key_impl(read_ts.key) == jax.random.key_impl(ts.key)
    assert type(read_ts) is type(ts)
    assert (folder / "report.txt").read_text() == "why\n"


def test_the_crash_can_be_looked_through_again(tmp_path):
    step, ts = make()
    batch = (INPUTS * np.where(np.arange(6) == 4, np.nan, 1)[:, None].astype(np.float32), BATCH[1])
    report = xray(step, ts, batch)
    folder = save_crash(tmp_path, step, ts, batch, report)
    assert str(report) == (folder / "report.txt").read_text().rstrip("\n")
    again = xray(step, *load_crash(folder, make()[1], BATCH))
    assert again == report and again.samples == (4,)


def test_other_dtypes_and_batches_that_are_dicts(tmp_path):
    ts = {"w": jnp.ones((2,), jnp.bfloat16), "n": jnp.int32(7), "raw": jax.random.PRNGKey(0)}
    batch = {"x": np.arange(3, dtype=np.uint8), "mask": np.array([True, False])}
    read_ts, read = load_crash(save_crash(tmp_path, None, ts, batch, ""), ts, batch)
    assert_same_bits((ts, batch), (read_ts, read))


def test_the_index_is_json(tmp_path):
    step, ts = make()
    save_crash(tmp_path, step, ts, BATCH, "")
    index = json.loads((tmp_path / "crash.json").read_text())
    assert index["jax"] == jax.__version__
    assert index["leaves"]["ts.key"] == {"key": "threefry2x32", "shape": []}


def test_errors(tmp_path):
    step, ts = make()
    with pytest.raises(FileNotFoundError, match="load_crash: no crash in .*; expected crash.json"):
        load_crash(tmp_path, ts, BATCH)
    save_crash(tmp_path, step, ts, BATCH, "")
    other = ts.replace(params={"first": {"weight": jnp.zeros((9, 4))}}, opt_state=())
    with pytest.raises(ValueError, match="does not fit: .*second.* is not expected") as caught:
        load_crash(tmp_path, other, BATCH)
    assert "ts.params['first']['weight'] is [8, 4] in it and [9, 4] here" in str(caught.value)
    assert "make ts with the model and optimizer that the run had" in str(caught.value)
