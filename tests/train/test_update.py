"""A step with gradients of one's own: `apply_gradients`, `key_for`, several states at once."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fx
from fx import functional as F
from fx import nn, optim, train
from tests.train.tiny_run import assert_same_bits

KEY = jax.random.key(0)
MODEL = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
BATCH = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32), np.arange(16) % 2


def gradients(params, state, batch):
    def loss_fn(params):
        outputs, new = MODEL.apply(params, state, batch[0], train=True)
        return F.cross_entropy(outputs, batch[1]), new

    return jax.value_and_grad(loss_fn, has_aux=True)(params)


OPTIMIZERS = {
    "adam": optim.adam(1e-2),
    "optax": optax.adam(1e-2),
    "groups": optim.groups({"0.*": optim.sgd(0.1, momentum=0.9)}, default=optim.adamw(1e-2)),
    "frozen": optim.freeze(optim.adam(1e-2), "0.*"),
}


@pytest.mark.emitters  # else the two programs round differently
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_it_is_the_step_of_make_step(optimizer):
    made = train.make_step(MODEL, F.cross_entropy, optimizer, donate=False)

    @jax.jit
    def step(ts, batch):
        (_, state), grads = gradients(ts.params, ts.state, batch)
        return train.apply_gradients(ts, optimizer, grads, state=state)

    own = expected = train.create(MODEL, optimizer, KEY)
    for _ in range(3):
        own, (expected, _) = step(own, BATCH), made(expected, BATCH)
    assert_same_bits(own, expected)
    assert int(own.step) == 3


def test_what_an_optimizer_wants_beside_gradients():
    def loss_fn(params):
        return jnp.sum((params["w"] - 3.0) ** 2)

    ts = train.TrainState(jnp.int32(0), {"w": jnp.zeros(2)}, {}, None, KEY)
    for optimizer in (optim.lbfgs(line_search_fn="strong_wolfe"), optim.sam(optim.sgd(0.1))):
        tried = ts.replace(opt_state=optimizer.init(ts.params))
        for _ in range(20):
            value, grads = jax.value_and_grad(loss_fn)(tried.params)
            extra = {"value": value, "value_fn": loss_fn, "grad_fn": jax.grad(loss_fn)}
            tried = train.apply_gradients(tried, optimizer, grads, **extra)
        np.testing.assert_allclose(tried.params["w"], 3.0, atol=0.1)
    plain = optax.sgd(0.1)
    train.apply_gradients(ts.replace(opt_state=plain.init(ts.params)), plain, ts.params, value=1.0)


def test_errors():
    optimizer = optim.sgd(0.1)
    ts = train.create(nn.Linear(3, 2), optimizer, KEY)
    other = train.create(nn.Linear(3, 1), optim.adam(0.1), KEY)
    for grads, text in [
        ((jnp.float32(1), ts.params), r"expected the gradients alone, got a tuple of 2; jax.value"),
        ({"weight": ts.params["weight"]}, r"but \['bias'\] is missing; take them by"),
        (other.params, r"\['bias'\] is \[1\] and the parameter \[2\]; \['weight'\]"),
        (ts.params | {"scale": jnp.ones(2)}, r"\['scale'\] is no parameter; take them"),
    ]:
        with pytest.raises(ValueError, match="apply_gradients: .*" + text):
            train.apply_gradients(ts, optimizer, grads)
    with pytest.raises(TypeError, match=r"got dict; make one for each network with train.create"):
        train.apply_gradients({"a": ts}, optimizer, ts.params)
    with pytest.raises(
        TypeError, match=r"expected an optax transformation, got a dict of 2; fx.optim.groups"
    ):
        train.apply_gradients(ts, ts.params, optimizer)
    with pytest.raises(ValueError, match=r"apply_gradients: .*train.create\(model, optimizer, key"):
        train.apply_gradients(ts, optim.adam(0.1), ts.params)
    with pytest.raises(ValueError, match=r"apply_gradients: .* state to keep .*\['mean'\] is new"):
        train.apply_gradients(ts, optimizer, ts.params, state={"mean": jnp.zeros(2)})


def test_keys_by_name():
    ts = train.create(nn.Linear(3, 2), optim.sgd(0.1), KEY)
    at_three = ts.replace(step=jnp.int32(3))
    of_the_step = jax.random.split(jax.random.fold_in(ts.key, 3), 4)
    keys = [at_three.key_for("a"), at_three.key_for("b"), ts.key_for("a"), *of_the_step]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 7
    chex.assert_trees_all_equal(at_three.key_for("a"), ts.replace(step=3).key_for("a"))
    for name in ("", 3, KEY):
        with pytest.raises(TypeError, match='key_for: expected a name, "noise" say, got '):
            ts.key_for(name)


class Two(NamedTuple):
    first: train.TrainState
    second: train.TrainState
    step = property(lambda self: self.first.step)


def test_several_states_are_one_of_fit_and_resume(tmp_path):
    optimizer = optim.adam(1e-2)

    @jax.jit
    def step(two, batch):
        (loss, state), grads = gradients(two.first.params, two.first.state, batch)
        first = train.apply_gradients(two.first, optimizer, grads, state=state)
        second = train.apply_gradients(two.second, optimizer, two.second.params)
        return Two(first, second), {"loss": loss}

    def start():
        return Two(*(train.create(MODEL, optimizer, jax.random.key(seed)) for seed in (0, 1)))

    loader = fx.data.Loader(fx.data.Dataset(*BATCH), 4)
    options = {"progress": False, "out": tmp_path}
    whole = fx.fit(step, start(), loader, epochs=3, progress=False).ts
    fx.fit(step, start(), loader, epochs=1, **options)
    resumed = fx.fit(step, start(), loader, epochs=3, resume=True, **options).ts
    assert isinstance(resumed, Two) and int(resumed.step) == 12
    chex.assert_trees_all_equal(resumed, whole)
    params, state = fx.checkpoint.restore_weights(tmp_path, MODEL, part="second")
    chex.assert_trees_all_equal((params, state), (whole.second.params, whole.second.state))
    with pytest.raises(ValueError, match="holds those of first, second, got part=None; pass part="):
        fx.checkpoint.restore_weights(tmp_path, MODEL)


def test_the_average_of_one_of_several_states(tmp_path):
    optimizer = optim.with_ema(optim.adam(1e-2), 0.9)
    two = Two(*(train.create(MODEL, optimizer, jax.random.key(seed)) for seed in (0, 1)))
    fx.checkpoint.save(tmp_path / "two", two, {})
    fx.checkpoint.save(tmp_path / "one", two.first, {})
    average, _ = fx.checkpoint.restore_weights(tmp_path / "two", MODEL, average=True, part="second")
    chex.assert_trees_all_equal(average, optim.averaged_params(two.second.opt_state))
    with pytest.raises(ValueError, match="holds one training state, .* got part='second'; leave"):
        fx.checkpoint.restore_weights(tmp_path / "one", MODEL, part="second")


class Named(NamedTuple):
    params: train.TrainState  # the name of a part of each training state
    frozen: train.TrainState
    step = property(lambda self: self.params.step)


def test_parts_of_any_name_and_without_parameters(tmp_path):
    plain = fx.nn.ReLU()
    ts = (train.create(model, optim.adam(1e-2), KEY) for model in (MODEL, plain))
    both = Named(*ts)
    fx.checkpoint.save(tmp_path, both, {})
    params, state = fx.checkpoint.restore_weights(tmp_path, MODEL, part="params")
    chex.assert_trees_all_equal((params, state), (both.params.params, both.params.state))
    assert fx.checkpoint.restore_weights(tmp_path, plain, part="frozen") == ({}, {})


class Nameless(NamedTuple):
    first: train.TrainState


def test_what_is_no_state_of_several():
    ts = train.create(MODEL, optim.sgd(0.1), KEY)
    loader = fx.data.Loader(fx.data.Dataset(*BATCH), 4)
    validate = train.make_eval(MODEL, F.cross_entropy, loader)
    for states, text in [
        ([ts, ts], "fit: expected one state, got 2; fx.train.fit_many"),
        ({"a": ts, "b": ts}, "a state with a step, got dict of 2 states; make it a NamedTuple"),
        (Nameless(ts), "got Nameless of 1 states; make it a NamedTuple of them with step = prop"),
    ]:
        with pytest.raises(TypeError, match=text):
            fx.fit(print, states, loader, epochs=1, progress=False)
    with pytest.raises(
        TypeError, match="make_eval: expected a training state, got Two; of several"
    ):
        validate(Two(ts, ts))
    with pytest.raises(
        TypeError, match="make_eval: expected a training state, got Two; of several"
    ):
        fx.fit(print, Two(ts, ts), loader, validate=validate, epochs=1, progress=False)
