"""remat, eval_mode and method: a part is run in another way, with its name and weights."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import nn
from fx.nn.batchnorm import _BatchNorm
from tests.nn.parts import Counter, Noise, Residual

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (5, 4))


class Twice(nn.Module):
    """Calls a part twice, with an array and a flag that Python reads."""

    def __init__(self, part):
        self.part = part

    def forward(self, x):
        return self.part(self.part(x, double=True), jnp.full((4,), 2.0))


def trained(model, params, state, x=X, **options):
    def loss(params, x):
        y, new = model.apply(params, state, x, train=True, key=KEY, **options)
        return (y**2).sum(), (y, new)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)


def test_remat_changes_no_value_name_or_mask():
    plain, model = Twice(Residual(4)), Twice(nn.remat(Residual(4)))
    params, state = plain.init(KEY)
    chex.assert_trees_all_equal((params, state), model.init(KEY))
    assert list(fx.state_dict(model, params, state)) == list(fx.state_dict(plain, params, state))
    assert isinstance(model.part, Residual) and model != plain
    expected, found = trained(plain, params, state), trained(model, params, state)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-5)
    assert int(found[0][1][1]["part"]["norm"]["num_batches_tracked"]) == 2
    eager = model.apply(params, state, X, train=True, key=KEY)
    chex.assert_trees_all_close(eager, found[0][1], rtol=1e-5, atol=1e-5)


def test_remat_computes_again_what_the_policy_does_not_keep():
    def products(part):
        model = nn.Sequential(part)
        params, state = model.init(KEY)
        gradient = jax.grad(lambda p: model.apply(p, state, X)[0].sum())
        return str(jax.make_jaxpr(gradient)(params)).count("dot_general")

    part = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
    keep = nn.remat(part, jax.checkpoint_policies.everything_saveable)
    assert products(part) == products(keep) < products(nn.remat(part))


def test_remat_is_a_description():
    part = nn.remat(Residual(4), jax.checkpoint_policies.dots_saveable)
    assert pickle.loads(pickle.dumps(part)) == part
    assert part != nn.remat(Residual(4)) and nn.remat(Residual(4)) == nn.remat(Residual(4))
    assert hash(nn.remat(Residual(4))) == hash(nn.remat(Residual(4)))
    both = nn.replace(nn.Sequential(part), "0.drop.p", 0.1)
    assert both[0] == nn.remat(nn.replace(Residual(4), "drop.p", 0.1), part._wraps[0].policy)
    twice = nn.Sequential(nn.remat(nn.eval_mode(nn.remat(Residual(4)))))
    params, state = twice.init(KEY)
    _, new = twice.apply(params, state, X, train=True)
    chex.assert_trees_all_equal(new, state)


def test_remat_of_a_part_in_forward():
    class Model(nn.Module):
        def __init__(self, wrap):
            self.part, self.wrap = Residual(4), wrap

        def forward(self, x):
            return self.wrap(self.part)(x, double=True)

    model = Model(nn.remat)
    params, state = model.init(KEY)
    found = model.apply(params, state, X, train=True, key=KEY)
    expected = Model(same).apply(params, state, X, train=True, key=KEY)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    assert int(found[1]["part"]["norm"]["num_batches_tracked"]) == 1


def same(part):
    return part


@pytest.mark.parametrize("wrap", [nn.remat, nn.eval_mode, nn.vmap], ids=lambda f: f.__name__)
def test_what_is_wrapped_is_a_module(wrap):
    name = wrap.__name__
    with pytest.raises(TypeError, match=f"{name}: expected a module, got 3"):
        wrap(3)
    with pytest.raises(TypeError, match=f"{name}: expected a module.*; write it with parentheses"):
        wrap(nn.ReLU)
    with pytest.raises(TypeError, match="remat: expected a policy of jax.checkpoint_policies"):
        nn.remat(nn.ReLU(), "dots")


WAYS = {
    "remat": nn.remat,
    "vmap": lambda part: nn.vmap(part, 5),
    "stack": lambda part: nn.Stack(part, 2),
    "eval_mode of nothing": lambda part: nn.Sequential(part),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("part", [Counter(), Noise()], ids=["state", "key"])
def test_the_guard_holds_around_what_fx_transforms(part, name):
    class Outer(nn.Module):
        def __init__(self):
            self.part = WAYS[name](part)

        def forward(self, x):
            return jax.vmap(self.part)(x)

    params, state = Outer().init(KEY)
    x = jnp.ones((2, 5, 3))
    with pytest.raises(RuntimeError, match='"part.* under a transformation inside of forward'):
        Outer().apply(params, state, x, train=True, key=KEY)
    y, _ = Outer().apply(params, state, x, key=KEY)  # evaluation does neither, and passes
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("name", WAYS)
def test_a_missing_key_names_the_layer(name):
    model = nn.Sequential(WAYS[name](nn.Sequential(nn.Dropout(0.5))))
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match=r'Dropout "0(.block)?(.0)?.*": expected a key for its'):
        model.apply(params, state, jnp.ones((5, 3)), train=True)


def test_eval_mode_freezes_batch_norm_and_nothing_else():
    def freeze(part):
        return nn.eval_mode(part) if isinstance(part, _BatchNorm) else part

    plain = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model = nn.transform(plain, freeze)
    params, state = plain.init(KEY)
    state = jax.tree.map(lambda a: a + jnp.asarray(1, a.dtype), state)
    (_, (y, new)), grads = trained(model, params, state)
    chex.assert_trees_all_equal(new, state)
    assert float(jnp.abs(grads[0]["1"]["weight"]).sum()) > 0
    assert bool((y == 0).any())  # dropout goes on
    expected = plain.apply(params, state, X)[0]
    np.testing.assert_allclose(y[y != 0], 2 * expected[y != 0], rtol=1e-5)
    chex.assert_trees_all_equal(model.init(KEY), plain.init(KEY))


class Backbone(nn.Module):
    """Of which a model calls the parts, or a method."""

    def __init__(self):
        self.stem = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.deep = nn.Stack(Residual(4), 2)

    def forward(self, x):
        return self.deep(self.stem(x))

    def features(self, x):
        return self.deep(self.stem(x)) * (2.0 if self.training else 1.0)


def lifted(fn, variables, x):
    return fn(*variables, x)[0]


ONE_BY_ONE = {
    "whole": lambda part, x: part(x),
    "parts": lambda part, x: part.deep(part.stem(x)),
    "loop": lambda part, x: part.deep(part.stem[2](part.stem[1](part.stem[0](x)))),
    "slice": lambda part, x: part.deep(part.stem[1:](part.stem[0](x))),
    "method": lambda part, x: part.features(x),
    "remat": lambda part, x: part.deep(nn.remat(part.stem)(x)),
    "lifted": lambda part, x: part.deep(lifted(*part.stem.functional(), x)),
}


@pytest.mark.parametrize("way", ONE_BY_ONE)
def test_eval_mode_holds_however_the_part_is_called(way):
    class Model(nn.Module):
        def __init__(self, part):
            self.part, self.norm = part, nn.BatchNorm1d(4)

        def forward(self, x):
            return self.norm(ONE_BY_ONE[way](self.part, x))

    model = Model(nn.eval_mode(Backbone()))
    params, state = model.init(KEY)
    y, new = model.apply(params, state, X, train=True)  # and no key is asked for
    chex.assert_trees_all_equal(new["part"], state["part"])
    assert int(new["norm"]["num_batches_tracked"]) == 1
    hidden, _ = Backbone().apply(params["part"], state["part"], X)
    expected, _ = nn.BatchNorm1d(4).apply(params["norm"], state["norm"], hidden, train=True)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_update_bn_leaves_frozen_statistics():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.eval_mode(nn.Sequential(nn.BatchNorm1d(4))))
    params, state = model.init(KEY)
    new = fx.optim.update_bn([X, X], model, params, state)
    assert int(new["0"]["num_batches_tracked"]) == 2
    chex.assert_trees_all_equal(new["1"], state["1"])


def test_tied_weights_reach_into_a_wrapped_part():
    class Model(nn.Module):
        def __init__(self, wrap):
            self.first = nn.Linear(4, 4, bias=False)
            self.body = wrap(nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh()))
            nn.tie(self, "body.0.weight", "first.weight")

        def forward(self, x):
            return self.body(self.first(x))

    plain, model = Model(lambda part: part), Model(nn.remat)
    params, state = model.init(KEY)
    assert jax.tree.structure(params) == jax.tree.structure({"first": {"weight": 0}})
    found, expected = trained(model, params, state), trained(plain, params, state)
    chex.assert_trees_all_close(found, expected, rtol=1e-6)


def test_a_tied_counter_inside_counts_both_calls():
    class Body(nn.Module):
        def __init__(self):
            self.a, self.b = Counter(), Counter()
            nn.tie(self, "b", "a")

        def forward(self, x):
            return self.b(self.a(x))

    model = nn.Sequential(nn.remat(Body()), nn.Stack(nn.remat(Body()), 3))
    params, state = model.init(KEY)
    _, new = model.apply(params, state, X, train=True)
    assert int(new["0"]["a"]["count"]) == 2
    assert new["1"]["block"]["a"]["count"].tolist() == [2, 2, 2]


def test_inspection_sees_numbers_inside_of_remat():
    model = nn.Sequential(nn.remat(nn.Sequential(nn.Linear(4, 4), nn.ReLU())))
    ts = fx.train.create(model, fx.optim.sgd(0.1), KEY)
    found = fx.debug.inspect_step(model, lambda y, t: y.sum(), ts, (X, None))
    assert found["0.1"].low == 0.0 and found["0.0"].shape == (5, 4)


def test_transformations_outside_pass():
    model = Twice(nn.remat(Residual(4)))
    params, state = model.init(KEY)

    def loss(params, x, key):
        return model.apply(params, state, x, train=True, key=key)[0].sum()

    keys, xs = jax.random.split(KEY, 3), jnp.stack([X, 2 * X, 3 * X])
    grads = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(params, xs, keys)
    alone = jax.grad(loss)(params, xs[1], keys[1])
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], grads), alone, rtol=1e-3, atol=1e-4)


class Auto(nn.Module):
    """An autoencoder whose halves are methods; decoding counts and drops."""

    def __init__(self):
        self.encoder, self.decoder = nn.Linear(4, 2), nn.Linear(2, 4)
        self.count, self.dropout = Counter(), nn.Dropout(0.5)

    def decode(self, z, scale=1.0):
        return self.count(self.dropout(self.decoder(z))) * scale

    def forward(self, x):
        return self.decode(self.encoder(x))


@pytest.mark.parametrize("around", [lambda part: part, nn.remat])
def test_a_method_in_place_of_forward(around, tmp_path):
    model, decoder = Auto(), nn.method(around(Auto()), "decode")
    params, state = model.init(KEY)
    chex.assert_trees_all_equal((params, state), decoder.init(KEY))
    z = X[:, :2]
    expected = z @ params["decoder"]["weight"].T + params["decoder"]["bias"]
    found, _ = jax.jit(decoder.apply)(params, state, z)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(decoder.apply(params, state, z, scale=2.0)[0], 2 * found, rtol=1e-5)
    dropped, new = decoder.apply(params, state, z, train=True, key=KEY)
    assert int(new["count"]["count"]) == 1 and (np.asarray(dropped) == 0).any()
    _, seen = decoder.apply(params, state, z, capture=["decoder"])[0]
    np.testing.assert_allclose(seen["decoder"], found, rtol=1e-6)
    grads = jax.grad(lambda p: decoder.apply(p, state, z)[0].sum())(params)
    assert not grads["encoder"]["weight"].any() and grads["decoder"]["weight"].any()
    spec, path = ((None, 2), "float32"), tmp_path / "bundle"
    fx.export(decoder, params, state, spec, path, postprocess=None)
    (served,) = fx.load_bundle(path)(np.asarray(z)).values()
    np.testing.assert_allclose(served, found, rtol=1e-5)


def test_a_method_of_a_changed_model_that_evaluates():
    model = nn.replace(Auto(), "dropout", nn.Dropout(1.0))
    decoder = nn.method(nn.eval_mode(model), "decode")
    assert decoder != nn.method(model, "decode") and decoder == pickle.loads(pickle.dumps(decoder))
    params, state = decoder.init(KEY)
    out, new = decoder.apply(params, state, X[:, :2], train=True)
    assert out.any() and int(new["count"]["count"]) == 0
    whole = nn.Sequential(nn.method(model, "decode"))  # as a part, too
    assert whole.apply({"0": params}, {"0": state}, X[:, :2])[0].shape == (5, 4)


def test_what_is_no_method():
    with pytest.raises(AttributeError, match="method: Auto has no method 'encode'"):
        nn.method(Auto(), "encode")
    with pytest.raises(AttributeError, match="method: Auto has no method 'encoder'"):
        nn.method(Auto(), "encoder")
    with pytest.raises(TypeError, match="method: expected a module outside of forward, got <func"):
        nn.method(trained, "decode")
