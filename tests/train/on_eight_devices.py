"""Tests that need eight devices; test_sharding.py runs them in a process that has as many.

Everything is float64 here: what sums in another order leave is far below what is looked for.
"""

import dataclasses
import functools
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

import fx
from fx.train import create, make_step
from fx.train.sharding import Sharding, data_parallel, fsdp
from tests.train.mesh_run import (
    BATCH,
    Batches,
    Wide,
    convolutions,
    data,
    loader,
    loss_fn,
    network,
    optimizer,
)
from tests.train.tiny_run import assert_same_bits

TOLERANCE = {"rtol": 1e-9, "atol": 1e-11}
COMPILED = "/jax/core/compile/backend_compile_duration"


def columns(name, shape):
    return PartitionSpec(None, "model") if len(shape) == 2 else PartitionSpec()


def mesh_2x4():
    mesh = jax.make_mesh((2, 4), ("data", "model"))
    assert mesh.axis_types == (AxisType.Explicit,) * 2
    return Sharding(mesh, columns)


LAYOUTS = {
    "none": lambda: None,
    "one": lambda: data_parallel(jax.devices()[:1]),
    "two": lambda: data_parallel(jax.devices()[:2]),
    "eight": data_parallel,
    "fsdp on two": lambda: fsdp(jax.devices()[:2], min_size=32),
    "fsdp on eight": lambda: fsdp(min_size=32),
    "tensors, 2 x 4": mesh_2x4,
}


@dataclasses.dataclass
class Trained:
    """A run of two epochs, without fit."""

    sharding: Sharding | None
    step: Any
    fresh: Any  # the state it started from
    ts: Any
    losses: list
    argument_bytes: int
    compilations: int


def copied(ts):
    return jax.tree.map(jnp.copy, ts)


@functools.cache
def train(name, net=network):
    """Train; the batches go through the devices of a layout."""
    sharding, model, compiled = LAYOUTS[name](), Wide(net()), []

    def count(event, duration, **_):
        compiled.extend([duration] if event == COMPILED else [])

    ts = create(model, optimizer(), jax.random.key(0), sharding=sharding)
    step, fresh = make_step(model, loss_fn, optimizer(), sharding=sharding), copied(ts)
    batches = [*Batches(sharding).epoch(0), *Batches(sharding).epoch(1)]
    jax.monitoring.register_event_duration_secs_listener(count)
    memory = step.compiled.lower(ts, batches[0]).compile().memory_analysis()
    losses = []
    for batch in batches:
        ts, metrics = step(ts, batch)
        losses.append(float(metrics["loss"]))
    jax.monitoring.unregister_event_duration_listener(count)
    size = memory.argument_size_in_bytes
    return Trained(sharding, step, fresh, ts, losses, size, len(compiled))


def assert_close(one, other):
    leaves, others = jax.tree.leaves_with_path(one), jax.tree.leaves_with_path(other)
    for (path, a), (_, b) in zip(leaves, others, strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(a, b, **TOLERANCE, err_msg=jax.tree_util.keystr(path))


def assert_laid_out(ts, sharding):
    for leaf, layout in zip(jax.tree.leaves(ts), jax.tree.leaves(sharding.of(ts)), strict=True):
        assert leaf.sharding.is_equivalent_to(layout, leaf.ndim)


def test_there_are_eight_in_float64():
    assert jax.device_count() == 8
    assert train("none").ts.params["1"]["weight"].dtype == jnp.float64


@pytest.mark.parametrize(
    "name",
    [
        "eight",
        "fsdp on two",
        "fsdp on eight",
        *(pytest.param(n, marks=pytest.mark.full) for n in ("one", "two", "tensors, 2 x 4")),
    ],
)
def test_the_same_run_on_any_mesh(name):
    expected, run = train("none"), train(name)
    np.testing.assert_allclose(run.losses, expected.losses, rtol=1e-9)
    assert_same_bits(run.fresh, expected.fresh)
    assert_close(run.ts, expected.ts)
    assert_laid_out(run.ts, run.sharding)
    assert run.compilations == 2  # one for the batches, one for the shorter last one
    assert run.step.compilations.count == 2


@pytest.mark.full
@pytest.mark.parametrize("name", ["eight", "fsdp on eight"])
def test_convolutions(name):
    assert_close(train(name, convolutions).ts, train("none", convolutions).ts)


def test_the_order_of_examples_is_the_same():
    plain = [jax.device_get(batch) for batch in loader().epoch(1)]
    for make in LAYOUTS.values():
        sharding = make()
        for ours, batch in zip(loader(sharding).epoch(1), plain, strict=True):
            assert_same_bits(jax.device_get(ours), batch)
            if sharding is not None:
                assert ours[0].sharding.is_equivalent_to(sharding.batch, ours[0].ndim)


def test_batchnorm_sees_the_global_batch():
    model, sharding, optimizer = fx.nn.BatchNorm1d(3), data_parallel(), fx.optim.sgd(0.1)
    x = np.random.default_rng(0).normal(size=(BATCH, 3)) + np.arange(BATCH)[:, None]
    x = x.astype(np.float32)
    step = make_step(model, lambda y, _: jnp.mean(y**2), optimizer, sharding=sharding)
    ts = sharding.place(fx.train.create(model, optimizer, jax.random.key(0)))
    ts, _ = step(ts, jax.device_put((x, x), sharding.batch))
    np.testing.assert_allclose(ts.state["running_mean"], 0.1 * x.mean(0), rtol=1e-5)
    expected = 0.9 + 0.1 * x.var(0, ddof=1)
    np.testing.assert_allclose(ts.state["running_var"], expected, rtol=1e-5)
    of_a_part = 0.9 + 0.1 * x[:2].var(0, ddof=1)
    assert not np.allclose(ts.state["running_var"], of_a_part, rtol=0.1)


def test_fsdp_takes_an_eighth_of_the_memory():
    whole, part = train("eight"), train("fsdp on eight")
    assert part.argument_bytes < whole.argument_bytes / 6
    weight = part.ts.params["1"]["weight"]
    assert weight.shape == (64, 36) and weight.addressable_shards[0].data.shape == (8, 36)
    moments = [m for m in jax.tree.leaves(part.ts.opt_state) if m.shape == weight.shape]
    assert len(moments) == 2  # Adam's
    assert all(m.addressable_shards[0].data.shape == (8, 36) for m in moments)
    assert part.ts.params["5"]["bias"].sharding.is_fully_replicated  # 4 elements, of 32


def test_a_new_state_is_never_whole_on_one_device():
    class Watched(Wide):
        def init(self, key):
            keys.append(key)
            return super().init(key)

    keys, sharding = [], fsdp(min_size=32)
    ts = create(Watched(network()), optimizer(), jax.random.key(0), sharding=sharding)
    assert keys and all(isinstance(key, jax.core.Tracer) for key in keys)  # compiled as a whole
    assert_laid_out(ts, sharding)


def test_an_optimizer_that_starts_with_the_parameters_can_be_donated():
    def keep(updates, state, params=None):
        return jax.tree.map(lambda u: -0.01 * u, updates), state

    optimizer, sharding = optax.GradientTransformation(lambda p: p, keep), fsdp(min_size=32)
    ts = create(network(), optimizer, jax.random.key(0), sharding=sharding)
    step = jax.jit(lambda ts: ts.replace(step=ts.step + 1), donate_argnums=0)
    after = step(ts)
    assert ts.params["1"]["weight"].is_deleted()
    assert_close(after.params, after.opt_state)


def test_leaves_of_the_optimizer_that_are_no_parameters_stay_whole():
    def init(params):
        rows = jax.tree.map(lambda p: jnp.zeros(p.shape[:1]), params)  # a factored moment
        return {"copy": params, "rows": rows, "count": jnp.zeros((), jnp.int32)}

    params = {"weight": jnp.zeros((64, 8)), "inner": {"weight": jnp.zeros((8, 64))}}
    ts = fx.train.TrainState(jnp.int32(0), params, {}, init(params), jax.random.key(0))
    found = jax.tree.map(lambda s: s.spec, fsdp(min_size=1).of(ts).opt_state)
    first, second, whole = (PartitionSpec("data"), PartitionSpec(None, "data"), PartitionSpec())
    assert found["copy"] == {"weight": first, "inner": {"weight": second}}
    assert found["rows"] == {"weight": whole, "inner": {"weight": whole}}
    assert found["count"] == whole


def test_several_steps_a_call():
    expected = train("fsdp on eight")
    sharding = expected.sharding
    options = {"sharding": sharding, "steps_per_call": 2}
    step = make_step(Wide(network()), loss_fn, optimizer(), **options)
    ts = copied(expected.fresh)
    for epoch in range(2):
        for batch in Batches(sharding).epoch(epoch, steps_per_call=2):
            ts, _ = step(ts, batch)
    assert_close(ts, expected.ts)


def test_evaluation_and_prediction_take_sharded_states_and_batches():
    alone, run, model = train("none"), train("fsdp on eight"), Wide(network())
    expected = fx.train.make_eval(model, loss_fn, loader())(alone.ts)
    found = fx.train.make_eval(model, loss_fn, loader(run.sharding))(run.ts)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-9)
    outputs, targets = fx.train.predict(model, run.ts.params, run.ts.state, loader(run.sharding))
    whole, _ = fx.train.predict(model, alone.ts.params, alone.ts.state, loader())
    np.testing.assert_allclose(outputs, whole, **TOLERANCE)
    np.testing.assert_array_equal(targets, data().targets)


@pytest.mark.parametrize("then", ["fsdp on two", pytest.param("two", marks=pytest.mark.full)])
def test_a_checkpoint_of_eight_devices_goes_on_with_two(tmp_path, then):
    def fit(run, interrupt_at=None):
        def before(number):
            if number == interrupt_at:
                signal.raise_signal(signal.SIGINT)

        ts = copied(run.fresh)
        options = {"epochs": 2, "out": tmp_path, "resume": True, "progress": False}
        return fx.fit(run.step, ts, Batches(run.sharding, before), **options)

    first = fit(train("fsdp on eight"), interrupt_at=6)
    assert first.stopped == "interrupted" and int(first.ts.step) == 7  # of 10, 5 an epoch
    second = fit(train(then))
    assert second.stopped == "finished" and int(second.ts.step) == 10
    assert_close(second.ts, train("none").ts)
    assert_laid_out(second.ts, train(then).sharding)


def test_a_rule_that_does_not_fit_is_refused():
    mesh, ts = data_parallel().mesh, train("none").fresh
    uneven = Sharding(mesh, lambda name, shape: PartitionSpec("data"))
    text = r"expected the rule to split '5/bias' \[4\] evenly, but .* splits 4 into 8"
    with pytest.raises(ValueError, match=text):
        uneven.of(ts)
    long = Sharding(mesh, lambda name, shape: PartitionSpec(*(None,) * len(shape), "data"))
    with pytest.raises(ValueError, match=r"'1/weight' \[64, 36\] at most 2 axes"):
        long.of(ts)
