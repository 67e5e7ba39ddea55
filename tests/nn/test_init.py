import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from fx import nn
from fx.nn import init

KEY = jax.random.key(3)
SHAPE = (64, 32, 5, 5)


def torch_filled(name, shape, *args, **kwargs):
    torch.manual_seed(0)
    return getattr(torch.nn.init, name)(torch.empty(shape), *args, **kwargs).numpy()


MOMENTS = [
    ("uniform", (-0.3, 0.7), {}),
    ("normal", (0.5, 0.02), {}),
    ("trunc_normal", (0.0, 0.02), {}),
    ("trunc_normal", (0.1, 1.0, -0.5, 0.6), {}),
    ("kaiming_uniform", (), {"a": math.sqrt(5)}),
    ("kaiming_uniform", (), {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal", (), {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal", (0.2,), {}),
    ("xavier_uniform", (), {}),
    ("xavier_normal", (2.0,), {}),
]


@pytest.mark.parametrize("name, args, kwargs", MOMENTS)
def test_moments_and_bounds_are_torchs(name, args, kwargs):
    ours = np.asarray(getattr(init, name)(*args, **kwargs)(KEY, SHAPE))
    theirs = torch_filled(f"{name}_", SHAPE, *args, **kwargs)
    error = 5 * theirs.std() / math.sqrt(theirs.size)
    assert abs(ours.mean() - theirs.mean()) < 2 * error
    assert abs(ours.std() / theirs.std() - 1) < 0.02
    if "uniform" in name or name == "trunc_normal":
        spread = max(abs(theirs.min()), abs(theirs.max()))
        assert abs(ours.max() - theirs.max()) < 0.02 * spread or name == "trunc_normal"
        assert ours.max() <= theirs.max() + 0.02 * spread + 1e-6 or name == "trunc_normal"


def test_trunc_normal_cuts_at_values():
    values = np.asarray(init.trunc_normal(0.0, 1.0, -0.5, 0.25)(KEY, (10000,)))
    assert values.min() >= -0.5 and values.max() <= 0.25


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (4, 2, 3, 3), (16, 2, 1, 1)])
def test_orthogonal(shape):
    weight = np.asarray(init.orthogonal(2.0)(KEY, shape)).reshape(shape[0], -1) / 2
    product = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)


@pytest.mark.parametrize("shape, groups", [((4, 4, 3), 1), ((6, 2, 3, 3), 2), ((2, 3, 3, 3, 3), 1)])
def test_dirac_and_eye_are_torchs(shape, groups):
    ours = init.dirac(groups)(KEY, shape)
    np.testing.assert_array_equal(ours, torch_filled("dirac_", shape, groups))
    np.testing.assert_array_equal(init.eye(KEY, (3, 4)), torch_filled("eye_", (3, 4)))


@pytest.mark.parametrize(
    "name, param",
    [("linear", None), ("conv2d", None), ("conv_transpose3d", None), ("sigmoid", None),
     ("tanh", None), ("relu", None), ("leaky_relu", None), ("leaky_relu", 0.2), ("selu", None)],
)  # fmt: skip
def test_gains_are_torchs(name, param):
    expected = torch.nn.init.calculate_gain(name, param)
    assert init.calculate_gain(name, param) == pytest.approx(expected, rel=1e-12)


def test_constants():
    assert init.zeros(KEY, (2,), jnp.int32).dtype == jnp.int32
    array = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(init.constant(array)(KEY, (2, 3)), np.stack([array, array]))
    array[0] = 9  # the description keeps its own copy
    assert init.constant(array) != init.constant(np.arange(3, dtype=np.float32))


def test_initialisers_are_values():
    make = [init.kaiming_uniform, init.normal, lambda: init.constant(np.ones(2)), lambda: init.eye]
    for f in make:
        assert f() == f() and hash(f()) == hash(f()) and pickle.loads(pickle.dumps(f())) == f()
    assert init.normal(std=1.0) != init.normal(std=2.0)
    with pytest.raises(AttributeError, match="frozen"):
        init.zeros.function = None


def test_init_is_pure_and_follows_dtype():
    make = init.xavier_normal()
    np.testing.assert_array_equal(make(KEY, (3, 4)), make(KEY, (3, 4)))
    assert make(KEY, (3, 4), jnp.bfloat16).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "call, text",
    [
        (
            lambda: init.kaiming_normal(mode="fan"),
            'expected mode "fan_in" or "fan_out", got \'fan\'',
        ),
        (
            lambda: init.kaiming_normal(nonlinearity="swish"),
            "calculate_gain: expected one of linear",
        ),
        (lambda: init.xavier_normal()(KEY, (3,)), r"two or more dimensions .*, got \(3,\)"),
        (lambda: init.eye(KEY, (3,)), "eye: expected a shape of two dimensions"),
        (lambda: init.dirac()(KEY, (3, 3)), "dirac: expected a convolution weight"),
        (lambda: init.dirac(2)(KEY, (3, 3, 1)), "dirac: expected 3 output channels in 2"),
        (lambda: init.uniform(2, 1), r"uniform: expected a <= b, got \[2, 1\)"),
        (lambda: init.normal(std=-1), "normal: expected std of 0 or more, got -1"),
        (lambda: init.xavier_normal(-1), "xavier_normal: expected gain of 0 or more, got -1"),
        (lambda: init.xavier_uniform(-1), "xavier_uniform: expected gain of 0 or more, got -1"),
        (lambda: init.sparse(0.5, -1), "sparse: expected std of 0 or more, got -1"),
        (lambda: init.dirac(0)(KEY, (3, 3, 1)), "dirac: expected 3 output channels in 0"),
        (lambda: init.trunc_normal(a=2, b=-2), r"a <= b, got 1.0, \[2, -2\]"),
        (lambda: init.trunc_normal(std=0), "expected std > 0 and a <= b, got 0"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_modes_in_capitals():
    assert init.kaiming_normal(mode="FAN_OUT") == init.kaiming_normal(mode="fan_out")


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: init.normal("a"), "init.normal: expected mean to be a number, got 'a'"),
        (lambda: init.uniform(b=None), "init.uniform: expected b to be a number, got None"),
        (lambda: init.constant("a"), "init.constant: expected a number or an array, got 'a'"),
        (lambda: init.xavier_normal("relu"), "xavier_normal: expected gain to be a number"),
        (lambda: init.orthogonal("relu"), "orthogonal: expected gain to be a number"),
        (
            lambda: init.calculate_gain("leaky_relu", "x"),
            "calculate_gain: expected param to be a number, got 'x'",
        ),
    ],
)
def test_what_is_no_number(call, text):
    with pytest.raises(TypeError, match=text):
        call()


def test_orthogonal_in_half_precision():
    weight = init.orthogonal()(KEY, (3, 5), jnp.bfloat16)
    assert weight.dtype == jnp.bfloat16
    weight = np.asarray(weight, np.float32)
    product = weight @ weight.T
    np.testing.assert_allclose(product, np.eye(3), atol=2e-2)


def test_declarations_check_themselves():
    with pytest.raises(TypeError, match="Parameter: expected an initialiser beside the shape"):
        nn.Parameter((3, 4))
    with pytest.raises(TypeError, match="Buffer: expected an initialiser .* got 0"):
        nn.Buffer((3,), 0)
    with pytest.raises(ValueError, match="sizes of at least 0"):
        nn.Parameter((-1,), init.zeros)
    assert nn.Parameter(3, init.zeros) == nn.Parameter((3,), init.zeros)
    assert nn.Parameter((3,), init.zeros) != nn.Buffer((3,), init.zeros)
    assert nn.Buffer(np.ones((2, 2), np.int32)).dtype == np.int32
    assert nn.Buffer(np.ones(2)).dtype == np.float32  # as jnp.asarray has it without x64
    assert pickle.loads(pickle.dumps(nn.Buffer(np.ones(2)))) == nn.Buffer(np.ones(2))


def test_by_type_changes_declarations():
    model = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2, bias=False)), nn.ReLU())
    changed = init.by_type(model, {nn.Linear: {"weight": init.ones, "bias": init.ones}})
    params, _ = changed.init(KEY)
    np.testing.assert_array_equal(params["1"]["0"]["weight"], np.ones((2, 2)))
    np.testing.assert_array_equal(params["0"]["bias"], np.ones(2))
    assert init.by_type(model, {nn.Linear: init.ones})[0].weight.init == init.ones
    assert model != changed and "bias" not in params["1"]["0"]
    with pytest.raises(ValueError, match="no layer of Sequential has BatchNorm2d.weight; leave"):
        init.by_type(model, {nn.BatchNorm2d: {"weight": init.ones}})
    with pytest.raises(ValueError, match="no layer of Sequential has Linear.wait"):
        init.by_type(model, {nn.Linear: {"wait": init.ones}})
    with pytest.raises(TypeError, match="expected layer types .nn.Conv2d., got .'Linear'."):
        init.by_type(model, {"Linear": init.ones})  # pyright: ignore


def test_by_name_changes_declarations():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Sequential(nn.Linear(2, 2)))
    rules = {"0.bias": init.zeros, "*.bias": init.ones, "*_mean": init.ones}
    changed = init.by_name(model, rules)
    assert changed[0].bias.init == init.zeros and changed[2][0].bias.init == init.ones
    assert changed[1].running_mean.init == init.ones and changed[0].weight == model[0].weight
    assert model[0].bias.init != init.zeros
    with pytest.raises(ValueError, match=r"init.by_name: Sequential has no parameter \*.wait;"):
        init.by_name(model, {"*.wait": init.ones})
    with pytest.raises(TypeError, match="expected an initialiser"):
        init.by_name(model, {"0.bias": 1.0})


def test_by_name_changes_both_names_of_a_tied_weight():
    class Tied(nn.Module):
        def __init__(self):
            self.embed, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            nn.tie(self, "head.weight", "embed.weight")

    changed = init.by_name(Tied(), {"*.weight": init.normal(std=0.5)})
    assert changed.head.weight.init == changed.embed.weight.init == init.normal(std=0.5)
    params, _ = changed.init(jax.random.key(0))
    assert list(params) == ["embed"]
