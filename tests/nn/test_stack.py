"""Stack: n layers as one scan, the same as a Sequential of n layers in everything but size."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn
from tests.nn.parts import Residual

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (5, 4))


class Whole(nn.Module):
    """A body among other layers, called twice, with arguments for its layers."""

    def __init__(self, body):
        self.first, self.body, self.last = nn.Linear(4, 4), body, nn.Linear(4, 4)

    def forward(self, x):
        x = self.body(self.first(x))
        return self.last(self.body(x))


class Layers(nn.Module):
    """What torch's users write: a loop over a ModuleList."""

    def __init__(self, layers):
        for i, layer in enumerate(layers):
            self.add_module(str(i), layer)
        self.n = len(layers)

    def forward(self, x, *args, **kwargs):
        for i in range(self.n):
            x = vars(self)[str(i)](x, *args, **kwargs)
        return x


def pair(n=3, wrap=lambda part: part, **options):
    stacked = Whole(nn.Stack(wrap(Residual(4)), n, **options))
    return stacked, Whole(Layers([Residual(4) for _ in range(n)]))


def step(model, params, state, train=True):
    def loss(params):
        y, new = model.apply(params, state, X, train=train, key=KEY if train else None)
        return (y**2).sum(), (y, new)

    (_, aux), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return aux, grads


def test_its_weights_and_names_are_those_of_single_layers():
    stacked, single = pair()
    params, state = stacked.init(KEY)
    chex.assert_trees_all_equal((params, state), jax.jit(stacked.init)(KEY))
    assert params["body"]["block"]["fc"]["weight"].shape == (3, 4, 4)
    assert state["body"]["block"]["norm"]["num_batches_tracked"].shape == (3,)
    found = fx.state_dict(stacked, params, state)
    expected = fx.state_dict(single, *single.init(KEY))
    assert list(found) == list(expected)
    chex.assert_trees_all_close(found, expected, rtol=1e-6)
    back = fx.load_state_dict(stacked, {name: np.asarray(a) for name, a in expected.items()})
    chex.assert_trees_all_close(back, (params, state), rtol=1e-6)


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "way", ["plain", *(pytest.param(way, marks=pytest.mark.full) for way in ("remat", "unrolled"))]
)
def test_outputs_gradients_state_and_masks_are_those_of_single_layers(train, way):
    wrap = nn.remat if way == "remat" else lambda part: part
    stacked, single = pair(wrap=wrap, **({"unroll": 3} if way == "unrolled" else {}))
    weights = fx.state_dict(single, *single.init(KEY))
    params, state = fx.load_state_dict(stacked, weights)
    alone = fx.load_state_dict(single, weights)
    (y, new), grads = step(stacked, params, state, train)
    (expected, expected_new), expected_grads = step(single, *alone, train)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    found = fx.state_dict(stacked, grads, new)
    chex.assert_trees_all_close(
        found, fx.state_dict(single, expected_grads, expected_new), rtol=1e-3, atol=1e-3
    )
    counted = new["body"]["block"]["norm"]["num_batches_tracked"]
    assert counted.tolist() == ([2, 2, 2] if train else [0, 0, 0])  # called twice


def test_each_layer_and_each_call_draws_its_own_mask():
    class Drop(nn.Module):
        def __init__(self):
            self.drop, self.mask = nn.Dropout(0.5), nn.Buffer((64,), nn.init.zeros)

        def forward(self, x):
            self.mask = self.drop(jnp.ones(64))
            return x

    model = Whole(nn.Stack(Drop(), 4))
    params, state = model.init(KEY)
    new = model.apply(params, state, X, train=True, key=KEY)[1]
    masks = {tuple(mask) for mask in new["body"]["block"]["mask"].tolist()}
    first = nn.Sequential(nn.Stack(Drop(), 4))
    once = first.apply({}, {"0": state["body"]}, X, train=True, key=KEY)[1]["0"]["block"]["mask"]
    masks |= {tuple(mask) for mask in once.tolist()}
    assert len(masks) == 8 and all(set(mask) == {0.0, 2.0} for mask in masks)


def equations(jaxpr):
    inner = [v for e in jaxpr.eqns for v in jax.tree.leaves(tuple(e.params.values()))]
    programs = [getattr(v, "jaxpr", v) for v in inner if hasattr(v, "eqns") or hasattr(v, "jaxpr")]
    return len(jaxpr.eqns) + sum(equations(program) for program in programs)


@pytest.mark.parametrize("part", ["init", "step"])
def test_the_program_does_not_grow_with_depth(part):
    sizes = {}
    for n in (4, 48):
        model = nn.Stack(nn.remat(Residual(4)), n)
        params, state = model.init(KEY)
        if part == "init":
            traced = jax.make_jaxpr(model.init)(KEY)
        else:
            traced = jax.make_jaxpr(lambda p, m=model, s=state: step(m, p, s))(params)
        sizes[n] = equations(traced.jaxpr)
    assert sizes[4] == sizes[48] > 10


def test_torch_weights_load_and_give_its_numbers():
    def block():
        return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.GELU())

    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(4, 4), torch.nn.Sequential(*[block()] * 1, block())
    )
    ours = nn.Sequential(
        nn.Linear(4, 4),
        nn.Stack(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.GELU()), 2),
    )
    params, state = fx.load_state_dict(ours, theirs.state_dict())
    x = torch.randn(6, 4)
    y, state = ours.apply(params, state, jnp.asarray(x.numpy()), train=True)
    np.testing.assert_allclose(y, theirs(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    after = fx.state_dict(ours, params, state)
    assert list(after) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(after[name], value.numpy(), rtol=1e-4, atol=1e-5)


def test_a_stack_in_a_stack():
    inner = nn.Sequential(nn.Stack(Residual(4), 2), nn.Linear(4, 4))
    stacked = nn.Stack(inner, 3)
    blocks = [Layers([Layers([Residual(4), Residual(4)]), nn.Linear(4, 4)]) for _ in range(3)]
    single = Layers(blocks)
    weights = fx.state_dict(single, *single.init(KEY))
    params, state = fx.load_state_dict(stacked, weights)
    assert params["block"]["0"]["block"]["fc"]["weight"].shape == (3, 2, 4, 4)
    chex.assert_trees_all_close(stacked.init(KEY), (params, state), rtol=1e-6)
    assert list(fx.state_dict(stacked, params, state)) == list(weights)
    alone = fx.load_state_dict(single, weights)
    y, new = stacked.apply(params, state, X, train=True, key=KEY)
    expected, expected_new = single.apply(*alone, X, train=True, key=KEY)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    found = fx.state_dict(stacked, params, new)
    chex.assert_trees_all_close(
        found, fx.state_dict(single, alone[0], expected_new), rtol=1e-5, atol=1e-5
    )


def test_arguments_go_to_each_layer():
    model = nn.Stack(Residual(4), 2)
    single = Layers([Residual(4), Residual(4)])
    params, state = model.init(KEY)
    y = model.apply(params, state, X, jnp.arange(4.0), double=True)[0]
    alone = fx.load_state_dict(single, fx.state_dict(model, params, state))
    expected = single.apply(*alone, X, jnp.arange(4.0), double=True)[0]
    # Numbers of up to 10 cancel in those next to 0, and a loop rounds otherwise than single calls.
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_a_stack_under_transformations():
    model = nn.Stack(Residual(4), 3)
    params, state = model.init(KEY)

    def loss(params, x):
        return (model.apply(params, state, x)[0] ** 2).sum()

    xs = jnp.stack([X, 2 * X])
    many = jax.vmap(jax.grad(loss), (None, 0))(params, xs)
    one = jax.grad(loss)(params, xs[1])
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], many), one, rtol=1e-4, atol=1e-4)
    tangents = jax.tree.map(jnp.ones_like, params)
    forward = jax.jvp(lambda p: loss(p, X), (params,), (tangents,))[1]
    reverse = sum(g.sum() for g in jax.tree.leaves(jax.grad(loss)(params, X)))
    np.testing.assert_allclose(forward, reverse, rtol=1e-4)
    ensemble = jax.vmap(model.init)(jax.random.split(KEY, 2))[0]
    alone = model.init(jax.random.split(KEY, 2)[1])[0]
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], ensemble), alone, rtol=1e-6)


def test_it_trains_in_bfloat16_and_compiles_once():
    model = nn.Sequential(nn.Stack(Residual(4), 3), nn.Linear(4, 2))
    optimizer = fx.optim.sgd(0.1)
    ts = fx.train.create(model, optimizer, KEY)
    step = fx.train.make_step(
        model, fx.functional.cross_entropy, optimizer, precision="bf16", max_compiles=1
    )
    for _ in range(2):
        ts, metrics = step(ts, (X, jnp.zeros(5, jnp.int32)))
    assert np.isfinite(metrics["loss"])
    assert ts.state["0"]["block"]["norm"]["num_batches_tracked"].tolist() == [2, 2, 2]


def test_description():
    model = nn.Stack(Residual(4), 3)
    assert pickle.loads(pickle.dumps(model)) == model != nn.Stack(Residual(4), 4)
    assert len(model) == 3 and "n=3\n  (block): Residual(" in repr(model)
    smaller = nn.replace(nn.Sequential(model), "0.block.drop.p", 0.1)
    assert smaller[0].block.drop.p == 0.1 and nn.replace(model, "n", 4) == nn.Stack(Residual(4), 4)


def test_summary_counts_all_layers():
    single, stacked = Layers([nn.Linear(4, 4) for _ in range(3)]), nn.Stack(nn.Linear(4, 4), 3)
    a, b = fx.summary(single, (5, 4)), fx.summary(stacked, (5, 4))
    assert (a.parameters, a.flops) == (b.parameters, b.flops) == (60, 3 * 180)
    assert [(row.name, row.parameters, row.flops) for row in b.rows] == [
        ("", 60, 540), ("block", 60, 540)
    ]  # fmt: skip


def test_errors():
    with pytest.raises(TypeError, match="Stack: expected a module to repeat, got 3"):
        nn.Stack(3, 3)
    with pytest.raises(TypeError, match="to repeat.*; write it with parentheses"):
        nn.Stack(nn.ReLU, 3)
    with pytest.raises(ValueError, match="Stack: expected n of 1 or more, got 0"):
        nn.Stack(nn.ReLU(), 0)
    with pytest.raises(TypeError, match="Stack: expected n an int, got 2.0"):
        nn.Stack(nn.ReLU(), 2.0)
    model = nn.Sequential(nn.Stack(nn.Linear(4, 3), 2))
    with pytest.raises(ValueError, match=r'Stack "0": expected a layer to return what it takes, f'):
        model.apply(*model.init(KEY), X)
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match=r"0.block.weight: expected the shape \(2, 3, 4\), got"):
        model.apply(jax.tree.map(lambda a: a[0], params), state, X)
    weights = fx.state_dict(model, params)
    del weights["0.1.weight"]
    weights["0.0.bias"] = jnp.zeros(5)
    with pytest.raises(ValueError, match=r"0.0.bias: expected the shape \(3,\), got \(5,\)"):
        fx.load_state_dict(model, weights)
    with pytest.raises(ValueError, match=r"missing: 0.1.weight \[3, 4\]"):
        fx.load_state_dict(model, weights)

    class Tied(nn.Module):
        def __init__(self):
            self.head, self.body = nn.Linear(4, 4), nn.Stack(nn.Linear(4, 4), 2)
            nn.tie(self, "head.weight", "body.block.weight")

    with pytest.raises(ValueError, match="'head.weight' and 'body.block.weight' cannot be tied"):
        Tied()


def test_layers_that_are_missing_come_from_the_initialisers():
    model = nn.Stack(nn.Linear(4, 4), 2)
    params, _ = model.init(jax.random.key(0))
    weights = fx.state_dict(model, params)
    weights["0.weight"] = jnp.zeros((4, 4))
    del weights["1.weight"]
    loaded, _ = fx.load_state_dict(model, weights, strict=False)
    np.testing.assert_array_equal(loaded["block"]["weight"][0], 0)
    np.testing.assert_array_equal(loaded["block"]["weight"][1], params["block"]["weight"][1])
