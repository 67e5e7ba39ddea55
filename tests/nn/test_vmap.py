"""nn.vmap: ensembles of parts with weights of their own, and one part over an axis."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import nn
from tests.nn.parts import Residual

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (3, 5, 4))


class Single(nn.Module):
    """What stands for it in torch: a ModuleList and a loop."""

    def __init__(self, n, each):
        self.members, self.n, self.each = nn.ModuleList([Residual(4) for _ in range(n)]), n, each

    def forward(self, x):
        return jnp.stack([m(x[i] if self.each else x) for i, m in enumerate(self.members)])


class Many(nn.Module):
    def __init__(self, n, **options):
        self.members = nn.vmap(Residual(4), n, **options)

    def forward(self, x):
        return self.members(x)


def train(model, params, state, x):
    def loss(params):
        y, new = model.apply(params, state, x, train=True, key=KEY)
        return (y**2).sum(), (y, new)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


@pytest.mark.parametrize("shared", [(), "fc.*"], ids=["own", "shared"])
@pytest.mark.parametrize("each", [True, False], ids=["mapped", "whole"])
def test_an_ensemble_is_its_members_side_by_side(each, shared):
    many, single = Many(3, in_axes=0 if each else None, shared=shared), Single(3, each)
    params, state = many.init(KEY)
    assert params["members"]["block"]["fc"]["bias"].shape == ((4,) if shared else (3, 4))
    assert state["members"]["block"]["norm"]["running_mean"].shape == (3, 4)
    weights = fx.state_dict(many, params, state)
    alone = fx.load_state_dict(single, weights)
    assert list(weights) == list(fx.state_dict(single, *alone))
    if not shared:
        chex.assert_trees_all_close(alone, single.init(KEY), rtol=1e-6)
    chex.assert_trees_all_equal(fx.load_state_dict(many, weights), (params, state))
    x = X if each else X[0]
    (_, (y, new)), grads = train(many, params, state, x)
    (_, (expected, expected_new)), expected_grads = train(single, *alone, x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    found = fx.state_dict(many, params, new)
    chex.assert_trees_all_close(
        found, fx.state_dict(single, alone[0], expected_new), rtol=1e-5, atol=1e-5
    )
    sums = grads["members"]["block"]["fc"]["weight"]
    members = [expected_grads["members"][str(i)]["fc"]["weight"] for i in range(3)]
    np.testing.assert_allclose(
        sums, sum(members) if shared else jnp.stack(members), rtol=1e-3, atol=1e-3
    )


def test_shared_weights_that_differ_in_a_file_are_an_error():
    weights = fx.state_dict(Single(2, False), *Single(2, False).init(KEY))
    with pytest.raises(ValueError, match="members.1.fc.weight is tied to members.0.fc.weight, but"):
        fx.load_state_dict(Many(2, shared="fc.*"), weights)


@pytest.mark.parametrize("n", [3, None])
@pytest.mark.parametrize("shared_key", [False, True])
def test_copies_draw_their_own_masks_or_one(n, shared_key):
    model = nn.Sequential(nn.vmap(nn.Sequential(nn.Dropout(0.5)), n, shared_key=shared_key))
    y, _ = model.apply({}, {}, jnp.ones((3, 64)), train=True, key=KEY)
    assert len({tuple(row) for row in y.tolist()}) == (1 if shared_key else 3)
    model.apply({}, {}, jnp.ones((3, 64)), key=KEY)


def test_one_set_of_weights_over_an_axis_keeps_its_names():
    part = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
    model, plain = nn.Sequential(nn.vmap(part, in_axes=1, out_axes=1)), nn.Sequential(part)
    params, state = plain.init(KEY)
    chex.assert_trees_all_equal(model.init(KEY), (params, state))
    y, _ = jax.jit(model.apply)(params, state, X)
    np.testing.assert_allclose(y, plain.apply(params, state, X)[0], rtol=1e-6)
    (y, seen), _ = model.apply(params, state, X, capture=["0.0"])
    assert y.shape == (3, 5, 2) and seen["0.0"].shape == (5, 3, 2)  # the axis comes first


def test_called_twice_it_draws_anew():
    class Twice(nn.Module):
        def __init__(self):
            self.drop = nn.vmap(nn.Dropout(0.5))

        def forward(self, x):
            return self.drop(x), self.drop(x)

    (a, b), _ = Twice().apply({}, {}, jnp.ones((2, 64)), train=True, key=KEY)
    assert not np.array_equal(a, b)


def test_several_arguments_and_a_part_in_forward():
    class Score(nn.Module):
        def __init__(self):
            self.bilinear = nn.Parameter((4, 4), nn.init.normal())

        def forward(self, a, b, *, scale):
            return scale * (a @ self.bilinear @ b)

    class Model(nn.Module):
        def __init__(self):
            self.score = Score()

        def forward(self, a, b):
            rows = nn.vmap(self.score, in_axes=(None, 0))
            return rows(a, b, scale=2.0)

    params, state = Model().init(KEY)
    a, b = X[0, 0], X[1]
    y, _ = Model().apply(params, state, a, b)
    np.testing.assert_allclose(y, 2 * (b @ (a @ params["score"]["bilinear"])), rtol=1e-5)
    three = nn.vmap(Score(), 5, in_axes=(None, 0))
    assert three.apply(*three.init(KEY), a, b, scale=1.0)[0].shape == (5,)


def test_an_ensemble_under_transformations():
    model = nn.vmap(nn.Sequential(nn.Linear(4, 2), nn.Tanh()), 3, in_axes=None)
    params, state = model.init(KEY)

    def loss(params, x):
        return (model.apply(params, state, x)[0] ** 2).sum()

    grads = jax.vmap(jax.grad(loss), (None, 0))(params, X)
    alone = jax.grad(loss)(params, X[1])
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], grads), alone, rtol=1e-4, atol=1e-5)
    twice = jax.hessian(lambda scale: loss(jax.tree.map(lambda a: a * scale, params), X[0]))(1.0)
    assert np.isfinite(twice)


def test_description():
    model = nn.vmap(Residual(4), 3, in_axes=None)
    assert pickle.loads(pickle.dumps(model)) == model != nn.vmap(Residual(4), 3)
    assert len(model) == 3 and "n=3, in_axes=None, out_axes=0" in repr(model)
    part = nn.vmap(Residual(4))
    assert isinstance(part, Residual) and pickle.loads(pickle.dumps(part)) == part != Residual(4)


def test_errors():
    with pytest.raises(TypeError, match="Vmap: expected a module to repeat, got 3"):
        nn.vmap(3, 3)
    with pytest.raises(ValueError, match="Vmap: expected n of 1 or more, got 0"):
        nn.vmap(nn.ReLU(), 0)
    with pytest.raises(ValueError, match="shared='fc' matches no parameter; the parameters are we"):
        nn.vmap(nn.Linear(2, 2), 3, shared="fc")
    with pytest.raises(ValueError, match="vmap: expected n beside shared=, got none"):
        nn.vmap(nn.Linear(2, 2), shared="*")
    x = jnp.ones((3, 5, 4))
    many = nn.vmap(nn.Linear(4, 4), 2)
    with pytest.raises(ValueError, match=r"Vmap: expected argument 0 with 2 along axis 0, which i"):
        many.apply(*many.init(KEY), x)
    many = nn.vmap(nn.Linear(4, 4), 2, in_axes=(0, None))
    with pytest.raises(ValueError, match=r"Vmap: expected 2 positional arguments, one for each of"):
        many.apply(*many.init(KEY), x)
    one = nn.Sequential(nn.vmap(nn.BatchNorm1d(4)))
    with pytest.raises(ValueError, match='BatchNorm1d "0": expected state that stays as it is'):
        one.apply(*one.init(KEY), x, train=True)
    one.apply(*one.init(KEY), x)
    one = nn.Sequential(nn.vmap(nn.ReLU(), in_axes=None))
    with pytest.raises(ValueError, match='ReLU "0": expected an argument that is mapped, got in_'):
        one.apply({}, {}, x)

    class Declared(nn.Module):
        def __init__(self):
            self.part = nn.ReLU()

        def forward(self, x):
            return nn.vmap(self.part, 3)(x)

    with pytest.raises(ValueError, match='vmap: ReLU "part": expected n=None in forward, got 3'):
        Declared().apply({}, {}, x)
