import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx import nn
from fx.debug.finite import layer_flags, layer_of


class Log(nn.Module):
    def forward(self, x):
        return jnp.log(x)


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Linear(3, 4)
        self.inner = nn.Sequential(Log(), nn.BatchNorm1d(4))
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.drop(self.inner(jnp.abs(self.first(x)))))


MODEL = Net()
PARAMS, STATE = MODEL.init(jax.random.key(0))


def objective(params, x):
    y, state = MODEL.apply(params, STATE, x, train=True, key=jax.random.key(1))
    return jnp.mean(y**2), (y, state)


def inputs(scale=1.0):
    return scale * jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)


def plain(flags):
    return {name: bool(flag) for name, flag in flags.items()}


def test_each_layer_is_told_in_order():
    loss, (aux, flags) = layer_flags(objective)(PARAMS, inputs())
    assert list(flags) == ["first", "Net", "inner.0", "inner.1", "drop", "last"]
    assert all(plain(flags).values())
    same_loss, same_aux = objective(PARAMS, inputs())
    assert jax.tree.structure(aux) == jax.tree.structure(same_aux)
    np.testing.assert_array_equal(loss, same_loss)


def test_the_first_bad_layer_and_those_after_it():
    bad = {**PARAMS, "first": jax.tree.map(jnp.zeros_like, PARAMS["first"])}
    flags = plain(layer_flags(objective)(bad, inputs())[1][1])
    assert flags["first"] and not flags["inner.0"] and not flags["last"]


def test_gradients_are_those_without_flags():
    function = jax.jit(jax.value_and_grad(layer_flags(objective), has_aux=True))
    (loss, (_, flags)), grads = function(PARAMS, inputs())
    (same_loss, _), same = jax.jit(jax.value_and_grad(objective, has_aux=True))(PARAMS, inputs())
    assert all(plain(flags).values())
    np.testing.assert_allclose(loss, same_loss, rtol=1e-6)
    for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(same), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_under_vmap_scan_and_remat():
    xs = jnp.stack([inputs(), inputs(0.0), inputs(jnp.nan)])
    flagged = layer_flags(objective)
    flags = jax.vmap(lambda x: flagged(PARAMS, x)[1][1])(xs)
    assert flags["first"].tolist() == [True, True, False]
    scanned = jax.lax.scan(lambda c, x: (c, flagged(PARAMS, x)[1][1]), 0, xs)[1]
    assert {k: v.tolist() for k, v in scanned.items()} == {k: v.tolist() for k, v in flags.items()}
    kept = jax.checkpoint(flagged)
    (_, (_, flags)), _ = jax.jit(jax.value_and_grad(kept, has_aux=True))(PARAMS, inputs())
    assert all(plain(flags).values())


def test_flags_do_not_depend_on_the_layers_being_in_fx():
    def fn(params, x):
        with jax.named_scope("Model"):
            with jax.named_scope("Dense_0"):
                h = x @ params
            with jax.named_scope("Dense_1"):
                return jnp.sum(h / 0.0), None

    flags = plain(layer_flags(fn)(jnp.ones((3, 3)), jnp.ones((2, 3)))[1][1])
    assert flags == {"Dense_0": True, "Dense_1": False}


def test_closed_over_tracers_are_allowed():
    def outer(scale):
        return layer_flags(lambda p, x: objective(p, x * scale))(PARAMS, inputs())[0]

    assert jnp.isfinite(jax.jit(jax.grad(outer))(2.0))


@pytest.mark.parametrize(
    "stack, name",
    [
        ("", ""),
        ("jvp()", ""),
        ("jvp(Net)/fc", "fc"),
        ("transpose(jvp(Net))/layer1/layer1.0/layer1.0.conv1", "layer1.0.conv1"),
        ("vmap(jvp(Net))/fc/mine", "fc.mine"),
        ("checkpoint/rematted_computation/Net/fc", "fc"),
        ("FN/FB_1/Dense_0", "FB_1.Dense_0"),
        ("Net", "Net"),
    ],
)
def test_names_of_layers(stack, name):
    assert layer_of(stack) == name
    assert layer_of(stack, "around") == (name or "around")
