"""apply(..., capture=, perturb=): intermediates by name, and gradients with respect to them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn
from tests.nn.parts import Counter, Dense, Residual

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (5, 4))


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
        self.act, self.norm, self.head = nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.act(self.norm(self.act(self.body(x)))))


NET = Net()
PARAMS, STATE = NET.init(KEY)


def test_captured_outputs_are_those_that_the_model_computed():
    (y, seen), state = NET.apply(PARAMS, STATE, X, train=True, capture=["body", "body.*", "act"])
    plain, plain_state = NET.apply(PARAMS, STATE, X, train=True)
    chex.assert_trees_all_equal((y, state), (plain, plain_state))
    assert list(seen) == ["body.0", "body.1", "body.2", "body", "act", "act#2"]
    np.testing.assert_array_equal(seen["body"], seen["body.2"])
    np.testing.assert_array_equal(seen["act"], jnp.maximum(seen["body"], 0))
    weight, bias = PARAMS["head"]["weight"], PARAMS["head"]["bias"]
    np.testing.assert_allclose(seen["act#2"] @ weight.T + bias, y, rtol=1e-5, atol=1e-6)
    assert list(NET.apply(PARAMS, STATE, X, capture="act#2")[0][1]) == ["act#2"]
    whole = NET.apply(PARAMS, STATE, X, capture=["*"])[0]
    np.testing.assert_array_equal(whole[1][""], whole[0])
    assert NET.apply(PARAMS, STATE, X, capture=[])[0][1] == {}


def test_it_is_what_torchs_hooks_see():
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    ours = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    params, state = fx.load_state_dict(ours, theirs.state_dict())
    hooked = {}
    for name, part in theirs.named_modules():
        part.register_forward_hook(lambda m, args, out, name=name: hooked.setdefault(name, out))
    out = theirs(torch.from_numpy(np.array(X)))
    hooked["1"].retain_grad()
    out.square().sum().backward()

    def loss(perturb):
        y, seen = ours.apply(params, state, X, capture=["*"], perturb=perturb)[0]
        return (y**2).sum(), seen

    grads, seen = jax.grad(loss, has_aux=True)({"1": jnp.zeros((5, 3))})
    assert set(seen) == set(hooked)
    for name, value in hooked.items():
        np.testing.assert_allclose(seen[name], value.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grads["1"], hooked["1"].grad, rtol=1e-5, atol=1e-6)


def test_jit_grad_and_vmap():
    run = jax.jit(NET.apply, static_argnames=("train", "capture"))
    (y, seen), _ = run(PARAMS, STATE, X, capture=("norm",))
    expected = NET.apply(PARAMS, STATE, X, capture=("norm",))[0]
    chex.assert_trees_all_close((y, seen), expected, rtol=1e-5, atol=1e-6)

    def rows(x):
        return NET.apply(PARAMS, STATE, x[None], capture=["norm"])[0][1]["norm"][0]

    np.testing.assert_allclose(jax.vmap(rows)(X), seen["norm"], rtol=1e-5, atol=1e-6)
    of_params = jax.grad(lambda p: NET.apply(p, STATE, X, capture=["body"])[0][1]["body"].sum())
    grads = of_params(PARAMS)
    assert float(jnp.abs(grads["body"]["0"]["weight"]).sum()) > 0
    assert not grads["head"]["weight"].any()
    hessian = jax.hessian(
        lambda p: (NET.apply(PARAMS, STATE, X, perturb={"norm": p})[0] ** 2).sum()
    )
    assert hessian(jnp.zeros((5, 4))).shape == (5, 4, 5, 4)


def test_a_perturbation_is_seen_by_all_that_follows():
    zeros = jax.tree.map(jnp.zeros_like, NET.apply(PARAMS, STATE, X, capture=["act#2"])[0][1])
    y, _ = NET.apply(PARAMS, STATE, X, perturb=zeros)
    np.testing.assert_array_equal(y, NET.apply(PARAMS, STATE, X)[0])
    moved = NET.apply(PARAMS, STATE, X, perturb={"act#2": jnp.ones((5, 4))}, capture=["act#2"])[0]
    np.testing.assert_allclose(
        moved[0] - y, jnp.tile(PARAMS["head"]["weight"].sum(1), (5, 1)), rtol=1e-4
    )
    assert bool((moved[1]["act#2"] >= 1).all())
    gradient = jax.grad(lambda p: NET.apply(PARAMS, STATE, X, perturb=p)[0][:, 1].sum())(zeros)
    np.testing.assert_allclose(gradient["act#2"], jnp.tile(PARAMS["head"]["weight"][1], (5, 1)))


def test_apply_is_the_same_program_where_it_is_unused():
    def text(**options):
        return str(jax.make_jaxpr(lambda p, s, x: NET.apply(p, s, x, **options))(PARAMS, STATE, X))

    assert text() == text(capture=None, perturb=None)
    plain = jax.make_jaxpr(lambda p, s, x: NET.apply(p, s, x))(PARAMS, STATE, X)
    seen = jax.make_jaxpr(lambda p, s, x: NET.apply(p, s, x, capture=["*"]))(PARAMS, STATE, X)
    assert len(plain.jaxpr.eqns) == len(seen.jaxpr.eqns)


WAYS = {
    "stack": lambda n: nn.Stack(Residual(4), n),
    "stack of remat": lambda n: nn.Stack(nn.remat(Residual(4)), n),
    "remat of stack": lambda n: nn.remat(nn.Stack(Residual(4), n)),
    "remat": lambda n: nn.Sequential(*[nn.remat(Residual(4)) for _ in range(n)]),
    "eval_mode": lambda n: nn.eval_mode(nn.Sequential(*[Residual(4) for _ in range(n)])),
}


SAMPLE = ("stack of remat", "eval_mode")


@pytest.mark.parametrize(
    "way", [way if way in SAMPLE else pytest.param(way, marks=pytest.mark.full) for way in WAYS]
)
def test_names_and_gradients_are_the_same_inside_of_transformed_parts(way):
    class Twice(nn.Module):
        def __init__(self, body):
            self.body = body

        def forward(self, x):
            return self.body(self.body(x))

    train = way != "eval_mode"
    model = Twice(WAYS[way](3))
    single = Twice(nn.Sequential(*[Residual(4) for _ in range(3)]))
    params, state = model.init(KEY)
    alone = fx.load_state_dict(single, fx.state_dict(model, params, state))
    names = ["body.1.drop", "body.*.norm", "body.2"]
    at = ["body.0.fc", "body.0.fc#2", "body.2.drop#4", "body.1", "body"]
    perturb = {name: jnp.zeros((5, 4)) for name in at}

    def loss(perturb, model, params, state, train):
        options = {"train": train, "key": KEY, "capture": names, "perturb": perturb}
        y, seen = model.apply(params, state, X, **options)[0]
        return (y**2).sum(), seen

    run = jax.jit(jax.grad(loss, has_aux=True), static_argnums=(1, 4))
    grads, seen = run(perturb, model, params, state, train)
    expected, expected_seen = run(perturb, single, *alone, train)
    assert sorted(seen) == sorted(expected_seen) and len(seen) == 4 + 6 + 2
    chex.assert_trees_all_close(seen, expected_seen, rtol=1e-4, atol=1e-4)
    chex.assert_trees_all_close(grads, expected, rtol=1e-3, atol=1e-3)
    assert all(bool(jnp.abs(g).sum() > 0) for g in jax.tree.leaves(grads))


def test_members_of_an_ensemble_have_names():
    model = nn.Sequential(nn.vmap(nn.Sequential(nn.Linear(4, 3), nn.Tanh()), 2, in_axes=None))
    params, state = model.init(KEY)
    (y, seen), _ = model.apply(params, state, X, capture=["0.1.0", "0.*.1"])
    assert sorted(seen) == ["0.0.1", "0.1.0", "0.1.1"]
    np.testing.assert_array_equal(y[1], seen["0.1.1"])
    moved = model.apply(params, state, X, perturb={"0.1.1": jnp.ones((5, 3))})[0]
    np.testing.assert_allclose(
        moved - y, jnp.stack([jnp.zeros((5, 3)), jnp.ones((5, 3))]), atol=1e-6
    )


def test_outputs_that_are_trees():
    class Pair(nn.Module):
        def forward(self, x):
            return {"double": 2 * x, "half": (x / 2,)}

    class Model(nn.Module):
        def __init__(self):
            self.pair = Pair()

        def forward(self, x):
            parts = self.pair(x)
            return (parts["double"] * parts["half"][0]).sum()

    (_, seen), _ = Model().apply({}, {}, X, capture=["pair"])
    zeros = jax.tree.map(jnp.zeros_like, seen)
    grads = jax.grad(lambda p: Model().apply({}, {}, X, perturb=p)[0])(zeros)
    np.testing.assert_allclose(grads["pair"]["half"][0], 2 * X)


def test_a_transformation_of_the_users_own_is_an_error_and_does_not_leak():
    class Mapped(nn.Module):
        def __init__(self):
            self.part, self.count = Dense(4, 2), Counter()

        def forward(self, x):
            return self.count(jax.vmap(self.part)(x))

    model = Mapped()
    params, state = model.init(KEY)
    with pytest.raises(RuntimeError, match='Dense "part": its output is captured or perturbed un'):
        model.apply(params, state, X, capture=["part"])
    with pytest.raises(RuntimeError, match='Dense "part": its output is captured or perturbed un'):
        model.apply(params, state, X, perturb={"part": jnp.zeros(2)})
    (_, seen), _ = model.apply(params, state, X, capture=["count"])
    assert seen["count"].shape == (5, 2)


def test_errors():
    with pytest.raises(ValueError, match="no call of a part is called 'layer9'; those of this run"):
        NET.apply(PARAMS, STATE, X, capture=["body", "layer9"])
    with pytest.raises(ValueError, match="no call of a part is called 'act#3'; those of this run"):
        NET.apply(PARAMS, STATE, X, perturb={"act#3": X})
    with pytest.raises(
        ValueError, match=r'perturb "norm": expected the shape .* \[5, 4\], got \[5'
    ):
        NET.apply(PARAMS, STATE, X, perturb={"norm": jnp.zeros(5)})
    with pytest.raises(TypeError, match="capture: expected names or patterns as text, got 3"):
        NET.apply(PARAMS, STATE, X, capture=[3])
    with pytest.raises(TypeError, match="perturb: expected a dict of arrays by name, got list"):
        NET.apply(PARAMS, STATE, X, perturb=[X])
