"""Moments in one pass are as good as torch's, and their hand-written derivatives are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads

from fx import functional as F
from fx.functional.moments import (
    mean_of_rows,
    median_of_three,
    moments,
    moments_about,
    normalize_batch,
)
from tests.functional.check import normal


def derived(x, weight, bias, eps):
    mean = jnp.mean(x, range(x.ndim - 1))
    var = jnp.mean(jnp.square(x - mean), range(x.ndim - 1))
    return (x - mean) / jnp.sqrt(var + eps) * weight + bias, mean, var


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("outlier", [0.0, 30.0, 1e4])
@pytest.mark.parametrize("pivot", [mean_of_rows, median_of_three], ids=["CPU", "elsewhere"])
def test_as_exact_as_torch(offset, outlier, pivot):
    exact = np.random.default_rng(0).normal(size=(64, 5, 8, 8)) + offset
    exact[0, :, 0, 0] += outlier  # among the rows that the pivot is taken from
    x = exact.astype(np.float32)
    exact = x.astype(np.float64)
    last = jnp.moveaxis(jnp.asarray(x), 1, -1)
    mean, var = (np.asarray(m, np.float64) for m in moments_about(pivot(last), last))
    axes = (0, 2, 3)
    ours = np.abs(var - exact.var(axes)).max()
    theirs = torch.from_numpy(x).var(axes, correction=0).numpy().astype(np.float64)
    assert ours <= 2 * np.abs(theirs - exact.var(axes)).max() + 1e-6 * exact.var(axes).max()
    np.testing.assert_allclose(mean, exact.mean(axes), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(64, 3), (4, 3, 5, 5)])
def test_output_and_gradient_are_as_exact_as_torch(shape):
    exact = np.random.default_rng(1).normal(size=shape) * 3 + 50
    cotangent = np.random.default_rng(2).normal(size=shape)
    found = {}
    for dtype in (torch.float64, torch.float32):
        x = torch.tensor(exact.astype(np.float32)).to(dtype).requires_grad_()
        y = torch.nn.functional.batch_norm(x, None, None, training=True)
        y.backward(torch.tensor(cotangent.astype(np.float32)).to(dtype))
        found[dtype] = y.detach().double().numpy(), x.grad.double().numpy()

    def run(x):
        return F.batch_norm(x, None, None, training=True)[0]

    y, pull = jax.vjp(run, jnp.asarray(exact, jnp.float32))
    (gradient,) = pull(jnp.asarray(cotangent, jnp.float32))
    for ours, theirs, truth in zip((y, gradient), found[torch.float32], found[torch.float64]):
        error = np.abs(np.asarray(ours, np.float64) - truth).max()
        assert error <= 2 * np.abs(theirs - truth).max() + 1e-6 * np.abs(truth).max()


@pytest.mark.parametrize("which", ["reverse", "forward"])
def test_derivatives_are_those_of_the_formula(which):
    with jax.enable_x64(True):
        x = jnp.asarray(normal(12, 3, seed=0), jnp.float64)
        weight, bias = jnp.asarray([1.0, -2.0, 0.5]), jnp.asarray([0.1, 0.2, 0.3])
        transform = jax.jacrev if which == "reverse" else jax.jacfwd
        for one, other in zip(
            jax.tree.leaves(transform(normalize_batch, (0, 1, 2))(x, weight, bias, 1e-5)),
            jax.tree.leaves(transform(derived, (0, 1, 2))(x, weight, bias, 1e-5)),
        ):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.full
def test_second_derivatives():
    with jax.enable_x64(True):
        x = jnp.asarray(normal(6, 2, seed=3), jnp.float64)

        def run(x, weight, bias):
            y, mean, var = normalize_batch(x, weight, bias, 1e-5)
            return jnp.sum(jnp.sin(y)) + jnp.sum(mean * var)

        arguments = (x, jnp.ones(2, jnp.float64), jnp.zeros(2, jnp.float64))
        check_grads(run, arguments, order=2, modes=("fwd", "rev"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (1, 1, 3), (5, 2, 3)])
def test_the_median_is_of_the_ends_and_the_middle(shape):
    x = normal(*shape, seed=0)
    rows = x.reshape(-1, 3)
    middle = x[tuple(size // 2 for size in shape[:-1])]
    expected = np.median(np.stack([rows[0], middle, rows[-1]]), 0)
    np.testing.assert_array_equal(median_of_three(jnp.asarray(x)), expected)


@pytest.mark.parametrize("at", [0, 5, 11])
@pytest.mark.parametrize("scale, one", [
    (1, np.inf), (1, -np.inf), (1, np.nan), (1e19, 0), (1e30, 0), (1, 3e38),
])  # fmt: skip
def test_infinite_elements_and_overflows_are_torchs(scale, one, at):
    x = normal(12, 2, scale=scale)
    x[at, 0] = one
    mean, var = torch.zeros(2), torch.ones(2)
    y = torch.nn.functional.batch_norm(torch.tensor(x), mean, var, training=True)
    zeros, ones = jnp.zeros(2), jnp.ones(2)
    ours, statistics = F.batch_norm(jnp.asarray(x), zeros, ones, training=True)
    for given, expected in zip((ours, *statistics), (y, mean, var)):
        np.testing.assert_allclose(given, expected.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pivot", [mean_of_rows, median_of_three], ids=["CPU", "elsewhere"])
def test_an_infinite_pivot_is_none(pivot):
    last = jnp.full((9, 1), jnp.inf)
    mean, var = moments_about(pivot(last), last)
    assert mean.item() == np.inf and np.isnan(var.item())


def test_an_empty_batch_has_no_moments():
    assert median_of_three(jnp.zeros((0, 3))).tolist() == [0, 0, 0]
    mean, var = moments(jnp.zeros((0, 3)))
    assert np.isnan(mean).all() and mean.shape == var.shape == (3,)
