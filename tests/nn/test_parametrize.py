"""Weights that are computed: torch's names, values, gradients and new state."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations as theirs

import fx
from fx import nn
from fx.nn.utils import parametrizations as ours
from tests.functional.check import assert_close, normal

pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.*` is deprecated")
KEY = jax.random.key(0)
CONV, LINEAR = ("Conv2d", (3, 4, 3)), ("Linear", (5, 4))
TALL, SQUARE, WIDE = ("Linear", (3, 5)), ("Linear", (4, 4)), ("Linear", (5, 3))


def rows():
    for dim in (0, 1, None):
        yield CONV, "weight_norm", {"dim": dim}
    yield LINEAR, "older weight_norm", {}
    yield CONV, "older weight_norm", {"dim": None}
    yield CONV, "spectral_norm", {"n_power_iterations": 2}
    yield CONV, "spectral_norm", {"dim": -1}
    yield LINEAR, "spectral_norm", {"name": "bias"}
    yield CONV, "older spectral_norm", {}
    yield LINEAR, "older spectral_norm", {"dim": 1, "n_power_iterations": 3}
    for layer in (TALL, SQUARE, WIDE):
        for kind in ("matrix_exp", "cayley", "householder", None):
            for trivial in (True, False):
                yield layer, "orthogonal", {
                    "orthogonal_map": kind, "use_trivialization": trivial
                }  # fmt: skip


ROWS = list(rows())
SAMPLE = (0, 3, 5, 8, 14, 20)
PARAMS = [
    r if i in SAMPLE else pytest.param(*r, marks=pytest.mark.full) for i, r in enumerate(ROWS)
]


def build(layer, function, kwargs):
    kind, args = layer
    name = function.removeprefix("older ")
    first = getattr(nn.utils if "older" in function else ours, name)
    second = getattr(torch.nn.utils if "older" in function else theirs, name)
    torch.manual_seed(0)
    other = second(getattr(torch.nn, kind)(*args), **kwargs)
    with torch.no_grad():
        for p in other.parameters():
            strictly_lower = p.ndim < 2 or "orthogonal" != name
            change = 0.3 * torch.randn_like(p)
            p.add_(change if strictly_lower else change * (1 - torch.eye(*p.shape)))
    return first(getattr(nn, kind)(*args), **kwargs), other


@pytest.mark.parametrize("layer, function, kwargs", PARAMS)
def test_against_torch(layer, function, kwargs):
    model, other = build(layer, function, kwargs)
    assert repr(model) == repr(other)
    assert list(fx.state_dict(model, *jax.eval_shape(model.init, KEY))) == list(other.state_dict())
    x = normal(2, 3, 6, 5) if layer is CONV else normal(2, layer[1][0])
    params, state = fx.load_state_dict(
        model, {n: t.numpy().copy() for n, t in other.state_dict().items()}
    )

    @jax.jit
    def run(params, state):
        def loss(params, train):
            y, new = model.apply(params, state, jnp.asarray(x), train=train)
            return (y**2).sum(), (y, new)

        (_, (y, new)), gradients = jax.value_and_grad(loss, has_aux=True)(params, True)
        return y, new, gradients, model.apply(params, new, jnp.asarray(x))[0]

    y, state, gradients, after = run(params, state)
    output = other.train()(torch.from_numpy(x))
    (output**2).sum().backward()
    assert_close(y, output, what="output")
    named = fx.state_dict(model, gradients)
    for name, p in other.named_parameters():
        assert_close(named[name], p.grad, what=f"gradient to {name}")
    named = fx.state_dict(model, params, state)
    for name, b in other.named_buffers():
        assert_close(named[name], b, what=name)
    assert_close(after, other.eval()(torch.from_numpy(x)), what="in evaluation")


WRAPPED = {
    "weight_norm": ours.weight_norm, "older weight_norm": nn.utils.weight_norm,
    "spectral_norm": ours.spectral_norm, "older spectral_norm": nn.utils.spectral_norm,
    "orthogonal": ours.orthogonal,
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPED)
def test_descriptions(name):
    layer = nn.Linear(4, 3)
    model = WRAPPED[name](layer)
    again = pickle.loads(pickle.dumps(model))
    assert again == model == WRAPPED[name](nn.Linear(4, 3)) and type(again) is type(model)
    assert hash(again) == hash(model) and model != layer and isinstance(model, nn.Linear)
    assert "weight" in jax.eval_shape(layer.init, KEY)[0]  # the layer is what it was
    assert model.weight == layer.weight  # outside of forward: the declaration
    assert nn.transform(nn.Sequential(model), lambda part: part) == nn.Sequential(model)


@pytest.mark.parametrize("name", ["weight_norm", "older weight_norm"])
def test_begins_with_the_weight_of_the_layer(name):
    plain = nn.Sequential(nn.Linear(4, 3))
    model = nn.Sequential(WRAPPED[name](nn.Linear(4, 3)))
    weights = [m.apply(*m.init(KEY), jnp.eye(4))[0] for m in (plain, model)]
    assert_close(weights[1], weights[0])


@pytest.mark.parametrize("shape", [(5, 5), (5, 3), (3, 5)])
@pytest.mark.parametrize("kind", ["cayley", "householder"])
@pytest.mark.parametrize("trivial", [True, False])
def test_begins_orthogonal(shape, kind, trivial):
    layer = nn.Linear(*shape, bias=False)
    model = ours.orthogonal(layer, orthogonal_map=kind, use_trivialization=trivial)
    w = model.apply(*model.init(KEY), jnp.eye(shape[0]))[0]
    assert_close(w.T @ w if len(w) >= w.shape[1] else w @ w.T, np.eye(min(shape)))


def test_begins_near_a_spectral_norm_of_1():
    model = ours.spectral_norm(nn.Linear(6, 5, bias=False))
    w = model.apply(*model.init(KEY), jnp.eye(6))[0]
    assert abs(float(jnp.linalg.norm(w, 2)) - 1) < 0.1


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


class Halved(Doubled):
    def right_inverse(self, x):
        return x / 2


class Reader(nn.Module):
    """Reads the weight of a part beside calling it."""

    def __init__(self):
        self.part = nn.utils.parametrize.register_parametrization(
            nn.Linear(3, 3), "weight", Doubled()
        )

    def forward(self, x):
        return self.part(x) - self.part.bias - x @ self.part.weight.T


def test_a_parametrization_of_ones_own():
    plain, register = nn.Linear(3, 2), nn.utils.parametrize.register_parametrization
    expected = plain.init(KEY)[0]["weight"]
    for part, factor in ((Doubled(), 1.0), (Halved(), 0.5)):
        model = register(plain, "weight", part)
        params, _ = model.init(KEY)
        original = params["parametrizations"]["weight"]["original"]
        assert_close(original, factor * expected)
        assert_close(model.apply(params, {}, jnp.eye(3))[0].T - params["bias"][:, None],
                     2 * original)  # fmt: skip
    params, state = Reader().init(KEY)
    assert_close(Reader().apply(params, state, jnp.eye(3))[0], np.zeros((3, 3)))


def test_trains_in_a_model():
    model = nn.Sequential(ours.spectral_norm(nn.Linear(3, 4)), nn.ReLU(),
                          ours.weight_norm(nn.Linear(4, 1)))  # fmt: skip
    params, state = model.init(KEY)
    state = jax.tree.map(lambda a: jnp.full_like(a, a.size**-0.5), state)  # away from its limit
    _, moved = jax.jit(lambda p, s: model.apply(p, s, jnp.ones((2, 3)), train=True))(params, state)
    _, kept = model.apply(params, state, jnp.ones((2, 3)))
    before, after = (s["0"]["parametrizations"]["weight"]["0"]["_u"] for s in (state, moved))
    assert (before != after).any()
    assert (kept["0"]["parametrizations"]["weight"]["0"]["_u"] == before).all()


def test_errors():
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"weight_norm: expected 'w' to be a parameter of Linear"):
        ours.weight_norm(layer, "w")
    with pytest.raises(ValueError, match=r"expected 'weight' .* got which is computed already"):
        ours.weight_norm(ours.weight_norm(layer))
    with pytest.raises(ValueError, match=r"weight_norm: expected dim within the 2 axes .* got 2"):
        ours.weight_norm(layer, dim=2)
    with pytest.raises(ValueError, match=r"spectral_norm: expected dim within the 2 axes .* got 2"):
        ours.spectral_norm(layer, dim=2)
    with pytest.raises(ValueError, match="expected n_power_iterations of 1 or more, got 0"):
        nn.utils.spectral_norm(layer, n_power_iterations=0)
    with pytest.raises(ValueError, match="orthogonal: expected a parameter of two axes or more"):
        ours.orthogonal(layer, "bias")
    with pytest.raises(ValueError, match="orthogonal: expected orthogonal_map one of .* got 'qr'"):
        ours.orthogonal(layer, orthogonal_map="qr")
    with pytest.raises(ValueError, match=r"register_parametrization: expected a weight float32"):
        nn.utils.parametrize.register_parametrization(layer, "weight", nn.Flatten(0))


def test_vectors():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    params, _ = model.init(KEY)
    vector = nn.utils.parameters_to_vector(params)
    assert vector.shape == (6 + 2 + 2 + 1,)
    back = nn.utils.vector_to_parameters(vector, params)
    jax.tree.map(np.testing.assert_array_equal, back, params)
    named = list(fx.state_dict(model, params).values())
    expected = torch.nn.utils.parameters_to_vector([torch.from_numpy(np.array(a)) for a in named])
    assert_close(nn.utils.parameters_to_vector(named), expected)
    with pytest.raises(ValueError, match=r"expected vec \[11], as many elements .* got \[12]"):
        nn.utils.vector_to_parameters(jnp.zeros(12), params)
    with pytest.raises(ValueError, match="parameters_to_vector: expected an array or more"):
        nn.utils.parameters_to_vector({})
