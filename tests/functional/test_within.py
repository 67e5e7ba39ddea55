"""Moments within an example are as good as torch's or better, and their derivatives are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from jax import export
from jax.test_util import check_grads

from fx import functional as F
from fx.functional import within
from fx.functional.within import normalize_within
from tests.functional.check import assert_close, normal, sample

# Where the moments are over one axis, over two, in blocks, in pieces of blocks, and of odd sizes.
NORMS = [
    ("layer_norm", (5, 7, 768), (768,)),
    ("group_norm", (2, 12, 14, 14), 3),
    ("instance_norm", (2, 3, 13, 17), None),
    ("layer_norm", (3, 12, 31, 31), (12, 31, 31)),
    ("group_norm", (2, 256), 2),
    ("instance_norm", (1, 2, 127, 127), None),
    ("group_norm", (1, 8, 64, 64), 1),
    ("layer_norm", (2, 8, 5), (5,)),
]
SIZES = [0, 1, 7, 127, 128, 1001, 2049, 5003]


def derived(x, weight, bias, lead, groups, eps):
    axes = (*range(lead, x.ndim - 1), x.ndim)
    grouped = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    mean = jnp.mean(grouped, axes, keepdims=True)
    var = jnp.mean(jnp.square(grouped - mean), axes, keepdims=True)
    return ((grouped - mean) / jnp.sqrt(var + eps)).reshape(x.shape) * weight + bias


@pytest.mark.emitters  # XLA without them takes (x - a) - b for x - (a + b)
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("case", sample(NORMS, 4), ids=str)
def test_a_large_mean_costs_no_digits(case, offset):
    """Output and gradient, against torch's in float64."""
    name, shape, argument = case
    x, cotangent = normal(*shape) + np.float32(offset), normal(*shape, seed=1)
    given = [] if argument is None else [argument]

    def ours(x):
        y = getattr(F, name)(x, *given)
        return y[0] if name == "instance_norm" else y

    exact = torch.from_numpy(x).double().requires_grad_()
    expected = getattr(TF, name)(exact, *given)
    expected.backward(torch.from_numpy(cotangent).double())
    y, pull = jax.vjp(ours, jnp.asarray(x))
    for found, truth in ((y, expected.detach()), (pull(cotangent)[0], exact.grad)):
        error = np.abs(np.asarray(found, np.float64) - truth.numpy()).max()
        assert error <= 3e-6 * np.abs(truth.numpy()).max()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_pivot_far_from_the_mean_cancels_little(offset):
    """The worst case, in which the first eighth differs from all the rest: eight roundings."""
    x = normal(4, 64, 6, scale=0.01)
    x[:, :8] += 50
    x = x + np.float32(offset)
    exact = x.astype(np.float64).reshape(4, 64, 2, 3)
    pivot, distance, var = within._about_a_part(jnp.asarray(x), 1, 2)
    np.testing.assert_allclose(var, exact.var((1, 3)), rtol=8e-6)
    np.testing.assert_allclose(pivot + distance, exact.mean((1, 3)), rtol=4e-6)


def test_every_platform_computes_the_same():
    x, weight, dx = (jnp.asarray(normal(2, 16, 9, 6, seed=i)) for i in range(3))
    weight, dweight = weight[0, 0, 0], dx[0, 0, 0]
    for one, other in zip(within._about_a_part(x, 1, 2), within._in_two_passes(x, 1, 2)):
        assert one.shape == other.shape == (2, 2)
    one, other = within._about_a_part(x, 1, 2), within._in_two_passes(x, 1, 2)
    assert_close(one[0] + one[1], other[0] + other[1])
    assert_close(one[2], other[2])
    arguments = x, weight, dx, one[0], one[2], dweight, weight
    assert_close(
        within._tangent_by_channels(*arguments, lead=1), within._tangent(*arguments, lead=1)
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("axis", [-1, -2])
def test_sums_are_exact_and_spreading_is_their_transpose(size, axis):
    shape = (2, 3, size) if axis == -1 else (2, size, 3)
    x, v = normal(*shape) + 10, normal(2, 3, seed=1)
    exact = x.astype(np.float64).sum(axis)
    found = within._sum(jnp.asarray(x), axis)
    assert np.abs(found - exact).max(initial=0) <= 1e-6 * max(1, np.abs(exact).max())
    y, pull = jax.vjp(lambda v: within._spread(v, axis, size), v)
    assert_close(y, np.broadcast_to(np.expand_dims(v, axis), shape))
    assert_close(pull(x)[0], found)


@pytest.mark.parametrize("which", ["reverse", "forward"])
@pytest.mark.parametrize("case", [((3, 8), 1, 2), ((2, 12, 2, 6), 1, 3), ((2, 3, 136), 2, 1)])
def test_derivatives_are_those_of_the_formula(case, which):
    shape, lead, groups = case
    with jax.enable_x64(True):
        x, v = (jnp.asarray(normal(*shape, seed=i), jnp.float64) for i in range(2))
        weight, bias = (jnp.asarray(normal(shape[-1], seed=i), jnp.float64) for i in range(2, 4))
        found = []
        for function in (normalize_within, derived):

            def run(x, weight, bias):
                return function(x, weight, bias, lead, groups, 1e-5)

            if which == "reverse":
                found.append(jax.vjp(run, x, weight, bias)[1](v))
            else:
                found.append(jax.jvp(run, (x, weight, bias), (v, bias, weight)))
        for one, other in zip(*found):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.full
@pytest.mark.parametrize("case", [((3, 8), 1, 2), ((2, 12, 2, 6), 1, 3), ((2, 136), 1, 1)])
def test_second_derivatives_and_batching(case):
    shape, lead, groups = case
    with jax.enable_x64(True):
        x = jnp.asarray(normal(*shape), jnp.float64)
        weight, bias = (jnp.asarray(normal(shape[-1], seed=i), jnp.float64) for i in range(1, 3))

        def run(x, weight, bias):
            return jnp.sin(normalize_within(x, weight, bias, lead, groups, 1e-2))

        check_grads(run, (x, weight, bias), order=2, modes=("fwd", "rev"), rtol=1e-5, atol=1e-5)
        gradient = jax.grad(lambda *a: run(*a).sum(), (0, 1))
        batched = jax.vmap(gradient, (0, None, None))(jnp.stack([x, 2 * x]), weight, bias)
        for one, other in zip(batched, gradient(2 * x, weight, bias)):
            assert_close(one[1], other, "float64")


@pytest.mark.parametrize("case", [((0, 6, 4), 2), ((2, 6, 0), 2), ((0, 256), 1)], ids=str)
def test_of_nothing(case):
    shape, groups = case
    x, weight = jnp.zeros(shape), jnp.ones(shape[1])
    y, pull = jax.vjp(lambda x, w: F.group_norm(x, groups, w, w), x, weight)
    assert y.shape == shape
    assert pull(y)[0].shape == shape and pull(y)[1].tolist() == [0.0] * shape[1]
    assert F.layer_norm(x, shape[-1:]).shape == shape
    statistics = jnp.zeros(0), jnp.ones(0)
    y, new = F.instance_norm(jnp.zeros((2, 0, 3)), *statistics)
    assert y.shape == (2, 0, 3) and new[0].shape == new[1].shape == (0,)


@pytest.mark.parametrize(
    "case",
    [("layer_norm", "n, t, 256", (3, 5, 256), 256), ("group_norm", "n, 8, h, h", (2, 8, 6, 6), 2)],
    ids=lambda case: case[0],
)
def test_sizes_may_be_symbolic(case):
    name, symbols, shape, argument = case

    def run(x):
        return jax.grad(lambda x: jnp.sum(jnp.sin(getattr(F, name)(x, argument))))(x)

    symbolic = jax.ShapeDtypeStruct(export.symbolic_shape(symbols), jnp.float32)
    exported = export.export(jax.jit(run), platforms=("cpu", "cuda", "tpu"))(symbolic)
    assert_close(exported.call(normal(*shape)), run(normal(*shape)))
